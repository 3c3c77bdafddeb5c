"""GateCalculator: what opens and shuts it, its state changes, and the bounds behind a shut gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import StatusCode

Check = Callable[..., None]
Fails = Callable[..., Any]


def gate(ports: str, options: str = "", inputs: str = "in") -> str:
    streams = "".join(f'input_stream: "{name}" ' for name in inputs.split())
    written = f"options {{ [mediapipe.GateCalculatorOptions.ext] {{ {options} }} }}" if options else ""
    return f'{streams} node {{ calculator: "GateCalculator" {ports} {written} }}'


ONE = 'input_stream: "in" output_stream: "out" '


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param("", [], id="nothing said"),
        pytest.param("allow: true", [(1, 10), (2, 20)], id="allow"),
        pytest.param("allow: false", [], id="not allow"),
        pytest.param("empty_packets_as_allow: true", [], id="only for control streams"),
    ],
)
def test_without_a_control_the_option_decides(options: str, expected: list[Any], check: Check) -> None:
    check(gate(ONE, options), [("in", 1, 10), ("in", 2, 20)], {"out": expected})


@pytest.mark.parametrize(
    ("tag", "options", "expected"),
    [
        pytest.param("ALLOW", "", [(2, 20)], id="allow stream, empty forbids"),
        pytest.param("DISALLOW", "", [(1, 10)], id="disallow stream, empty forbids"),
        pytest.param("ALLOW", "empty_packets_as_allow: true", [(2, 20), (3, 30)], id="allow stream, empty allows"),
        pytest.param(
            "DISALLOW", "empty_packets_as_allow: true", [(1, 10), (3, 30)], id="disallow stream, empty allows"
        ),
        pytest.param("ALLOW", "allow: true", [(2, 20)], id="the option allow does not count"),
    ],
)
def test_a_control_stream_decides_at_its_timestamps(tag: str, options: str, expected: list[Any], check: Check) -> None:
    rows = [("in", 1, 10), ("c", 1, False), ("in", 2, 20), ("c", 2, True), ("in", 3, 30), ("c", 3, None)]
    check(gate(f'{ONE} input_stream: "{tag}:c"', options, "in c"), rows, {"out": expected})


@pytest.mark.parametrize(
    ("tag", "given", "expected"),
    [
        pytest.param("ALLOW", {"s": True}, [(1, 10)], id="allow"),
        pytest.param("ALLOW", {"s": False}, [], id="forbidden"),
        pytest.param("DISALLOW", {"s": True}, [], id="disallow"),
        pytest.param("DISALLOW", {"s": False}, [(1, 10)], id="not disallowed"),
        pytest.param("ALLOW", {}, [(1, 10)], id="not given, the option decides"),
    ],
)
def test_a_control_side_packet_decides_for_the_whole_run(
    tag: str, given: dict[str, bool], expected: list[Any], check: Check
) -> None:
    graph = 'input_side_packet: "s" ' + gate(f'{ONE} input_side_packet: "{tag}:s"', "allow: true")
    check(graph, [("in", 1, 10)], {"out": expected}, given)


def test_several_inputs_pass_together(check: Check) -> None:
    ports = 'input_stream: "a" input_stream: "b" input_stream: "ALLOW:c" output_stream: "x" output_stream: "y"'
    rows = [
        ("a", 1, 1),
        ("b", 1, 2),
        ("c", 1, True),
        ("a", 2, 3),
        ("b", 2, None),
        ("c", 2, True),
        ("b", 3, 4),
        ("c", 3, False),
    ]
    check(gate(ports, inputs="a b c"), rows, {"x": [(1, 1), (2, 3)], "y": [(1, 2)]})


@pytest.mark.parametrize(
    ("initial", "first", "expected"),
    [
        pytest.param("", True, [(2, False), (3, True)], id="first state is no change"),
        pytest.param("initial_gate_state: GATE_UNINITIALIZED", False, [(3, True)], id="uninitialized, said"),
        pytest.param("initial_gate_state: GATE_ALLOW", True, [(2, False), (3, True)], id="initial state confirmed"),
        pytest.param(
            "initial_gate_state: GATE_DISALLOW", True, [(1, True), (2, False), (3, True)], id="initial state changed"
        ),
        pytest.param(
            "initial_gate_state: UNSPECIFIED", False, [(1, False), (3, True)], id="unspecified is another state"
        ),
    ],
)
def test_state_change_tells_when_the_gate_moves(initial: str, first: bool, expected: list[Any], check: Check) -> None:
    ports = f'{ONE} input_stream: "ALLOW:c" output_stream: "STATE_CHANGE:change"'
    rows = [row for t, c in ((1, first), (2, False), (3, True), (4, True)) for row in (("in", t, t), ("c", t, c))]
    check(gate(ports, initial, "in c"), rows, {"change": expected})


def test_shut_by_a_stream_the_outputs_go_on_with_bounds(check: Check) -> None:
    ports = f'{ONE} input_stream: "ALLOW:c" output_stream: "STATE_CHANGE:change"'
    rows = [("in", 1, 10), ("c", 1, False), ("in", 2, 20), ("c", 2, True), ("c", 5, None), ("in", 5, None)]
    expected = {"out": [(1, None), (2, 20), (5, None)], "change": [(1, None), (2, True), (5, None)]}
    check(gate(ports, inputs="in c"), rows, expected, bounds=True, until_idle=True)


def test_shut_by_a_side_packet_the_output_is_closed_at_once(check: Check) -> None:
    graph = (
        'input_side_packet: "s" input_stream: "in" input_stream: "late" '
        'node { calculator: "GateCalculator" input_side_packet: "ALLOW:s" input_stream: "in" output_stream: "gated" } '
        'node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "gated" '
        'output_stream: "out" output_stream: "never" }'
    )
    rows = [("in", 1, 10), ("late", 100, 1)]
    check(graph, rows, {"out": [(100, 1)], "never": []}, {"s": False}, until_idle=True)


def test_a_gate_needs_no_data_streams(check: Check) -> None:
    graph = gate('input_stream: "ALLOW:c" output_stream: "STATE_CHANGE:change"', inputs="c")
    check(graph, [("c", 1, True), ("c", 2, False), ("c", 3, False)], {"change": [(2, False)]})


@pytest.mark.parametrize(
    ("ports", "code", "phrase"),
    [
        pytest.param(
            'input_stream: "in" input_stream: "c" output_stream: "o"',
            StatusCode.INTERNAL,
            "Number of data output streams must match",
            id="outputs missing",
        ),
        pytest.param(
            f'{ONE} input_stream: "ALLOW:c" input_stream: "DISALLOW:in"', StatusCode.INTERNAL, "ALLOW", id="two streams"
        ),
        pytest.param(
            f'{ONE} input_stream: "ALLOW:c" input_side_packet: "ALLOW:s"',
            StatusCode.INTERNAL,
            "ALLOW",
            id="stream and side packet",
        ),
        pytest.param(
            f'{ONE} input_side_packet: "ALLOW:s" input_side_packet: "DISALLOW:t"',
            StatusCode.INTERNAL,
            "DISALLOW",
            id="two side packets",
        ),
        pytest.param(
            f'{ONE} output_stream: "CHANGE:x"',
            StatusCode.INVALID_ARGUMENT,
            'Tag "CHANGE" index 0 was not expected',
            id="unknown port",
        ),
    ],
)
def test_wrong_ports_are_refused(ports: str, code: StatusCode, phrase: str, fails: Fails) -> None:
    error = fails('input_side_packet: "s" input_side_packet: "t" ' + gate(ports, inputs="in c"))
    assert error.code == code
    assert phrase in str(error)


def test_a_control_that_is_no_bool_is_refused(fails: Fails) -> None:
    error = fails(gate(f'{ONE} input_stream: "ALLOW:c"', inputs="in c"), [("c", 1, 1)])
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert 'The Packet stores "int", but "bool" was requested' in str(error)
