"""What a server refuses of graphs that MediaPipe would take."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_runtime.config import read_graph
from server.cli import main
from server.graph_checks import graph_problems

NODE = 'node { calculator: "PassThroughCalculator" }\n'


def problems(text: str) -> list[str]:
    return [str(problem) for problem in graph_problems(read_graph(NODE + text, file="g", keep_problems=True))]


def graph(inputs: str, outputs: str, more: str = "") -> str:
    lines = [f'input_stream: "{entry}"' for entry in inputs.split()]
    lines += [f'output_stream: "{entry}"' for entry in outputs.split()]
    return "\n".join([*lines, more])


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ("in", "out"),
        ("OVTENSOR:a IMAGE:b", "TENSOR:c"),
        ("in", "in"),
        ("REQUEST:req", "RESPONSE:res"),
        ("REQUEST_PAYLOAD:a b", "RESPONSE_PAYLOAD:c d"),
        ("HTTP_REQUEST_PAYLOAD:input", "HTTP_RESPONSE_PAYLOAD:output"),
        ("request", "response"),
    ],
)
def test_graphs_that_can_be_served(inputs: str, outputs: str) -> None:
    assert problems(graph(inputs, outputs)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            graph("TEST:in", "TEST0:out TEST1:out"),
            'g:4:16: output_stream "out" is there twice; each needs a name of its own',
        ),
        (graph("A:in B:in", "out"), 'g:3:15: input_stream "in" is there twice'),
        (
            graph("in", "out", 'input_side_packet: "A:s" input_side_packet: "B:s"'),
            'g:4:45: input_side_packet "s" is there twice',
        ),
        (
            graph("in", "out", 'input_side_packet: "PIPES:"'),
            'g:4:20: TAG:index:name is invalid, "PIPES:" does not match',
        ),
        (graph("", "out"), "g: the graph has no input_stream, so that no request can use it"),
        (graph("in", ""), "g: the graph has no output_stream, so that no request can use it"),
        (
            graph("TFLITE_TENSOR:a", "out"),
            'g:2:15: input_stream "TFLITE_TENSOR:a": the tag TFLITE_TENSOR is not supported',
        ),
        (graph("in", "TFLITE_TENSORS:a"), 'g:3:16: output_stream "TFLITE_TENSORS:a": the tag TFLITE_TENSOR is not'),
        (graph("TEST:in", "RESPONSE:out"), "g: a graph with a RESPONSE needs one input_stream with the tag REQUEST"),
        (graph("REQUEST:in", "OUT:out"), "g: a graph with a REQUEST needs one output_stream with the tag RESPONSE"),
        (graph("REQUEST:in B:b", "RESPONSE:out"), "g:3:15: a graph with a REQUEST takes the whole request"),
        (graph("REQUEST:in", "RESPONSE:out B:b"), "g:4:16: a graph with a RESPONSE takes the whole request"),
    ],
)
def test_graphs_that_no_call_could_use(text: str, message: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(message)


def test_check_tells_it_all_with_the_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """# OVMS_GRAPH_QUEUE_MAX_SIZE: many
input_stream: "REQUEST:in"
output_stream: "OUT:out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
    (tmp_path / "graph.pbtxt").write_text(text)
    assert main(["check", str(tmp_path)]) == 1
    lines = [line.removeprefix(f"{tmp_path}/") for line in capsys.readouterr().out.splitlines()]
    assert [line.split(";")[0] for line in lines] == [
        "graph.pbtxt: a graph with a REQUEST needs one output_stream with the tag RESPONSE, and this has none",
        'graph.pbtxt:1:30: OVMS_GRAPH_QUEUE_MAX_SIZE is "many"',
    ]
