"""MakePairCalculator: puts the packets of two streams into one."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract


class MakePairCalculator(Calculator):
    """Sends, at each input timestamp, a tuple of the two Packets of inputs 0 and 1; one of them may be empty.

    Source: MediaPipe ``calculators/core/make_pair_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        count = cc.inputs.num_entries("")
        require(count == 2, f"Two untagged input streams are required, not {count}.")
        for index in range(2):
            cc.inputs[index].set_any()
        cc.outputs[0].set(tuple)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add((cc.inputs[0].packet, cc.inputs[1].packet))
