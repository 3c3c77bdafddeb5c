"""FlowLimiterCalculator and RealTimeFlowLimiterCalculator: what is released, what is dropped, and what others are told of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import Packet, StatusCode
from graph_runtime._pb.mediapipe.calculators.core.flow_limiter_calculator_pb2 import FlowLimiterCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
from graph_runtime.timestamp import MAX

Check = Callable[..., None]
Fails = Callable[..., Any]


def limiter(
    options: str = "", more: str = "", inputs: str = "in fin", calculator: str = "FlowLimiterCalculator"
) -> str:
    streams = "".join(f'input_stream: "{name}" ' for name in inputs.split())
    written = f"options {{ [mediapipe.FlowLimiterCalculatorOptions.ext] {{ {options} }} }}" if options else ""
    return (
        f'{streams} node {{ calculator: "{calculator}" input_stream: "in" output_stream: "out" input_stream: "FINISHED:fin" '
        f'input_stream_info {{ tag_index: "FINISHED" back_edge: true }} {more} {written} }}'
    )


ALLOW = 'output_stream: "ALLOW:allow"'


@pytest.mark.parametrize(
    ("options", "rows", "out", "allow"),
    [
        pytest.param(
            "",
            [("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("fin", 1, 0), ("in", 4, 4)],
            [(1, 1), (4, 4)],
            [(1, True), (2, False), (3, False), (4, True)],
            id="one in flight, no queue",
        ),
        pytest.param(
            "max_in_flight: 2",
            [("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("fin", 1, 0), ("in", 4, 4), ("in", 5, 5)],
            [(1, 1), (2, 2), (4, 4)],
            [(1, True), (2, True), (3, False), (4, True), (5, False)],
            id="two in flight",
        ),
        pytest.param(
            "max_in_queue: 1",
            [("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("fin", 1, 0), ("in", 4, 4), ("fin", 3, 0)],
            [(1, 1), (3, 3), (4, 4)],
            [(1, True), (2, False), (3, True), (4, True)],
            id="the newest waits",
        ),
        pytest.param(
            "max_in_flight: 1 max_in_queue: 2",
            [("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("in", 4, 4), ("fin", 1, 0), ("fin", 3, 0)],
            [(1, 1), (3, 3), (4, 4)],
            [(1, True), (2, False), (3, True), (4, True)],
            id="two wait",
        ),
        pytest.param(
            "max_in_flight: 3",
            [("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("fin", 2, 0), ("in", 4, 4), ("in", 5, 5), ("in", 6, 6)],
            [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)],
            [(1, True), (2, True), (3, True), (4, True), (5, True), (6, False)],
            id="finished ends earlier flights too",
        ),
        pytest.param(
            "max_in_flight: 0",
            [("in", 1, 1), ("fin", 1, 0), ("in", 2, 2)],
            [],
            [(1, False), (2, False)],
            id="none in flight",
        ),
    ],
)
def test_main_packets_are_released_or_dropped(
    options: str, rows: list[Any], out: list[Any], allow: list[Any], check: Check
) -> None:
    check(limiter(options, ALLOW), rows, {"out": out, "allow": allow})


def test_a_bound_on_finished_ends_a_flight(check: Check) -> None:
    rows = [("in", 1, 1), ("in", 2, 2), ("fin", 1, None), ("in", 3, 3)]
    check(limiter(), rows, {"out": [(1, 1), (3, 3)]})


def test_the_end_of_finished_ends_all_flights_once(check: Check) -> None:
    rows = [("in", 1, 1), ("@close", "fin"), ("in", 2, 2), ("in", 3, 3)]
    check(limiter(), rows, {"out": [(1, 1), (2, 2)]})


def test_dropped_packets_are_announced_by_bounds(check: Check) -> None:
    rows = [("in", 1, 1), ("in", 2, 2), ("in", 7, None), ("fin", 1, 0), ("in", 8, 8)]
    expected = {
        "out": [(1, 1), (2, None), (7, None), (8, 8)],
        "allow": [(1, True), (2, False), (7, None), (8, True)],
    }
    check(limiter("", ALLOW), rows, expected, bounds=True, until_idle=True)


def test_a_waiting_packet_holds_the_bound(check: Check) -> None:
    rows = [("in", 1, 1), ("in", 5, 5), ("in", 9, None), ("fin", 1, 0)]
    expected = {"out": [(1, 1), (4, None), (5, 5), (9, None)]}
    check(limiter("max_in_queue: 1"), rows[:2], {"out": [(1, 1), (4, None)]}, bounds=True, until_idle=True)
    check(limiter("max_in_queue: 1"), rows[:3], {"out": [(1, 1), (4, None)]}, bounds=True, until_idle=True)
    check(limiter("max_in_queue: 1"), rows, expected, bounds=True, until_idle=True)


def test_outputs_close_with_their_input(check: Check) -> None:
    graph = limiter("", ALLOW, inputs="in fin late") + (
        ' node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "out" input_stream: "allow" '
        'output_stream: "x" output_stream: "y" output_stream: "z" }'
    )
    rows = [("in", 1, 1), ("late", MAX, 9), ("@close", "in")]
    check(graph, rows, {"x": [(MAX, 9)], "y": [(1, 1)], "z": [(1, True)]}, until_idle=True)


@pytest.mark.parametrize(
    ("timeout", "out"),
    [
        pytest.param(100, [(1, 1), (102, 3)], id="over after more than the timeout"),
        pytest.param(101, [(1, 1), (103, 4)], id="exactly the timeout is not over"),
        pytest.param(0, [(1, 1)], id="never"),
    ],
)
def test_a_flight_expires(timeout: int, out: list[Any], check: Check) -> None:
    rows = [("in", 1, 1), ("in", 50, 2), ("in", 102, 3), ("in", 103, 4)]
    check(limiter(f"in_flight_timeout: {timeout}"), rows, {"out": out})


def test_other_inputs_follow_the_main_one(check: Check) -> None:
    graph = limiter("", 'input_stream: "aux" output_stream: "aux_out"', inputs="in aux fin")
    rows = [
        ("aux", 0, "before"), ("in", 1, 1), ("aux", 1, "a1"), ("in", 5, 5), ("aux", 4, "a4"), ("aux", 5, "a5"), ("aux", 6, "a6"),
        ("fin", 1, 0), ("in", 8, 8), ("aux", 8, "a8"), ("aux", 9, "a9"), ("in", 9, None),
    ]  # fmt: skip
    expected = {
        "out": [(1, 1), (8, 8)],
        "aux_out": [(0, "before"), (1, "a1"), (4, "a4"), (8, "a8"), (9, "a9")],
    }
    check(graph, rows, expected, until_idle=True)


def test_other_inputs_wait_until_the_main_output_is_settled(check: Check) -> None:
    graph = limiter("", 'input_stream: "aux" output_stream: "aux_out"', inputs="in aux fin")
    rows = [("aux", 3, "a3"), ("aux", 4, "a4"), ("in", 3, 3)]
    check(graph, rows[:2], {"aux_out": [(2, None)]}, bounds=True, until_idle=True)
    check(graph, rows, {"aux_out": [(2, None), (3, "a3")]}, bounds=True, until_idle=True)


def test_a_loop_keeps_one_packet_on_its_way(check: Check) -> None:
    graph = (
        'input_stream: "in" input_stream: "pass" '
        'node { calculator: "FlowLimiterCalculator" input_stream: "in" output_stream: "out" input_stream: "FINISHED:done" '
        'input_stream_info { tag_index: "FINISHED" back_edge: true } } '
        'node { calculator: "PassThroughCalculator" input_stream: "out" input_stream: "pass" '
        'output_stream: "done" output_stream: "p" }'
    )
    rows = [("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("pass", 2, 0), ("in", 4, 4), ("pass", 4, 0), ("in", 5, 5)]
    check(graph, rows, {"out": [(1, 1), (4, 4), (5, 5)], "done": [(1, 1), (4, 4), (5, 5)]})


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(False, id="the message itself"),
        pytest.param(True, id="as an extension of CalculatorOptions"),
    ],
)
def test_options_come_from_a_side_packet_and_a_stream(packed: bool, check: Check) -> None:
    def message(**fields: int) -> Any:
        options = FlowLimiterCalculatorOptions(**fields)
        if not packed:
            return options
        carrier = CalculatorOptions()
        carrier.Extensions[FlowLimiterCalculatorOptions.ext].CopyFrom(options)
        return carrier

    graph = 'input_side_packet: "o" ' + limiter(
        "max_in_queue: 1", 'input_side_packet: "OPTIONS:o" input_stream: "OPTIONS:more"', inputs="in fin more"
    )
    rows = [
        ("in", 1, 1), ("in", 2, 2), ("in", 3, 3), ("in", 4, 4),  # two in flight, one waits
        ("more", 4, message(max_in_flight=4)),
        ("in", 5, 5), ("in", 6, 6),
    ]  # fmt: skip
    expected = {"out": [(1, 1), (2, 2), (4, 4), (5, 5)]}
    check(graph, rows, expected, {"o": message(max_in_flight=2)}, until_idle=True)


@pytest.mark.parametrize(("given", "out"), [({"m": 2}, [(1, 1), (2, 2)]), ({}, [(1, 1)])])
def test_max_in_flight_side_packet_wins_when_given(given: dict[str, int], out: list[Any], check: Check) -> None:
    graph = 'input_side_packet: "m" ' + limiter("max_in_flight: 1", 'input_side_packet: "MAX_IN_FLIGHT:m"')
    check(graph, [("in", 1, 1), ("in", 2, 2), ("in", 3, 3)], {"out": out}, given)


@pytest.mark.parametrize(
    ("graph", "code", "phrase"),
    [
        pytest.param(
            'input_stream: "in" node { calculator: "FlowLimiterCalculator" input_stream: "in" output_stream: "out" }',
            StatusCode.INVALID_ARGUMENT,
            'Failed to get tag "FINISHED" index 0',
            id="no finished",
        ),
        pytest.param(
            'input_stream: "f" node { calculator: "FlowLimiterCalculator" input_stream: "FINISHED:f" }',
            StatusCode.INTERNAL,
            "At least one untagged input stream",
            id="no input",
        ),
        pytest.param(
            limiter("", 'input_stream: "b"', inputs="in b fin"),
            StatusCode.INVALID_ARGUMENT,
            'Failed to get tag "" index 1',
            id="output missing",
        ),
        pytest.param(
            limiter("", 'output_stream: "b"'),
            StatusCode.INVALID_ARGUMENT,
            'Tag "" index 1 was not expected',
            id="input missing",
        ),
        pytest.param(
            limiter("", 'output_stream: "b"', calculator="RealTimeFlowLimiterCalculator"),
            StatusCode.INTERNAL,
            "Output streams must correspond input streams",
            id="real time, input missing",
        ),
    ],
)
def test_wrong_ports_are_refused(graph: str, code: StatusCode, phrase: str, fails: Fails) -> None:
    error = fails(graph)
    assert error.code == code
    assert phrase in str(error)


# ---- real time


def real_time(more: str = "", inputs: str = "in fin") -> str:
    return limiter("", more, inputs, "RealTimeFlowLimiterCalculator")


def test_real_time_counts_packets_out_and_in(check: Check) -> None:
    rows = [("in", 1, 1), ("in", 2, 2), ("fin", 1, 0), ("in", 3, 3), ("fin", 3, 0), ("in", 4, 4), ("in", 5, 5)]
    expected = {
        "out": [(1, 1), (3, 3), (4, 4)],
        "allow": [(1, False), (2, True), (3, False), (4, True), (5, False)],
    }
    check(real_time(ALLOW), rows, expected)


def test_real_time_takes_its_limit_from_a_side_packet(check: Check) -> None:
    graph = 'input_side_packet: "m" ' + real_time('input_side_packet: "MAX_IN_FLIGHT:m"')
    check(graph, [("in", t, t) for t in range(1, 6)], {"out": [(1, 1), (2, 2), (3, 3)]}, {"m": 3})


def test_real_time_treats_a_timestamp_alike_on_all_inputs(check: Check) -> None:
    graph = real_time(f'input_stream: "b" output_stream: "b_out" {ALLOW}', inputs="in b fin")
    rows = [
        ("in", 1, 1), ("in", 2, 2), ("b", 1, 1), ("fin", 1, 0), ("b", 2, 2), ("b", 3, 3), ("b", 4, 4), ("in", 3, 3), ("fin", 3, 0),
    ]  # fmt: skip
    expected = {
        "out": [(1, 1), (3, 3)],
        "b_out": [(1, 1), (3, 3)],
        "allow": [(1, False), (2, True), (3, False), (4, True)],
    }
    check(graph, rows, expected)


def test_real_time_announces_dropped_packets_by_bounds(check: Check) -> None:
    check(real_time(), [("in", 1, 1), ("in", 5, 5)], {"out": [(1, 1), (5, None)]}, bounds=True, until_idle=True)


def test_real_time_outputs_close_with_their_input(check: Check) -> None:
    graph = real_time(inputs="in fin late") + (
        ' node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "out" '
        'output_stream: "x" output_stream: "y" }'
    )
    rows = [("in", 1, 1), ("late", 100, 9), ("@close", "in")]
    check(graph, rows, {"x": [(100, 9)], "y": [(1, 1)]}, until_idle=True)


def test_real_time_does_not_close_before_waiting_packets(run: Callable[..., Any]) -> None:
    # Fed at once, so that FINISHED at 1 is processed while the packets of an input that has ended still wait.
    graph = 'input_side_packet: "m" ' + real_time('input_side_packet: "MAX_IN_FLIGHT:m"', inputs="raw fin").replace(
        "node {", 'node { calculator: "PassThroughCalculator" input_stream: "raw" output_stream: "in" } node {', 1
    )
    got, _ = run(
        graph, [("raw", t, t) for t in (5, 6, 7)] + [("@close", "raw"), ("fin", 5, 0)], {"m": 9}, observe=["out"]
    )
    assert got["out"] == [(5, 5), (6, 6), (7, 7)]


def test_real_time_finished_without_a_flight_fails(fails: Fails) -> None:
    error = fails(real_time(), [("fin", 1, 0)])
    assert error.code == StatusCode.INTERNAL
    assert "Received a FINISHED packet, but we had none in flight." in str(error)


@pytest.mark.parametrize(("given", "phrase"), [({"m": 0}, "at least 1"), ({}, 'Side packet "m" is required')])
def test_real_time_checks_its_limit(given: dict[str, int], phrase: str, fails: Fails) -> None:
    graph = 'input_side_packet: "m" ' + real_time('input_side_packet: "MAX_IN_FLIGHT:m"')
    assert phrase in str(fails(graph, [], given))


def test_packets_keep_their_value_and_type(run: Callable[..., Any]) -> None:
    value = object()
    got, _ = run(limiter(), [("in", 1, Packet(value))], observe=["out"])
    assert got["out"][0][1] is value
