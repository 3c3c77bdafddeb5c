"""PacketThinnerCalculator: drops packets so that at most one per period remains."""

from __future__ import annotations

import math
from dataclasses import replace

from calculators.core.checks import merged_options, require
from calculators.core.video_header import VideoHeader
from graph_runtime._pb.mediapipe.calculators.core.packet_thinner_calculator_pb2 import PacketThinnerCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import StatusCode
from graph_runtime.packet import INT64, Packet
from graph_runtime.timestamp import MAX, MIN, UNITS_PER_SECOND, next_allowed


class PacketThinnerCalculator(Calculator):
    """Forwards some packets of input 0 to output 0; all times are in microseconds.

    * ASYNC (default): after a packet, those of the following ``period`` are dropped. ``start_time`` defaults to Timestamp.MIN.
    * SYNC: of the packets around each ``start_time + k * period`` (default start 0) the nearest one is sent, the later one of two
      equally near, at that time or, without ``sync_output_timestamps``, at its own. It is known only when a packet of a later
      period comes, or at the end.

    Packets outside [start_time, end_time) are dropped; the output closes at ``end_time``, default Timestamp.MAX. The side packet
    ``PERIOD`` (int64) replaces the option, options in the side packet ``OPTIONS`` are merged in. A header is passed on; with
    ``update_frame_rate`` its ``frame_rate`` is changed, for which it has to be a VideoHeader.

    Source: MediaPipe ``calculators/core/packet_thinner_calculator.cc``.

    Raises:
        GraphError: the period is not positive, or start_time not before end_time (INVALID_ARGUMENT): when the graph is validated,
            or in ``open`` where side packets have a say.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        if cc.input_side_packets.has_tag("OPTIONS"):
            cc.input_side_packets["OPTIONS"].set_one_of(CalculatorOptions, PacketThinnerCalculatorOptions)
        if cc.input_side_packets.has_tag("PERIOD"):
            cc.input_side_packets["PERIOD"].set(INT64)
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])
        options = cc.options(PacketThinnerCalculatorOptions)
        if not len(cc.input_side_packets):
            _check(options)

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(PacketThinnerCalculatorOptions)
        if cc.input_side_packets.has_tag("OPTIONS"):
            options = merged_options(options, cc.input_side_packets["OPTIONS"].packet)
        self.header_period = options.period
        if cc.input_side_packets.has_tag("PERIOD"):
            options.period = cc.input_side_packets["PERIOD"].value
        _check(options)
        self.is_sync = options.thinner_type == PacketThinnerCalculatorOptions.SYNC
        self.period = options.period
        self.start_time, self.end_time = _limits(options)
        self.sync_output_timestamps = options.sync_output_timestamps
        self.next_valid = self.start_time
        self.saved = Packet()
        if not self.is_sync:
            cc.outputs[0].set_offset(0)
        cc.outputs[0].set_next_timestamp_bound(self.start_time)
        header = cc.inputs[0].header
        if not header.is_empty():
            cc.outputs[0].set_header(self._thinned(header) if options.update_frame_rate else header)

    def process(self, cc: CalculatorContext) -> None:
        now = int(cc.input_timestamp)
        if now < self.start_time:
            return
        if now >= self.end_time:
            if not cc.outputs[0].is_closed:
                self._send_saved(cc)
                cc.outputs[0].close()
        elif self.is_sync:
            self._process_sync(cc, now)
        elif now >= self.next_valid:
            self.next_valid = min(now + self.period, MAX)
            cc.outputs[0].add_packet(cc.inputs[0].packet)
            cc.outputs[0].set_next_timestamp_bound(max(self.next_valid, next_allowed(now)))

    def close(self, cc: CalculatorContext) -> None:
        if not cc.outputs[0].is_closed:
            self._send_saved(cc)

    def _process_sync(self, cc: CalculatorContext, now: int) -> None:
        sync = self._nearest(now)
        if not self.saved.is_empty():
            saved = int(self.saved.timestamp)
            if self._nearest(saved) == sync:
                if abs(now - sync) <= abs(saved - sync):
                    self.saved = cc.inputs[0].packet
                return
            self._send_saved(cc)
        self.saved = cc.inputs[0].packet
        cc.outputs[0].set_next_timestamp_bound(sync if self.sync_output_timestamps else now)

    def _send_saved(self, cc: CalculatorContext) -> None:
        if not self.saved.is_empty():
            own = int(self.saved.timestamp)
            cc.outputs[0].add_packet(self.saved.at(self._nearest(own) if self.sync_output_timestamps else own))
            self.saved = Packet()

    def _nearest(self, timestamp: int) -> int:
        """The multiple of the period, counted from the start time, that is nearest; the later one of two."""
        return (timestamp - self.start_time + self.period // 2) // self.period * self.period + self.start_time

    def _thinned(self, header: Packet) -> Packet:
        value = header.value
        require(isinstance(value, VideoHeader), f"update_frame_rate needs a VideoHeader, not {type(value).__name__}")
        if self.is_sync:
            frame_rate = min(value.frame_rate, UNITS_PER_SECOND / self.header_period)
        else:
            frame_rate = value.frame_rate / math.ceil(value.frame_rate * self.header_period / UNITS_PER_SECOND)
        return Packet(replace(value, frame_rate=frame_rate))


def _limits(options: PacketThinnerCalculatorOptions) -> tuple[int, int]:
    """The first timestamp that may pass, and the first one after the last."""
    default_start = 0 if options.thinner_type == PacketThinnerCalculatorOptions.SYNC else MIN
    return (
        options.start_time if options.HasField("start_time") else default_start,
        options.end_time if options.HasField("end_time") else MAX,
    )


def _check(options: PacketThinnerCalculatorOptions) -> None:
    code = StatusCode.INVALID_ARGUMENT
    require(options.period > 0, f"Specified period must be positive, not {options.period}.", code)
    start, end = _limits(options)
    require(
        MIN <= start < end <= MAX,
        f"Invalid PacketThinner: start_time must be earlier than end_time, but they are {start} and {end}.",
        code,
    )
