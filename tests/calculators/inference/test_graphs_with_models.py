"""Graphs with OpenVINO models: they run as those of the reference, and what does not fit is told before anything is loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from calculators import Resources, check_resources, load_resources, notes_on_resources
from graph_runtime import GraphError, Packet, Plan, StatusCode
from graph_runtime import run as run_once
from graph_runtime.config import read_graph

EXAMPLE = Path(__file__).parents[3] / "examples" / "openvino_models"
SESSION = """
node {{
  calculator: "OpenVINOModelServerSessionCalculator"
  output_side_packet: "SESSION:session"
  node_options: {{ [type.googleapis.com / mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {{ {options} }} }}
}}
"""
INFERENCE = """
node {{
  calculator: "OpenVINOInferenceCalculator"
  input_side_packet: "SESSION:session"
  {streams}
  node_options: {{ [type.googleapis.com / mediapipe.OpenVINOInferenceCalculatorOptions]: {{ {options} }} }}
}}
"""
DUMMY = 'servable_name: "dummy"'
NAMES = 'tag_to_input_tensor_names { key: "B" value: "b" } tag_to_output_tensor_names { key: "A" value: "a" }'
ROW = np.arange(10, dtype=np.float32).reshape(1, 10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's models, and a subconfig.json that lists them."""
    pytest.importorskip("openvino")
    place = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, EXAMPLE / "make_models.py", place], check=True)
    (place / "subconfig.json").write_text(
        '{"model_config_list": [{"config": {"name": "dummy"}}, {"config": {"name": "add", "nireq": 2}},'
        '{"config": {"name": "sides", "base_path": "both_sides/sides"}},'
        '{"config": {"name": "wide", "base_path": "dummy", "shape": "(1, 12)"}},'
        '{"config": {"name": "many", "base_path": "dummy", "batch_size": -1}}]}'
    )
    return place


def graph(streams: str, options: str = NAMES, session: str = DUMMY, ends: str = "") -> str:
    return ends + SESSION.format(options=session) + INFERENCE.format(streams=streams, options=options)


ONE = 'input_stream: "given" output_stream: "out"'


def run(text: str, resources: Resources, **inputs: Any) -> dict[str, list[Any]]:
    plan = Plan(text)
    run_ = resources.graph(plan)
    made: dict[str, list[Any]] = {name: [] for _, _, name in plan.graph_outputs}
    for name in made:
        run_.observe_output_stream(name, lambda stream, packet: made[stream].append(packet.value))
    run_.start_run(resources.side_packets)
    for name, value in inputs.items():
        run_.add_packet_to_input_stream(name, Packet(value).at(0))
    run_.close_all_packet_sources()
    run_.wait_until_done()
    return made


def answer(
    text: str, folder: Path, lane: Literal["process", "thread"] = "thread", **inputs: Any
) -> dict[str, list[Any]]:
    with load_resources(read_graph(text), folder, lane=lane) as resources:
        return run(text, resources, **inputs)


def problems(text: str, folder: Path) -> list[str]:
    """The same problems without loading, and by loading."""
    source = read_graph(text, file="g")
    found = [str(problem) for problem in check_resources(source, folder)]
    if found:
        with pytest.raises(GraphError) as caught:
            load_resources(source, folder)
        assert [str(problem) for problem in caught.value.problems] == found
    return found


@pytest.mark.model
@pytest.mark.parametrize("lane", ["thread", "process"])
def test_two_models_in_one_graph(folder: Path, lane: Literal["process", "thread"]) -> None:
    text = (EXAMPLE / "served" / "sum_of_two" / "graph.pbtxt").read_text()
    (total,) = answer(text, folder, lane, first=ROW, second=ROW)["sum"]
    assert total.tolist() == (2 * ROW + 1).tolist()
    assert total.dtype == np.float32


@pytest.mark.model
def test_a_model_with_one_tensor_needs_no_names(folder: Path) -> None:
    text = graph('input_stream: "OVTENSOR:given" output_stream: "OVTENSOR:out"', "", ends=ONE)
    assert answer(text, folder, given=ROW)["out"][0].tolist() == (ROW + 1).tolist()


@pytest.mark.model
def test_lists_of_tensors_have_the_order_of_the_order_lists(folder: Path) -> None:
    order = 'input_order_list: ["input2", "input1"]'
    text = graph('input_stream: "TENSORS:given" output_stream: "OVTENSORS:out"', order, 'servable_name: "add"', ONE)
    assert answer(text, folder, given=[ROW, 2 * ROW])["out"][0][0].tolist() == (3 * ROW).tolist()
    text = graph(
        'input_stream: "given" output_stream: "OVTENSORS:out"',
        'output_order_list: ["below", "above"]',
        'servable_name: "sides"',
        ONE,
    )
    (below_above,) = answer(text, folder, given=np.array([-1, 2], dtype=np.float32))["out"]
    assert [each.tolist() for each in below_above] == [[-1, 0], [0, 2]]


@pytest.mark.model
def test_shape_and_batch_size_of_the_list_change_the_model(folder: Path) -> None:
    wide = np.zeros((1, 12), dtype=np.float32)
    text = graph('input_stream: "B:given" output_stream: "A:out"', NAMES, 'servable_name: "wide"', ONE)
    assert answer(text, folder, given=wide)["out"][0].shape == (1, 12)
    text = text.replace("wide", "many")
    assert answer(text, folder, given=np.zeros((3, 10), dtype=np.float32))["out"][0].shape == (3, 10)


@pytest.mark.model
def test_the_nodes_may_stand_in_a_subgraph(folder: Path, tmp_path: Path) -> None:
    inner = graph(
        'input_stream: "B:x" output_stream: "A:y"', ends='type: "OneMore" input_stream: "x" output_stream: "y"'
    )
    (tmp_path / "one_more.pbtxt").write_text(inner)
    outer = ONE + 'node { calculator: "OneMore" input_stream: "given" output_stream: "out" }'
    plan = Plan(outer, subgraphs=[tmp_path / "one_more.pbtxt"])
    with load_resources(plan, folder) as resources:
        made = run_once(resources.graph(plan), {"given": ROW}, resources.side_packets)
    assert made["out"][0].value.tolist() == (ROW + 1).tolist()


@pytest.mark.model
def test_an_array_that_does_not_fit_fails_the_run_with_what_was_expected(folder: Path) -> None:
    text = graph('input_stream: "B:given" output_stream: "A:out"', ends=ONE)
    with load_resources(read_graph(text), folder) as resources:
        with pytest.raises(
            GraphError, match=r'input "b" of the model "dummy" takes FP32 \[1,10\], and got INT64 \[1,2\]'
        ) as caught:
            run(text, resources, given=np.array([[1, 2]]))
        assert caught.value.code == StatusCode.INVALID_ARGUMENT


@pytest.mark.model
def test_an_input_without_a_packet_is_told(folder: Path) -> None:
    text = (EXAMPLE / "served" / "sum_of_two" / "graph.pbtxt").read_text()
    with (
        load_resources(read_graph(text), folder) as resources,
        pytest.raises(GraphError, match='stream "one_more" has no packet at the timestamp 0'),
    ):
        run(text, resources, second=ROW)


@pytest.mark.model
def test_without_the_services_of_the_resources_the_graph_says_what_to_do(folder: Path) -> None:
    with pytest.raises(GraphError, match=r'model "dummy" is not loaded: .*load_resources.*Resources\.graph'):
        run(graph('input_stream: "B:given" output_stream: "A:out"', ends=ONE), Resources(), given=ROW)


@pytest.mark.model
def test_a_model_that_openvino_cannot_compile_fails_with_its_place(folder: Path) -> None:
    text = graph('input_stream: "B:given" output_stream: "A:out"', NAMES, 'servable_name: "wide"', ONE)
    config = (folder / "subconfig.json").read_text()
    (folder / "subconfig.json").write_text(config.replace('"shape": "(1, 12)"', '"target_device": "GPU.9"'))
    try:
        with pytest.raises(GraphError, match=r"g:\d+:\d+: OpenVINO cannot load dummy.xml on GPU.9 \(there are CPU"):
            load_resources(read_graph(text, file="g"), folder)
    finally:
        (folder / "subconfig.json").write_text(config)


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        ('servable_name: "dumy"', 'there is no model "dumy" in config.json or subconfig.json; did you mean "dummy"?'),
        ('servable_name: "dummy" servable_version: "2"', "has no version 2 that may be used; it has 1"),
        ('servable_name: "dummy" servable_version: "new"', 'servable_version is "new"; it is a whole number'),
        ('servable_name: "dummy" service_url: "a:1"', "models of other servers are not supported"),
    ],
)
def test_a_session_that_cannot_be_is_told_with_its_place(folder: Path, session: str, expected: str) -> None:
    (found,) = problems(graph('input_stream: "B:given" output_stream: "A:out"', session=session, ends=ONE), folder)
    assert found.startswith("g:")
    assert expected in found


@pytest.mark.model
def test_a_precision_without_arrays_is_told_without_openvino(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "dummy", tmp_path / "dummy")
    file = tmp_path / "dummy" / "1" / "dummy.xml"
    file.write_text(file.read_text().replace('element_type="f32"', 'element_type="bf16"').replace("FP32", "BF16"))
    (tmp_path / "subconfig.json").write_text('{"model_config_list": [{"config": {"name": "dummy"}}]}')
    (found,) = problems(graph('input_stream: "B:given" output_stream: "A:out"', ends=ONE), tmp_path)
    assert 'the input "b" has the precision bf16, for which there are no arrays' in found


@pytest.mark.parametrize(
    ("streams", "options", "expected"),
    [
        (
            'input_stream: "B:given" output_stream: "A:out"',
            'tag_to_input_tensor_names { key: "B" value: "bb" } tag_to_output_tensor_names { key: "A" value: "a" }',
            ['the model "dummy" has no input "bb"; did you mean "b"?'],
        ),
        (
            'input_stream: "B:given" output_stream: "A:out" output_stream: "C:more"',
            NAMES,
            ['the model "dummy" has no output "C"; its outputs are: a'],
        ),
    ],
)
def test_a_tensor_that_the_model_has_not_is_told_without_openvino(
    folder: Path, streams: str, options: str, expected: Sequence[str]
) -> None:
    found = problems(graph(streams, options, ends=ONE), folder)
    assert [line.partition(": ")[2] for line in found] == list(expected)


def test_an_input_that_no_stream_feeds_is_told(folder: Path) -> None:
    text = graph(
        'input_stream: "X:given" output_stream: "SUM:out"',
        'tag_to_input_tensor_names { key: "X" value: "input1" } tag_to_output_tensor_names { key: "SUM" value: "sum" }',
        'servable_name: "add"',
        ONE,
    )
    (found,) = problems(text, folder)
    assert 'the input "input2" of the model "add" is fed by no stream of this node' in found


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            'tag_to_input_tensor_names { key: "C" value: "b" }',
            'has the tag "C", and the node has no input_stream with it',
        ),
        ('input_order_list: "b"', "input_order_list is for streams that carry lists, and the node has none"),
        (
            'tag_to_input_tensor_names { key: "B" value: "b" } input_order_list: "b"',
            "tag_to_input_tensor_names and input_order_list exclude each other",
        ),
    ],
)
def test_options_that_contradict_the_streams_make_no_plan(options: str, expected: str) -> None:
    with pytest.raises(GraphError, match=expected):
        Plan(graph('input_stream: "B:given" output_stream: "A:out"', options, ends=ONE))


def test_options_without_effect_are_noted(folder: Path) -> None:
    text = graph(
        'input_stream: "B:given" output_stream: "A:out"', session='servable_name: "dummy" log_level: "DEBUG"', ends=ONE
    )
    (note,) = notes_on_resources(read_graph(text, file="g"), folder)
    assert "log_level has no effect" in str(note)
