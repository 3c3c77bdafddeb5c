"""BeginItemLoopCalculator and EndItemLoopCalculator: run a part of a graph once for each of several streams' packets.

As ``loop.py``, but with separate streams in the place of a list.
"""

from __future__ import annotations

from calculators.core.checks import require
from graph_runtime.calculator import Calculator, CalculatorContext
from graph_runtime.contract import CalculatorContract
from graph_runtime.packet import TIMESTAMP, Packet
from graph_runtime.timestamp import next_allowed


class BeginItemLoopCalculator(Calculator):
    """Sends the packets of ``ITEM:0``, ``ITEM:1`` ... one after another to ``ITEM``, at timestamps counted over the whole run.

    ``CLONE:i`` inputs (optional) are repeated on ``CLONE:i`` for every item. ``BATCH_END`` gets the input timestamp, a Timestamp,
    together with the last item. A settled timestamp without packets takes up one timestamp of the loop.

    Source: MediaPipe ``calculators/core/begin_item_loop_calculator.cc``.

    Raises:
        GraphError: at one timestamp some ITEM inputs have packets and others have none (INTERNAL, in ``process``).
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        require(cc.inputs.has_tag("ITEM"), "Must have at least one ITEM input")
        count = cc.inputs.num_entries("CLONE")
        require(count == cc.outputs.num_entries("CLONE"), "Number of CLONE inputs and outputs must match")
        for port in cc.inputs:
            if port.tag in ("ITEM", "CLONE"):
                port.set_any()
        cc.outputs["ITEM"].set_same_as(cc.inputs["ITEM"])
        cc.outputs["BATCH_END"].set(TIMESTAMP)
        for index in range(count):
            cc.outputs["CLONE", index].set_same_as(cc.inputs["CLONE", index])
        cc.set_process_timestamp_bounds()

    def open(self, cc: CalculatorContext) -> None:
        self.timestamp = 0

    def process(self, cc: CalculatorContext) -> None:
        items = [cc.inputs["ITEM", index].packet for index in range(cc.inputs.num_entries("ITEM"))]
        is_empty = items[0].is_empty()
        require(
            all(item.is_empty() == is_empty for item in items),
            "Cannot mix non-empty input ITEMs with empty input ITEMs",
        )
        if is_empty:
            self.timestamp += 1
        else:
            for item in items:
                cc.outputs["ITEM"].add_packet(item.at(self.timestamp))
                for index in range(cc.inputs.num_entries("CLONE")):
                    # An empty one moves the bound: the loop does not wait for it.
                    cc.outputs["CLONE", index].add_packet(cc.inputs["CLONE", index].packet.at(self.timestamp))
                self.timestamp += 1
        cc.outputs["BATCH_END"].add_packet(Packet(cc.input_timestamp, self.timestamp - 1, packet_type=TIMESTAMP))
        if is_empty:
            for output in cc.outputs:
                output.set_next_timestamp_bound(self.timestamp)


class EndItemLoopCalculator(Calculator):
    """Collects the packets of ``ITEM`` and sends them to ``ITEM:0``, ``ITEM:1`` ... when ``BATCH_END`` comes, at the time in it.

    A batch without any packet only moves the timestamp bounds past that time.

    Source: MediaPipe ``calculators/core/end_item_loop_calculator.cc``.

    Raises:
        GraphError: a batch has not as many packets as there are outputs (INTERNAL, in ``process``).
    """

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["ITEM"].set_any()
        cc.inputs["BATCH_END"].set(TIMESTAMP)
        for index in range(cc.outputs.num_entries("ITEM")):
            cc.outputs["ITEM", index].set_same_as(cc.inputs["ITEM"])

    def open(self, cc: CalculatorContext) -> None:
        self.items: list[Packet] = []

    def process(self, cc: CalculatorContext) -> None:
        if not cc.inputs["ITEM"].is_empty():
            self.items.append(cc.inputs["ITEM"].packet)
        if cc.inputs["BATCH_END"].is_empty():
            return
        timestamp = cc.inputs["BATCH_END"].value
        if not self.items:
            for output in cc.outputs:
                output.set_next_timestamp_bound(next_allowed(timestamp))
            return
        require(
            len(self.items) == len(cc.outputs),
            f"Number of input items must match number of outputs, but they are {len(self.items)} and {len(cc.outputs)}.",
        )
        for item, output in zip(self.items, cc.outputs, strict=True):
            output.add_packet(item.at(timestamp))
        self.items = []
