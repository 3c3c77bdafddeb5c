"""``graph-runtime check``: each kind of mistake, with its place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from server.cli import main
from server.discovery import bundled_models_dir

IMAGE_GRAPH = """\
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"

node: {
  name: "ImageGenExecutor"
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options: {
      [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {
          models_path: "MODELS"
          device: "CPU"
      }
  }
}
""".replace("MODELS", str(bundled_models_dir() / "shapes"))

PASS = """\
input_stream: "in"
output_stream: "out"
node { name: "first" calculator: "PassThroughCalculator" input_stream: "in" output_stream: "middle" }
node { name: "second" calculator: "PassThroughCalculator" input_stream: "middle" output_stream: "out" }
"""


def _check(text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """The exit code, and the lines without the folder."""
    (folder / "graph.pbtxt").write_text(text)
    code = main(["check", str(folder / "graph.pbtxt")])
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, [line.removeprefix(f"{folder}/") for line in printed.out.splitlines()]


NO_HTTP = (
    "graph.pbtxt: ok; it takes no HTTP payload, so that KServe calls alone can use it: others take "
    'input_stream: "HTTP_REQUEST_PAYLOAD:input" and output_stream: "HTTP_RESPONSE_PAYLOAD:output"'
)


def test_a_note_names_the_steps_that_a_model_is_made_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(bundled_models_dir() / "shapes", tmp_path / "model", copy_function=os.symlink)
    index = tmp_path / "model" / "model_index.json"
    text = index.read_text().replace("StableDiffusionPipeline", "LatentConsistencyModelPipeline")
    index.unlink()
    index.write_text(text)
    graph = IMAGE_GRAPH.replace(str(bundled_models_dir() / "shapes"), "model")
    assert _check(graph, tmp_path, capsys) == (
        0,
        [
            "graph.pbtxt: ok",
            f'note: {tmp_path}/graph.pbtxt:10:3: node "ImageGenExecutor": the model (Latent Consistency Model) is made for '
            "4 steps; requests that do not say get 50; set default_num_inference_steps: 4",
        ],
    )
    for own in ("default_num_inference_steps: 8", "default_num_inference_steps: 3 max_num_inference_steps: 3"):
        assert _check(graph.replace('device: "CPU"', own), tmp_path, capsys) == (0, ["graph.pbtxt: ok"])


def test_a_good_graph_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check(IMAGE_GRAPH, tmp_path, capsys) == (0, ["graph.pbtxt: ok"])


def test_a_graph_without_http_streams_is_ok_and_its_line_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(PASS, tmp_path, capsys) == (0, [NO_HTTP])


OWN_OPTIONS = """\
input_stream: "in"
output_stream: "out"
node {
  calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out"
  node_options { [type.googleapis.com/checked.Options] { word: "x" } }
}
"""


def test_options_of_ones_own_are_checked_with_their_proto_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = _check(OWN_OPTIONS, tmp_path, capsys)
    assert code == 1
    assert lines[0].startswith('graph.pbtxt:5:18: node "PassThroughCalculator": Could not find type')
    assert lines[0].endswith("or --options_proto its.proto")
    file = FileDescriptorProto(name="checked.proto", package="checked", syntax="proto3")
    message = file.message_type.add(name="Options")
    message.field.add(
        name="word", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL, type=FieldDescriptorProto.TYPE_STRING
    )
    (tmp_path / "checked.binpb").write_bytes(FileDescriptorSet(file=[file]).SerializeToString())
    assert main(["check", str(tmp_path), "--options-proto", str(tmp_path / "checked.binpb")]) == 0
    assert NO_HTTP in capsys.readouterr().out


def test_an_options_file_that_cannot_be_used_is_a_wrong_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "graph.pbtxt").write_text(PASS)
    assert main(["check", str(tmp_path), "--options_proto", str(tmp_path / "none.proto")]) == 2
    assert capsys.readouterr().err == f"graph-runtime check: The path does not exist: {tmp_path}/none.proto\n"


def test_an_output_that_no_node_makes_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = IMAGE_GRAPH.replace("HTTP_RESPONSE_PAYLOAD:output", "HTTP_RESPONSE_PAYLOAD:outptu", 1)
    assert _check(text, tmp_path, capsys) == (
        1,
        ['graph.pbtxt:2:16: the graph\'s output stream "outptu" is made by no node; did you mean "output"?'],
    )
    passed_on = PASS + 'output_stream: "in"\n'  # what comes in may go out
    assert _check(passed_on, tmp_path, capsys)[0] == 0


@pytest.mark.parametrize("text", ["", "# nothing\n", 'type: "X"'])
def test_an_empty_graph_is_told(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _check(text, tmp_path, capsys) == (
        1,
        ["graph.pbtxt: the graph has no node, so that it does nothing; give nodes"],
    )


OPTIONS = IMAGE_GRAPH[IMAGE_GRAPH.index("  node_options") : IMAGE_GRAPH.rindex("}")]


@pytest.mark.parametrize(
    ("right", "wrong", "start"),
    [
        ("models_path:", "# models_path:", "graph.pbtxt:11:7: "),
        (OPTIONS, "", "graph.pbtxt:4:1: "),
        ("mediapipe.ImageGenCalculatorOptions", "mediapipe.ImageGenOptions", "graph.pbtxt:11:7: "),
        (OPTIONS, "options { [mediapipe.ImageGenOptions.ext] { } }", "graph.pbtxt:10:11: "),
    ],
    ids=["missing models_path", "missing node_options", "misspelt type", "misspelt extension"],
)
def test_one_mistake_is_one_line(
    right: str, wrong: str, start: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in IMAGE_GRAPH
    code, lines = _check(IMAGE_GRAPH.replace(right, wrong, 1), tmp_path, capsys)
    assert (code, len(lines)) == (1, 1), lines
    assert lines[0].startswith(f'{start}node "ImageGenExecutor": ')


def test_a_missing_models_path_hides_no_other_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = IMAGE_GRAPH.replace("models_path:", "# models_path:").replace(
        'device: "CPU"', "max_num_images_per_prompt: 0"
    )
    _, lines = _check(text, tmp_path, capsys)
    assert len(lines) == 2
    assert "must be at least 1" in lines[1]


@pytest.mark.parametrize(
    ("right", "wrong", "start", "words"),
    [
        (
            '"ImageGenCalculator"',
            '"ImageGenCalculater"',
            'graph.pbtxt:6:15: node "ImageGenExecutor": ',
            ('Unable to find Calculator "ImageGenCalculater"', 'did you mean "ImageGenCalculator"?'),
        ),
        ("device:", "devise:", "graph.pbtxt:13:11: ", ("devise", 'did you mean "device"?')),
        (
            "models_path:",
            "# models_path:",
            'graph.pbtxt:11:7: node "ImageGenExecutor": ',
            ('missing the required field "models_path"',),
        ),
        ('shapes"', 'nowhere"', "graph.pbtxt:12:24: ", ('node "ImageGenExecutor"', "is not a folder")),
        ('device: "CPU"', "max_num_images_per_prompt: 0", "graph.pbtxt:13:38: ", ("must be at least 1",)),
        (
            '  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"\n',
            "",
            'graph.pbtxt:6:15: node "ImageGenExecutor": ',
            ('input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"',),
        ),
        (
            "RESOURCES:pipes",
            "RESOURCES:pipe",
            "graph.pbtxt:",
            ('node "ImageGenExecutor"', 'input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"'),
        ),
        ("node: {", "node: {{", "graph.pbtxt:4:8: ", ()),
    ],
    ids=[
        "unknown calculator",
        "misspelt option",
        "missing models_path",
        "no such model folder",
        "option out of range",
        "missing side packet",
        "modified side packet",
        "broken text",
    ],
)
def test_a_mistake_in_an_image_graph_is_told_with_its_place(
    right: str, wrong: str, start: str, words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in IMAGE_GRAPH
    code, lines = _check(IMAGE_GRAPH.replace(right, wrong, 1), tmp_path, capsys)
    assert code == 1
    line = lines[0]
    assert line.startswith(start)
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("right", "wrong", "start", "words"),
    [
        ('input_stream: "middle"', 'input_stream: "muddle"', 'graph.pbtxt:4:73: node "second": ', ("muddle",)),
        ('output_stream: "out" }', 'output_stream: "middle" }', 'graph.pbtxt:4:97: node "second": ', ("middle",)),
    ],
    ids=["dangling stream", "two producers"],
)
def test_a_mistake_in_the_wiring_is_told_with_its_place(
    right: str, wrong: str, start: str, words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in PASS
    code, lines = _check(PASS.replace(right, wrong, 1), tmp_path, capsys)
    assert code == 1
    (line,) = [line for line in lines if line.startswith(start)]
    for word in words:
        assert word in line


def test_all_mistakes_of_a_graph_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = IMAGE_GRAPH.replace("device:", "devise:").replace("shapes", "nowhere") + PASS.replace("PassThr", "PussThr")
    code, lines = _check(text, tmp_path, capsys)
    assert code == 1
    assert len(lines) == len(set(lines)) == 4
    assert all(any(word in line for line in lines) for word in ("devise", "nowhere", '"first"', '"second"'))


def test_every_graph_below_a_folder_is_checked_each_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("good", PASS), ("org/bad", "node {"), (".hidden", "node {")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "graph.pbtxt").write_text(text)
    assert main(["check", str(tmp_path), str(tmp_path / "good"), str(tmp_path / "good" / "graph.pbtxt")]) == 1
    good, bad = capsys.readouterr().out.splitlines()
    assert good.startswith(f"{tmp_path}/good/graph.pbtxt: ok")
    assert bad.startswith(f"{tmp_path}/org/bad/graph.pbtxt:1:")


def test_paths_are_printed_as_they_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "graph.pbtxt").write_text(PASS)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "cat"]) == 0
    assert capsys.readouterr().out.startswith("cat/graph.pbtxt: ok")


@pytest.mark.parametrize(
    ("path", "message"),
    [("nowhere", "{} does not exist"), ("empty", "there is no graph.pbtxt in or below {}")],
)
def test_nothing_to_check_is_a_wrong_command(
    path: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / path)]) == 2
    assert capsys.readouterr().err == f"graph-runtime check: {message.format(tmp_path / path)}\n"


def test_a_file_that_is_no_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "graph.pbtxt").write_bytes(b'input_stream: "\xff\xfe"')
    assert main(["check", str(tmp_path)]) == 1
    assert str(tmp_path / "graph.pbtxt") in capsys.readouterr().out


def test_the_bundled_model_is_checked_without_loading_any_library_of_the_server() -> None:
    probe = (
        "import sys; from server.cli import main; code = main(['check', sys.argv[1]])\n"
        "heavy = {'aiohttp', 'openvino', 'openvino_genai', 'numpy', 'PIL', 'tqdm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, str(bundled_models_dir())], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("shapes/graph.pbtxt: ok\n")


def test_the_lists_of_a_folder_are_checked_and_so_is_what_they_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "graph.pbtxt").write_text(PASS.replace("PassThrough", "PassTrough"))
    (tmp_path / "models" / "a").mkdir(parents=True)
    (tmp_path / "models" / "a" / "graph.pbtxt").write_text(PASS)
    config = tmp_path / "models" / "config.json"
    config.write_text(
        f"""{{"mediapipe_config_list": [
            {{"name": "b", "base_path": "{tmp_path}/elsewhere"}}, {{"name": "gone"}}, {{"name": "a"}}, {{"name": "a"}}],
        "monitoring": {{"metrics": {{}}}} }}"""
    )
    for path in (config.parent, config):
        assert main(["check", str(path)]) == 1
        lines = [line.replace(f"{tmp_path}/", "") for line in capsys.readouterr().out.splitlines()]
        assert [line.partition(": ")[0] for line in lines[2:]] == [
            "note",
            "models/a/graph.pbtxt",
            "elsewhere/graph.pbtxt:3:34",
            "elsewhere/graph.pbtxt:4:35",
        ]
        assert 'mediapipe_config_list[1]: "gone": there is no such folder' in lines[0]
        assert "mediapipe_config_list[3] is not served: the name 'a' is taken" in lines[1]
        assert "monitoring has no effect" in lines[2]


def test_a_config_file_that_says_what_cannot_be_is_a_problem_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"graph_runtime": {"lanes": 0}}')
    assert main(["check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == (
        f"{tmp_path}/config.json:1:20: graph_runtime.lanes: it has to be a whole number from 1; it is 0\n"
    )
