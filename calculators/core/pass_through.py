"""PassThroughCalculator: forwards every packet to the output with the same tag and index."""

from __future__ import annotations

from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import GraphError, StatusCode


class PassThroughCalculator(Calculator):
    """Forwards packets and headers unchanged, and side packets when it opens.

    Outputs have the tags and indexes of the inputs; output side packets, if there are any, those of the input side packets.
    Source: MediaPipe ``calculators/core/pass_through_calculator.cc``.
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        if not cc.inputs.tag_map.same_ports(cc.outputs.tag_map):
            raise GraphError(
                "Input and output streams to PassThroughCalculator must use matching tags and indexes.",
                code=StatusCode.INVALID_ARGUMENT,
            )
        for source, target in zip(cc.inputs, cc.outputs, strict=True):
            source.set_any()
            target.set_same_as(source)
        for side_packet in cc.input_side_packets:
            side_packet.set_any()
        if len(cc.output_side_packets):
            if not cc.input_side_packets.tag_map.same_ports(cc.output_side_packets.tag_map):
                raise GraphError(
                    "Input and output side packets to PassThroughCalculator must use matching tags and indexes.",
                    code=StatusCode.INVALID_ARGUMENT,
                )
            for side_source, side_target in zip(cc.input_side_packets, cc.output_side_packets, strict=True):
                side_target.set_same_as(side_source)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        for source, target in zip(cc.inputs, cc.outputs, strict=True):
            if not source.header.is_empty():
                target.set_header(source.header)
        if len(cc.output_side_packets):
            for side_source, side_target in zip(cc.input_side_packets, cc.output_side_packets, strict=True):
                side_target.set(side_source.packet)

    def process(self, cc: CalculatorContext) -> None:
        for source, target in zip(cc.inputs, cc.outputs):  # noqa: B905  # get_contract made them of equal length
            if not source.is_empty():
                target.add_packet(source.packet)
