"""PacketInnerJoinCalculator: passes packets on only at timestamps where every input has one."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract


class PacketInnerJoinCalculator(Calculator):
    """Forwards untagged inputs to the untagged outputs of the same index when none of them is empty.

    Often used with FixedSizeInputStreamHandler.

    Source: MediaPipe ``calculators/core/packet_inner_join_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(len(cc.inputs) == len(cc.outputs), "The number of input and output streams must match.")
        for index in range(len(cc.inputs)):
            cc.inputs[index].set_any()
            cc.outputs[index].set_same_as(cc.inputs[index])
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        if any(port.is_empty() for port in cc.inputs):
            return
        for source, target in zip(cc.inputs, cc.outputs, strict=True):
            target.add_packet(source.packet)
