"""AddHeaderCalculator: gives a stream a header."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import StatusCode
from graph_runtime.packet import Packet
from graph_runtime.timestamp import UNSET


class AddHeaderCalculator(Calculator):
    """Forwards ``DATA`` to the untagged output, whose header is that of the input stream ``HEADER``, or the side packet ``HEADER``.

    Exactly one of the two is given. No packets may come on the stream HEADER.

    Source: MediaPipe ``calculators/core/add_header_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["HEADER"].set_none().optional()
        cc.input_side_packets["HEADER"].set_any().optional()
        cc.inputs["DATA"].set_any()
        cc.outputs[0].set_same_as(cc.inputs["DATA"])
        require(
            cc.inputs.has_tag("HEADER") != cc.input_side_packets.has_tag("HEADER"),
            "Header must be provided via exactly one of side input and input stream",
            StatusCode.INVALID_ARGUMENT,
        )
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        header = Packet()
        if cc.inputs.has_tag("HEADER"):
            header = cc.inputs["HEADER"].header
        elif cc.input_side_packets.has_tag("HEADER"):
            header = cc.input_side_packets["HEADER"].packet.at(UNSET)
        if not header.is_empty():
            cc.outputs[0].set_header(header)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add_packet(cc.inputs["DATA"].packet)
