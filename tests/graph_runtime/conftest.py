"""Toy calculators and a short way to run a graph, for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import (
    STOP,
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    Packet,
    register_calculator,
)


@register_calculator
class CollectCalls(Calculator):
    """Passes what it gets to the list in side packet LOG: one row per call."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for port in cc.inputs:
            port.set_any()
        for port in cc.outputs:
            port.set_any()
        cc.input_side_packets["LOG"].set(list)

    def open(self, cc: CalculatorContext) -> None:
        self.log = cc.input_side_packets["LOG"].value
        self.log.append(("open", cc.node_name, cc.input_timestamp))

    def process(self, cc: CalculatorContext) -> None:
        values = [None if port.is_empty() else port.value for port in cc.inputs]
        self.log.append(("process", cc.node_name, int(cc.input_timestamp), values))

    def close(self, cc: CalculatorContext) -> None:
        self.log.append(("close", cc.node_name, cc.input_timestamp))


@register_calculator
class CallFunction(Calculator):
    """Calls the function in side packet FUNCTION with the context, in the phase that side packet PHASE names."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for ports in (cc.inputs, cc.outputs, cc.output_side_packets):
            for port in ports:
                port.set_any()
        cc.input_side_packets["FUNCTION"].set_any()
        cc.input_side_packets["PHASE"].set(str).optional()

    def open(self, cc: CalculatorContext) -> None:
        self.function = cc.input_side_packets["FUNCTION"].value
        self.phase = cc.input_side_packets["PHASE"].value if cc.input_side_packets.has_tag("PHASE") else "process"
        if self.phase == "open":
            self.function(cc)

    def process(self, cc: CalculatorContext) -> Any:
        return self.function(cc) if self.phase == "process" else None

    def close(self, cc: CalculatorContext) -> None:
        if self.phase == "close":
            self.function(cc)


@register_calculator
class CountTo(Calculator):
    """A source: sends 0 .. n-1 at these timestamps, n from side packet N, then stops."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.outputs[0].set(int)
        cc.input_side_packets["N"].set(int)

    def open(self, cc: CalculatorContext) -> None:
        self.count = 0

    def process(self, cc: CalculatorContext) -> Any:
        if self.count == cc.input_side_packets["N"].value:
            return STOP
        cc.outputs[0].add(self.count, self.count)
        self.count += 1
        return None


@register_calculator
class Merge(Calculator):
    """Sends the first packet that is there, of any number of inputs."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for port in cc.inputs:
            port.set_any()
        cc.outputs[0].set_any()
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        for port in cc.inputs:
            if not port.is_empty():
                cc.outputs[0].add_packet(port.packet)
                return


@register_calculator
class MakeSidePacket(Calculator):
    """Makes its output side packet from its input side packet, times two."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.input_side_packets[0].set(int)
        cc.output_side_packets[0].set(int)

    def open(self, cc: CalculatorContext) -> None:
        cc.output_side_packets[0].set(cc.input_side_packets[0].value * 2)

    def process(self, cc: CalculatorContext) -> None:
        raise AssertionError("a node without streams is never processed")


@register_calculator
class Twice(Calculator):
    """Sends two packets for one: at the input timestamp doubled, and just after it."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()

    def process(self, cc: CalculatorContext) -> None:
        timestamp = int(cc.input_timestamp)
        cc.outputs[0].add(cc.inputs[0].value, 2 * timestamp)
        cc.outputs[0].add(cc.inputs[0].value, 2 * timestamp + 1)


@register_calculator
class OnlyEven(Calculator):
    """Drops packets at odd timestamps; its bound follows the input all the same."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        if int(cc.input_timestamp) % 2 == 0:
            cc.outputs[0].add_packet(cc.inputs[0].packet)


RunGraph = Callable[..., dict[str, list[tuple[int, Any]]]]


@pytest.fixture
def run_graph() -> RunGraph:
    """``run_graph(pbtxt, {"in": [(0, "a"), ...]}, side_packets, observe=[...])`` -> stream -> [(timestamp, value)]."""

    def run(
        pbtxt: str,
        inputs: dict[str, list[tuple[int, Any]]] | None = None,
        side_packets: dict[str, Any] | None = None,
        *,
        observe: list[str],
    ) -> dict[str, list[tuple[int, Any]]]:
        graph = CalculatorGraph(graph_config=pbtxt)
        got: dict[str, list[tuple[int, Any]]] = {name: [] for name in observe}
        for name in observe:
            graph.observe_output_stream(name, lambda name, p: got[name].append((int(p.timestamp), p.value)))
        graph.start_run(side_packets or {})
        rows = sorted(
            ((timestamp, name, value) for name, rows in (inputs or {}).items() for timestamp, value in rows),
            key=lambda row: row[0],
        )
        for timestamp, name, value in rows:
            graph.add_packet_to_input_stream(name, Packet(value).at(timestamp))
        for name in inputs or {}:
            graph.close_input_stream(name)
        graph.wait_until_done()
        return got

    return run
