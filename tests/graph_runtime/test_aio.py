"""Graphs in asyncio programs: outputs by async for, cancellation by task, coroutines as nodes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    GraphInputStreamAddMode,
    Packet,
    Plan,
    aio,
)
from graph_runtime.registry import register_calculator
from graph_runtime.testing import ManualExecutor

TIMEOUT_S = 20.0
PASS_THROUGH = """input_stream: "in"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""
CALL = """input_stream: "in" input_side_packet: "function"
node { calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function" }"""
COROUTINE = """input_stream: "in" input_side_packet: "function"
node { name: "co" calculator: "CallCoroutine" input_stream: "in" output_stream: "out"
       input_side_packet: "FUNCTION:function" max_in_flight: 3 }"""


@register_calculator
class CallCoroutine(Calculator):
    """Awaits the coroutine function in side packet FUNCTION."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()
        cc.input_side_packets["FUNCTION"].set_any()

    async def process(self, cc: CalculatorContext) -> Any:
        return await cc.input_side_packets["FUNCTION"].value(cc)


async def test_packets_come_out_in_order_while_more_go_in() -> None:
    got = []
    async with aio.running(Plan(PASS_THROUGH), outputs=["out"]) as run:
        for timestamp in range(500):
            await run.add("in", Packet(timestamp), timestamp)
        run.close_inputs()
        async for packet in run.output("out"):
            got.append(packet.value)
    assert got == list(range(500))


@pytest.mark.timeout(20)
async def test_a_graph_of_the_application_thread_runs_beside_the_event_loop() -> None:
    ran_on: list[int] = []
    plan = Plan(CALL + ' executor { name: "" type: "ApplicationThreadExecutor" }')

    def note(cc: CalculatorContext) -> None:
        ran_on.append(threading.get_ident())
        cc.outputs[0].add_packet(cc.inputs[0].packet)

    async with aio.running(plan, {"function": note}, outputs=["out"]) as run:
        await run.add("in", Packet(1), 0)
        run.close_inputs()
        assert [packet.value async for packet in run.output("out")] == [1]
    assert threading.get_ident() not in ran_on


async def test_a_graph_is_afterwards_as_it_was() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    async with aio.running(graph, outputs=["out"]) as first:
        pass
    assert graph.graph_input_stream_add_mode == GraphInputStreamAddMode.WAIT_TILL_NOT_FULL
    async with aio.running(graph, outputs=["out"]) as second:
        await second.add("in", Packet(1), 0)
    assert [packet.value async for packet in second.output("out")] == [1]
    assert [packet.value async for packet in first.output("out")] == []


async def test_leaving_the_block_closes_the_graph() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    async with aio.running(graph) as run:
        await run.add("in", Packet(1), 0)
    with pytest.raises(GraphError, match="before StartRun"):
        graph.add_packet_to_input_stream("in", Packet(1), 1)


async def test_a_failure_reaches_the_reader_and_the_block() -> None:
    def fail(cc: CalculatorContext) -> None:
        raise LookupError("gone")

    with pytest.raises(GraphError, match="gone"):
        async with aio.running(Plan(CALL), {"function": fail}, outputs=["out"]) as run:
            await run.add("in", Packet(1), 0)
            async for _ in run.output("out"):
                pass
    with pytest.raises(GraphError, match="gone"):
        async with aio.running(Plan(CALL), {"function": fail}) as run:
            await run.add("in", Packet(1), 0)


async def test_a_cancelled_task_cancels_its_run() -> None:
    entered, cancelled = threading.Event(), threading.Event()

    def wait_for_cancel(cc: CalculatorContext) -> None:
        cc.on_cancel(cancelled.set)
        entered.set()
        assert cancelled.wait(TIMEOUT_S)

    async def work() -> None:
        async with aio.running(Plan(CALL), {"function": wait_for_cancel}) as run:
            await run.add("in", Packet(1), 0)
            run.close_inputs()
            await run.wait_until_done()

    task = asyncio.create_task(work())
    assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_an_output_that_was_not_asked_for_is_named() -> None:
    async with aio.running(Plan(PASS_THROUGH), outputs=["out"]) as run:
        with pytest.raises(ValueError, match='"in" is not among the outputs that running\\(\\) was asked for: out'):
            async for _ in run.output("in"):
                pass


async def test_coroutines_run_on_the_callers_loop_at_once_and_stay_in_order() -> None:
    loop = asyncio.get_running_loop()
    events = [asyncio.Event() for _ in range(3)]

    async def last_first(cc: CalculatorContext) -> None:
        assert asyncio.get_running_loop() is loop
        mine = int(cc.input_timestamp)
        events[mine].set()
        if mine < 2:
            await events[mine + 1].wait()
        cc.outputs[0].add(mine)

    got = []
    async with aio.running(Plan(COROUTINE), {"function": last_first}, outputs=["out"]) as run:
        for timestamp in range(3):
            await run.add("in", Packet(0), timestamp)
        run.close_inputs()
        async for packet in run.output("out"):
            got.append(packet.value)
    assert got == [0, 1, 2]


@pytest.mark.parametrize("variant", ["", "num_threads: 1", 'executor { name: "" type: "ApplicationThreadExecutor" }'])
def test_coroutines_of_a_graph_without_a_loop_run_in_the_background(variant: str) -> None:
    async def square(cc: CalculatorContext) -> None:
        await asyncio.sleep(0)
        cc.outputs[0].add(cc.inputs[0].value ** 2)

    got: list[int] = []
    graph = CalculatorGraph(graph_config=COROUTINE + variant)
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    graph.start_run({"function": square})
    for timestamp in range(20):
        graph.add_packet_to_input_stream("in", Packet(timestamp), timestamp)
    graph.close()
    assert got == [t * t for t in range(20)]


def test_a_coroutine_that_raises_fails_the_run() -> None:
    async def fail(cc: CalculatorContext) -> None:
        raise ValueError("in the coroutine")

    graph = CalculatorGraph(graph_config=COROUTINE)
    graph.start_run({"function": fail})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(ValueError, match='Process\\(\\) for node "co" failed: in the coroutine'):
        graph.close()


def test_cancelling_a_run_cancels_its_coroutines() -> None:
    entered = threading.Event()
    ended: list[str] = []

    async def wait_for_ever(cc: CalculatorContext) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    graph = CalculatorGraph(graph_config=COROUTINE)
    graph.start_run({"function": wait_for_ever})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    with pytest.raises(GraphError, match="cancelled"):
        graph.wait_until_done(TIMEOUT_S)
    assert ended == ["cancelled"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_coroutine_that_exits_fails_its_run_and_not_the_event_loop(kind: type[BaseException]) -> None:
    async def leave(cc: CalculatorContext) -> None:
        raise kind

    async def go_on(cc: CalculatorContext) -> None:
        await asyncio.sleep(0)

    graph = CalculatorGraph(graph_config=COROUTINE)
    graph.start_run({"function": leave})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises((GraphError, KeyboardInterrupt)):
        graph.close()
    assert "failed" in graph.snapshot().errors[0]
    other = CalculatorGraph(graph_config=COROUTINE)
    other.start_run({"function": go_on})
    other.add_packet_to_input_stream("in", Packet(1), 0)
    other.close()


def test_a_run_ends_when_one_coroutine_exits_and_others_end_at_the_same_time() -> None:
    all_begun = threading.Event()

    async def leave_first(cc: CalculatorContext) -> None:
        await asyncio.to_thread(all_begun.wait, TIMEOUT_S)
        if cc.input_timestamp == 0:
            raise KeyboardInterrupt

    manual = ManualExecutor()
    graph = CalculatorGraph(graph_config=COROUTINE, executors={"": manual.submit})
    graph.start_run({"function": leave_first})
    for timestamp in range(3):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    manual.run_until_idle()
    all_begun.set()
    assert graph._run is not None
    while len(graph._run.inbox) < 3:  # until the coroutines have ended, on the background event loop
        threading.Event().wait(0.001)
    manual.run_until_idle()
    with pytest.raises(GraphError, match="failed: KeyboardInterrupt"):
        graph.wait_until_done(timeout_s=0)
