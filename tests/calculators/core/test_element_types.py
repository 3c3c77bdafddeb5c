"""Calculators that come once per element type: which packets they take and make, and what they say of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import GraphError, Packet, Plan, StatusCode
from graph_runtime import packet_creator as create

Check = Callable[..., None]
Fails = Callable[..., GraphError]

BEGIN = 'input_stream: "ITERABLE:in" output_stream: "ITEM:out" output_stream: "BATCH_END:end"'
END = 'input_stream: "ITEM:in" input_stream: "BATCH_END:end" output_stream: "ITERABLE:out"'
ONE_TO_ONE = 'input_stream: "in" output_stream: "out"'
FIRST = (
    f"{ONE_TO_ONE} options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ "
    "ranges { begin: 0 end: 1 } element_only: true } }"
)
ITEM = (
    'input_stream: "VECTOR:in" output_stream: "ITEM:out" '
    "options { [mediapipe.GetVectorItemCalculatorOptions.ext] { item_index: 0 } }"
)


def node(calculator: str, ports: str) -> str:
    inputs = 'input_stream: "in" ' + (
        'input_stream: "end" ' if "BATCH_END" in ports and ports.startswith('input_stream: "ITEM') else ""
    )
    return f'{inputs}node {{ calculator: "{calculator}" {ports} }}'


CASES = [
    pytest.param(
        "BeginLoopDetectionCalculator", BEGIN, '"::std::vector<::mediapipe::Detection>"', "::mediapipe::Detection",
        id="begin loop, registered type",
    ),
    pytest.param(
        "BeginLoopMatrixVectorCalculator", BEGIN,
        '"std::vector<std::vector<Eigen::Matrix<float, -1, -1, 0, -1, -1>, '
        'std::allocator<Eigen::Matrix<float, -1, -1, 0, -1, -1> > >, '
        'std::allocator<std::vector<Eigen::Matrix<float, -1, -1, 0, -1, -1>, '
        'std::allocator<Eigen::Matrix<float, -1, -1, 0, -1, -1> > > > >"',
        "std::vector<Eigen::Matrix<float, -1, -1, 0, -1, -1>, std::allocator<Eigen::Matrix<float, -1, -1, 0, -1, -1> > >",
        id="begin loop, lists of lists",
    ),
    pytest.param(
        "EndLoopNormalizedLandmarkListVectorCalculator", END, '"::mediapipe::NormalizedLandmarkList"',
        "::std::vector<::mediapipe::NormalizedLandmarkList>", id="end loop",
    ),
    pytest.param(
        "EndLoopTensorCalculator", END, '"mediapipe::Tensor"',
        "std::vector<mediapipe::Tensor, std::allocator<mediapipe::Tensor> >", id="end loop, type without a registration",
    ),
    pytest.param(
        "ConcatenateUInt64VectorCalculator", ONE_TO_ONE,
        'one of "uint64_t", "std::vector<unsigned long, std::allocator<unsigned long> >"',
        "std::vector<unsigned long, std::allocator<unsigned long> >", id="concatenate",
    ),
    pytest.param(
        "SplitNormalizedRectVectorCalculator", FIRST, '"::std::vector<::mediapipe::NormalizedRect>"',
        "::mediapipe::NormalizedRect", id="split",
    ),
    pytest.param(
        "GetClassificationListVectorItemCalculator", ITEM, '"::std::vector<::mediapipe::ClassificationList>"',
        "::mediapipe::ClassificationList", id="get item",
    ),
    pytest.param(
        "Uint64tVectorIndicesCalculator", 'input_stream: "VECTOR:in" output_stream: "INDICES:out"',
        '"std::vector<unsigned long, std::allocator<unsigned long> >"', "::std::vector<int>", id="indices",
    ),
    pytest.param(
        "MergeImagesToVectorCalculator", ONE_TO_ONE, '"::mediapipe::Image"', "::std::vector<::mediapipe::Image>",
        id="merge",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("calculator", "ports", "taken", "made"), CASES)
def test_a_packet_of_another_type_is_refused_where_it_comes_in(
    calculator: str, ports: str, taken: str, made: str, fails: Fails
) -> None:
    error = fails(node(calculator, ports), [("in", 1, create.create_bool_vector([True]))])
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert f'The Packet stores "::std::vector<bool>", but {taken} was requested.' in str(error)


@pytest.mark.parametrize(("calculator", "ports", "taken", "made"), CASES)
def test_what_is_made_does_not_fit_a_consumer_of_another_type(
    calculator: str, ports: str, taken: str, made: str
) -> None:
    gate = 'node { calculator: "GateCalculator" input_stream: "ALLOW:out" }'
    with pytest.raises(GraphError) as caught:
        Plan(f"{node(calculator, ports)} {gate}")
    assert caught.value.code == StatusCode.UNKNOWN
    assert (
        f'expects packets of type "bool" but the connected output stream will contain packets of type "{made}"'
        in str(caught.value)
    )


def test_packets_of_python_values_pass_through_every_type(check: Check) -> None:
    class Box:
        pass

    boxes = [Box(), Box()]
    graph = (
        'input_stream: "in" node { calculator: "BeginLoopDetectionCalculator" input_stream: "ITERABLE:in" '
        'output_stream: "ITEM:box" output_stream: "BATCH_END:end" } '
        'node { calculator: "EndLoopDetectionCalculator" input_stream: "ITEM:box" input_stream: "BATCH_END:end" '
        'output_stream: "ITERABLE:boxes" } '
        'node { calculator: "GetDetectionVectorItemCalculator" input_stream: "VECTOR:boxes" output_stream: "ITEM:first" '
        "options { [mediapipe.GetVectorItemCalculatorOptions.ext] { item_index: 0 } } }"
    )
    check(graph, [("in", 1, boxes)], {"boxes": [(1, boxes)], "first": [(1, boxes[0])]})


def test_a_loop_whose_halves_have_two_types_is_refused() -> None:
    with pytest.raises(GraphError, match='expects packets of type "float" but .* packets of type "int"'):
        Plan(
            f'input_stream: "in" node {{ calculator: "BeginLoopIntCalculator" {BEGIN} }} '
            'node { calculator: "EndLoopFloatCalculator" input_stream: "ITEM:out" input_stream: "BATCH_END:end" '
            'output_stream: "ITERABLE:list" }'
        )


@pytest.mark.parametrize("calculator", ["EndLoopFloatCalculator", "EndLoopCalculator", "EndItemLoopCalculator"])
def test_batch_end_takes_timestamps_only(calculator: str, fails: Fails) -> None:
    output = "ITEM:out" if "Item" in calculator else "ITERABLE:out"
    graph = node(calculator, END.replace("ITERABLE:out", output))
    error = fails(graph, [("end", 1, create.create_int(5))])
    assert 'The Packet stores "int", but "::mediapipe::Timestamp" was requested.' in str(error)


def test_batch_end_packets_are_timestamps(run: Callable[..., Any]) -> None:
    graph = (
        f'input_stream: "in" node {{ calculator: "BeginLoopFloatCalculator" {BEGIN} }} '
        'node { calculator: "MakePairCalculator" input_stream: "end" input_stream: "end" output_stream: "pair" }'
    )
    got, _ = run(graph, [("in", 7, Packet([0.5]))], observe=["pair"])
    assert "C++ type: ::mediapipe::Timestamp>" in repr(got["pair"][0][1][0])
