"""ValueOrDefaultCalculator: fills the gaps of a stream with a default value, at the pace of another."""

from __future__ import annotations

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, Packet


class ValueOrDefaultCalculator(Calculator):
    """Sends to ``OUT``, at each packet of ``TICK``, the packet of ``IN``, or the untagged side packet where there is none.

    ``FLAG`` gets true at each timestamp where the default was used, else nothing. Packets of IN without a tick are dropped.

    Source: MediaPipe ``calculators/core/value_or_default_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["IN"].set_any()
        cc.inputs["TICK"].set_any()
        cc.input_side_packets[0].set_same_as(cc.inputs["IN"])
        cc.outputs["OUT"].set_same_as(cc.inputs["IN"])
        cc.outputs["FLAG"].set(BOOL)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        if not cc.inputs["IN"].header.is_empty():
            cc.outputs["OUT"].set_header(cc.inputs["IN"].header)

    def process(self, cc: CalculatorContext) -> None:
        if cc.inputs["TICK"].is_empty():
            return
        if not cc.inputs["IN"].is_empty():
            cc.outputs["OUT"].add_packet(cc.inputs["IN"].packet)
            return
        cc.outputs["OUT"].add_packet(cc.input_side_packets[0].packet.at(cc.input_timestamp))
        cc.outputs["FLAG"].add_packet(Packet(True, cc.input_timestamp, packet_type=BOOL))
