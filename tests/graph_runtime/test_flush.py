"""cc.flush(): packets that go out while ``process`` goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    Packet,
    register_calculator,
)

TIMEOUT_S = 20.0
EXECUTORS = {
    "default": "",
    "one thread": "num_threads: 1",
    "four threads": "num_threads: 4",
    "application thread": 'executor { name: "" type: "ApplicationThreadExecutor" }',
}
TWO_NODES = """
input_stream: "in"
output_stream: "middle"
output_stream: "out"
node { name: "caller" calculator: "CallFunction" input_stream: "in" output_stream: "middle"
       input_side_packet: "FUNCTION:function" }
node { calculator: "PassThroughCalculator" input_stream: "middle" output_stream: "out" }
"""


watches: list[Watch] = []
"""The last one is that of the test that runs: calculators look there."""


class Watch:
    """Notes what comes out of a stream, and waits for it."""

    def __init__(self, graph: CalculatorGraph, stream: str) -> None:
        self.packets: list[tuple[int, Any]] = []
        self._changed = threading.Condition()
        graph.observe_output_stream(stream, self._note)

    def _note(self, name: str, packet: Packet) -> None:
        with self._changed:
            self.packets.append((int(packet.timestamp), packet.value))
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.packets) >= count, TIMEOUT_S), self.packets


def run(text: str, function: Callable[[CalculatorContext], None], *timestamps: int, watch: str = "out") -> Watch:
    graph = CalculatorGraph(graph_config=text)
    seen = Watch(graph, watch)
    watches.append(seen)
    graph.start_run({"function": function})
    for timestamp in timestamps:
        graph.add_packet_to_input_stream("in", Packet("input"), timestamp)
    graph.close_all_packet_sources()
    graph.wait_until_done()
    return seen


def on_another_thread(act: Callable[[], None]) -> None:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join(TIMEOUT_S)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_observers_get_the_packets_before_process_returns(executor: str) -> None:
    def work(cc: CalculatorContext) -> None:
        for news in range(3):
            cc.outputs[0].add(news, timestamp=news)
            cc.flush()
            watches[-1].wait_for(news + 1)
        cc.outputs[0].add("end", timestamp=3)

    seen = run(f"{TWO_NODES} {EXECUTORS[executor]}", work, 0, watch="middle")
    assert seen.packets == [(0, 0), (1, 1), (2, 2), (3, "end")]


@pytest.mark.parametrize("executor", ["default", "four threads"])
@pytest.mark.parametrize("thread", ["own", "another"])
def test_nodes_downstream_run_before_process_returns(executor: str, thread: str) -> None:
    def work(cc: CalculatorContext) -> None:
        def send(news: int) -> None:
            cc.outputs[0].add(news, timestamp=news)
            cc.flush()

        for news in range(3):
            if thread == "own":
                send(news)
            else:
                on_another_thread(lambda news=news: send(news))  # type: ignore[misc]  # mypy sees no default here
            watches[-1].wait_for(news + 1)

    assert run(f"{TWO_NODES} {EXECUTORS[executor]}", work, 0).packets == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_another_thread_flushes_comes_before_what_process_sends_at_its_end(executor: str) -> None:
    def work(cc: CalculatorContext) -> None:
        def send() -> None:
            for news in range(100):
                cc.outputs[0].add(news, timestamp=news)
                cc.flush()

        on_another_thread(send)
        cc.outputs[0].add("end", timestamp=100)

    seen = run(f"{TWO_NODES} {EXECUTORS[executor]}", work, 0)
    assert [timestamp for timestamp, _ in seen.packets] == list(range(101))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_inputs_that_come_later_are_processed_as_ever(executor: str) -> None:
    def work(cc: CalculatorContext) -> None:
        cc.outputs[0].add("first")
        cc.flush()
        cc.outputs[0].add("second", timestamp=int(cc.input_timestamp) + 1)

    seen = run(f"{TWO_NODES} {EXECUTORS[executor]}", work, 0, 10, 20)
    assert [timestamp for timestamp, _ in seen.packets] == [0, 1, 10, 11, 20, 21]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_packet_out_of_order_fails_the_run(executor: str) -> None:
    def work(cc: CalculatorContext) -> None:
        cc.outputs[0].add("late", timestamp=5)
        cc.flush()
        cc.outputs[0].add("early", timestamp=4)
        cc.flush()

    with pytest.raises(GraphError, match="Packet timestamp mismatch") as caught:
        run(f"{TWO_NODES} {EXECUTORS[executor]}", work, 0)
    assert caught.value.node == "caller"


def test_a_flush_after_the_call_or_the_run_does_nothing() -> None:
    contexts: list[CalculatorContext] = []
    seen = run(TWO_NODES, contexts.append, 0, 1)
    contexts[0].flush()
    assert seen.packets == []


@register_calculator
class FlushEverywhere(Calculator):
    """Sends in ``open`` and ``close``, where a flush has nothing to do."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()

    def open(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add("open", timestamp=0)
        cc.flush()

    def process(self, cc: CalculatorContext) -> None:
        pass

    def close(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add("close", timestamp=9)
        cc.flush()


def test_a_flush_in_open_and_close_changes_nothing() -> None:
    text = 'input_stream: "in" output_stream: "out" node { calculator: "FlushEverywhere" input_stream: "in" output_stream: "out" }'
    graph = CalculatorGraph(graph_config=text)
    seen = Watch(graph, "out")
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), 1)
    graph.close_all_packet_sources()
    graph.wait_until_done()
    assert seen.packets == [(0, "open"), (9, "close")]


def test_of_calls_that_run_at_once_the_first_alone_sends_early() -> None:
    second_has_flushed, first_is_out = threading.Event(), threading.Event()

    def work(cc: CalculatorContext) -> None:
        timestamp = int(cc.input_timestamp)
        if timestamp == 0:
            assert second_has_flushed.wait(TIMEOUT_S)
            assert watches[-1].packets == []
            cc.outputs[0].add("a")
            cc.flush()
            watches[-1].wait_for(1)
            first_is_out.set()
        else:
            cc.outputs[0].add("b")
            cc.flush()
            second_has_flushed.set()
            assert first_is_out.wait(TIMEOUT_S)

    text = TWO_NODES.replace('name: "caller"', 'name: "caller" max_in_flight: 2')
    assert run(f"{text} num_threads: 4", work, 0, 1).packets == [(0, "a"), (1, "b")]


@register_calculator
class FlushInCoroutine(Calculator):
    """A coroutine that has news on the way."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()

    async def process(self, cc: CalculatorContext) -> None:
        for news in range(3):
            cc.outputs[0].add(news, timestamp=news)
            cc.flush()
            await asyncio.to_thread(watches[-1].wait_for, news + 1)


def test_a_coroutine_may_flush_too() -> None:
    text = TWO_NODES.replace("CallFunction", "FlushInCoroutine").replace('input_side_packet: "FUNCTION:function"', "")
    assert run(text, lambda cc: None, 0).packets == [(0, 0), (1, 1), (2, 2)]


@register_calculator
class FlushingSource(Calculator):
    """Sends two packets in one call."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.outputs[0].set_any()

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add("a", timestamp=0)
        cc.flush()
        watches[-1].wait_for(1)
        cc.outputs[0].add("b", timestamp=1)
        cc.outputs[0].close()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_source_may_flush_too(executor: str) -> None:
    text = f'output_stream: "out" node {{ calculator: "FlushingSource" output_stream: "out" }} {EXECUTORS[executor]}'
    graph = CalculatorGraph(graph_config=text)
    watches.append(seen := Watch(graph, "out"))
    graph.start_run()
    graph.wait_until_done()
    assert seen.packets == [(0, "a"), (1, "b")]


def test_after_a_refused_flush_no_node_downstream_is_called_any_more() -> None:
    log: list[Any] = []

    def send_the_past(cc: CalculatorContext) -> None:
        if cc.input_timestamp == 20:
            cc.outputs[0].add("too late", 5)
            cc.flush()
        cc.outputs[0].add("in order")

    graph = CalculatorGraph(
        graph_config="""input_stream: "in" input_side_packet: "function" input_side_packet: "log"
        executor { name: "" type: "ApplicationThreadExecutor" }
        node { calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function" }
        node { name: "after" calculator: "CollectCalls" input_stream: "out" input_side_packet: "LOG:log" }"""
    )
    graph.start_run({"function": send_the_past, "log": log})
    for timestamp in (10, 20):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    with pytest.raises(GraphError, match="Packet timestamp mismatch"):
        graph.wait_until_idle()
    assert [row for row in log if row[0] == "process"] == [("process", "after", 10, ["in order"])]
