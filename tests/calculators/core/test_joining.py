"""Calculators that join, pair or fill streams by timestamp, and the small ones that work packet by packet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from calculators.core.names import CALCULATORS
from graph_runtime import StatusCode
from graph_runtime.timestamp import PRE_STREAM

Check = Callable[..., None]
Fails = Callable[..., Any]


def node(calculator: str, ports: str, inputs: str) -> str:
    streams = "".join(f'input_stream: "{name}" ' for name in inputs.split())
    return f'{streams} node {{ calculator: "{calculator}" {ports} }}'


AB = 'input_stream: "a" input_stream: "b" '


# ---- merge


def test_merge_prefers_the_lower_index(check: Check) -> None:
    rows = [("a", 1, "a1"), ("b", 1, 1), ("b", 2, 2), ("a", 2, None), ("a", 3, "a3"), ("b", 5, 5)]
    graph = node("MergeCalculator", AB + 'output_stream: "out"', "a b")
    check(graph, rows, {"out": [(1, "a1"), (2, 2), (3, "a3"), (5, 5)]})


def test_merge_waits_until_the_other_input_is_settled(check: Check) -> None:
    graph = node("MergeCalculator", AB + 'output_stream: "out"', "a b")
    check(graph, [("a", 1, 1), ("a", 2, 2), ("b", 1, None)], {"out": [(1, 1)]}, until_idle=True)


def test_merge_passes_bounds_on(check: Check) -> None:
    graph = node("MergeCalculator", AB + 'output_stream: "out"', "a b")
    check(graph, [("a", 3, None), ("b", 5, None)], {"out": [(3, None)]}, bounds=True, until_idle=True)


@pytest.mark.parametrize(
    ("ports", "code", "phrase"),
    [
        pytest.param('output_stream: "o"', StatusCode.INTERNAL, "Needs at least one input stream", id="no input"),
        pytest.param(
            'input_stream: "A:a" output_stream: "o"', StatusCode.INTERNAL, "at least one", id="tagged input only"
        ),
        pytest.param(
            'input_stream: "a" output_stream: "o" output_stream: "p"',
            StatusCode.INVALID_ARGUMENT,
            'Tag "" index 1 was not expected',
            id="two outputs",
        ),
    ],
)
def test_merge_with_wrong_ports_is_refused(ports: str, code: StatusCode, phrase: str, fails: Fails) -> None:
    error = fails(node("MergeCalculator", ports, "a"))
    assert error.code == code
    assert phrase in str(error)


# ---- inner join, pair


def test_inner_join_passes_only_complete_timestamps(check: Check) -> None:
    graph = node("PacketInnerJoinCalculator", AB + 'output_stream: "x" output_stream: "y"', "a b")
    rows = [("a", 1, 1), ("b", 1, "1"), ("a", 2, 2), ("b", 3, "3"), ("a", 4, 4), ("b", 4, "4")]
    check(graph, rows, {"x": [(1, 1), (4, 4)], "y": [(1, "1"), (4, "4")]})


def test_inner_join_gives_bounds_where_it_drops(check: Check) -> None:
    graph = node("PacketInnerJoinCalculator", AB + 'output_stream: "x" output_stream: "y"', "a b")
    rows = [("a", 1, 1), ("b", 2, "2"), ("a", 2, None)]
    check(graph, rows, {"x": [(1, None), (2, None)], "y": [(1, None), (2, None)]}, bounds=True, until_idle=True)


def test_inner_join_needs_as_many_outputs_as_inputs(fails: Fails) -> None:
    error = fails(node("PacketInnerJoinCalculator", AB + 'output_stream: "x"', "a b"))
    assert error.code == StatusCode.INTERNAL
    assert "The number of input and output streams must match." in str(error)


def test_make_pair_puts_two_packets_into_one(run: Callable[..., Any]) -> None:
    graph = node("MakePairCalculator", AB + 'output_stream: "out"', "a b")
    got, _ = run(graph, [("a", 1, 1), ("b", 1, "x"), ("a", 2, 2), ("b", 3, "z")], observe=["out"])
    pairs = [
        (timestamp, [None if packet.is_empty() else (packet.timestamp, packet.value) for packet in pair])
        for timestamp, pair in got["out"]
    ]
    assert pairs == [(1, [(1, 1), (1, "x")]), (2, [(2, 2), None]), (3, [None, (3, "z")])]


@pytest.mark.parametrize("ports", ['input_stream: "a"', 'input_stream: "a" input_stream: "b" input_stream: "c"'])
def test_make_pair_takes_exactly_two_inputs(ports: str, fails: Fails) -> None:
    error = fails(node("MakePairCalculator", ports + ' output_stream: "out"', "a b c"))
    assert error.code == StatusCode.INTERNAL


# ---- presence, non zero


def test_presence_is_true_for_packets_and_false_for_bounds(check: Check) -> None:
    graph = node("PacketPresenceCalculator", 'input_stream: "PACKET:in" output_stream: "PRESENCE:out"', "in")
    rows = [("in", 1, 1), ("in", 4, None), ("in", 5, 2), ("in", 6, 3), ("in", 20, None)]
    check(graph, rows, {"out": [(1, True), (4, False), (5, True), (6, True), (20, False)]})


def test_presence_says_nothing_before_the_first_timestamp_and_at_the_end(check: Check) -> None:
    graph = node("PacketPresenceCalculator", 'input_stream: "PACKET:in" output_stream: "PRESENCE:out"', "in")
    check(graph, [], {"out": []})


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        pytest.param('output_stream: "OUTPUT:n"', {"n": [(1, 1), (2, 0), (3, 1)]}, id="number"),
        pytest.param('output_stream: "OUTPUT_BOOL:b"', {"b": [(1, True), (2, False), (3, True)]}, id="bool"),
        pytest.param(
            'output_stream: "OUTPUT:n" output_stream: "OUTPUT_BOOL:b"',
            {"n": [(1, 1), (2, 0), (3, 1)], "b": [(1, True), (2, False), (3, True)]},
            id="both",
        ),
    ],
)
def test_non_zero_tells_zero_from_the_rest(ports: str, expected: dict[str, Any], check: Check) -> None:
    graph = node("NonZeroCalculator", 'input_stream: "INPUT:in" ' + ports, "in")
    check(graph, [("in", 1, 7), ("in", 2, 0), ("in", 3, -1)], expected)


# ---- value or default


VALUE_OR_DEFAULT = 'input_side_packet: "d" ' + node(
    "ValueOrDefaultCalculator",
    'input_stream: "IN:in" input_stream: "TICK:tick" input_side_packet: "d" output_stream: "OUT:out" output_stream: "FLAG:flag"',
    "in tick",
)


@pytest.mark.parametrize(
    ("ticks", "ins", "out", "flags"),
    [
        pytest.param([0, 1, 231], [], [(0, 0), (1, 0), (231, 0)], [0, 1, 231], id="never a value"),
        pytest.param([0, 1, 2], [0, 1, 2], [(0, 1), (1, 2), (2, 3)], [], id="always a value"),
        pytest.param(
            [0, 1, 5, 8, 12, 231],
            [1, 5, 12],
            [(0, 0), (1, 1), (5, 2), (8, 0), (12, 3), (231, 0)],
            [0, 8, 231],
            id="gaps",
        ),
        pytest.param(
            [1, 2, 5, 8, 12, 33, 231],
            [0, 2, 4, 6, 8, 9, 12, 33, 54, 232],
            [(1, 0), (2, 2), (5, 0), (8, 5), (12, 7), (33, 8), (231, 0)],
            [1, 5, 231],
            id="values without a tick",
        ),
    ],
)
def test_value_or_default_sends_one_packet_per_tick(
    ticks: list[int], ins: list[int], out: list[Any], flags: list[int], check: Check
) -> None:
    rows = [("tick", t, "tick") for t in ticks] + [("in", t, value) for value, t in enumerate(ins, start=1)]
    check(VALUE_OR_DEFAULT, rows, {"out": out, "flag": [(t, True) for t in flags]}, {"d": 0})


@pytest.mark.parametrize("missing", ["IN:in", "TICK:tick", "OUT:out", "FLAG:flag"])
def test_value_or_default_needs_all_its_ports(missing: str, fails: Fails) -> None:
    tag = missing.partition(":")[0]
    kind = "output" if tag in ("OUT", "FLAG") else "input"
    error = fails(VALUE_OR_DEFAULT.replace(f'{kind}_stream: "{missing}"', ""))
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert f'Failed to get tag "{tag}" index 0' in str(error)


# ---- headers


def test_add_header_takes_the_header_from_a_side_packet(check: Check) -> None:
    graph = (
        'input_stream: "in" input_side_packet: "h" '
        'node { calculator: "AddHeaderCalculator" input_stream: "DATA:in" input_side_packet: "HEADER:h" output_stream: "out" } '
        'node { calculator: "HeaderToPacket" input_stream: "out" output_stream: "header" }'
    )
    check(graph, [("in", 1, 5)], {"out": [(1, 5)], "header": [(PRE_STREAM, "head")]}, {"h": "head"})


def test_add_header_takes_the_header_from_a_stream(check: Check) -> None:
    graph = (
        'input_stream: "in" input_stream: "other" input_side_packet: "h" '
        'node { calculator: "SendHeader" input_stream: "other" input_side_packet: "h" output_stream: "headed" } '
        'node { calculator: "AddHeaderCalculator" input_stream: "DATA:in" input_stream: "HEADER:headed" output_stream: "out" } '
        'node { calculator: "HeaderToPacket" input_stream: "out" output_stream: "header" }'
    )
    rows = [("@close", "other"), ("in", 1, 5)]
    check(graph, rows, {"out": [(1, 5)], "header": [(PRE_STREAM, "head")]}, {"h": "head"})


@pytest.mark.parametrize("ports", ["", 'input_stream: "HEADER:b" input_side_packet: "HEADER:h"'])
def test_add_header_needs_exactly_one_header(ports: str, fails: Fails) -> None:
    graph = 'input_side_packet: "h" ' + node(
        "AddHeaderCalculator", f'input_stream: "DATA:a" {ports} output_stream: "o"', "a b"
    )
    error = fails(graph)
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert "Header must be provided via exactly one of side input and input stream" in str(error)


@pytest.mark.parametrize(
    ("calculator", "ports"),
    [
        (
            "GateCalculator",
            'input_stream: "in" output_stream: "out" options { [mediapipe.GateCalculatorOptions.ext] { } }',
        ),
        ("FlowLimiterCalculator", 'input_stream: "in" input_stream: "FINISHED:f" output_stream: "out"'),
        ("RealTimeFlowLimiterCalculator", 'input_stream: "in" input_stream: "FINISHED:f" output_stream: "out"'),
        ("PacketClonerCalculator", 'input_stream: "in" input_stream: "TICK:f" output_stream: "out"'),
        ("PacketThinnerCalculator", 'input_stream: "in" output_stream: "out"'),
        (
            "PacketResamplerCalculator",
            'input_stream: "in" output_stream: "out" options { [mediapipe.PacketResamplerCalculatorOptions.ext] '
            "{ frame_rate: 1 output_header: PASS_HEADER } }",
        ),
    ],
)
def test_headers_go_through(calculator: str, ports: str, check: Check) -> None:
    assert calculator in CALCULATORS
    graph = (
        'input_stream: "raw" input_stream: "f" input_side_packet: "h" '
        'node { calculator: "SendHeader" input_stream: "raw" input_side_packet: "h" output_stream: "in" } '
        f'node {{ calculator: "{calculator}" {ports} }} '
        'node { calculator: "HeaderToPacket" input_stream: "out" output_stream: "header" }'
    )
    check(graph, [], {"header": [(PRE_STREAM, "head")]}, {"h": "head"})


# ---- bypass


def bypass(options: str) -> str:
    ports = 'input_stream: "A:a" input_stream: "B:0:b" input_stream: "B:1:c" output_stream: "A:x" output_stream: "Z:z"'
    written = f"node_options {{ [type.googleapis.com/mediapipe.BypassCalculatorOptions] {{ {options} }} }}"
    return node("BypassCalculator", f"{ports} {written}", "a b c")


def test_bypass_passes_listed_streams_and_gives_bounds_to_the_rest(check: Check) -> None:
    rows = [("a", 200, "a1"), ("b", 200, "b1"), ("c", 200, "c1"), ("a", 300, None), ("b", 300, "b2"), ("c", 300, None)]
    expected = {"x": [(200, "a1"), (300, None)], "z": [(200, None), (300, None)]}
    check(bypass('pass_input_stream: "A" pass_output_stream: "A"'), rows, expected, bounds=True, until_idle=True)


def test_bypass_finds_ports_by_index(check: Check) -> None:
    rows = [("a", 1, "a"), ("b", 1, "b"), ("c", 1, "c")]
    options = 'pass_input_stream: "B:1" pass_output_stream: "Z" pass_input_stream: "B" pass_output_stream: "A:0"'
    check(bypass(options), rows, {"x": [(1, "b")], "z": [(1, "c")]})


def test_bypass_drops_all_without_options(check: Check) -> None:
    check(
        bypass(""),
        [("a", 1, 1), ("b", 1, 1), ("c", 1, 1)],
        {"x": [(1, None)], "z": [(1, None)]},
        bounds=True,
        until_idle=True,
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        pytest.param('pass_input_stream: "A"', StatusCode.INTERNAL, id="no pair"),
        pytest.param('pass_input_stream: "Q" pass_output_stream: "A"', StatusCode.INVALID_ARGUMENT, id="unknown input"),
        pytest.param(
            'pass_input_stream: "A" pass_output_stream: "A:7"', StatusCode.INVALID_ARGUMENT, id="unknown output"
        ),
        pytest.param('pass_input_stream: "a" pass_output_stream: "A"', StatusCode.INVALID_ARGUMENT, id="no tag"),
    ],
)
def test_bypass_with_wrong_pairs_is_refused(options: str, code: StatusCode, fails: Fails) -> None:
    assert fails(bypass(options)).code == code
