"""DefaultSidePacketCalculator: replaces a side packet that was not given by a default."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract


class DefaultSidePacketCalculator(Calculator):
    """Makes the side packet ``VALUE`` from ``OPTIONAL_VALUE``, or from ``DEFAULT_VALUE`` where the run was started without it.

    Source: MediaPipe ``calculators/core/default_side_packet_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(cc.input_side_packets.has_tag("DEFAULT_VALUE"), "Default value must be provided")
        require(cc.output_side_packets.has_tag("VALUE"), "The output side packet VALUE is required.")
        default = cc.input_side_packets["DEFAULT_VALUE"].set_any()
        cc.input_side_packets["OPTIONAL_VALUE"].set_same_as(default).optional()
        cc.output_side_packets["VALUE"].set_same_as(default)

    def open(self, cc: CalculatorContext) -> None:
        given = cc.input_side_packets.has_tag("OPTIONAL_VALUE")
        cc.output_side_packets["VALUE"].set(
            cc.input_side_packets["OPTIONAL_VALUE" if given else "DEFAULT_VALUE"].packet
        )
