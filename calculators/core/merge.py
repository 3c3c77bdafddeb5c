"""MergeCalculator: joins streams by timestamp; of several packets at one timestamp the first input's counts."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract


class MergeCalculator(Calculator):
    """Sends, at each input timestamp, the packet of the lowest untagged input that has one; types may differ.

    Source: MediaPipe ``calculators/core/merge_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(cc.inputs.num_entries("") > 0, "Needs at least one input stream")
        for index in range(cc.inputs.num_entries("")):
            cc.inputs[index].set_any()
        cc.outputs[0].set_any()
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        for port in cc.inputs:
            if not port.is_empty():
                cc.outputs[0].add_packet(port.packet)
                return
