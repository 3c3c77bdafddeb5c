"""Loops over lists and over separate items: inner timestamps, clones, empty batches, and what comes back together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import StatusCode
from graph_runtime import packet_creator as create

Check = Callable[..., None]
Fails = Callable[..., Any]
Run = Callable[..., Any]

BEGIN = (
    'node {{ calculator: "BeginLoop{0}Calculator" input_stream: "ITERABLE:in" '
    'output_stream: "ITEM:item" output_stream: "BATCH_END:end" {1} }} '
)
END = (
    'node {{ calculator: "EndLoop{0}Calculator" input_stream: "ITEM:{1}" input_stream: "BATCH_END:end" '
    'output_stream: "ITERABLE:out" }}'
)
PASS = 'node { calculator: "PassThroughCalculator" input_stream: "item" output_stream: "done" }'


def loop(kind: str = "", middle: str = PASS, inputs: str = "in", clones: str = "") -> str:
    streams = "".join(f'input_stream: "{name}" ' for name in inputs.split())
    return streams + BEGIN.format(kind, clones) + middle + END.format(kind, "done" if middle else "item")


def test_elements_go_round_and_come_back_as_a_list(check: Check) -> None:
    rows = [("in", 0, [0.0, 1.0]), ("in", 1, []), ("in", 2, [2.0, 3.0, 4.0])]
    expected = {
        "item": [(0, 0.0), (1, 1.0), (3, 2.0), (4, 3.0), (5, 4.0)],
        "out": [(0, [0.0, 1.0]), (2, [2.0, 3.0, 4.0])],
    }
    check(loop("Float"), rows, expected)


def test_the_generic_loop_takes_any_elements(check: Check) -> None:
    rows = [("in", 5, [{"a": 1}, None, "text"]), ("in", 6, (1, 2))]
    check(loop(), rows, {"out": [(5, [{"a": 1}, None, "text"]), (6, [1, 2])]})


@pytest.mark.parametrize(
    ("name", "value", "type_name"),
    [("Int", [4], "int"), ("Uint64t", [4], "uint64_t"), ("Float", [0.5], "float"), ("String", ["x"], "string")],
)
def test_typed_loops_make_typed_items(name: str, value: list[Any], type_name: str, run: Run) -> None:
    graph = (
        'input_stream: "in" '
        + BEGIN.format(name, "")
        + (' node { calculator: "MakePairCalculator" input_stream: "item" input_stream: "item" output_stream: "pair" }')
    )
    got, _ = run(graph, [("in", 3, value)], observe=["pair"])
    item = got["pair"][0][1][0]
    assert item.value == value[0]
    assert f"C++ type: {type_name}>" in repr(item)


@pytest.mark.parametrize(
    "name", ["Detection", "Matrix", "NormalizedRect", "NormalizedLandmarkListVector", "ImageFrame", "Tensor"]
)
def test_mediapipes_type_names_work_on_any_values(name: str, check: Check) -> None:
    check(loop(name), [("in", 1, ["a", 2])], {"out": [(1, ["a", 2])]})


def test_an_empty_or_missing_list_takes_up_one_inner_timestamp(check: Check) -> None:
    rows = [("in", 7, None), ("in", 9, [1.0]), ("in", 10, []), ("in", 11, [2.0])]
    expected = {
        "item": [(0, None), (1, 1.0), (2, None), (3, 2.0)],
        "end": [(0, 7), (1, 9), (2, 10), (3, 11)],
        "out": [(7, None), (9, [1.0]), (10, None), (11, [2.0])],
    }
    check(loop("Float"), rows, expected, bounds=True, until_idle=True)


def test_batch_end_comes_with_the_last_element(check: Check) -> None:
    check(loop("Float"), [("in", 7, [1.0, 2.0]), ("in", 9, [3.0])], {"end": [(1, 7), (2, 9)]})


def test_elements_that_are_dropped_inside_are_missing_in_the_list(check: Check) -> None:
    gate = 'node { calculator: "GateCalculator" input_stream: "item" input_stream: "ALLOW:c" output_stream: "done" }'
    rows = [
        ("c", 0, True),
        ("c", 1, False),
        ("c", 2, True),
        ("in", 100, [1.0, 2.0, 3.0]),
        ("c", 3, False),
        ("in", 101, [4.0]),
    ]
    check(loop("Float", gate, "in c"), rows, {"out": [(100, [1.0, 3.0]), (101, None)]}, bounds=True, until_idle=True)


def test_clones_are_repeated_for_each_element(check: Check) -> None:
    clones = 'input_stream: "CLONE:0:a" input_stream: "CLONE:1:b" output_stream: "CLONE:0:a_in" output_stream: "CLONE:1:b_in" '
    rows = [
        ("in", 1, [1.0, 2.0]),
        ("a", 1, "a1"),
        ("b", 1, "b1"),
        ("in", 2, [3.0]),
        ("a", 2, None),
        ("b", 2, "b2"),
        ("in", 3, []),
        ("a", 3, "a3"),
        ("b", 3, "b3"),
    ]
    expected = {
        "a_in": [(0, "a1"), (1, "a1")],
        "b_in": [(0, "b1"), (1, "b1"), (2, "b2")],
        "out": [(1, [1.0, 2.0]), (2, [3.0])],
    }
    check(loop("Float", "", "in a b", clones), rows, expected)


def test_a_clone_that_is_missing_gives_no_bound_but_an_empty_list_does(check: Check) -> None:
    clones = 'input_stream: "CLONE:a" output_stream: "CLONE:a_in"'
    rows = [("in", 1, [1.0, 2.0]), ("a", 1, None), ("in", 2, []), ("a", 2, None)]
    check(loop("Float", "", "in a", clones), rows[:2], {"a_in": []}, bounds=True, until_idle=True)
    check(loop("Float", "", "in a", clones), rows, {"a_in": [(2, None)]}, bounds=True, until_idle=True)


def test_a_tick_wakes_the_loop(check: Check) -> None:
    graph = loop("Float", clones='input_stream: "TICK:tick"', inputs="in tick")
    rows = [("in", 4, None), ("tick", 4, 0), ("in", 5, [1.0]), ("tick", 5, 0)]
    check(graph, rows, {"out": [(4, None), (5, [1.0])]}, bounds=True, until_idle=True)


@pytest.mark.parametrize(
    ("graph", "code", "phrase"),
    [
        pytest.param(loop("Float").replace("ITERABLE:in", "in"), StatusCode.INTERNAL, "ITERABLE", id="no iterable"),
        pytest.param(loop("Float").replace("ITEM:item", "item"), StatusCode.INTERNAL, "ITEM", id="no item output"),
        pytest.param(
            loop("Float").replace("BATCH_END:end", "end"), StatusCode.INTERNAL, "BATCH_END", id="no batch end output"
        ),
        pytest.param(loop("Float").replace("ITEM:done", "done"), StatusCode.INTERNAL, "ITEM", id="no item input"),
        pytest.param(
            loop("Float").replace("ITERABLE:out", "out"), StatusCode.INTERNAL, "ITERABLE", id="no iterable output"
        ),
        pytest.param(
            loop("Float", clones='input_stream: "CLONE:in"'), StatusCode.INTERNAL, "CLONE", id="clone without output"
        ),
        pytest.param(
            loop("Float", clones='input_stream: "extra"', inputs="in extra"),
            StatusCode.INVALID_ARGUMENT,
            'Tag "" index 0 was not expected',
            id="unknown input",
        ),
        pytest.param(
            'input_stream: "in" ' + BEGIN.format("Int", "") + END.format("Float", "item"),
            StatusCode.UNKNOWN,
            'expects packets of type "float" but the connected output stream will contain packets of type "int"',
            id="types differ",
        ),
    ],
)
def test_wrong_loops_are_refused(graph: str, code: StatusCode, phrase: str, fails: Fails) -> None:
    error = fails(graph)
    assert error.code == code
    assert phrase in str(error)


def test_end_loop_misses_its_batch_end(fails: Fails) -> None:
    error = fails(
        'input_stream: "i" node { calculator: "EndLoopFloatCalculator" input_stream: "ITEM:i" output_stream: "ITERABLE:o" }'
    )
    assert "Missing BATCH_END tagged input_stream." in str(error)


def test_a_list_of_another_type_is_refused(fails: Fails) -> None:
    error = fails(loop("Float"), [("in", 1, create.create_int_vector([1]))])
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert 'The Packet stores "::std::vector<int>", but "::std::vector<float>" was requested' in str(error)


@pytest.mark.parametrize("value", [5, "text", b"bytes", {"a": 1}])
def test_something_that_is_no_list_fails(value: Any, fails: Fails) -> None:
    error = fails(loop(), [("in", 1, value)])
    assert (error.code, error.phase) == (StatusCode.INVALID_ARGUMENT, "process")
    assert "ITERABLE needs a list" in str(error)


def test_a_second_run_counts_from_zero_again(run: Run) -> None:
    for _ in range(2):
        got, _ = run(loop("Float"), [("in", 3, [1.0, 2.0])], observe=["item"])
        assert got["item"] == [(0, 1.0), (1, 2.0)]


# ---- loops over items


def item_loop(ins: int, outs: int, clones: str = "", more: str = "") -> str:
    return (
        "".join(f'input_stream: "i{n}" ' for n in range(ins))
        + more
        + 'node { calculator: "BeginItemLoopCalculator" '
        + "".join(f'input_stream: "ITEM:{n}:i{n}" ' for n in range(ins))
        + f'output_stream: "ITEM:item" output_stream: "BATCH_END:end" {clones} }} {PASS}'
        + 'node { calculator: "EndItemLoopCalculator" input_stream: "ITEM:done" input_stream: "BATCH_END:end" '
        + "".join(f'output_stream: "ITEM:{n}:o{n}" ' for n in range(outs))
        + "}"
    )


def test_items_go_round_one_after_another(check: Check) -> None:
    rows = [("i0", 5, 1), ("i1", 5, 2), ("i0", 9, "x"), ("i1", 9, "y")]
    expected = {
        "item": [(0, 1), (1, 2), (2, "x"), (3, "y")],
        "end": [(1, 5), (3, 9)],
        "o0": [(5, 1), (9, "x")],
        "o1": [(5, 2), (9, "y")],
    }
    check(item_loop(2, 2), rows, expected)


def test_a_bound_of_all_items_is_a_batch_without_items(check: Check) -> None:
    rows = [("i0", 1000, None), ("i1", 1000, None), ("i0", 1001, 1), ("i1", 1001, 2)]
    expected = {"item": [(0, None), (1, 1), (2, 2)], "o0": [(1000, None), (1001, 1)], "o1": [(1000, None), (1001, 2)]}
    check(item_loop(2, 2), rows, expected, bounds=True, until_idle=True)


def test_item_clones_are_repeated_and_missing_ones_give_bounds(check: Check) -> None:
    graph = item_loop(2, 2, 'input_stream: "CLONE:c" output_stream: "CLONE:c_in"', 'input_stream: "c" ')
    rows = [("i0", 1, 1), ("i1", 1, 2), ("c", 1, "c1"), ("i0", 2, 3), ("i1", 2, 4), ("c", 2, None)]
    check(graph, rows, {"c_in": [(0, "c1"), (1, "c1"), (3, None)]}, bounds=True, until_idle=True)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([("i0", 0, 1), ("i1", 0, None)], id="second missing"),
        pytest.param([("i0", 0, None), ("i1", 0, 1)], id="first missing"),
    ],
)
def test_items_are_all_there_or_none(rows: list[Any], fails: Fails) -> None:
    error = fails(item_loop(2, 2), rows)
    assert error.code == StatusCode.INTERNAL
    assert "Cannot mix non-empty input ITEMs with empty input ITEMs" in str(error)


@pytest.mark.parametrize("outs", [1, 3])
def test_items_and_outputs_are_of_one_number(outs: int, fails: Fails) -> None:
    error = fails(item_loop(2, outs), [("i0", 0, 1), ("i1", 0, 2)])
    assert error.code == StatusCode.INTERNAL
    assert "Number of input items must match number of outputs" in str(error)


@pytest.mark.parametrize(
    ("graph", "phrase"),
    [
        pytest.param(item_loop(0, 1), "Must have at least one ITEM input", id="no items"),
        pytest.param(
            item_loop(1, 1, 'input_stream: "CLONE:i0"'),
            "Number of CLONE inputs and outputs must match",
            id="clone without output",
        ),
    ],
)
def test_wrong_item_loops_are_refused(graph: str, phrase: str, fails: Fails) -> None:
    error = fails(graph)
    assert error.code == StatusCode.INTERNAL
    assert phrase in str(error)
