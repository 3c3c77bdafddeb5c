"""Small calculators on lists: one element, the length, the indexes, the first elements, and a list from single streams.

MediaPipe has them once per element type (``GetDetectionVectorItemCalculator`` ...); the classes without a type take all.
"""

from __future__ import annotations

from calculators.core.checks import require
from calculators.core.names import CLIPS, ITEM_GETTERS, MERGES_TO_VECTOR, VECTOR_INDICES, VECTOR_SIZES
from calculators.core.vector_types import PerElement, declare, elements, per_element
from graph_runtime._pb.mediapipe.calculators.core.clip_vector_size_calculator_pb2 import ClipVectorSizeCalculatorOptions
from graph_runtime._pb.mediapipe.calculators.core.get_vector_item_calculator_pb2 import GetVectorItemCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import INT, INT_VECTOR, UINT64, Packet


class GetVectorItemCalculator(PerElement, Calculator):
    """Sends one element of the list in ``VECTOR`` to ``ITEM``: that at the index in ``INDEX`` (optional), else ``item_index``.

    An index beyond the list is an error, or, with the option ``output_empty_on_oob``, nothing is sent.

    Source: MediaPipe ``calculators/core/get_vector_item_calculator.h``.

    Raises:
        GraphError: neither an INDEX stream nor ``item_index`` is given (in ``open``), or the index is outside the list
            (INTERNAL, in ``process``).
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        declare(cc.inputs["VECTOR"], cls.vector_type)
        cc.inputs["INDEX"].set_one_of(INT, UINT64).optional()
        declare(cc.outputs["ITEM"], cls.item_type)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(GetVectorItemCalculatorOptions)
        require(
            cc.inputs.has_tag("INDEX") or options.HasField("item_index"),
            "An INDEX stream or the option item_index is required.",
        )
        self.item_index = options.item_index if options.HasField("item_index") else None
        self.skips_missing = options.output_empty_on_oob

    def process(self, cc: CalculatorContext) -> None:
        if cc.inputs["VECTOR"].is_empty():
            return
        items = elements(cc.inputs["VECTOR"].value, "VECTOR")
        index = self.item_index
        if cc.inputs.has_tag("INDEX") and not cc.inputs["INDEX"].is_empty():
            index = cc.inputs["INDEX"].value
        if index is None:
            return
        require(index >= 0, f"The index is {index}; it has to be 0 or more.")
        if index < len(items):
            cc.outputs["ITEM"].add_packet(Packet(items[index], cc.input_timestamp, packet_type=self.item_type))
        else:
            require(self.skips_missing, f"The index is {index}, but the vector has {len(items)} elements.")


class VectorSizeCalculator(PerElement, Calculator):
    """Sends the length of the list in ``VECTOR`` to ``SIZE``, an int.

    Source: MediaPipe ``calculators/core/vector_size_calculator.h``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        declare(cc.inputs["VECTOR"], cls.vector_type)
        cc.outputs["SIZE"].set(INT)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        size = len(elements(cc.inputs["VECTOR"].value, "VECTOR"))
        cc.outputs["SIZE"].add_packet(Packet(size, cc.input_timestamp, packet_type=INT))


class VectorIndicesCalculator(PerElement, Calculator):
    """Sends the list 0, 1, 2 ... of the indexes of the list in ``VECTOR`` to ``INDICES``.

    Source: MediaPipe ``calculators/core/vector_indices_calculator.h``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        declare(cc.inputs["VECTOR"], cls.vector_type)
        cc.outputs["INDICES"].set(INT_VECTOR)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        indices = list(range(len(elements(cc.inputs["VECTOR"].value, "VECTOR"))))
        cc.outputs["INDICES"].add_packet(Packet(indices, cc.input_timestamp, packet_type=INT_VECTOR))


class ClipVectorSizeCalculator(PerElement, Calculator):
    """Sends the first ``max_vec_size`` elements (option, default 1, or untagged side packet 0, an int) of input 0 to output 0.

    Source: MediaPipe ``calculators/core/clip_vector_size_calculator.h``.

    Raises:
        GraphError: the size is below 1 (INTERNAL).
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(len(cc.inputs) == 1 and len(cc.outputs) == 1, "Exactly one input and one output stream are required.")
        _check_size(cc.options(ClipVectorSizeCalculatorOptions).max_vec_size)
        declare(cc.inputs[0], cls.vector_type)
        cc.outputs[0].set_same_as(cc.inputs[0])
        if len(cc.input_side_packets):
            cc.input_side_packets[0].set(INT)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self.size = cc.options(ClipVectorSizeCalculatorOptions).max_vec_size
        if len(cc.input_side_packets):
            self.size = cc.input_side_packets[0].value

    def process(self, cc: CalculatorContext) -> None:
        _check_size(self.size)
        clipped = elements(cc.inputs[0].value, "The input")[: self.size]
        cc.outputs[0].add_packet(Packet(clipped, cc.input_timestamp, packet_type=self.vector_type))


def _check_size(size: int) -> None:
    require(size >= 1, f"max_vec_size should be greater than or equal to 1. It is {size}.")


class MergeToVectorCalculator(PerElement, Calculator):
    """Sends, at each input timestamp, the list of the values that the untagged inputs have.

    Source: MediaPipe ``calculators/core/merge_to_vector_calculator.h``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(cc.inputs.num_entries("") > 0, "Needs at least one input stream")
        for index in range(cc.inputs.num_entries("")):
            declare(cc.inputs[index], cls.item_type)
        declare(cc.outputs[0], cls.vector_type)
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        values = [port.value for port in cc.inputs if not port.is_empty()]
        cc.outputs[0].add_packet(Packet(values, cc.input_timestamp, packet_type=self.vector_type))


globals().update(per_element(GetVectorItemCalculator, "Get{}VectorItemCalculator", ITEM_GETTERS))
globals().update(per_element(VectorSizeCalculator, "{}VectorSizeCalculator", VECTOR_SIZES))
globals().update(per_element(VectorIndicesCalculator, "{}VectorIndicesCalculator", VECTOR_INDICES))
globals().update(per_element(ClipVectorSizeCalculator, "Clip{}VectorSizeCalculator", CLIPS))
globals().update(per_element(MergeToVectorCalculator, "Merge{}ToVectorCalculator", MERGES_TO_VECTOR))
