"""MuxCalculator: passes on one of several inputs, which one a SELECT input says."""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import StatusCode
from graph_runtime.packet import INT


class MuxCalculator(Calculator):
    """Forwards the packet of ``INPUT:k`` to ``OUTPUT``; k is the int in ``SELECT``, a stream or a side packet.

    With a SELECT stream the default handler is MuxInputStreamHandler: only the selected input has to be settled, and packets of
    the others are dropped. A SELECT side packet needs no such handler, all inputs are taken by timestamp. Nothing is sent where
    the selected input has no packet.

    Source: MediaPipe ``calculators/core/mux_calculator.cc``.

    Raises:
        GraphError: SELECT is outside the inputs (INTERNAL, in ``process``).
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        by_stream, by_side_packet = cc.inputs.has_tag("SELECT"), cc.input_side_packets.has_tag("SELECT")
        require(
            not (by_stream and by_side_packet),
            "SELECT can be connected as a stream or side packet, but not both",
            StatusCode.INVALID_ARGUMENT,
        )
        require(
            by_stream or by_side_packet,
            "SELECT must be connected, as an input stream or an input side packet",
            StatusCode.INVALID_ARGUMENT,
        )
        for index in range(cc.inputs.num_entries("INPUT")):
            cc.inputs["INPUT", index].set_any()
        cc.outputs["OUTPUT"].set_same_as(cc.inputs["INPUT"])
        if by_stream:
            cc.inputs["SELECT"].set(INT)
            cc.set_input_stream_handler("MuxInputStreamHandler")
        else:
            cc.input_side_packets["SELECT"].set(INT)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        if not cc.inputs.has_tag("SELECT"):
            select = cc.input_side_packets["SELECT"].value
        elif cc.inputs["SELECT"].is_empty():
            return
        else:
            select = cc.inputs["SELECT"].value
        count = cc.inputs.num_entries("INPUT")
        require(
            0 <= select < count,
            f"The value of select is {select}; it has to be 0 to {count - 1} (0 <= select < inputs).",
        )
        chosen = cc.inputs["INPUT", select]
        if not chosen.is_empty():
            cc.outputs["OUTPUT"].add_packet(chosen.packet)
