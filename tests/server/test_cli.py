"""The command line itself: spellings, help, usage errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from server import cli
from server.foreign_flags import FOREIGN_FLAGS
from server.settings import GROUPS, Settings


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Catches the settings instead of serving."""
    import server.serve

    caught: list[Settings] = []

    def catch(settings: Settings) -> int:
        caught.append(settings)
        return 0

    monkeypatch.setattr(server.serve, "serve", catch)
    return caught


@pytest.mark.parametrize("separator", ["-", "_"])
def test_flags_may_be_written_with_either_separator(served: list[Settings], separator: str) -> None:
    flags = [
        "--models", "m", "--rest_port=1", "--rest_bind_address", "::1", "--log_level", "debug", "--max_body_bytes", "2",
    ]  # fmt: skip
    assert cli.main(["serve", *(flag.replace("_", separator) for flag in flags)]) == 0
    assert served == [
        Settings(models=Path("m"), rest_port=1, rest_bind_address=("::1",), log_level="DEBUG", max_body_bytes=2)
    ]


def test_options_files_may_be_listed_and_given_again(served: list[Settings]) -> None:
    assert cli.main(["serve", "--options_proto", "a.proto, b.proto", "--options-proto", "c.binpb"]) == 0
    assert served[0].options_proto == (Path("a.proto"), Path("b.proto"), Path("c.binpb"))


def test_without_flags_the_environment_counts(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPH_RUNTIME_REST_PORT", "9")
    assert cli.main(["serve"]) == 0
    assert served[0].rest_port == 9


def test_a_variable_that_cannot_be_used_is_a_usage_error(
    served: list[Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_RUNTIME_REST_PORT", "nine")
    assert cli.main(["serve"]) == 2
    assert capsys.readouterr().err == (
        "graph-runtime serve: environment variable GRAPH_RUNTIME_REST_PORT: 'nine' is not a whole number\n"
    )
    assert served == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--rest_port", "x"], "argument --rest_port: 'x' is not a whole number"),
        (["serve", "--rest-port", "70000"], "argument --rest-port: '70000' is not a port"),
        (["serve", "--log_level", "loud"], "argument --log_level: 'loud' is not a log level; give one of TRACE, DEBUG"),
        (["serve", "--prot", "1"], "unrecognized arguments: --prot 1"),
        (["serve", "--rest", "1"], "unrecognized arguments: --rest 1"),
        (["generate", "a cat"], "the following arguments are required: -o/--output"),
        (["generate", "a cat", "-o", "x.png", "--steps", "many"], "argument --steps: 'many' is not a whole number"),
        (
            ["generate", "a cat", "-o", "x.png", "--guidance", "nan"],
            "argument --guidance: 'nan' is not a finite number",
        ),
        (["generate", "a cat", "-o", "x.png", "--guidance", "x"], "argument --guidance: 'x' is not a number"),
        (["generate", "a cat", "-o", "x.png", "--steps", "0"], "argument --steps: '0' is too small; give 1 or more"),
        (["generate", "a cat", "-o", "x.png", "--seed", "-1"], "argument --seed: '-1' is too small; give 0 or more"),
        (["generate", "a cat", "-o", "x.png", "--seed", str(2**64)], "seeds are below 2**64"),
        (["generate", "a cat", "-o", "x.png", "-n", "0"], "argument -n: '0' is too small; give 1 or more"),
        (
            ["generate", "a cat", "-o", "x.png", "--size", "-1x5"],
            "argument --size: '-1x5' values must be greater than 0",
        ),
        (
            ["generate", "a cat", "-o", "x.png", "--size", "big"],
            "argument --size: 'big' is not in correct format - WxH",
        ),
        (["check"], "the following arguments are required: PATH"),
        ([], "the following arguments are required: COMMAND"),
        (["bake"], "invalid choice: 'bake'"),
    ],
)
def test_a_wrong_command_line_is_told_and_exits_with_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_help_shows_the_settings_in_groups_that_are_not_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--help"]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(f"\n{group}:\n") for group in GROUPS]
    assert places == sorted(places)
    counts = Counter(setting.metadata["group"] for setting in fields(Settings))
    assert counts.keys() == set(GROUPS)
    assert max(counts.values()) <= 12


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--nireq", "4"], "--nireq is not a flag of this server: --runs_per_servable says how many"),
        (
            ["--add-to-config"],
            "--add-to-config is not a flag of this server: it is a command of its own: graph-runtime configure",
        ),
        (["--weight-format", "int8"], "--weight_format: this is for a model that is pulled, by --source_model"),
        (["--cpu_extension=/x.so"], "--cpu_extension is not a flag of this server: calculators are Python classes"),
        (["--api_key", "secret"], "use --api_key_file or the environment variable API_KEY"),
    ],
)
def test_a_flag_of_ovms_that_means_nothing_here_is_refused_with_the_reason(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", *arguments]) == 2
    assert reason in capsys.readouterr().err


def test_no_flag_that_is_refused_is_a_setting() -> None:
    known = {name for setting in fields(Settings) for name in (setting.name, *setting.metadata["aliases"])}
    hidden = {setting.name for setting in fields(Settings) if not setting.metadata["flag"]}
    assert not (known - hidden) & FOREIGN_FLAGS.keys()
    assert hidden <= FOREIGN_FLAGS.keys()


def test_names_that_other_servers_have_for_a_setting_are_taken(served: list[Settings]) -> None:
    assert cli.main(["serve", "--rest_workers", "8", "--request-timeout", "30", "--log_level", "trace"]) == 0
    assert (served[0].run_threads, served[0].request_timeout_s, served[0].log_level) == (8, 30.0, "TRACE")


def test_several_addresses_may_be_listed(served: list[Settings]) -> None:
    assert cli.main(["serve", "--rest_bind_address", "127.0.0.1, ::1"]) == 0
    assert served[0].rest_bind_address == ("127.0.0.1", "::1")


def test_help_names_every_setting_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--help"]) == 0
    options = capsys.readouterr().out.partition("options:")[2]
    for setting in fields(Settings):
        assert options.count(f"  --{setting.name} ") == setting.metadata["flag"]
        assert "_" not in setting.name or f"--{setting.name.replace('_', '-')}" not in options


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["generate", "-h"], ["check", "-h"]])
def test_help_is_quick_because_it_loads_nothing(arguments: list[str]) -> None:
    probe = (
        "import sys; from server.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'aiohttp', 'asyncio', 'openvino', 'numpy', 'google.protobuf', 'graph_runtime.graph'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", probe, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: graph-runtime")


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["serve", "--rest_port", "0"], "aiohttp"),
        (["generate", "a cat", "-o", "x.png"], "tqdm"),
    ],
)
def test_without_the_serve_extra_one_line_says_what_to_install(
    arguments: list[str], module: str, tmp_path: Path
) -> None:
    hide = "import sys; sys.modules.update(dict.fromkeys(['aiohttp', 'tqdm', 'numpy', 'openvino', 'PIL']))\n"
    done = subprocess.run(
        [sys.executable, "-c", hide + "from server.cli import main; sys.exit(main(sys.argv[1:]))", *arguments],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"graph-runtime {arguments[0]}: the module {module} is not installed; "
        "this command needs: pip install 'graph-runtime[serve]'\n"
    )


def test_a_module_of_somebody_else_that_is_missing_is_not_taken_for_one_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: Any) -> int:
        raise ModuleNotFoundError("No module named 'theirs'", name="theirs")

    monkeypatch.setattr(cli, "_check", missing)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["check", "x"])


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_check", interrupt)
    assert cli.main(["check", "x"]) == 130
