"""PacketResamplerCalculator: turns a stream into one with equal distances between its packets."""

from __future__ import annotations

from dataclasses import replace

from calculators.core.checks import merged_options, require
from calculators.core.video_header import VideoHeader
from graph_runtime._pb.mediapipe.calculators.core.packet_resampler_calculator_pb2 import (
    PacketResamplerCalculatorOptions,
)
from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import STRING, Packet
from graph_runtime.tags import PortKey
from graph_runtime.timestamp import MAX, MIN, PRE_STREAM, UNITS_PER_SECOND


class PacketResamplerCalculator(Calculator):
    """Sends one packet for each period of 1 / ``frame_rate`` seconds: the input packet nearest to the period's time.

    The input is ``DATA`` or untagged input 0, the output likewise. Period k is at the first input timestamp + k / frame_rate
    (rounded to microseconds); with ``base_timestamp`` the first one is the period nearest to the first input, counted from there.
    Of two packets equally near the later one is sent; a period without packets gets the last one before it. The last packet is
    sent once more for its own period, unless ``flush_last_packet`` is false. Only timestamps in [``start_time``, ``end_time``) are
    sent; ``round_limits`` moves both limits outwards by half a period. ``max_frame_rate`` limits the rate.

    Headers: ``output_header`` says whether the header of the input is dropped, passed on, or passed on (a VideoHeader) with the new
    rate. A ``VIDEO_HEADER`` input carries a VideoHeader at Timestamp.PRESTREAM instead, whose rate is taken with
    ``use_input_frame_rate``; a ``VIDEO_HEADER`` output gets one with the new rate. Options in the side packet ``OPTIONS`` are
    merged in. Jitter (``jitter``, ``reproducible_sampling``) is refused as in MediaPipe's public build.

    Source: MediaPipe ``calculators/core/packet_resampler_calculator.cc``.

    Raises:
        GraphError: in ``open``: the frame rate is not above 0 and at most 1,000,000 (INTERNAL), or jitter is asked for
            (INVALID_ARGUMENT).
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        options = cc.options(PacketResamplerCalculatorOptions)
        if cc.input_side_packets.has_tag("OPTIONS"):
            cc.input_side_packets["OPTIONS"].set_one_of(CalculatorOptions, PacketResamplerCalculatorOptions)
        source = cc.inputs["DATA" if cc.inputs.has_tag("DATA") else 0].set_any()
        cc.outputs["DATA" if cc.outputs.has_tag("DATA") else 0].set_same_as(source)
        if cc.inputs.has_tag("VIDEO_HEADER"):
            cc.inputs["VIDEO_HEADER"].set(VideoHeader)
        if cc.outputs.has_tag("VIDEO_HEADER"):
            require(options.max_frame_rate <= 0, "VideoHeader output is not supported with max_frame_rate.")
            cc.outputs["VIDEO_HEADER"].set(VideoHeader)
        if options.jitter != 0:
            require(0 < options.jitter <= 1, f"jitter is {options.jitter:g}; it has to be above 0 and at most 1.")
            require(cc.input_side_packets.has_tag("SEED"), "With jitter the input side packet SEED is required.")
        if cc.input_side_packets.has_tag("SEED") and (options.jitter != 0 or options.reproducible_sampling):
            cc.input_side_packets["SEED"].set(STRING)

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(PacketResamplerCalculatorOptions)
        if cc.input_side_packets.has_tag("OPTIONS"):
            options = merged_options(options, cc.input_side_packets["OPTIONS"].packet)
        self.options = options
        self.source: PortKey = "DATA" if cc.inputs.has_tag("DATA") else 0
        self.target: PortKey = "DATA" if cc.outputs.has_tag("DATA") else 0
        self.video_header = VideoHeader()
        self._set_frame_rate(options.frame_rate)
        self._open_header(cc)
        if options.jitter != 0 or options.reproducible_sampling:
            raise GraphError(
                'SecureRandom is not available.  With "jitter" specified, PacketResamplerCalculator processing cannot proceed.',
                code=StatusCode.INVALID_ARGUMENT,
            )
        self.origin: int | None = None
        self.period = 0
        self.last = Packet()
        self.header_sent = False

    def process(self, cc: CalculatorContext) -> None:
        packet = cc.inputs[self.source].packet
        has_header = cc.inputs.has_tag("VIDEO_HEADER") and not cc.inputs["VIDEO_HEADER"].is_empty()
        if has_header and cc.input_timestamp == PRE_STREAM:
            self.video_header = cc.inputs["VIDEO_HEADER"].value
            rate = self.video_header.frame_rate if self.options.use_input_frame_rate else self.frame_rate
            self._set_frame_rate(rate)
            if packet.is_empty():
                return
        if not self.header_sent and cc.outputs.has_tag("VIDEO_HEADER"):
            cc.outputs["VIDEO_HEADER"].add(self.video_header, PRE_STREAM)
            self.header_sent = True
        require(cc.input_timestamp > PRE_STREAM, "Packets at Timestamp::PreStream() cannot be resampled.")
        self._resample(cc, packet)
        self.last = packet

    def close(self, cc: CalculatorContext) -> None:
        if cc.graph_status is not None or self.origin is None or not self.options.flush_last_packet:
            return
        if self._period_of(self.last.timestamp) == self.period:
            self._send(cc, self.last)

    def _resample(self, cc: CalculatorContext, packet: Packet) -> None:
        now = int(cc.input_timestamp)
        if self.origin is None:
            self.origin = self._first_period(now)
        newest = self._period_of(now)
        if newest < self.period:
            return  # its period has been sent already
        while newest > self.period:
            self._send(cc, self.last)
            self.period += 1
        wanted = self._time_of(self.period)
        if now >= wanted:
            # No later packet can be nearer.
            use_last = not self.last.is_empty() and wanted - self.last.timestamp < now - wanted
            self._send(cc, self.last if use_last else packet)
            self.period += 1
        cc.outputs[self.target].set_next_timestamp_bound(self._time_of(self.period))

    def _first_period(self, now: int) -> int:
        if not self.options.HasField("base_timestamp"):
            return now
        base = self.options.base_timestamp
        return base + _microseconds(_rounded(_seconds(now - base) * self.frame_rate) / self.frame_rate)

    def _time_of(self, period: int) -> int:
        assert self.origin is not None
        return min(max(self.origin + _microseconds(period / self.frame_rate), MIN), MAX)

    def _period_of(self, timestamp: int) -> int:
        assert self.origin is not None
        return _rounded(_seconds(int(timestamp) - self.origin) * self.frame_rate)

    def _send(self, cc: CalculatorContext, packet: Packet) -> None:
        """Send a packet for the current period, if that is within the limits."""
        at = self._time_of(self.period)
        if self.first <= at < self.end:
            cc.outputs[self.target].add_packet(packet.at(at))

    def _set_frame_rate(self, frame_rate: float) -> None:
        options = self.options
        if options.max_frame_rate > 0:
            frame_rate = min(frame_rate, options.max_frame_rate)
        require(frame_rate > 0, f"The output frame rate must be greater than zero, not {frame_rate:g}.")
        require(
            frame_rate <= UNITS_PER_SECOND,
            f"The output frame rate must be smaller than {UNITS_PER_SECOND}, not {frame_rate:g}.",
        )
        self.frame_rate = frame_rate
        margin = int(UNITS_PER_SECOND / frame_rate) // 2 if options.round_limits else 0
        self.first = (options.start_time if options.HasField("start_time") else MIN) - margin
        self.end = min((options.end_time if options.HasField("end_time") else MAX) + margin, MAX)
        self.video_header = replace(self.video_header, frame_rate=frame_rate)

    def _open_header(self, cc: CalculatorContext) -> None:
        header, wanted = cc.inputs[self.source].header, self.options.output_header
        if header.is_empty() or wanted == PacketResamplerCalculatorOptions.NONE:
            return
        if wanted == PacketResamplerCalculatorOptions.UPDATE_VIDEO_HEADER:
            value = header.value
            require(
                isinstance(value, VideoHeader), f"UPDATE_VIDEO_HEADER needs a VideoHeader, not {type(value).__name__}"
            )
            self.video_header = replace(value, frame_rate=self.frame_rate)
            header = Packet(self.video_header)
        cc.outputs[self.target].set_header(header)


def _seconds(microseconds: int) -> float:
    return microseconds / UNITS_PER_SECOND


def _microseconds(seconds: float) -> int:
    return _rounded(seconds * UNITS_PER_SECOND)


def _rounded(number: float) -> int:
    """To the nearest integer, halves away from zero."""
    return int(number + 0.5) if number >= 0 else int(number - 0.5)
