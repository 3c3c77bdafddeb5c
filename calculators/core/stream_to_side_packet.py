"""StreamToSidePacketCalculator: makes a side packet from the one packet of a stream."""

from __future__ import annotations

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.timestamp import UNSET


class StreamToSidePacketCalculator(Calculator):
    """Makes untagged side packet 0 from the packet of input 0.

    A second packet is an error (ALREADY_EXISTS); without a packet the side packet is never made.

    Source: MediaPipe ``calculators/core/stream_to_side_packet_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.output_side_packets[0].set_same_as(cc.inputs[0])

    def process(self, cc: CalculatorContext) -> None:
        cc.output_side_packets[0].set(cc.inputs[0].packet.at(UNSET))
