"""NonZeroCalculator: tells whether a number is not zero."""

from __future__ import annotations

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import BOOL, INT, Packet


class NonZeroCalculator(Calculator):
    """Sends, for each int in ``INPUT``, 1 or 0 to ``OUTPUT`` and true or false to ``OUTPUT_BOOL``; both are optional.

    Source: MediaPipe ``calculators/core/non_zero_calculator.cc``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["INPUT"].set(INT)
        cc.outputs["OUTPUT"].set(INT).optional()
        cc.outputs["OUTPUT_BOOL"].set(BOOL).optional()
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        is_non_zero = cc.inputs["INPUT"].value != 0
        if cc.outputs.has_tag("OUTPUT"):
            cc.outputs["OUTPUT"].add_packet(Packet(int(is_non_zero), cc.input_timestamp, packet_type=INT))
        if cc.outputs.has_tag("OUTPUT_BOOL"):
            cc.outputs["OUTPUT_BOOL"].add_packet(Packet(is_non_zero, cc.input_timestamp, packet_type=BOOL))
