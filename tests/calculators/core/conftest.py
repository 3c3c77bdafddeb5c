"""Runs a graph on rows of input and compares what came out, for the tests of the core calculators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import pytest

from calculators.core.names import CALCULATORS
from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    Packet,
    register_calculator,
)
from graph_runtime.timestamp import PRE_STREAM

for _name, _where in CALCULATORS.items():
    _module, _, _class = _where.partition(":")
    register_calculator(_name)(getattr(import_module(_module), _class))


@register_calculator
class SendHeader(Calculator):
    """Gives its output the header in side packet 0."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()
        cc.input_side_packets[0].set_any()

    def open(self, cc: CalculatorContext) -> None:
        cc.outputs[0].set_header(Packet(cc.input_side_packets[0].value))

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add_packet(cc.inputs[0].packet)


@register_calculator
class HeaderToPacket(Calculator):
    """Sends the header of its input as a packet at PRESTREAM."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()

    def open(self, cc: CalculatorContext) -> None:
        if not cc.inputs[0].header.is_empty():
            cc.outputs[0].add(cc.inputs[0].header.value, PRE_STREAM)

    def process(self, cc: CalculatorContext) -> None:
        pass


Rows = Sequence[tuple[Any, ...]]
Outputs = dict[str, list[tuple[int, Any]]]


def run_rows(
    graph: str,
    rows: Rows = (),
    side_packets: Mapping[str, Any] | None = None,
    *,
    observe: Sequence[str] = (),
    bounds: bool = False,
    until_idle: bool = False,
) -> tuple[Outputs, CalculatorGraph]:
    """Run a graph to its end and return what came out of the observed streams, and the graph.

    Args:
        graph: pbtxt.
        rows: ``(stream, timestamp, value)`` adds a packet, or a timestamp bound when the value is None; ``("@close", stream)``
            ends a stream. The graph is waited for after each row.
        observe: streams to look at.
        bounds: whether empty packets for settled timestamps are returned as well, as ``(timestamp, None)``.
        until_idle: return what has come out after the last row, before the inputs are closed.
    """
    runner = CalculatorGraph(graph_config=graph)
    got: Outputs = {name: [] for name in observe}

    def keep(name: str, packet: Packet) -> None:
        got[name].append((int(packet.timestamp), None if packet.is_empty() else packet.value))

    for name in observe:
        runner.observe_output_stream(name, keep, bounds)
    runner.start_run(side_packets or {})
    runner.wait_until_idle()
    for row in rows:
        if row[0] == "@close":
            runner.close_input_stream(row[1])
        else:
            stream, timestamp, value = row
            packet = value if isinstance(value, Packet) else Packet() if value is None else Packet(value)
            runner.add_packet_to_input_stream(stream, packet.at(timestamp))
        runner.wait_until_idle()
    before_close = {name: list(packets) for name, packets in got.items()}
    runner.close_all_packet_sources()
    runner.wait_until_done()
    return (before_close if until_idle else got), runner


Check = Callable[..., None]
Fails = Callable[..., GraphError]


@pytest.fixture
def run() -> Callable[..., tuple[Outputs, CalculatorGraph]]:
    """``run_rows``."""
    return run_rows


@pytest.fixture
def check() -> Check:
    """``check(graph, rows, expected, side_packets, bounds=..., until_idle=...)``: the streams in ``expected`` carry just that."""

    def compare(
        graph: str,
        rows: Rows,
        expected: Outputs,
        side_packets: Mapping[str, Any] | None = None,
        *,
        bounds: bool = False,
        until_idle: bool = False,
    ) -> None:
        got, _ = run_rows(graph, rows, side_packets, observe=list(expected), bounds=bounds, until_idle=until_idle)
        assert got == expected

    return compare


@pytest.fixture
def fails() -> Fails:
    """``fails(graph, rows, side_packets)``: the error that the graph, its start or its run ends with."""

    def run_to_error(graph: str, rows: Rows = (), side_packets: Mapping[str, Any] | None = None) -> GraphError:
        with pytest.raises(GraphError) as caught:
            run_rows(graph, rows, side_packets)
        return caught.value

    return run_to_error
