"""RoundRobinDemuxCalculator: deals packets out to its outputs in turn."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import INT, Packet


class RoundRobinDemuxCalculator(Calculator):
    """Sends packet k of the untagged input to ``OUTPUT:(k mod n)``; the other outputs get timestamp bounds.

    ``SELECT`` (optional) gets the index, an int, at the same timestamp, as a MuxCalculator downstream needs it.

    Source: MediaPipe ``calculators/core/round_robin_demux_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        require(cc.outputs.has_tag("OUTPUT"), "At least one output stream with the tag OUTPUT is required.")
        for index in range(cc.outputs.num_entries("OUTPUT")):
            cc.outputs["OUTPUT", index].set_same_as(cc.inputs[0])
        if cc.outputs.has_tag("SELECT"):
            cc.outputs["SELECT"].set(INT)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self.next_output = 0

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs["OUTPUT", self.next_output].add_packet(cc.inputs[0].packet)
        if cc.outputs.has_tag("SELECT"):
            cc.outputs["SELECT"].add_packet(Packet(self.next_output, cc.input_timestamp, packet_type=INT))
        self.next_output = (self.next_output + 1) % cc.outputs.num_entries("OUTPUT")
