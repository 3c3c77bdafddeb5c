"""FlowLimiterCalculator: drops frames while too many are still being worked on."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from calculators.core.checks import copy_headers, merged_options, require
from graph_runtime._pb.mediapipe.calculators.core.flow_limiter_calculator_pb2 import FlowLimiterCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext, OutputStream
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, INT, Packet
from graph_runtime.timestamp import MAX, UNSET, next_allowed


class FlowLimiterCalculator(Calculator):
    """Limits how many timestamps are in flight between this node and the end of a part of the graph.

    Ports: untagged inputs and outputs, one to one; input 0 is the main one. ``FINISHED`` is the end of that part, led back here
    (mark it as a back edge). ``ALLOW`` (optional output) says for each main packet whether it was released or dropped.
    Options ``max_in_flight`` (or side packet ``MAX_IN_FLIGHT``), ``max_in_queue`` and ``in_flight_timeout``; the stream and the
    side packet ``OPTIONS`` (both optional) carry options messages that are merged into them.

    1. A packet or bound on FINISHED at t ends all flights up to t; a flight also ends when the main input is more than the
       timeout (microseconds, 0 is never) ahead of it.
    2. Main packets are released while fewer than ``max_in_flight`` are in flight; of the rest the ``max_in_queue`` newest wait,
       older ones are dropped.
    3. The other inputs follow: what lies, in time, after a released main packet and before the next dropped one passes, as soon as
       the main output is settled there.
    4. Outputs get the timestamp bounds of dropped packets, and close when their input is done.

    Source: MediaPipe ``calculators/core/flow_limiter_calculator.cc``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.input_side_packets["OPTIONS"].set_one_of(FlowLimiterCalculatorOptions, CalculatorOptions).optional()
        cc.inputs["OPTIONS"].set_one_of(FlowLimiterCalculatorOptions, CalculatorOptions).optional()
        count = cc.inputs.num_entries("")
        require(count >= 1, "At least one untagged input stream is required.")
        for index in range(count):
            cc.inputs[index].set_any()
            cc.outputs[index].set_same_as(cc.inputs[index])
        cc.inputs["FINISHED"].set_any()
        cc.input_side_packets["MAX_IN_FLIGHT"].set(INT).optional()
        cc.outputs["ALLOW"].set(BOOL).optional()
        cc.set_input_stream_handler("ImmediateInputStreamHandler")
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(FlowLimiterCalculatorOptions)
        if cc.input_side_packets.has_tag("OPTIONS"):
            options = merged_options(options, cc.input_side_packets["OPTIONS"].packet)
        if cc.input_side_packets.has_tag("MAX_IN_FLIGHT"):
            options.max_in_flight = cc.input_side_packets["MAX_IN_FLIGHT"].value
        self.options = options
        self.queues: list[deque[Packet]] = [deque() for _ in range(cc.inputs.num_entries(""))]
        self.in_flight: deque[int] = deque()
        # From allowed_from[i] on, up to the next entry, other inputs pass if allowed[i].
        self.allowed_from: list[int] = [UNSET]
        self.allowed = [True]
        copy_headers(cc)

    def process(self, cc: CalculatorContext) -> None:
        if cc.inputs.has_tag("OPTIONS"):
            self.options = merged_options(self.options, cc.inputs["OPTIONS"].packet)
        self._end_flights(cc)
        for index, queue in enumerate(self.queues):
            packet = cc.inputs[index].packet
            if not packet.is_empty():
                queue.append(packet)
        self._end_expired_flights(cc)
        main = self.queues[0]
        while main and len(self.in_flight) < self.options.max_in_flight:
            packet = main.popleft()
            cc.outputs[0].add_packet(packet)
            self._record(cc, packet, True)
            self.in_flight.append(packet.timestamp)
        while main and len(main) > self.options.max_in_queue:
            self._record(cc, main.popleft(), False)
        settled = self._input_bound(cc, 0)
        _set_bound(cc.outputs[0], settled)
        if cc.outputs.has_tag("ALLOW") and not main:
            _set_bound(cc.outputs["ALLOW"], settled)
        self._process_other_inputs(cc, settled)
        self._forget_old_ranges(cc)

    def _end_flights(self, cc: CalculatorContext) -> None:
        finished = cc.inputs["FINISHED"].packet.timestamp
        if finished == cc.input_timestamp:
            while self.in_flight and self.in_flight[0] <= finished:
                self.in_flight.popleft()

    def _end_expired_flights(self, cc: CalculatorContext) -> None:
        timeout, latest = self.options.in_flight_timeout, cc.inputs[0].packet.timestamp
        if timeout > 0 and latest == cc.input_timestamp and latest < MAX:
            while self.in_flight and int(latest) - self.in_flight[0] > timeout:
                self.in_flight.popleft()

    def _record(self, cc: CalculatorContext, packet: Packet, allow: bool) -> None:
        if cc.outputs.has_tag("ALLOW"):
            cc.outputs["ALLOW"].add_packet(Packet(allow, packet.timestamp, packet_type=BOOL))
        self.allowed_from.append(packet.timestamp)
        self.allowed.append(allow)

    def _process_other_inputs(self, cc: CalculatorContext, settled: int) -> None:
        for index, queue in enumerate(self.queues[1:], start=1):
            while queue and queue[0].timestamp < settled:
                packet = queue.popleft()
                if self.allowed[bisect_right(self.allowed_from, packet.timestamp) - 1]:
                    cc.outputs[index].add_packet(packet)
            _set_bound(cc.outputs[index], self._input_bound(cc, index))

    def _input_bound(self, cc: CalculatorContext, index: int) -> int:
        """The lowest timestamp of an input that is not dealt with yet."""
        queue = self.queues[index]
        return queue[0].timestamp if queue else next_allowed(cc.inputs[index].packet.timestamp)

    def _forget_old_ranges(self, cc: CalculatorContext) -> None:
        bound = min(self._input_bound(cc, index) for index in range(len(self.queues)))
        old = bisect_right(self.allowed_from, bound) - 1
        del self.allowed_from[:old], self.allowed[:old]


def _set_bound(output: OutputStream, bound: int) -> None:
    if bound > MAX:
        output.close()
    else:
        output.set_next_timestamp_bound(bound)
