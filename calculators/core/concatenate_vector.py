"""Concatenate...VectorCalculator: joins lists and single elements into one list."""

from __future__ import annotations

from typing import Any

from calculators.core.checks import require
from calculators.core.names import CONCATENATIONS
from calculators.core.vector_types import PerElement, declare, per_element
from graph_runtime._pb.mediapipe.calculators.core.concatenate_vector_calculator_pb2 import (
    ConcatenateVectorCalculatorOptions,
)
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import Packet


class ConcatenateVectorCalculator(PerElement, Calculator):
    """Sends, at each input timestamp, one list of what the untagged inputs have, in the order of their indexes.

    An input carries single elements or lists (also tuples); empty inputs are skipped. With the option
    ``only_emit_if_all_present`` nothing is sent where an input is empty. Elements are of any type; subclasses fix it.

    Source: MediaPipe ``calculators/core/concatenate_vector_calculator.h``.
    """

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


globals().update(per_element(ConcatenateVectorCalculator, "Concatenate{}VectorCalculator", CONCATENATIONS))
