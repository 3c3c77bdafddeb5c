"""Graphs in asyncio programs: outputs by async for, cancellation by task, coroutines as nodes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from graph_runtime import (
    STOP,
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    GraphInputStreamAddMode,
    Packet,
    Plan,
    Stop,
    aio,
)
from graph_runtime.registry import register_calculator
from graph_runtime.testing import ManualExecutor

TIMEOUT_S = 20.0
PASS_THROUGH = """input_stream: "in" output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""
CALL = """input_stream: "in" output_stream: "out" input_side_packet: "function"
node { calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function" }"""
TWO = """input_stream: "a" input_stream: "b" output_stream: "a_out" output_stream: "b_out"
node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "a_out" }
node { calculator: "PassThroughCalculator" input_stream: "b" output_stream: "b_out" }"""
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


async def test_cancelling_while_a_full_graph_has_no_room_ends_the_run_and_leaves_no_thread_waiting() -> None:
    entered, cancelled = threading.Event(), threading.Event()

    def wait_for_cancel(cc: CalculatorContext) -> None:
        cc.on_cancel(cancelled.set)
        entered.set()
        assert cancelled.wait(TIMEOUT_S)

    async def fill() -> None:
        async with aio.running(Plan("max_queue_size: 1 " + CALL), {"function": wait_for_cancel}) as run:
            for timestamp in range(100):
                added.append(timestamp)
                if len(added) == 3 * 40:  # each run has a packet at work, one in its queue, and one without room
                    all_full.set()
                await run.add("in", Packet(1), timestamp)

    added: list[int] = []
    all_full = asyncio.Event()
    tasks = [asyncio.create_task(fill()) for _ in range(40)]  # more than the event loop's pool has threads
    async with asyncio.timeout(TIMEOUT_S):
        await all_full.wait()
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError] * len(tasks)


async def test_who_gives_up_waiting_for_room_can_try_again() -> None:
    released = threading.Event()

    def wait(cc: CalculatorContext) -> None:
        assert released.wait(TIMEOUT_S)

    async with aio.running(Plan("max_queue_size: 1 " + CALL), {"function": wait}) as run:
        await run.add("in", Packet(1), 0)
        timestamp = 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                while True:
                    await run.add("in", Packet(1), timestamp)
                    timestamp += 1
        released.set()
        await run.add("in", Packet(1), timestamp)


async def test_several_outputs_are_read_at_the_same_time() -> None:
    async def read(run: aio.AsyncRun, stream: str) -> list[int]:
        return [packet.value async for packet in run.output(stream)]

    async with aio.running(Plan(TWO), outputs=["a_out", "b_out"]) as run:
        readers = asyncio.gather(read(run, "a_out"), read(run, "b_out"))
        for timestamp in range(50):
            await run.add("a", Packet(timestamp), timestamp)
            await run.add("b", Packet(-timestamp), timestamp)
        run.close_inputs()
        assert list(await readers) == [list(range(50)), [-t for t in range(50)]]


async def test_a_failure_reaches_every_reader() -> None:
    def fail(cc: CalculatorContext) -> None:
        raise LookupError("gone")

    async def read(run: aio.AsyncRun, stream: str) -> list[int]:
        return [packet.value async for packet in run.output(stream)]

    two = CALL + 'node { calculator: "PassThroughCalculator" input_stream: "out" output_stream: "out2" }'
    async with aio.running(Plan(two), {"function": fail}, outputs=["out", "out2"]) as run:
        readers = asyncio.gather(read(run, "out"), read(run, "out2"), run.wait_until_done(), return_exceptions=True)
        await run.add("in", Packet(1), 0)
        assert ["gone" in str(result) for result in await readers] == [True] * 3


async def test_who_breaks_off_goes_on_later_where_it_was() -> None:
    async with aio.running(Plan(PASS_THROUGH), outputs=["out"]) as run:
        for timestamp in range(5):
            await run.add("in", Packet(timestamp), timestamp)
        async for packet in run.output("out"):
            if packet.value == 1:
                break
    assert [packet.value async for packet in run.output("out")] == [2, 3, 4]


async def test_who_stops_to_wait_for_a_packet_can_wait_again_by_the_same_iterator() -> None:
    async with aio.running(Plan(PASS_THROUGH), outputs=["out"]) as run:
        packets = run.output("out")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(packets)
        await run.add("in", Packet("late"), 0)
        run.close_inputs()
        assert [packet.value async for packet in packets] == ["late"]
        with pytest.raises(StopAsyncIteration):
            await anext(packets)


def test_a_task_that_is_thrown_away_with_its_event_loop_cancels_its_run() -> None:
    entered, cancelled = threading.Event(), threading.Event()

    def wait_for_cancel(cc: CalculatorContext) -> None:
        cc.on_cancel(cancelled.set)
        entered.set()
        assert cancelled.wait(TIMEOUT_S)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)  # that a task is destroyed
    task = loop.create_task(aio.run(Plan(CALL), {"in": 1}, {"function": wait_for_cancel}))
    loop.run_until_complete(asyncio.to_thread(entered.wait, TIMEOUT_S))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    task.get_coro().close()  # as the garbage collector does
    assert cancelled.wait(TIMEOUT_S)


async def test_a_program_that_cancels_leaves_the_block_without_an_error() -> None:
    def wait_for_cancel(cc: CalculatorContext) -> None:
        cancelled = threading.Event()
        cc.outputs[0].add_packet(cc.inputs[0].packet)
        cc.on_cancel(cancelled.set)
        cc.flush()
        assert cancelled.wait(TIMEOUT_S)

    async with aio.running(Plan(CALL), {"function": wait_for_cancel}, outputs=["out"]) as run:
        await run.add("in", Packet("enough"), 0)
        async for packet in run.output("out"):
            assert packet.value == "enough"
            run.cancel()
            break
    with pytest.raises(GraphError, match="cancelled"):
        await run.wait_until_done()


async def test_a_task_that_is_cancelled_at_the_end_of_the_block_cancels_its_run() -> None:
    entered, cancelled = threading.Event(), threading.Event()

    def wait_for_cancel(cc: CalculatorContext) -> None:
        cc.on_cancel(cancelled.set)
        entered.set()
        assert cancelled.wait(TIMEOUT_S)

    task = asyncio.create_task(aio.run(Plan(CALL), {"in": 1}, {"function": wait_for_cancel}))
    assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_a_node_that_ignores_its_cancellation_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    entered, released = threading.Event(), threading.Event()

    def ignore(cc: CalculatorContext) -> None:
        entered.set()
        assert released.wait(TIMEOUT_S)

    async def work() -> None:
        async with aio.running(Plan(CALL), {"function": ignore}, cancel_grace_s=0) as run:
            await run.add("in", Packet(1), 0)
            assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    released.set()
    assert "a cancelled run is left behind" in caplog.text


async def test_a_second_cancellation_does_not_wait_for_a_node_that_ignores_the_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    entered, told, released = threading.Event(), threading.Event(), threading.Event()

    def ignore(cc: CalculatorContext) -> None:
        cc.on_cancel(told.set)
        entered.set()
        assert released.wait(TIMEOUT_S)

    task = asyncio.create_task(aio.run(Plan(CALL), {"in": 1}, {"function": ignore}))
    assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
    task.cancel()
    assert await asyncio.to_thread(told.wait, TIMEOUT_S)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    released.set()
    assert "a cancelled run is left behind" in caplog.text


async def test_an_exception_in_the_block_is_the_one_that_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        async with aio.running(Plan(PASS_THROUGH)) as run:
            await run.add("in", Packet(1), 0)
            raise ZeroDivisionError
    assert run.graph.snapshot().state == "failed"


async def test_streams_that_do_not_exist_leave_a_graph_as_it_was() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    with pytest.raises(GraphError, match="doesn't exist"):
        async with aio.running(graph, outputs=["out", "nope"]):
            pass
    assert graph._observers == []


def test_a_plan_runs_on_several_event_loops_at_once_and_a_graph_on_one() -> None:
    plan, graph = Plan(CALL), CalculatorGraph(graph_config=PASS_THROUGH)

    def elsewhere(cc: CalculatorContext) -> None:  # on a thread without an event loop
        (packet,) = asyncio.run(aio.run(plan, {"in": cc.inputs[0].value}, {"function": last}))["out"]
        cc.outputs[0].add(packet.value + 1)

    def last(cc: CalculatorContext) -> None:
        cc.outputs[0].add(cc.inputs[0].value * 10)

    async def first() -> int:
        async with aio.running(graph):
            with pytest.raises(GraphError, match="runs already"):
                await asyncio.to_thread(asyncio.run, aio.run(graph))
        value = (await aio.run(plan, {"in": 4}, {"function": elsewhere}))["out"][0].value
        assert isinstance(value, int)
        return value

    assert asyncio.run(first()) == 41


async def test_run_gives_each_input_a_packet_and_returns_what_comes_out() -> None:
    answer = await aio.run(Plan(TWO), {"a": 1, "b": Packet(2).at(5)})
    assert {name: [(p.value, p.timestamp) for p in packets] for name, packets in answer.items()} == {
        "a_out": [(1, 0)],
        "b_out": [(2, 5)],
    }
    assert await aio.run(Plan(TWO), outputs=["b_out"]) == {"b_out": []}


async def test_run_returns_all_that_a_source_gives_until_it_stops() -> None:
    numbers = iter(range(5000))

    def give(cc: CalculatorContext) -> Stop | None:
        number = next(numbers, None)
        if number is None:
            return STOP
        cc.outputs[0].add_packet(Packet(number).at(number))
        return None

    source = """output_stream: "out" input_side_packet: "function"
        node { calculator: "CallFunction" output_stream: "out" input_side_packet: "FUNCTION:function" }"""
    answer = await aio.run(Plan(source), side_packets={"function": give})
    assert [packet.value for packet in answer["out"]] == list(range(5000))


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
