"""RealTimeFlowLimiterCalculator: the older flow limiter, without a queue."""

from __future__ import annotations

from calculators.core.checks import copy_headers, require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, INT, Packet
from graph_runtime.timestamp import DONE, MAX, MIN, UNSET, next_allowed


class RealTimeFlowLimiterCalculator(Calculator):
    """Releases packets while fewer than ``MAX_IN_FLIGHT`` (side packet, int, default 1) are in flight, and drops the others.

    Untagged inputs and outputs belong together one to one. A timestamp that one input was released at is released on the others
    too, one that was dropped is not. Each packet on ``FINISHED`` (mark it as a back edge) counts as one that has left. ``ALLOW``
    (optional) gets true or false when packets begin to be released or dropped, at timestamps 1, 2, 3 ...
    New graphs use FlowLimiterCalculator: this one counts wrong when a packet is dropped on its way.

    Source: MediaPipe ``calculators/core/real_time_flow_limiter_calculator.cc``.

    Raises:
        GraphError: FINISHED has more packets than were released (INTERNAL, in ``process``).
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        count = cc.inputs.num_entries("")
        require(count >= 1, "At least one untagged input stream is required.")
        require(
            cc.outputs.num_entries("") == count,
            "Output streams must correspond input streams except for the finish indicator input stream.",
        )
        for index in range(count):
            cc.inputs[index].set_any()
            cc.outputs[index].set_same_as(cc.inputs[index])
        cc.inputs["FINISHED"].set_any()
        if cc.input_side_packets.has_tag("MAX_IN_FLIGHT"):
            cc.input_side_packets["MAX_IN_FLIGHT"].set(INT)
        cc.outputs["ALLOW"].set(BOOL).optional()
        cc.set_input_stream_handler("ImmediateInputStreamHandler")

    def open(self, cc: CalculatorContext) -> None:
        self.max_in_flight = 1
        if cc.input_side_packets.has_tag("MAX_IN_FLIGHT"):
            self.max_in_flight = cc.input_side_packets["MAX_IN_FLIGHT"].value
        require(self.max_in_flight >= 1, f"MAX_IN_FLIGHT is {self.max_in_flight}; it has to be at least 1.")
        self.in_flight = 0
        self.allow_changes = 0
        self.released: set[int] = set()
        self.last_dropped = UNSET
        self.bounds = [UNSET] * cc.inputs.num_entries("")
        copy_headers(cc)

    def process(self, cc: CalculatorContext) -> None:
        allowed_before = self._allows()
        if not cc.inputs["FINISHED"].is_empty():
            require(self.in_flight > 0, "Received a FINISHED packet, but we had none in flight.")
            self.in_flight -= 1
        for index in range(len(self.bounds)):
            self._process_input(cc, index)
        lowest = min(self.bounds, default=DONE)
        self.released = {timestamp for timestamp in self.released if timestamp >= lowest}
        if self._allows() != allowed_before and cc.outputs.has_tag("ALLOW"):
            self.allow_changes += 1
            cc.outputs["ALLOW"].add_packet(Packet(self._allows(), self.allow_changes, packet_type=BOOL))

    def _allows(self) -> bool:
        return self.in_flight < self.max_in_flight

    def _process_input(self, cc: CalculatorContext, index: int) -> None:
        port, output = cc.inputs[index], cc.outputs[index]
        timestamp = int(port.packet.timestamp)
        if not port.is_empty():
            if timestamp in self.released:
                output.add_packet(port.packet)
            elif self._allows() and timestamp > self.last_dropped:
                output.add_packet(port.packet)
                self.released.add(timestamp)
                self.in_flight += 1
            else:
                self.last_dropped = max(self.last_dropped, timestamp)
        if MIN <= timestamp <= MAX and self.bounds[index] <= timestamp:
            self.bounds[index] = min(timestamp + 1, MAX)
            output.set_next_timestamp_bound(next_allowed(timestamp))
        if port.is_empty() and port.is_done():
            output.close()
