"""MuxCalculator, ImmediateMuxCalculator and RoundRobinDemuxCalculator: many streams to one, and one to many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import StatusCode
from graph_runtime.timestamp import MAX

Check = Callable[..., None]
Fails = Callable[..., Any]

DEFAULT = 'input_stream_handler { input_stream_handler: "DefaultInputStreamHandler" }'
IMMEDIATE = 'input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" }'
MUX = (
    'input_stream: "a" input_stream: "b" input_stream: "s" '
    'node {{ calculator: "MuxCalculator" input_stream: "INPUT:0:a" input_stream: "INPUT:1:b" {} output_stream: "OUTPUT:out" }}'
)


@pytest.mark.parametrize("handler", [pytest.param("", id="mux handler"), pytest.param(DEFAULT, id="default handler")])
def test_mux_passes_the_selected_packet(handler: str, check: Check) -> None:
    rows = [
        row for t, select in ((1, 1), (2, 0), (5, 1)) for row in (("a", t, 10 * t), ("b", t, 100 * t), ("s", t, select))
    ]
    check(MUX.format('input_stream: "SELECT:s" ' + handler), rows, {"out": [(1, 100), (2, 20), (5, 500)]})


def test_mux_handler_does_not_wait_for_the_other_input(check: Check) -> None:
    graph = MUX.format('input_stream: "SELECT:s"')
    rows = [("a", 1, 10), ("s", 1, 0), ("b", 1, 100), ("b", 2, 200), ("s", 2, 1)]
    check(graph, rows, {"out": [(1, 10), (2, 200)]}, until_idle=True)


def test_mux_default_handler_waits_for_all_inputs(check: Check) -> None:
    graph = MUX.format('input_stream: "SELECT:s" ' + DEFAULT)
    check(graph, [("a", 1, 10), ("s", 1, 0)], {"out": []}, until_idle=True)
    check(graph, [("a", 1, 10), ("s", 1, 0)], {"out": [(1, 10)]})


def test_mux_sends_a_bound_when_the_selected_input_is_empty(check: Check) -> None:
    graph = MUX.format('input_stream: "SELECT:s"')
    rows = [("a", 1, None), ("s", 1, 0), ("b", 2, 7), ("s", 2, 1)]
    check(graph, rows, {"out": [(1, None), (2, 7)]}, bounds=True, until_idle=True)


def test_mux_with_a_side_packet_takes_all_inputs_by_timestamp(check: Check) -> None:
    graph = 'input_side_packet: "k" ' + MUX.format('input_side_packet: "SELECT:k"')
    rows = [("a", 1, 10), ("b", 1, 100), ("a", 2, 20), ("b", 2, None), ("b", 3, 300), ("a", 3, None)]
    check(graph, rows, {"out": [(1, 10), (2, 20)]}, {"k": 0})
    check(graph, rows, {"out": [(1, 100), (3, 300)]}, {"k": 1})


@pytest.mark.parametrize("select", [-1, 2, 5])
def test_mux_select_out_of_range_fails(select: int, fails: Fails) -> None:
    rows = [("a", 1, 10), ("b", 1, 100), ("s", 1, select)]
    error = fails(MUX.format('input_stream: "SELECT:s" ' + DEFAULT), rows)
    assert error.code == StatusCode.INTERNAL
    assert "select" in str(error)


@pytest.mark.parametrize(
    ("ports", "phrase"),
    [
        pytest.param("", "SELECT must be connected", id="no select"),
        pytest.param('input_stream: "SELECT:s" input_side_packet: "SELECT:k"', "but not both", id="both selects"),
    ],
)
def test_mux_needs_exactly_one_select(ports: str, phrase: str, fails: Fails) -> None:
    error = fails('input_side_packet: "k" ' + MUX.format(ports))
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert phrase in str(error)


def test_demux_and_mux_keep_the_order_of_the_input(check: Check) -> None:
    graph = """
        input_stream: "in"
        node { calculator: "RoundRobinDemuxCalculator" input_stream: "in"
               output_stream: "OUTPUT:0:x" output_stream: "OUTPUT:1:y" output_stream: "OUTPUT:2:z" output_stream: "SELECT:k" }
        node { calculator: "MuxCalculator" input_stream: "INPUT:0:x" input_stream: "INPUT:1:y" input_stream: "INPUT:2:z"
               input_stream: "SELECT:k" output_stream: "OUTPUT:out" }
    """
    values = [1, 1, 2, 3, 5, 8, 13]
    rows = [("in", 22 + i, value) for i, value in enumerate(values)]
    expected = {
        "x": [(22, 1), (25, 3), (28, 13)],
        "y": [(23, 1), (26, 5)],
        "z": [(24, 2), (27, 8)],
        "k": [(22 + i, i % 3) for i in range(7)],
        "out": [(22 + i, value) for i, value in enumerate(values)],
    }
    check(graph, rows, expected)


def test_demux_gives_the_other_outputs_bounds(check: Check) -> None:
    graph = (
        'input_stream: "in" node { calculator: "RoundRobinDemuxCalculator" input_stream: "in" '
        'output_stream: "OUTPUT:0:x" output_stream: "OUTPUT:1:y" }'
    )
    expected = {"x": [(1, 10), (4, None)], "y": [(1, None), (4, 40)]}
    check(graph, [("in", 1, 10), ("in", 4, 40)], expected, bounds=True, until_idle=True)


def immediate_mux(outputs: str = "", handler: str = IMMEDIATE, options: str = "") -> str:
    written = f"node_options {{ [type.googleapis.com/mediapipe.ImmediateMuxCalculatorOptions] {{ {options} }} }}"
    return (
        'input_stream: "a" input_stream: "b" node { calculator: "ImmediateMuxCalculator" input_stream: "a" input_stream: "b" '
        f'output_stream: "out" {outputs} {handler} {written if options else ""} }}'
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            [("a", 10, 1), ("a", 20, 2), ("b", 30, 3), ("b", 40, 4)],
            [(10, 1), (20, 2), (30, 3), (40, 4)],
            id="in order",
        ),
        pytest.param(
            [("a", 10, 1), ("a", 30, 2), ("b", 20, 3), ("b", 40, 4)],
            [(10, 1), (30, 2), (40, 4)],
            id="late packet dropped",
        ),
        pytest.param([("a", 10, 1), ("b", 10, 2), ("b", 11, 3)], [(10, 1), (11, 3)], id="same timestamp dropped"),
        pytest.param([("b", 5, 1), ("a", 5, 2), ("@close", "b"), ("a", 8, 3)], [(5, 1), (8, 3)], id="one input ends"),
    ],
)
def test_immediate_mux_sends_what_is_not_too_late(rows: list[Any], expected: list[Any], check: Check) -> None:
    check(immediate_mux(), rows, {"out": expected})


def test_immediate_mux_with_the_default_handler_prefers_the_lower_index(check: Check) -> None:
    rows = [("b", 1, 20), ("a", 1, 10), ("a", 2, None), ("b", 2, 21)]
    check(immediate_mux(handler=""), rows, {"out": [(1, 10), (2, 21)]})


def test_immediate_mux_reports_every_input_packet(check: Check) -> None:
    rows = [("a", 10, 1), ("b", 5, 2), ("b", 6, 3), ("a", 11, 4), ("b", 40, 5)]
    expected = {
        "out": [(10, 1), (11, 4), (40, 5)],
        "seen": [(10, True), (11, True), (12, True), (13, True), (40, True)],
    }
    check(immediate_mux('output_stream: "seen"'), rows, expected)


def test_immediate_mux_passes_bounds_when_asked(check: Check) -> None:
    rows = [("a", 10, 1), ("b", 14, None), ("a", 15, 2), ("b", 14, None), ("a", 17, None), ("b", 16, 9), ("b", 18, 3)]
    expected = {"out": [(10, 1), (14, None), (15, 2), (17, None), (18, 3)]}
    check(immediate_mux(options="process_timestamp_bounds: true"), rows, expected, bounds=True, until_idle=True)


def test_immediate_mux_passing_bounds_closes_with_its_inputs(check: Check) -> None:
    graph = immediate_mux('output_stream: "seen"', options="process_timestamp_bounds: true") + (
        ' input_stream: "late" node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "out" '
        'input_stream: "seen" output_stream: "x" output_stream: "y" output_stream: "z" }'
    )
    rows = [("a", 1, 1), ("late", MAX, 5), ("@close", "a"), ("@close", "b")]
    check(graph, rows, {"x": [(MAX, 5)], "y": [(1, 1)], "z": [(1, True)]}, until_idle=True)


def test_immediate_mux_has_one_or_two_outputs(fails: Fails) -> None:
    error = fails(immediate_mux('output_stream: "x" output_stream: "y"'))
    assert error.code == StatusCode.INTERNAL
    assert "This calculator produces only one or two output streams." in str(error)
