"""PacketClonerCalculator and SequenceShiftCalculator: packets at the timestamps of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import Packet, StatusCode
from graph_runtime.timestamp import MAX

Check = Callable[..., None]
Fails = Callable[..., Any]
Run = Callable[..., Any]


def node(calculator: str, options: str, ports: str = 'input_stream: "in" output_stream: "out"', more: str = "") -> str:
    written = f"options {{ [mediapipe.{calculator}Options.ext] {{ {options} }} }}"
    return f'input_stream: "in" {more} node {{ calculator: "{calculator}" {ports} {written} }}'


def own(*timestamps: int) -> list[tuple[str, int, int]]:
    """Packets that carry their timestamps."""
    return [("in", timestamp, timestamp) for timestamp in timestamps]


def cloner(options: str = "", tick: str = 'input_stream: "tick"', more: str = "") -> str:
    ports = f'input_stream: "in" input_stream: "b" {tick} output_stream: "x" output_stream: "y"'
    return node("PacketClonerCalculator", options, ports, 'input_stream: "b" input_stream: "tick" ' + more)


TAGGED_TICK = 'input_stream: "TICK:tick"'


@pytest.mark.parametrize("tick", ['input_stream: "tick"', TAGGED_TICK])
def test_cloner_repeats_the_latest_packets_at_each_tick(tick: str, check: Check) -> None:
    rows = [
        row
        for t, a, b in ((10, 1, "1"), (20, None, None), (30, 3, None), (40, None, "4"))
        for row in (("in", t, a), ("b", t, b), ("tick", t, 0))
    ]
    check(
        cloner("", tick),
        rows,
        {"x": [(10, 1), (20, 1), (30, 3), (40, 3)], "y": [(10, "1"), (20, "1"), (30, "1"), (40, "4")]},
    )


def test_cloner_keeps_packets_of_the_time_between_ticks(check: Check) -> None:
    rows = [("in", 1, 1), ("b", 1, "b"), ("in", 2, 2), ("b", 9, None), ("in", 5, 5), ("in", 9, None), ("tick", 7, 0)]
    check(cloner(), rows, {"x": [(7, 5)], "y": [(7, "b")]})


@pytest.mark.parametrize(
    ("options", "x"),
    [
        pytest.param("", [(1, 1), (2, 1), (3, 1)], id="at once"),
        pytest.param("output_only_when_all_inputs_received: true", [(3, 1)], id="nothing before all"),
        pytest.param(
            "output_packets_only_when_all_inputs_received: true", [(1, None), (2, None), (3, 1)], id="bounds before all"
        ),
    ],
)
def test_cloner_waits_for_all_inputs_when_asked(options: str, x: list[Any], check: Check) -> None:
    rows = [
        row
        for t, a, b in ((1, 1, None), (2, None, None), (3, None, "3"))
        for row in (("in", t, a), ("b", t, b), ("tick", t, 0))
    ]
    check(cloner(options), rows, {"x": x}, bounds=True, until_idle=True)


def test_cloner_passes_bounds_of_the_tick(check: Check) -> None:
    rows = [
        ("in", 1, 1),
        ("b", 1, 2),
        ("tick", 1, 0),
        ("in", 9, None),
        ("b", 9, None),
        ("tick", 5, None),
        ("tick", 9, None),
    ]
    check(cloner("", TAGGED_TICK), rows, {"x": [(1, 1), (5, None), (9, None)]}, bounds=True, until_idle=True)


def test_cloner_needs_a_tick(fails: Fails) -> None:
    error = fails('node { calculator: "PacketClonerCalculator" }')
    assert error.code == StatusCode.INTERNAL
    assert "tick" in str(error)


def test_cloner_needs_an_output_per_base_input(fails: Fails) -> None:
    error = fails(cloner().replace('output_stream: "y"', ""))
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert 'Failed to get tag "" index 1' in str(error)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param("", [(1, 2), (2, 5), (5, 9)], id="default, one back"),
        pytest.param("packet_offset: -2", [(1, 5), (2, 9)], id="two back"),
        pytest.param("packet_offset: -9", [], id="more than there are"),
        pytest.param("packet_offset: 0", [(1, 1), (2, 2), (5, 5), (9, 9)], id="none"),
        pytest.param("packet_offset: 1", [(2, 1), (5, 2), (9, 5)], id="one ahead"),
        pytest.param("packet_offset: 3", [(9, 1)], id="three ahead"),
    ],
)
def test_shift_gives_packets_the_time_of_neighbours(options: str, expected: list[Any], check: Check) -> None:
    check(node("SequenceShiftCalculator", options), own(1, 2, 5, 9), {"out": expected})


@pytest.mark.parametrize(("given", "expected"), [({"o": 1}, [(2, 1)]), ({}, [(1, 2)])])
def test_shift_takes_its_offset_from_a_side_packet(given: dict[str, int], expected: list[Any], check: Check) -> None:
    ports = 'input_stream: "in" output_stream: "out" input_side_packet: "PACKET_OFFSET:o"'
    graph = 'input_side_packet: "o" ' + node("SequenceShiftCalculator", "packet_offset: -1", ports)
    check(graph, own(1, 2), {"out": expected}, given)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param("packet_offset: 0", [(1, 1), (4, None)], id="none: bounds follow"),
        pytest.param("packet_offset: 1", [], id="ahead: nothing is known"),
        pytest.param(
            "packet_offset: 1 emit_empty_packets_before_first_packet: true", [(1, None)], id="ahead, with bounds"
        ),
    ],
)
def test_shift_bounds(options: str, expected: list[Any], check: Check) -> None:
    rows = [*own(1), ("in", 4, None)]
    check(node("SequenceShiftCalculator", options), rows, {"out": expected}, bounds=True, until_idle=True)


def test_typed_packets_keep_their_type(run: Run) -> None:
    got, _ = run(node("SequenceShiftCalculator", "packet_offset: 0"), [("in", MAX, Packet("last"))], observe=["out"])
    assert got["out"] == [(MAX, "last")]
