"""ImmediateMuxCalculator: joins streams as their packets come, and drops what comes too late."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime._pb.mediapipe.calculators.core.immediate_mux_calculator_pb2 import ImmediateMuxCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, Packet
from graph_runtime.timestamp import MAX, PRE_STREAM, next_allowed


class ImmediateMuxCalculator(Calculator):
    """Sends the packets of all inputs to output 0, except those that are not after the last one sent.

    Of packets with the same timestamp that of the lowest index is sent. Output 1 (optional) gets ``true`` for every input packet,
    sent or not, at its timestamp or as soon after it as the order of the stream allows. Meant for the
    ImmediateInputStreamHandler, which the graph has to name; the default handler works too. With the option
    ``process_timestamp_bounds`` settled timestamps of the inputs are passed on, packets before them are dropped, and the outputs
    close when the inputs are done.

    Source: MediaPipe ``calculators/core/immediate_mux_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(1 <= len(cc.outputs) <= 2, "This calculator produces only one or two output streams.")
        cc.outputs[0].set_any()
        if len(cc.outputs) == 2:
            cc.outputs[1].set(BOOL)
        for index in range(len(cc.inputs)):
            cc.inputs[index].set_same_as(cc.outputs[0])
        if cc.options(ImmediateMuxCalculatorOptions).process_timestamp_bounds:
            cc.set_process_timestamp_bounds()
        else:
            cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self.passes_bounds = cc.options(ImmediateMuxCalculatorOptions).process_timestamp_bounds
        self.bound: int = PRE_STREAM
        self.flag_bound: int = PRE_STREAM

    def process(self, cc: CalculatorContext) -> None:
        timestamp = int(cc.input_timestamp)
        has_packets = False
        for index in range(len(cc.inputs)):
            packet = cc.inputs[index].packet
            if packet.is_empty():
                continue
            has_packets = True
            if packet.timestamp >= self.bound:
                cc.outputs[0].add_packet(packet)
                self.bound = next_allowed(packet.timestamp)
            if len(cc.outputs) == 2 and not cc.outputs[1].is_closed:
                at = max(timestamp, self.flag_bound)
                cc.outputs[1].add_packet(Packet(True, at, packet_type=BOOL))
                self.flag_bound = next_allowed(at)
        if not self.passes_bounds:
            # The offset of 0 moves this bound without a packet too, also when the input timestamp then goes back.
            self.flag_bound = max(self.flag_bound, next_allowed(timestamp))
        elif not has_packets and timestamp >= self.bound:
            self._pass_bound(cc, timestamp)

    def _pass_bound(self, cc: CalculatorContext, timestamp: int) -> None:
        if timestamp >= MAX:
            for output in cc.outputs:
                output.close()
            return
        self.bound = next_allowed(timestamp)
        self.flag_bound = max(self.flag_bound, self.bound)
        cc.outputs[0].set_next_timestamp_bound(self.bound)
        if len(cc.outputs) == 2:
            cc.outputs[1].set_next_timestamp_bound(self.flag_bound)
