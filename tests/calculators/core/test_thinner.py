"""PacketThinnerCalculator: which packets stay, at which timestamps, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from calculators.core.video_header import VideoHeader
from graph_runtime import StatusCode
from graph_runtime._pb.mediapipe.calculators.core.packet_thinner_calculator_pb2 import PacketThinnerCalculatorOptions
from graph_runtime.timestamp import PRE_STREAM

Check = Callable[..., None]
Fails = Callable[..., Any]
Run = Callable[..., Any]


def node(calculator: str, options: str, ports: str = 'input_stream: "in" output_stream: "out"', more: str = "") -> str:
    written = f"options {{ [mediapipe.{calculator}Options.ext] {{ {options} }} }}"
    return f'input_stream: "in" {more} node {{ calculator: "{calculator}" {ports} {written} }}'


def own(*timestamps: int) -> list[tuple[str, int, int]]:
    """Packets that carry their timestamps."""
    return [("in", timestamp, timestamp) for timestamp in timestamps]


PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
EVEN = (2, 4, 6, 8, 10, 12, 14)


@pytest.mark.parametrize(
    ("options", "timestamps", "expected"),
    [
        pytest.param("period: 5", EVEN, (2, 8, 14), id="async, even"),
        pytest.param("period: 5", PRIMES, (2, 7, 13, 19, 29), id="async, primes"),
        pytest.param("", (1, 2, 3), (1, 2, 3), id="async, period 1"),
        pytest.param("period: 5 start_time: 4 end_time: 12", PRIMES, (5, 11), id="async, limits"),
        pytest.param("period: 5", (-20, -16, -15), (-20, -15), id="async, negative"),
        pytest.param(
            "thinner_type: SYNC period: 5 sync_output_timestamps: false",
            EVEN,
            (2, 6, 10, 14),
            id="sync, own timestamps",
        ),
        pytest.param(
            "thinner_type: SYNC period: 5 sync_output_timestamps: false",
            PRIMES,
            (2, 5, 11, 17, 19, 23, 29),
            id="sync, primes",
        ),
        pytest.param(
            "thinner_type: SYNC period: 5 sync_output_timestamps: false", (-2, 1), (1,), id="sync starts at 0"
        ),
        pytest.param(
            "thinner_type: SYNC period: 4 start_time: 4 end_time: 13 sync_output_timestamps: false",
            (1, 5, 8, 12, 13, 16),
            (5, 8, 12),
            id="sync, limits",
        ),
    ],
)
def test_thinner_keeps_some_packets(
    options: str, timestamps: tuple[int, ...], expected: tuple[int, ...], check: Check
) -> None:
    check(node("PacketThinnerCalculator", options), own(*timestamps), {"out": [(t, t) for t in expected]})


@pytest.mark.parametrize(
    ("options", "timestamps", "expected"),
    [
        pytest.param("period: 5", EVEN, [(0, 2), (5, 6), (10, 10), (15, 14)], id="even"),
        pytest.param("period: 5", (8, 16, 24, 32), [(10, 8), (15, 16), (25, 24), (30, 32)], id="rare"),
        pytest.param("period: 5 start_time: -10", (2, 3), [(0, 2), (5, 3)], id="odd period, border"),
        pytest.param(
            "start_time: -144 period: 6", (-4, -3, 8, 9), [(-6, -4), (0, -3), (6, 8), (12, 9)], id="even period, border"
        ),
        pytest.param("period: 5", (4, 6), [(5, 6)], id="the later of two equally near"),
        pytest.param("period: 5 end_time: 8", (1, 6, 9), [(0, 1), (5, 6)], id="the last one before the end"),
    ],
)
def test_sync_thinner_stamps_with_the_period(
    options: str, timestamps: tuple[int, ...], expected: list[Any], check: Check
) -> None:
    graph = node("PacketThinnerCalculator", "thinner_type: SYNC " + options)
    check(graph, own(*timestamps), {"out": expected})


def test_async_thinner_announces_the_time_of_rest(check: Check) -> None:
    graph = node("PacketThinnerCalculator", "period: 5")
    rows = [*own(2, 4), ("in", 20, None)]
    check(graph, rows, {"out": [(2, 2), (6, None), (20, None)]}, bounds=True, until_idle=True)


def test_sync_thinner_announces_the_saved_period(check: Check) -> None:
    graph = node("PacketThinnerCalculator", "thinner_type: SYNC period: 5")
    check(graph, own(6, 7, 11), {"out": [(-1, None), (4, None), (5, 6), (9, None)]}, bounds=True, until_idle=True)


def test_thinner_closes_at_its_end_time(check: Check) -> None:
    graph = node("PacketThinnerCalculator", "end_time: 10") + (
        ' input_stream: "late" node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "out" '
        'output_stream: "x" output_stream: "y" }'
    )
    rows = [("late", 1000, 7), *own(9, 10)]
    check(graph, rows, {"x": [(1000, 7)], "y": [(9, 9)]}, until_idle=True)


def test_thinner_takes_its_period_from_a_side_packet(check: Check) -> None:
    ports = 'input_stream: "in" output_stream: "out" input_side_packet: "PERIOD:p"'
    graph = 'input_side_packet: "p" ' + node("PacketThinnerCalculator", "period: 1", ports)
    check(graph, own(*EVEN), {"out": [(2, 2), (8, 8), (14, 14)]}, {"p": 5})


def test_thinner_merges_options_from_a_side_packet(check: Check) -> None:
    ports = 'input_stream: "in" output_stream: "out" input_side_packet: "OPTIONS:o"'
    graph = 'input_side_packet: "o" ' + node("PacketThinnerCalculator", "start_time: 4", ports)
    given = PacketThinnerCalculatorOptions(period=5)
    check(graph, own(*EVEN), {"out": [(4, 4), (10, 10)]}, {"o": given})


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        pytest.param("period: 0", "Specified period must be positive", id="period"),
        pytest.param("start_time: 5 end_time: 5", "start_time must be earlier than end_time", id="limits"),
        pytest.param("thinner_type: SYNC end_time: -3", "start_time must be earlier than end_time", id="default start"),
    ],
)
def test_thinner_refuses_wrong_options(options: str, phrase: str, fails: Fails) -> None:
    error = fails(node("PacketThinnerCalculator", options))
    assert (error.code, error.phase) == (StatusCode.INVALID_ARGUMENT, None)
    assert phrase in str(error)


def test_thinner_refuses_a_wrong_period_side_packet_when_it_opens(fails: Fails) -> None:
    ports = 'input_stream: "in" output_stream: "out" input_side_packet: "PERIOD:p"'
    error = fails('input_side_packet: "p" ' + node("PacketThinnerCalculator", "", ports), [], {"p": -1})
    assert (error.code, error.phase) == (StatusCode.INVALID_ARGUMENT, "open")


@pytest.mark.parametrize(
    ("kind", "rate", "expected"),
    [
        pytest.param("ASYNC", 500000.0, 1000000 / 6, id="async, faster than the period"),
        pytest.param("ASYNC", 125000.0, 125000.0, id="async, slower than the period"),
        pytest.param("SYNC", 500000.0, 200000.0, id="sync, faster than the period"),
        pytest.param("SYNC", 125000.0, 125000.0, id="sync, slower than the period"),
    ],
)
def test_thinner_updates_the_frame_rate(kind: str, rate: float, expected: float, run: Run) -> None:
    graph = (
        'input_stream: "in" input_side_packet: "h" '
        'node { calculator: "AddHeaderCalculator" input_stream: "DATA:in" input_side_packet: "HEADER:h" output_stream: "headed" } '
        'node { calculator: "PacketThinnerCalculator" input_stream: "headed" output_stream: "out" '
        "options { [mediapipe.PacketThinnerCalculatorOptions.ext] "
        f"{{ thinner_type: {kind} period: 5 update_frame_rate: true }} }} }} "
        'node { calculator: "HeaderToPacket" input_stream: "out" output_stream: "header" }'
    )
    got, _ = run(graph, [], {"h": VideoHeader(width=4, frame_rate=rate)}, observe=["header"])
    ((timestamp, header),) = got["header"]
    assert (timestamp, header.width) == (PRE_STREAM, 4)
    assert header.frame_rate == pytest.approx(expected)
