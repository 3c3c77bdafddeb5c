"""PacketSequencerCalculator: gives packets that come at any time a place between the ticks of other streams."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.timestamp import MIN, PRE_STREAM, next_allowed


class PacketSequencerCalculator(Calculator):
    """Sends packets of ``INPUT:i`` to ``OUTPUT:i`` at the next timestamp that ``TICK`` streams have not passed yet.

    A packet of any TICK stream at t moves the timestamp bounds of all outputs to t + 1, an INPUT packet is sent at its output's
    bound. When both come in one call the packet is sent first, so that it still covers the tick.

    Source: MediaPipe ``calculators/core/packet_sequencer_calculator.cc``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        count = cc.inputs.num_entries("INPUT")
        require(count == cc.outputs.num_entries("OUTPUT"), "The number of INPUT and OUTPUT streams must match.")
        for index in range(count):
            cc.inputs["INPUT", index].set_any()
            cc.outputs["OUTPUT", index].set_any()
        for index in range(cc.inputs.num_entries("TICK")):
            cc.inputs["TICK", index].set_any()
        cc.set_input_stream_handler("ImmediateInputStreamHandler")

    def open(self, cc: CalculatorContext) -> None:
        self.bounds: list[int] = [PRE_STREAM] * cc.outputs.num_entries("OUTPUT")

    def process(self, cc: CalculatorContext) -> None:
        for index, bound in enumerate(self.bounds):
            packet = cc.inputs["INPUT", index].packet
            if not packet.is_empty():
                timestamp = max(MIN, bound)
                cc.outputs["OUTPUT", index].add_packet(packet.at(timestamp))
                self.bounds[index] = next_allowed(timestamp)
        # An empty packet counts as well: its timestamp says up to where the stream is settled.
        ticks = (cc.inputs["TICK", index].packet.timestamp for index in range(cc.inputs.num_entries("TICK")))
        tick = max(MIN, cc.input_timestamp) if cc.input_timestamp in ticks else MIN
        for index, bound in enumerate(self.bounds):
            if tick >= bound:
                self.bounds[index] = next_allowed(tick)
                cc.outputs["OUTPUT", index].set_next_timestamp_bound(self.bounds[index])
