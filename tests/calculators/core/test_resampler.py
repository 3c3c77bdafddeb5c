"""PacketResamplerCalculator: which packet is sent for which period, limits, headers, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from calculators.core.video_header import VideoHeader
from graph_runtime import StatusCode
from graph_runtime._pb.mediapipe.calculators.core.packet_resampler_calculator_pb2 import (
    PacketResamplerCalculatorOptions,
)
from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
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


@pytest.mark.parametrize(
    ("options", "timestamps", "expected"),
    [
        pytest.param("frame_rate: 30", [], [], id="nothing"),
        pytest.param("frame_rate: 30", [0], [(0, 0)], id="one packet"),
        pytest.param("frame_rate: 30", [0, 16666], [(0, 0)], id="second in the first period"),
        pytest.param("frame_rate: 30", [0, 16667], [(0, 0), (33333, 16667)], id="second in the second period"),
        pytest.param("frame_rate: 30", [0, 20000, 33300, 40000], [(0, 0), (33333, 33300)], id="the nearest of several"),
        pytest.param("frame_rate: 30", [0, 33233, 33433], [(0, 0), (33333, 33433)], id="the later of two equally near"),
        pytest.param(
            "frame_rate: 30",
            [0, 5000, 16666, 83334],
            [(0, 0), (33333, 16666), (66667, 16666), (100000, 83334)],
            id="gaps filled",
        ),
        pytest.param(
            "frame_rate: 30",
            [0, 5000, 10010, 15001, 19990],
            [(0, 0), (33333, 19990)],
            id="last packet flushed",
        ),
        pytest.param(
            "frame_rate: 30",
            [-50000, 33334],
            [(-50000, -50000), (-16667, -50000), (16667, -50000), (50000, 33334)],
            id="negative",
        ),
        pytest.param(
            "frame_rate: 30",
            [2000, 118666],
            [(2000, 2000), (35333, 2000), (68667, 2000), (102000, 118666)],
            id="origin",
        ),
        pytest.param(
            "frame_rate: 1 flush_last_packet: false",
            [0, 333333, 666667, 1400000],
            [(0, 0), (1000000, 666667)],
            id="no flush",
        ),
        pytest.param("frame_rate: 1000000", [0, 1, 3], [(0, 0), (1, 1), (2, 1), (3, 3)], id="highest rate"),
        pytest.param("frame_rate: 2 max_frame_rate: 1", [0, 1000000], [(0, 0), (1000000, 1000000)], id="limited rate"),
        pytest.param(
            "frame_rate: 30 base_timestamp: 0",
            [-222, 49999, 70000],
            [(0, -222), (33333, 49999), (66667, 70000)],
            id="aligned to a base before",
        ),
        pytest.param(
            "frame_rate: 1 base_timestamp: 900000000", [100000], [(0, 100000)], id="aligned to a base far after"
        ),
        pytest.param(
            "frame_rate: 1 start_time: 2000000 end_time: 4000000",
            [0, 1000000, 2000000, 3000000, 4000000, 5000000],
            [(2000000, 2000000), (3000000, 3000000)],
            id="limits",
        ),
        pytest.param(
            "frame_rate: 1 start_time: 2400000 end_time: 4100000 round_limits: true",
            [0, 1000000, 2000000, 3000000, 4000000, 5000000],
            [(2000000, 2000000), (3000000, 3000000), (4000000, 4000000)],
            id="rounded limits",
        ),
    ],
)
def test_resampler_sends_the_nearest_packet_of_each_period(
    options: str, timestamps: list[int], expected: list[Any], check: Check
) -> None:
    check(node("PacketResamplerCalculator", options), own(*timestamps), {"out": expected})


def test_resampler_announces_the_next_period(check: Check) -> None:
    rows = [*own(0, 400000, 600000), ("in", 700000, None)]
    expected = {"out": [(0, 0), (999999, None)]}
    check(node("PacketResamplerCalculator", "frame_rate: 1"), rows, expected, bounds=True, until_idle=True)


def test_resampler_works_on_tagged_streams(check: Check) -> None:
    graph = node("PacketResamplerCalculator", "frame_rate: 1", 'input_stream: "DATA:in" output_stream: "DATA:out"')
    check(graph, own(5, 600000), {"out": [(5, 5), (1000005, 600000)]})


@pytest.mark.parametrize("as_extension", [False, True])
def test_resampler_merges_options_from_a_side_packet(as_extension: bool, check: Check) -> None:
    given: Any = PacketResamplerCalculatorOptions(frame_rate=2)
    if as_extension:
        carrier = CalculatorOptions()
        carrier.Extensions[PacketResamplerCalculatorOptions.ext].CopyFrom(given)
        given = carrier
    ports = 'input_stream: "in" output_stream: "out" input_side_packet: "OPTIONS:o"'
    graph = 'input_side_packet: "o" ' + node("PacketResamplerCalculator", "flush_last_packet: false", ports)
    check(graph, own(0, 500000, 900000), {"out": [(0, 0), (500000, 500000)]}, {"o": given})


@pytest.mark.parametrize(
    ("options", "code", "phrase"),
    [
        pytest.param("", StatusCode.INTERNAL, "The output frame rate must be greater than zero", id="no rate"),
        pytest.param(
            "frame_rate: 0", StatusCode.INTERNAL, "The output frame rate must be greater than zero", id="rate 0"
        ),
        pytest.param(
            "frame_rate: 1000000.1",
            StatusCode.INTERNAL,
            "The output frame rate must be smaller than 1000000",
            id="rate too high",
        ),
        pytest.param(
            "frame_rate: 1 reproducible_sampling: true",
            StatusCode.INVALID_ARGUMENT,
            "SecureRandom is not available.",
            id="reproducible sampling",
        ),
    ],
)
def test_resampler_refuses_options_when_it_opens(options: str, code: StatusCode, phrase: str, fails: Fails) -> None:
    error = fails(node("PacketResamplerCalculator", options))
    assert (error.code, error.phase) == (code, "open")
    assert phrase in str(error)


def test_resampler_refuses_jitter(fails: Fails) -> None:
    ports = 'input_stream: "in" output_stream: "out" input_side_packet: "SEED:s"'
    graph = 'input_side_packet: "s" ' + node("PacketResamplerCalculator", "frame_rate: 1 jitter: 0.25", ports)
    error = fails(graph, [], {"s": "seed"})
    assert (error.code, error.phase) == (StatusCode.INVALID_ARGUMENT, "open")
    assert (
        'SecureRandom is not available.  With "jitter" specified, PacketResamplerCalculator processing cannot proceed.'
        in str(error)
    )


@pytest.mark.parametrize(
    "options", ["frame_rate: 1 jitter: 0.5", "frame_rate: 1 jitter: -1", "frame_rate: 1 jitter: 1.5"]
)
def test_resampler_checks_jitter_in_the_contract(options: str, fails: Fails) -> None:
    assert fails(node("PacketResamplerCalculator", options)).code == StatusCode.INTERNAL


HEADER_PORTS = (
    'input_stream: "DATA:in" input_stream: "VIDEO_HEADER:h" '
    'output_stream: "DATA:out" output_stream: "VIDEO_HEADER:header"'
)


@pytest.mark.parametrize(
    ("options", "rate", "count"),
    [
        pytest.param("frame_rate: 2", 2.0, 4, id="own rate"),
        pytest.param("frame_rate: 2 use_input_frame_rate: true", 1.0, 2, id="rate of the header"),
    ],
)
def test_resampler_updates_a_header_stream(options: str, rate: float, count: int, run: Run) -> None:
    graph = node("PacketResamplerCalculator", options, HEADER_PORTS, more='input_stream: "h"')
    rows = [("h", PRE_STREAM, VideoHeader(width=4, height=3, frame_rate=1.0)), *own(0, 500000, 1000000, 1500000)]
    got, _ = run(graph, rows, observe=["header", "out"])
    assert got["header"] == [(PRE_STREAM, VideoHeader(width=4, height=3, frame_rate=rate))]
    assert len(got["out"]) >= count


def test_resampler_makes_a_header_where_there_is_none(check: Check) -> None:
    ports = 'input_stream: "DATA:in" output_stream: "DATA:out" output_stream: "VIDEO_HEADER:header"'
    graph = node("PacketResamplerCalculator", "frame_rate: 5", ports)
    check(graph, own(0), {"header": [(PRE_STREAM, VideoHeader(frame_rate=5.0))]})


def test_resampler_refuses_a_header_output_with_a_limited_rate(fails: Fails) -> None:
    error = fails(
        node("PacketResamplerCalculator", "frame_rate: 5 max_frame_rate: 3", HEADER_PORTS, more='input_stream: "h"')
    )
    assert error.code == StatusCode.INTERNAL
    assert "VideoHeader output is not supported with max_frame_rate." in str(error)


def test_resampler_refuses_data_at_prestream(fails: Fails) -> None:
    error = fails(node("PacketResamplerCalculator", "frame_rate: 5"), [("in", PRE_STREAM, 1)])
    assert error.code == StatusCode.INTERNAL
