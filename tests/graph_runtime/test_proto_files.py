"""Options messages from a user's own .proto file: compiled, known to graphs in both spellings, read by calculators."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from google.protobuf.message import Message

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    Packet,
    Plan,
    StatusCode,
    proto_path,
    register_calculator,
    register_options,
)  # fmt: skip
from graph_runtime.errors import GraphFileNotFoundError, InvalidArgumentError
from graph_runtime.proto_files import compile_proto

CHECKOUT = Path(__file__).resolve().parents[2]

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None and shutil.which("protoc") is None,
    reason="no protobuf compiler here",
)

SCALE = """\
syntax = "proto2";
package scaling;
import "mediapipe/framework/calculator.proto";
message ScaleOptions {
  extend mediapipe.CalculatorOptions { optional ScaleOptions ext = 500000101; }
  optional double factor = 1 [default = 2];
}
"""


def proto(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def scaled(options: str) -> list[float]:
    """What a graph makes of 3, scaled with these options."""
    graph = CalculatorGraph(
        Plan(
            f'input_stream: "in" node {{ calculator: "ScaleByOptions" input_stream: "in" output_stream: "out" {options} }}'
        )
    )
    poller = graph.add_output_stream_poller("out")
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(3.0).at(0))
    graph.close_all_packet_sources()
    values = [packet.value for packet in poller]
    graph.wait_until_done()
    return values


@needs_compiler
def test_a_calculator_reads_options_of_a_proto_file_in_both_spellings(tmp_path: Path) -> None:
    (scale_options,) = register_options(proto(tmp_path, "scale.proto", SCALE))
    seen: list[type[Message]] = []

    @register_calculator
    class ScaleByOptions(Calculator):
        @classmethod
        def get_contract(cls, cc: CalculatorContract) -> None:
            cc.inputs[0].set(float)
            cc.outputs[0].set(float)

        def process(self, cc: CalculatorContext) -> None:
            options = cc.options(scale_options)
            seen.append(type(options))
            cc.outputs[0].add(cc.inputs[0].value * options.factor)  # type: ignore[attr-defined]

    assert scaled("options { [scaling.ScaleOptions.ext] { factor: 5 } }") == [15.0]
    assert scaled("node_options { [type.googleapis.com/scaling.ScaleOptions] { factor: 7 } }") == [21.0]
    assert scaled("") == [6.0]
    assert set(seen) == {scale_options}


@needs_compiler
def test_a_file_may_be_given_as_text_and_twice(tmp_path: Path) -> None:
    text = 'syntax = "proto3"; package again; message Options { repeated string word = 1; } message Other { }'
    path = proto(tmp_path, "again.proto", text)
    first = register_options(str(path))
    assert [cls.DESCRIPTOR.full_name for cls in first] == ["again.Options", "again.Other"]
    assert register_options(path) == first


@needs_compiler
def test_imports_are_found_beside_the_file_and_below_given_folders(tmp_path: Path) -> None:
    proto(tmp_path, "parts/near.proto", 'syntax = "proto3"; package parts; message Near { }')
    proto(tmp_path, "shared/deep/far.proto", 'syntax = "proto3"; package parts; message Far { }')
    text = 'syntax = "proto3"; import "near.proto"; import "deep/far.proto"; message Both { parts.Far far = 1; }'
    main = proto(tmp_path, "parts/main.proto", text)
    (both,) = register_options(main, proto_paths=[tmp_path / "shared"])
    far = both.DESCRIPTOR.fields_by_name["far"].message_type
    assert far is not None
    assert far.full_name == "parts.Far"


@needs_compiler
def test_two_files_of_one_name_are_told_apart_by_the_folder_they_are_looked_up_from(tmp_path: Path) -> None:
    one = proto(tmp_path, "one/options.proto", 'syntax = "proto3"; package one; message Options { }')
    two = proto(tmp_path, "two/options.proto", 'syntax = "proto3"; package two; message Options { }')
    register_options(one)
    with pytest.raises(
        InvalidArgumentError, match=r"two/options\.proto: .* under the name options\.proto, .*\(proto_paths\)"
    ):
        register_options(two)
    (cls,) = register_options(two, proto_paths=[tmp_path])
    assert cls.DESCRIPTOR.file.name == "two/options.proto"


@needs_compiler
def test_what_is_wrong_with_a_file_is_told_with_its_places(tmp_path: Path) -> None:
    path = proto(tmp_path, "wrong.proto", 'syntax = "proto3";\nmessage A {\n  Missing x = 1;\n  Lost y = 2;\n}\n')
    with pytest.raises(InvalidArgumentError) as caught:
        register_options(path)
    assert str(caught.value) == (
        f'{path} cannot be compiled:\n{path}:3:3: "Missing" is not defined.\n{path}:4:3: "Lost" is not defined.'
    )
    assert [problem.place for problem in caught.value.problems] == [f"{path}:3:3", f"{path}:4:3"]


@needs_compiler
def test_an_import_that_nobody_has_is_told(tmp_path: Path) -> None:
    path = proto(tmp_path, "lonely.proto", 'syntax = "proto3"; import "nowhere/friend.proto"; message A { }')
    with pytest.raises(
        InvalidArgumentError, match=r"lonely\.proto cannot be compiled:\n(.*\n)*.*nowhere/friend\.proto"
    ):
        register_options(path)


@pytest.mark.parametrize("name", ["none.proto", "none.binpb"])
def test_a_file_that_is_not_there_is_a_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(GraphFileNotFoundError, match=rf"^The path does not exist: .*{name}$"):
        register_options(tmp_path / name)


def test_a_file_that_is_no_descriptor_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.binpb").write_bytes(b"\xff\xff")
    with pytest.raises(InvalidArgumentError, match=r"odd\.binpb: these options cannot be registered: "):
        register_options(tmp_path / "odd.binpb")


def without_grpc_tools(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """As if grpcio-tools were not installed, and nothing but one folder on the PATH."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(path))


def test_without_a_compiler_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_grpc_tools(monkeypatch, tmp_path)
    with pytest.raises(GraphError) as caught:
        register_options(proto(tmp_path, "alone.proto", SCALE))
    assert caught.value.code is StatusCode.FAILED_PRECONDITION
    assert "pip install grpcio-tools, or put protoc on the PATH" in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_a_protoc_on_the_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc_tools")
    protoc = proto(tmp_path / "bin", "protoc", f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n')
    protoc.chmod(0o755)
    without_grpc_tools(monkeypatch, protoc.parent)
    files = compile_proto(proto(tmp_path, "on_path.proto", SCALE)).file
    assert files[-1].name == "on_path.proto"
    assert "mediapipe/framework/calculator.proto" in [file.name for file in files]


# ---- the project's own files


PROBE = textwrap.dedent("""
    import sys
    import graph_runtime
    from pathlib import Path
    where = Path(graph_runtime.__file__).parent
    (cls,) = graph_runtime.register_options(sys.argv[1])
    print(graph_runtime.proto_path().relative_to(where.parent), cls.DESCRIPTOR.full_name)
""")


def probe(path: Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(path)], cwd=cwd, env=os.environ | environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_compiler
def test_a_checkout_has_the_files(tmp_path: Path) -> None:
    assert proto_path() == CHECKOUT / "proto"
    assert probe(proto(tmp_path, "x.proto", SCALE), CHECKOUT) == "proto scaling.ScaleOptions"


@needs_compiler
def test_an_installed_wheel_has_the_files(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "site"
    shutil.unpack_archive(wheel, installed, "zip")
    assert {path.relative_to(CHECKOUT / "proto") for path in (CHECKOUT / "proto").rglob("*.proto")} == {
        path.relative_to(installed / "graph_runtime" / "_proto") for path in installed.rglob("*.proto")
    }
    found = probe(proto(tmp_path, "x.proto", SCALE), tmp_path, PYTHONPATH=str(installed))
    assert found == f"{Path('graph_runtime', '_proto')} scaling.ScaleOptions"


@needs_compiler
def test_no_python_file_of_the_current_folder_is_run_to_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = proto(tmp_path, "scaling.proto", SCALE)
    for module in ("grpc_tools/__init__.py", "grpc_tools/protoc.py"):
        proto(tmp_path, module, "raise SystemExit('a file of the current folder was run')\n")
    monkeypatch.chdir(tmp_path)
    assert file.name in [each.name for each in compile_proto(file).file]
