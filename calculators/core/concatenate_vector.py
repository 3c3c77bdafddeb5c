"""Concatenate...VectorCalculator: joins lists and single elements into one list."""

from __future__ import annotations

from typing import Any, ClassVar

from calculators.core.checks import require
from calculators.core.vector_types import UINT64_VECTOR, declare
from graph_runtime._pb.mediapipe.calculators.core.concatenate_vector_calculator_pb2 import (
    ConcatenateVectorCalculatorOptions,
)
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import (
    BOOL,
    BOOL_VECTOR,
    FLOAT,
    FLOAT_VECTOR,
    INT,
    INT_VECTOR,
    STRING,
    STRING_VECTOR,
    UINT64,
    Packet,
    PacketType,
)


class ConcatenateVectorCalculator(Calculator):
    """Sends, at each input timestamp, one list of what the untagged inputs have, in the order of their indexes.

    An input carries single elements or lists (also tuples); empty inputs are skipped. With the option
    ``only_emit_if_all_present`` nothing is sent where an input is empty. Elements are of any type; subclasses fix it.

    Source: MediaPipe ``calculators/core/concatenate_vector_calculator.h``.
    """

    item_type: ClassVar[PacketType | None] = None
    vector_type: ClassVar[PacketType | None] = None

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        count = cc.inputs.num_entries("")
        require(count >= 1, "At least one untagged input stream is required.")
        for index in range(count):
            if cls.item_type is None or cls.vector_type is None:
                cc.inputs[index].set_any()
            else:
                cc.inputs[index].set_one_of(cls.item_type, cls.vector_type)
        declare(cc.outputs[0], cls.vector_type)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self.needs_all = cc.options(ConcatenateVectorCalculatorOptions).only_emit_if_all_present

    def process(self, cc: CalculatorContext) -> None:
        joined: list[Any] = []
        for port in cc.inputs:
            if port.is_empty():
                if self.needs_all:
                    return
            elif isinstance(port.value, (list, tuple)):
                joined.extend(port.value)
            else:
                joined.append(port.value)
        cc.outputs[0].add_packet(Packet(joined, cc.input_timestamp, packet_type=self.vector_type))


class ConcatenateFloatVectorCalculator(ConcatenateVectorCalculator):
    """For float."""

    item_type = FLOAT
    vector_type = FLOAT_VECTOR


class ConcatenateInt32VectorCalculator(ConcatenateVectorCalculator):
    """For int."""

    item_type = INT
    vector_type = INT_VECTOR


class ConcatenateUInt64VectorCalculator(ConcatenateVectorCalculator):
    """For uint64_t."""

    item_type = UINT64
    vector_type = UINT64_VECTOR


class ConcatenateBoolVectorCalculator(ConcatenateVectorCalculator):
    """For bool."""

    item_type = BOOL
    vector_type = BOOL_VECTOR


class ConcatenateStringVectorCalculator(ConcatenateVectorCalculator):
    """For strings."""

    item_type = STRING
    vector_type = STRING_VECTOR
