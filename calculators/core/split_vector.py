"""Split...VectorCalculator: sends parts of a list to its outputs."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from calculators.core.checks import require
from calculators.core.names import MOVABLE_SPLITS, MOVING_SPLITS, SPLITS
from calculators.core.vector_types import PerElement, declare, elements, per_element
from graph_runtime._pb.mediapipe.calculators.core.split_vector_calculator_pb2 import SplitVectorCalculatorOptions
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.errors import StatusCode
from graph_runtime.packet import Packet


class SplitVectorCalculator(PerElement, Calculator):
    """Sends to output i the elements of the list in input 0 that lie in the option's ``ranges[i]``, [begin, end).

    ``element_only``: the ranges have one element each, which is sent itself, not in a list. ``combine_outputs``: all ranges
    together are sent as one list to output 0; they may not overlap. Elements are of any type; subclasses fix it.

    Source: MediaPipe ``calculators/core/split_vector_calculator.h``.

    Raises:
        GraphError: the ranges do not fit the outputs or each other (when the graph is validated), or a list is shorter than the
            largest end (INTERNAL, in ``process``).
    """

    moves_elements: ClassVar[bool] = False
    """Whether each element may go to one output only: MediaPipe moves elements that cannot be copied."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(len(cc.inputs) == 1, "Exactly one input stream is required.")
        require(len(cc.outputs) > 0, "At least one output stream is required.")
        declare(cc.inputs[0], cls.vector_type)
        options = cc.options(SplitVectorCalculatorOptions)
        if cls.moves_elements or options.combine_outputs:
            _check_overlap(options)
        if options.combine_outputs:
            require(len(cc.outputs) == 1, "With combine_outputs there has to be exactly one output stream.")
        else:
            require(
                len(cc.outputs) == len(options.ranges),
                "The number of output streams should match the number of ranges specified in the CalculatorOptions.",
                StatusCode.INVALID_ARGUMENT,
            )
        for each in options.ranges:
            require(
                0 <= each.begin < each.end,
                "Indices should be non-negative and begin index should be less than the end index.",
                StatusCode.INVALID_ARGUMENT,
            )
            require(
                not options.element_only or options.combine_outputs or each.end - each.begin == 1,
                "Since element_only is true, all ranges should be of size 1.",
                StatusCode.INVALID_ARGUMENT,
            )
        sends_elements = options.element_only and not options.combine_outputs
        for index in range(len(cc.outputs)):
            declare(cc.outputs[index], cls.item_type if sends_elements else cls.vector_type)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(SplitVectorCalculatorOptions)
        self.ranges = [(each.begin, each.end) for each in options.ranges]
        self.needed = max((end for _, end in self.ranges), default=0)
        self.combines = options.combine_outputs
        self.sends_elements = options.element_only

    def process(self, cc: CalculatorContext) -> None:
        items = elements(cc.inputs[0].value, "The input")
        require(len(items) >= self.needed, f"The vector has {len(items)} elements, but the ranges need {self.needed}.")
        timestamp = cc.input_timestamp
        if self.combines:
            joined = [item for begin, end in self.ranges for item in items[begin:end]]
            cc.outputs[0].add_packet(Packet(joined, timestamp, packet_type=self.vector_type))
            return
        for (begin, end), output in zip(self.ranges, cc.outputs, strict=True):
            if self.sends_elements:
                output.add_packet(Packet(items[begin], timestamp, packet_type=self.item_type))
            else:
                output.add_packet(Packet(items[begin:end], timestamp, packet_type=self.vector_type))


def _check_overlap(options: SplitVectorCalculatorOptions) -> None:
    in_order = sorted((each.begin, each.end) for each in options.ranges)
    require(
        all(first[1] <= second[0] for first, second in pairwise(in_order)),
        "Ranges must be non-overlapping when using combine_outputs option.",
    )


class MovableSplitVectorCalculator(SplitVectorCalculator):
    """For elements that MediaPipe moves: ranges may never overlap."""

    moves_elements = True


globals().update(per_element(SplitVectorCalculator, "Split{}VectorCalculator", SPLITS))
globals().update(per_element(MovableSplitVectorCalculator, "Split{}VectorCalculator", MOVING_SPLITS))
globals().update(per_element(MovableSplitVectorCalculator, "MovableSplit{}VectorCalculator", MOVABLE_SPLITS))
