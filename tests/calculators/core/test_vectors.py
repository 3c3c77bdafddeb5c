"""Calculators on lists: joining, splitting, picking, measuring, shortening."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import StatusCode
from graph_runtime import packet_creator as create

Check = Callable[..., None]
Fails = Callable[..., Any]
Run = Callable[..., Any]


def node(calculator: str, ports: str, options: str = "", inputs: str = "in") -> str:
    streams = "".join(f'input_stream: "{name}" ' for name in inputs.split())
    return f'{streams} node {{ calculator: "{calculator}" {ports} {options} }}'


def concatenate(kind: str, options: str = "") -> str:
    written = f"options {{ [mediapipe.ConcatenateVectorCalculatorOptions.ext] {{ {options} }} }}" if options else ""
    ports = 'input_stream: "a" input_stream: "b" input_stream: "c" output_stream: "out"'
    return node(f"Concatenate{kind}VectorCalculator", ports, written, "a b c")


def split(options: str, outputs: str = "x", kind: str = "Float") -> str:
    written = f"options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {options} }} }}"
    ports = 'input_stream: "in" ' + "".join(f'output_stream: "{name}" ' for name in outputs.split())
    return node(f"Split{kind}VectorCalculator", ports, written)


# ---- concatenate


@pytest.mark.parametrize(
    ("kind", "values", "joined"),
    [
        ("Int32", ([1, 2], 3, []), [1, 2, 3]),
        ("Float", (0.5, [], [1.5]), [0.5, 1.5]),
        ("UInt64", ([2**63], 1, [0]), [2**63, 1, 0]),
        ("Bool", (True, [False], True), [True, False, True]),
        ("String", ("ab", ["cd", ""], "e"), ["ab", "cd", "", "e"]),
        ("Detection", ({"score": 1}, [{"score": 2}], ()), [{"score": 1}, {"score": 2}]),
        ("LandmarList", ("one", ["two"], None), ["one", "two"]),
        ("", (1, ["x"], (None,)), [1, "x", None]),
    ],
)
def test_elements_and_lists_are_joined_in_order(
    kind: str, values: tuple[Any, ...], joined: list[Any], check: Check
) -> None:
    rows = [(name, 1, value) for name, value in zip("abc", values, strict=True)]
    check(concatenate(kind), rows, {"out": [(1, joined)]})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param("", [(1, [1, 2, 3]), (2, [4]), (3, [])], id="missing ones are skipped"),
        pytest.param("only_emit_if_all_present: true", [(1, [1, 2, 3])], id="all or nothing"),
    ],
)
def test_missing_inputs(options: str, expected: list[Any], check: Check) -> None:
    rows = [("a", 1, [1]), ("b", 1, [2]), ("c", 1, 3), ("b", 2, 4), ("c", 3, [])]
    check(concatenate("Int32", options), rows, {"out": expected})


def test_concatenated_packets_are_typed(run: Run, fails: Fails) -> None:
    graph = concatenate("Int32") + (
        ' node { calculator: "MakePairCalculator" input_stream: "out" input_stream: "out" output_stream: "pair" }'
    )
    got, _ = run(graph, [("a", 1, create.create_int(1))], observe=["pair"])
    assert "C++ type: ::std::vector<int>>" in repr(got["pair"][0][1][0])
    error = fails(concatenate("Int32"), [("a", 1, "text")])
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert 'but one of "int", "::std::vector<int>" was requested' in str(error)


def test_concatenate_needs_an_input(fails: Fails) -> None:
    error = fails('node { calculator: "ConcatenateFloatVectorCalculator" output_stream: "out" }')
    assert error.code == StatusCode.INTERNAL


# ---- split


@pytest.mark.parametrize(
    ("options", "outputs", "expected"),
    [
        pytest.param("ranges { begin: 0 end: 1 }", "x", {"x": [0.0]}, id="one"),
        pytest.param(
            "ranges { begin: 0 end: 1 } ranges { begin: 1 end: 4 } ranges { begin: 4 end: 5 }",
            "x y z",
            {"x": [0.0], "y": [1.0, 2.0, 3.0], "z": [4.0]},
            id="three",
        ),
        pytest.param(
            "ranges { begin: 0 end: 3 } ranges { begin: 1 end: 4 }",
            "x y",
            {"x": [0.0, 1.0, 2.0], "y": [1.0, 2.0, 3.0]},
            id="overlapping",
        ),
        pytest.param(
            "ranges { begin: 0 end: 1 } ranges { begin: 4 end: 5 } element_only: true",
            "x y",
            {"x": 0.0, "y": 4.0},
            id="elements",
        ),
        pytest.param(
            "ranges { begin: 2 end: 4 } ranges { begin: 0 end: 1 } combine_outputs: true",
            "x",
            {"x": [2.0, 3.0, 0.0]},
            id="combined",
        ),
        pytest.param(
            "ranges { begin: 0 end: 2 } combine_outputs: true element_only: true",
            "x",
            {"x": [0.0, 1.0]},
            id="combined is a list",
        ),
    ],
)
def test_parts_go_to_the_outputs(options: str, outputs: str, expected: dict[str, Any], check: Check) -> None:
    rows = [("in", 1, [0.0, 1.0, 2.0, 3.0, 4.0])]
    check(split(options, outputs), rows, {name: [(1, value)] for name, value in expected.items()})


@pytest.mark.parametrize("kind", ["", "Detection", "NormalizedRect", "Matrix", "Image", "Landmark", "Uint64t"])
def test_split_has_mediapipes_names(kind: str, check: Check) -> None:
    check(split("ranges { begin: 1 end: 2 }", kind=kind), [("in", 1, [5, 6, 7])], {"x": [(1, [6])]})


def test_split_passes_bounds(check: Check) -> None:
    check(split("ranges { begin: 0 end: 1 }"), [("in", 4, None)], {"x": [(4, None)]}, bounds=True, until_idle=True)


@pytest.mark.parametrize(
    ("options", "outputs", "kind", "code", "phrase"),
    [
        pytest.param(
            "", "x", "Float", StatusCode.INVALID_ARGUMENT, "The number of output streams should match", id="no ranges"
        ),
        pytest.param(
            "ranges { begin: 0 end: 1 }",
            "x y",
            "Float",
            StatusCode.INVALID_ARGUMENT,
            "The number of output streams should match the number of ranges specified in the CalculatorOptions.",
            id="range missing",
        ),
        pytest.param(
            "ranges { begin: 0 end: 0 }",
            "x",
            "Float",
            StatusCode.INVALID_ARGUMENT,
            "Indices should be non-negative",
            id="empty",
        ),
        pytest.param(
            "ranges { begin: -1 end: 1 }", "x", "Float", StatusCode.INVALID_ARGUMENT, "Indices should be", id="negative"
        ),
        pytest.param(
            "ranges { begin: 2 end: 1 }",
            "x",
            "Float",
            StatusCode.INVALID_ARGUMENT,
            "begin index should be less",
            id="reversed",
        ),
        pytest.param(
            "ranges { begin: 0 end: 2 } element_only: true",
            "x",
            "Float",
            StatusCode.INVALID_ARGUMENT,
            "Since element_only is true, all ranges should be of size 1.",
            id="element only",
        ),
        pytest.param(
            "ranges { begin: 0 end: 3 } ranges { begin: 1 end: 4 } combine_outputs: true",
            "x",
            "Float",
            StatusCode.INTERNAL,
            "Ranges must be non-overlapping",
            id="combined ranges overlap",
        ),
        pytest.param(
            "ranges { begin: 0 end: 3 } ranges { begin: 1 end: 4 }",
            "x y",
            "Tensor",
            StatusCode.INTERNAL,
            "Ranges must be non-overlapping",
            id="moved elements overlap",
        ),
        pytest.param(
            "ranges { begin: 0 end: 1 } ranges { begin: 1 end: 2 } combine_outputs: true",
            "x y",
            "Float",
            StatusCode.INTERNAL,
            "exactly one output stream",
            id="combined into two",
        ),
        pytest.param(
            "ranges { begin: 0 end: 1 }", "", "Float", StatusCode.INTERNAL, "At least one output", id="no output"
        ),
    ],
)
def test_wrong_ranges_are_refused(
    options: str, outputs: str, kind: str, code: StatusCode, phrase: str, fails: Fails
) -> None:
    error = fails(split(options, outputs, kind))
    assert error.code == code
    assert phrase in str(error)


def test_a_list_that_is_too_short_fails(fails: Fails) -> None:
    error = fails(split("ranges { begin: 0 end: 1 } ranges { begin: 2 end: 3 }", "x y"), [("in", 1, [1.0, 2.0])])
    assert (error.code, error.phase) == (StatusCode.INTERNAL, "process")
    assert "2 elements" in str(error)


# ---- item, size, indices


def item(options: str, index: bool = False) -> str:
    written = f"options {{ [mediapipe.GetVectorItemCalculatorOptions.ext] {{ {options} }} }}"
    ports = 'input_stream: "VECTOR:in" output_stream: "ITEM:out" ' + ('input_stream: "INDEX:i"' if index else "")
    return node("GetDetectionVectorItemCalculator", ports, written, "in i" if index else "in")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param("item_index: 1", [(1, "b"), (2, "z")], id="by option"),
        pytest.param("item_index: 2 output_empty_on_oob: true", [(1, "c")], id="missing ones are skipped"),
    ],
)
def test_an_item_is_picked_by_option(options: str, expected: list[Any], check: Check) -> None:
    check(item(options), [("in", 1, ["a", "b", "c"]), ("in", 2, ["y", "z"])], {"out": expected})


def test_an_index_stream_wins_over_the_option(check: Check) -> None:
    rows = [("in", 1, ["a", "b"]), ("i", 1, 1), ("in", 2, ["a", "b"]), ("i", 2, None), ("i", 3, 0), ("in", 3, None)]
    check(item("item_index: 0", True), rows, {"out": [(1, "b"), (2, "a"), (3, None)]}, bounds=True, until_idle=True)


def test_an_index_of_uint64_works(check: Check) -> None:
    check(item("", True), [("in", 1, ["a", "b"]), ("i", 1, create.create_uint64(1))], {"out": [(1, "b")]})


def test_without_index_and_option_nothing_is_sent(check: Check) -> None:
    check(item("", True), [("in", 1, ["a"]), ("i", 1, None)], {"out": []})


@pytest.mark.parametrize(
    ("options", "index", "rows", "phase"),
    [
        pytest.param("", False, [], "open", id="no index at all"),
        pytest.param("item_index: 3", False, [("in", 1, ["a"])], "process", id="too large"),
        pytest.param("item_index: -1", False, [("in", 1, ["a"])], "process", id="negative"),
        pytest.param(
            "output_empty_on_oob: true", True, [("in", 1, ["a"]), ("i", 1, -1)], "process", id="negative, lenient"
        ),
    ],
)
def test_a_wrong_index_fails(options: str, index: bool, rows: list[Any], phase: str, fails: Fails) -> None:
    error = fails(item(options, index), rows)
    assert (error.code, error.phase) == (StatusCode.INTERNAL, phase)


@pytest.mark.parametrize("name", ["VectorSizeCalculator", "LandmarkListVectorSizeCalculator"])
def test_size_is_the_length(name: str, check: Check) -> None:
    graph = node(name, 'input_stream: "VECTOR:in" output_stream: "SIZE:out"')
    check(graph, [("in", 1, ["a", "b"]), ("in", 2, [])], {"out": [(1, 2), (2, 0)]})


@pytest.mark.parametrize(
    "name", ["IntVectorIndicesCalculator", "VectorIndicesCalculator", "Uint64tVectorIndicesCalculator"]
)
def test_indices_count_the_elements(name: str, check: Check) -> None:
    graph = node(name, 'input_stream: "VECTOR:in" output_stream: "INDICES:out"')
    check(graph, [("in", 1, [7, 7, 7]), ("in", 2, [])], {"out": [(1, [0, 1, 2]), (2, [])]})


# ---- clip, merge


def clip(options: str = "", ports: str = "") -> str:
    written = f"options {{ [mediapipe.ClipVectorSizeCalculatorOptions.ext] {{ {options} }} }}"
    return node("ClipDetectionVectorSizeCalculator", f'input_stream: "in" output_stream: "out" {ports}', written)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [(1, ["a"]), (2, [])]),
        ("max_vec_size: 2", [(1, ["a", "b"]), (2, [])]),
        ("max_vec_size: 9", [(1, ["a", "b", "c"]), (2, [])]),
    ],
)
def test_a_list_is_clipped(options: str, expected: list[Any], check: Check) -> None:
    check(clip(options), [("in", 1, ["a", "b", "c"]), ("in", 2, [])], {"out": expected})


def test_clip_takes_its_size_from_a_side_packet(check: Check, fails: Fails) -> None:
    graph = 'input_side_packet: "n" ' + clip("max_vec_size: 1", 'input_side_packet: "n"')
    check(graph, [("in", 1, ["a", "b", "c"])], {"out": [(1, ["a", "b"])]}, {"n": 2})
    error = fails(graph, [("in", 1, ["a"])], {"n": 0})
    assert (error.code, error.phase) == (StatusCode.INTERNAL, "process")


def test_clip_refuses_size_0(fails: Fails) -> None:
    error = fails(clip("max_vec_size: 0"))
    assert error.code == StatusCode.INTERNAL
    assert "max_vec_size should be greater than or equal to 1." in str(error)


@pytest.mark.parametrize("name", ["MergeDetectionsToVectorCalculator", "MergeToVectorCalculator"])
def test_merge_collects_what_is_there(name: str, check: Check, fails: Fails) -> None:
    graph = node(name, 'input_stream: "a" input_stream: "b" output_stream: "out"', inputs="a b")
    rows = [("a", 1, "a1"), ("b", 1, "b1"), ("b", 2, ["b2"])]
    check(graph, rows, {"out": [(1, ["a1", "b1"]), (2, [["b2"]])]})
    assert "Needs at least one input stream" in str(fails(f'node {{ calculator: "{name}" output_stream: "out" }}'))
