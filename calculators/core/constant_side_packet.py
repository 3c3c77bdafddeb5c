"""ConstantSidePacketCalculator: makes side packets from values that stand in the graph."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import Message

from calculators.core.checks import require
from graph_runtime._pb.mediapipe.calculators.core.constant_side_packet_calculator_pb2 import (
    ConstantSidePacketCalculatorOptions,
)
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import (
    BOOL,
    DOUBLE,
    FLOAT,
    FLOAT_VECTOR,
    INT,
    INT64,
    INT_VECTOR,
    STRING,
    STRING_VECTOR,
    UINT64,
    Packet,
    PacketType,
)

_TYPES: Final = {
    "int_value": INT,
    "int64_value": INT64,
    "uint64_value": UINT64,
    "float_value": FLOAT,
    "double_value": DOUBLE,
    "bool_value": BOOL,
    "string_value": STRING,
    "classification_list_value": PacketType("::mediapipe::ClassificationList", Message),
    "landmark_list_value": PacketType("::mediapipe::LandmarkList", Message),
    "matrix_data_value": PacketType("mediapipe::MatrixData", Message),
    "time_series_header_value": PacketType("mediapipe::TimeSeriesHeader", Message),
}
_VECTORS: Final = {
    "string_vector_value": (STRING_VECTOR, "string_value"),
    "float_vector_value": (FLOAT_VECTOR, "float_value"),
    "int_vector_value": (INT_VECTOR, "int_value"),
}


class ConstantSidePacketCalculator(Calculator):
    """Makes the output side packets ``PACKET:0``, ``PACKET:1`` ... from the option ``packet``, one entry each.

    The field that is set decides the type; messages (``classification_list_value`` ...) are passed as they are.

    Source: MediaPipe ``calculators/core/constant_side_packet_calculator.cc``.

    Raises:
        GraphError: there are not as many entries as side packets (INTERNAL), or an entry has no value (INVALID_ARGUMENT).
    """

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        entries = cc.options(ConstantSidePacketCalculatorOptions).packet
        require(
            cc.output_side_packets.num_entries("PACKET") == len(entries),
            "Number of output side packets has to be same as number of packets configured in options.",
        )
        for index, entry in enumerate(entries):
            packet_type, _ = _typed_value(entry)
            cc.output_side_packets["PACKET", index].set(packet_type)

    def open(self, cc: CalculatorContext) -> None:
        for index, entry in enumerate(cc.options(ConstantSidePacketCalculatorOptions).packet):
            packet_type, value = _typed_value(entry)
            cc.output_side_packets["PACKET", index].set(Packet(value, packet_type=packet_type))


def _typed_value(entry: ConstantSidePacketCalculatorOptions.ConstantSidePacket) -> tuple[PacketType, Any]:
    """The type and the value of one entry."""
    field = entry.WhichOneof("value")
    if field is None:
        raise GraphError("None of supported values were specified in options.", code=StatusCode.INVALID_ARGUMENT)
    value = getattr(entry, field)
    if field in _VECTORS:
        packet_type, elements = _VECTORS[field]
        return packet_type, list(getattr(value, elements))
    return _TYPES[field], value
