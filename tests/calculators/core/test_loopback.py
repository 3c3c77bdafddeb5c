"""PreviousLoopbackCalculator and PacketSequencerCalculator: packets that get the timestamps of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import StatusCode
from graph_runtime.timestamp import MAX, MIN

Check = Callable[..., None]
Fails = Callable[..., Any]

LOOPBACK = (
    'input_stream: "main" input_stream: "loop" node { calculator: "PreviousLoopbackCalculator" '
    'input_stream: "MAIN:main" input_stream: "LOOP:loop" output_stream: "PREV_LOOP:prev" }'
)
CYCLE = (
    'input_stream: "main" node { calculator: "PreviousLoopbackCalculator" input_stream: "MAIN:main" input_stream: "LOOP:out" '
    'input_stream_info { tag_index: "LOOP" back_edge: true } output_stream: "PREV_LOOP:prev" } '
    'node { calculator: "PassThroughCalculator" input_stream: "main" input_stream: "prev" '
    'output_stream: "out" output_stream: "seen" }'
)
GATED_CYCLE = CYCLE.replace(
    'node { calculator: "PassThroughCalculator"',
    'input_stream: "c" node { calculator: "GateCalculator" input_stream: "ALLOW:c"',
)


def test_each_main_packet_gets_the_result_of_the_one_before(check: Check) -> None:
    rows = [("main", 1, 10), ("main", 2, 20), ("main", 5, 50), ("main", 15, 150)]
    check(CYCLE, rows, {"prev": [(1, None), (2, 10), (5, 20), (15, 50)]}, bounds=True, until_idle=True)


def test_packets_that_come_at_once_give_the_same(run: Callable[..., Any]) -> None:
    graph = CYCLE.replace(
        'input_stream: "main" node',
        'input_stream: "raw" node { calculator: "PassThroughCalculator" input_stream: "raw" output_stream: "main" } node',
        1,
    )
    got, _ = run(graph, [("raw", t, t) for t in (1, 2, 3)], observe=["prev", "seen"])
    assert got == {"prev": [(2, 1), (3, 2)], "seen": [(2, 1), (3, 2)]}


def test_an_empty_result_gives_a_bound(check: Check) -> None:
    rows = [("main", 1, 1), ("c", 1, False), ("main", 2, 2), ("c", 2, True), ("main", 3, 3), ("c", 3, True)]
    check(GATED_CYCLE, rows, {"prev": [(1, None), (2, None), (3, 2)]}, bounds=True, until_idle=True)


def test_bounds_of_main_are_passed_on(check: Check) -> None:
    rows = [("main", 1, 1), ("main", 4, None), ("main", 6, None), ("main", 7, 7)]
    check(CYCLE, rows, {"prev": [(1, None), (4, None), (6, None), (7, 1)]}, bounds=True, until_idle=True)


def test_loop_packets_that_nobody_waits_for_are_dropped(check: Check) -> None:
    rows = [
        ("main", 10, 1),
        ("loop", 3, "x"),
        ("loop", 10, "y"),
        ("loop", 12, "z"),
        ("main", 20, 2),
        ("main", 30, 3),
        ("loop", 20, "w"),
    ]
    check(LOOPBACK, rows, {"prev": [(20, "y"), (30, "w")]})


def test_a_main_packet_waits_for_the_loop(check: Check) -> None:
    rows = [("main", 1, 1), ("main", 2, 2), ("loop", 1, None)]
    check(LOOPBACK, rows[:2], {"prev": [(1, None)]}, bounds=True, until_idle=True)
    check(LOOPBACK, rows, {"prev": [(1, None), (2, None)]}, bounds=True, until_idle=True)


@pytest.mark.parametrize(
    "end", [pytest.param([("@close", "main")], id="end of main"), pytest.param([("main", MAX, 9)], id="packet at max")]
)
def test_the_output_closes_after_the_last_main_packet(end: list[Any], check: Check) -> None:
    graph = LOOPBACK + (
        ' input_stream: "late" node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "prev" '
        'output_stream: "x" output_stream: "y" }'
    )
    rows = [("main", 1, 1), ("late", MAX - 1, 0), ("loop", 1, "l"), *end, ("@close", "loop")]
    check(graph, rows, {"x": [(MAX - 1, 0)]}, until_idle=True)


@pytest.mark.parametrize("missing", ["MAIN:main", "LOOP:loop", "PREV_LOOP:prev"])
def test_loopback_needs_all_its_ports(missing: str, fails: Fails) -> None:
    tag = missing.partition(":")[0]
    kind = "output" if tag == "PREV_LOOP" else "input"
    error = fails(LOOPBACK.replace(f'{kind}_stream: "{missing}"', ""))
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert f'Failed to get tag "{tag}" index 0' in str(error)


def test_a_loop_that_is_not_marked_is_refused(fails: Fails) -> None:
    error = fails(CYCLE.replace('input_stream_info { tag_index: "LOOP" back_edge: true }', ""))
    assert error.code == StatusCode.UNKNOWN
    assert "cycle" in str(error)


# ---- sequencer

SEQUENCER = (
    'input_stream: "select" input_stream: "frame" input_stream: "mask" node { calculator: "PacketSequencerCalculator" '
    'input_stream: "INPUT:select" input_stream: "TICK:0:frame" input_stream: "TICK:1:mask" output_stream: "OUTPUT:out" }'
)


def test_sequencer_places_packets_after_the_last_tick(check: Check) -> None:
    rows = [
        ("select", 10, "a"), ("select", 20, "b"), ("mask", 10, 0), ("frame", 20, 0), ("select", 30, "c"), ("select", 40, "d"),
        ("frame", 25, 0), ("select", 41, "e"),
    ]  # fmt: skip
    check(SEQUENCER, rows, {"out": [(MIN, "a"), (MIN + 1, "b"), (21, "c"), (22, "d"), (26, "e")]})


def test_sequencer_ticks_settle_the_output(check: Check) -> None:
    rows = [("frame", 5, 0), ("mask", 3, 0), ("frame", 6, None), ("select", 1, "a"), ("mask", 9, 0)]
    check(SEQUENCER, rows, {"out": [(5, None), (6, "a"), (9, None)]}, bounds=True, until_idle=True)


def test_sequencer_moves_all_outputs(check: Check) -> None:
    graph = (
        'input_stream: "a" input_stream: "b" input_stream: "t" node { calculator: "PacketSequencerCalculator" '
        'input_stream: "INPUT:0:a" input_stream: "INPUT:1:b" input_stream: "TICK:t" '
        'output_stream: "OUTPUT:0:x" output_stream: "OUTPUT:1:y" }'
    )
    rows = [("t", 7, 0), ("b", 0, "b1"), ("t", 8, 0), ("a", 0, "a1"), ("b", 1, "b2")]
    check(graph, rows, {"x": [(9, "a1")], "y": [(8, "b1"), (9, "b2")]})


def test_sequencer_needs_an_output_per_input(fails: Fails) -> None:
    error = fails(SEQUENCER.replace('output_stream: "OUTPUT:out"', ""))
    assert error.code == StatusCode.INTERNAL
    assert "must match" in str(error)
