"""``graph-runtime generate``: what it refuses before any work, and real pictures."""

from __future__ import annotations

import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from calculators.http_payload import RequestError
from server.cli import main
from server.discovery import bundled_models_dir

if TYPE_CHECKING:
    from tests.server.conftest import Models

RED_ON_BLUE = "a red circle on a blue background"


@pytest.mark.parametrize(
    ("output", "arguments", "message"),
    [
        ("nowhere/x.png", [], "{}/nowhere/x.png: the folder {}/nowhere does not exist"),
        ("x.gif", [], "{}/x.gif: give a name that ends with one of .png, .jpg, .jpeg, .webp"),
        ("x", [], "{}/x: give a name that ends with one of .png, .jpg, .jpeg, .webp"),
        ("x.png", ["--image", "nowhere.png"], "nowhere.png: No such file or directory"),
        ("folder.png", [], "{}/folder.png is a folder"),
        ("there.png", [], "{}/there.png exists already; choose another name, or replace it with --overwrite"),
        ("many.png", ["-n", "3"], "{}/many-2.png exists already; choose another name, or replace it with --overwrite"),
    ],
)
def test_files_are_checked_before_the_work_begins(
    output: str, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("there.png", "many-2.png"):
        (tmp_path / name).write_bytes(b"precious")
    assert main(["generate", "x", "-o", str(tmp_path / output), *arguments]) == 2
    assert capsys.readouterr().err == f"graph-runtime generate: {message.replace('{}', str(tmp_path))}\n"
    assert (tmp_path / "there.png").read_bytes() == b"precious"


def test_a_model_has_to_be_chosen_where_there_are_several(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models.add("a", "HttpEcho")
    models.add("org/b", "HttpEcho")
    base = ["generate", "x", "-o", str(tmp_path / "x.png"), "--models", str(models.folder)]
    assert main(base) == 2
    assert main([*base, "--model", "c"]) == 2
    choose, unknown = capsys.readouterr().err.splitlines()
    assert choose == f"graph-runtime generate: choose a model with --model; {models.folder} has: a, org/b"
    assert unknown == (
        f"graph-runtime generate: 'c' is neither a folder with a graph.pbtxt nor a model in {models.folder}, "
        "which has: a, org/b"
    )


def test_a_model_folder_from_the_environment_counts(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPH_RUNTIME_MODELS", str(models.folder / "nowhere"))
    assert main(["generate", "x", "-o", str(tmp_path / "x.png")]) == 2
    assert f"model folder '{models.folder}/nowhere' does not exist" in capsys.readouterr().err


def test_a_graph_that_makes_no_pictures_is_refused(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph_file = models.add("echo", "HttpEcho")
    assert main(["generate", "x", "-o", str(tmp_path / "x.png"), "--model", str(graph_file)]) == 2
    assert capsys.readouterr().err == (
        f"graph-runtime generate: the graph {graph_file} makes no pictures; it has HttpEcho\n"
    )


def test_a_broken_graph_is_told_with_its_place(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph_file = models.add("typo", "ImageGenCalculater")
    assert main(["generate", "x", "-o", str(tmp_path / "x.png"), "--models", str(models.folder)]) == 1
    assert f'{graph_file}:4:28: node "only": ' in capsys.readouterr().err


def _generate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # A process of its own: generate loads OpenVINO into it, and other tests show that we do not.
    command = [sys.executable, "-m", "server.cli", "generate", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)


def _is_red_on_blue(picture: bytes) -> bool:
    image = Image.open(BytesIO(picture)).convert("RGB")
    assert image.size == (64, 64)
    red, green, blue = image.resize((1, 1), box=(28, 28, 36, 36)).getpixel((0, 0))  # type: ignore[misc]  # RGB has three
    corners = [image.getpixel(at) for at in ((2, 2), (61, 2), (2, 61), (61, 61))]
    return red > 150 > max(green, blue) and all(b > 150 > max(r, g) for r, g, b in corners)  # type: ignore[misc]  # as above


@pytest.mark.model
def test_a_seed_gives_the_same_picture_again(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        done = _generate(RED_ON_BLUE, "-o", name, "--seed", "7", "--steps", "10", "--guidance", "3.5", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{name}: 64x64, seed 7\n", "")
    first = (tmp_path / "one.png").read_bytes()
    assert first == (tmp_path / "two.png").read_bytes()
    assert _is_red_on_blue(first)


@pytest.mark.model
def test_several_pictures_get_numbers_and_seeds_and_replace_files_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "x-1.png").write_bytes(b"old")
    model = str(bundled_models_dir() / "shapes")
    arguments = [RED_ON_BLUE, "-o", "x.png", "-n", "2", "--model", model, "--steps", "5", "--size", "72x64"]
    assert _generate(*arguments, cwd=tmp_path).returncode == 2
    done = _generate(*arguments, "--overwrite", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["x-1.png:", "72x64,"], ["x-2.png:", "72x64,"]]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x-1.png", "x-2.png"]
    assert Image.open(BytesIO((tmp_path / "x-1.png").read_bytes())).size == (72, 64)


@pytest.mark.model
def test_a_model_folder_needs_no_graph(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for part in (bundled_models_dir() / "shapes").iterdir():
        if part.suffix != ".pbtxt":
            (tmp_path / "bare" / part.name).symlink_to(part)
    steady = ("--seed", "7", "--steps", "10", "--guidance", "3.5")
    done = _generate(RED_ON_BLUE, "-o", "x.png", "--model", "bare", *steady, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert _is_red_on_blue((tmp_path / "x.png").read_bytes())


@pytest.mark.model
def test_a_picture_is_drawn_from_another_one_and_into_a_mask(tmp_path: Path) -> None:
    steady = ("--seed", "7", "--steps", "10", "--guidance", "3.5")
    assert _generate(RED_ON_BLUE, "-o", "circle.jpg", *steady, cwd=tmp_path).returncode == 0
    assert Image.open(BytesIO((tmp_path / "circle.jpg").read_bytes())).format == "JPEG"
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 64, 32))
    mask.save(tmp_path / "mask.png")
    edit = ("--image", "circle.jpg", "--mask", "mask.png", "-o", "edit.webp")
    done = _generate("a green circle on a blue background", *edit, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert Image.open(BytesIO((tmp_path / "edit.webp").read_bytes())).format == "WEBP"
    refused = _generate("x", "-o", "x.png", "--mask", "mask.png", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Image field is missing" in refused.stderr


@pytest.mark.parametrize(
    ("param", "message", "told"),
    [
        ("num_inference_steps", "num_inference_steps is greater than 100", "--steps is greater than 100"),
        ("n", "num_images_per_prompt/n is greater than 10", "-n is greater than 10"),
        ("rng_seed", "rng_seed field is not a size_t", "--seed is not a size_t"),
        ("size", "no size was given, and the model's own size 64x64 is wrong", "--size: no size was given, and the "),
        ("model", "model is wrong", "model is wrong"),
        (None, "it is wrong", "it is wrong"),
    ],
)
def test_a_refusal_is_told_in_the_words_of_the_command_line(param: str | None, message: str, told: str) -> None:
    from server.generate import _in_flags

    assert _in_flags(RequestError(message, param=param)).startswith(told)


@pytest.mark.model
def test_what_the_model_refuses_is_told_in_one_line(tmp_path: Path) -> None:
    done = _generate(RED_ON_BLUE, "-o", "x.png", "-n", "99", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "graph-runtime generate: -n is greater than maxNumImagesPerPrompt: 10\n"
    assert list(tmp_path.iterdir()) == []


# Stands in for the progress bar: it tells the test when the first step is done.
INTERRUPTED = """
import sys
from server import generate
class Bar(generate.tqdm):
    def update(self, n=1):
        print("step", flush=True)
generate.tqdm = Bar
from server.cli import main
sys.exit(main(["generate", "x", "-o", "x.png", "-n", "10", "--steps", "100"]))
"""


@pytest.mark.model
def test_ctrl_c_ends_it_at_the_next_step_and_writes_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "step\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stdout.read().count("step") < 99
        assert process.stderr.read() == "graph-runtime generate: interrupted\n"
    assert list(tmp_path.iterdir()) == []
