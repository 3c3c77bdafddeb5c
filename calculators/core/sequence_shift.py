"""SequenceShiftCalculator: gives packets the timestamps of their neighbours."""

from __future__ import annotations

from collections import deque

from graph_runtime._pb.mediapipe.calculators.core.sequence_shift_calculator_pb2 import SequenceShiftCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import INT, Packet
from graph_runtime.timestamp import next_allowed


class SequenceShiftCalculator(Calculator):
    """Sends packet i of input 0 at the timestamp of packet i + n, to output 0.

    n is the option ``packet_offset`` (default -1) or the side packet ``PACKET_OFFSET`` (int). Below 0 the first packets are
    dropped, above 0 the last ones. With ``emit_empty_packets_before_first_packet`` and n above 0, the first n timestamps are
    passed on as timestamp bounds.

    Source: MediaPipe ``calculators/core/sequence_shift_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.input_side_packets["PACKET_OFFSET"].set(INT).optional()
        cc.outputs[0].set_same_as(cc.inputs[0])

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(SequenceShiftCalculatorOptions)
        self.offset = options.packet_offset
        if cc.input_side_packets.has_tag("PACKET_OFFSET"):
            self.offset = cc.input_side_packets["PACKET_OFFSET"].value
        self.sends_bounds_first = options.emit_empty_packets_before_first_packet
        self.packets: deque[Packet] = deque()
        if self.offset == 0:
            cc.outputs[0].set_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        packet, output = cc.inputs[0].packet, cc.outputs[0]
        # The packets whose timestamp (below 0) or value (above 0) is still to be used.
        self.packets.append(packet)
        if len(self.packets) > abs(self.offset):
            oldest = self.packets.popleft()
            output.add_packet(packet.at(oldest.timestamp) if self.offset < 0 else oldest.at(packet.timestamp))
        elif self.offset > 0 and self.sends_bounds_first:
            output.set_next_timestamp_bound(next_allowed(packet.timestamp))
