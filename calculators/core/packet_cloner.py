"""PacketClonerCalculator: repeats the latest packets of its inputs at every tick."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime._pb.mediapipe.calculators.core.packet_cloner_calculator_pb2 import PacketClonerCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import Packet
from graph_runtime.timestamp import next_allowed


class PacketClonerCalculator(Calculator):
    """Sends, at each packet of the tick stream, the latest packet of every base input to the output of its index.

    The tick stream is ``TICK``, or else the last untagged input; the other untagged inputs are the base. Outputs of base inputs
    that had no packet yet get a timestamp bound. With the option ``output_only_when_all_inputs_received`` nothing is sent, no
    bound either, before every base input has had a packet; with ``output_packets_only_when_all_inputs_received`` bounds only.

    Source: MediaPipe ``calculators/core/packet_cloner_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        count = cc.inputs.num_entries("")
        if cc.inputs.has_tag("TICK"):
            cc.inputs["TICK"].set_any()
        else:
            require(count > 0, "A tick stream is required: TICK, or the last untagged input stream.")
            count -= 1
            cc.inputs[count].set_any()
        for index in range(count):
            cc.inputs[index].set_any()
            cc.outputs[index].set_same_as(cc.inputs[index])
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(PacketClonerCalculatorOptions)
        self.bounds_before_all = options.output_packets_only_when_all_inputs_received
        self.waits_for_all = options.output_only_when_all_inputs_received or self.bounds_before_all
        self.latest = [Packet() for _ in cc.outputs]
        self.tick: str | int = "TICK" if cc.inputs.has_tag("TICK") else len(self.latest)
        for index in range(len(self.latest)):
            if not cc.inputs[index].header.is_empty():
                cc.outputs[index].set_header(cc.inputs[index].header)

    def process(self, cc: CalculatorContext) -> None:
        for index in range(len(self.latest)):
            if not cc.inputs[index].is_empty():
                self.latest[index] = cc.inputs[index].packet
        has_all = not any(packet.is_empty() for packet in self.latest)
        tick = cc.inputs[self.tick].packet
        if not tick.is_empty() and (has_all or not self.waits_for_all):
            for packet, output in zip(self.latest, cc.outputs, strict=True):
                if not packet.is_empty():
                    output.add_packet(packet.at(tick.timestamp))
        # Without a packet the tick's timestamp says up to where it is settled: equal means that this call is about the tick.
        if tick.timestamp == cc.input_timestamp and (has_all or self.bounds_before_all or not self.waits_for_all):
            for output in cc.outputs:
                output.set_next_timestamp_bound(next_allowed(cc.input_timestamp))
