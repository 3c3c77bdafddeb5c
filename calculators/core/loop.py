"""BeginLoop...Calculator and EndLoop...Calculator: run a part of a graph once for each element of a list.

::

    list @t -> BeginLoop -ITEM-> the part of the graph -> ITEM- EndLoop -> list @t
                  |                                             |
                  +------------------- BATCH_END ---------------+

Between the two, packets have timestamps of their own, counted 0, 1, 2 ... over the whole run.
"""

from __future__ import annotations

from calculators.core.checks import require
from calculators.core.names import BEGIN_LOOPS, END_LOOPS
from calculators.core.vector_types import PerElement, declare, elements, per_element
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import TIMESTAMP, Packet
from graph_runtime.timestamp import next_allowed


class BeginLoopCalculator(PerElement, Calculator):
    """Sends the elements of the list in ``ITERABLE`` one by one to ``ITEM``; elements of any type; subclasses fix it.

    ``CLONE:i`` inputs (optional) are repeated on ``CLONE:i`` for every element. ``BATCH_END`` gets the list's timestamp, a
    Timestamp, together with the last element. A list without elements, or a settled timestamp without a list, takes up one
    timestamp of the loop, at which only BATCH_END has a packet. ``TICK`` (optional, any type) is not needed any more.

    Source: MediaPipe ``calculators/core/begin_loop_calculator.h``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["TICK"].set_any().optional()
        require(cc.inputs.has_tag("ITERABLE"), "The input stream ITERABLE is required.")
        require(cc.outputs.has_tag("ITEM"), "The output stream ITEM is required.")
        require(cc.outputs.has_tag("BATCH_END"), "The output stream BATCH_END is required.")
        declare(cc.inputs["ITERABLE"], cls.vector_type)
        declare(cc.outputs["ITEM"], cls.item_type)
        cc.outputs["BATCH_END"].set(TIMESTAMP)
        count = cc.inputs.num_entries("CLONE")
        require(count == cc.outputs.num_entries("CLONE"), "The number of CLONE inputs and outputs must match.")
        for index in range(count):
            cc.inputs["CLONE", index].set_any()
            cc.outputs["CLONE", index].set_same_as(cc.inputs["CLONE", index])
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        self.timestamp = 0

    def process(self, cc: CalculatorContext) -> None:
        iterable = cc.inputs["ITERABLE"]
        items = [] if iterable.is_empty() else elements(iterable.value, "ITERABLE")
        for item in items:
            cc.outputs["ITEM"].add_packet(Packet(item, self.timestamp, packet_type=self.item_type))
            for index in range(cc.inputs.num_entries("CLONE")):
                clone = cc.inputs["CLONE", index]
                if not clone.is_empty():
                    cc.outputs["CLONE", index].add_packet(clone.packet.at(self.timestamp))
            self.timestamp += 1
        if not items:
            self.timestamp += 1
        cc.outputs["BATCH_END"].add_packet(Packet(cc.input_timestamp, self.timestamp - 1, packet_type=TIMESTAMP))
        if not items:
            for output in cc.outputs:
                output.set_next_timestamp_bound(self.timestamp)


class EndLoopCalculator(PerElement, Calculator):
    """Collects the packets of ``ITEM`` and sends them as one list to ``ITERABLE`` when ``BATCH_END`` comes, at the time in it.

    A batch without any packet only moves the timestamp bound past that time. Elements are of any type; subclasses fix it.

    Source: MediaPipe ``calculators/core/end_loop_calculator.h``.
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(cc.inputs.has_tag("BATCH_END"), "Missing BATCH_END tagged input_stream.")
        require(cc.inputs.has_tag("ITEM"), "The input stream ITEM is required.")
        require(cc.outputs.has_tag("ITERABLE"), "The output stream ITERABLE is required.")
        cc.inputs["BATCH_END"].set(TIMESTAMP)
        declare(cc.inputs["ITEM"], cls.item_type)
        declare(cc.outputs["ITERABLE"], cls.vector_type)

    def open(self, cc: CalculatorContext) -> None:
        self.items: list[object] = []

    def process(self, cc: CalculatorContext) -> None:
        if not cc.inputs["ITEM"].is_empty():
            self.items.append(cc.inputs["ITEM"].value)
        if cc.inputs["BATCH_END"].is_empty():
            return
        timestamp = cc.inputs["BATCH_END"].value
        if self.items:
            cc.outputs["ITERABLE"].add_packet(Packet(self.items, timestamp, packet_type=self.vector_type))
            self.items = []
        else:
            cc.outputs["ITERABLE"].set_next_timestamp_bound(next_allowed(timestamp))


globals().update(per_element(BeginLoopCalculator, "BeginLoop{}Calculator", BEGIN_LOOPS))
globals().update(per_element(EndLoopCalculator, "EndLoop{}Calculator", END_LOOPS))
