"""Executors: pools with threads, the application thread, slow nodes of the default executor, max_in_flight, full queues."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from graph_runtime import (
    CalculatorContext,
    CalculatorGraph,
    GraphError,
    GraphInputStreamAddMode,
    Packet,
    Plan,
    StatusCode,
    aio,
)
from graph_runtime._engine.run import Run
from graph_runtime._engine.throttle import Throttle

TIMEOUT_S = 20.0
APPLICATION_THREAD = 'executor { name: "" type: "ApplicationThreadExecutor" }'
TWO_THREADS = "[mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 2 }"
VARIANTS = ["", "num_threads: 1", "num_threads: 4", APPLICATION_THREAD]


def call_nodes(count: int, extra: str = "") -> str:
    """A fan-out: nodes n0, n1, ... that call the function in side packet "function", all fed by stream "in"."""
    return 'input_stream: "in" input_side_packet: "function"' + "".join(
        f'node {{ name: "n{i}" calculator: "CallFunction" input_stream: "in" output_stream: "o{i}"'
        f' input_side_packet: "FUNCTION:function" {extra} }}\n'
        for i in range(count)
    )


class Meeting:
    """A function for nodes that returns only when ``count`` of its calls are inside at the same time."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=TIMEOUT_S)

    def __call__(self, cc: CalculatorContext) -> None:
        self.barrier.wait()
        cc.outputs[0].add(cc.node_name)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_diamond_gives_the_same_packets_on_every_executor(variant: str, run_graph: Callable[..., Any]) -> None:
    text = f"""{variant} input_stream: "in"
    node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "l" }}
    node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "r" }}
    node {{ calculator: "PassThroughCalculator" input_stream: "l" input_stream: "r" output_stream: "a" output_stream: "b" }}"""
    rows = [(t, t) for t in range(300)]
    assert run_graph(text, {"in": rows}, observe=["a", "b"]) == {"a": rows, "b": rows}


def test_nodes_of_a_pool_run_at_the_same_time() -> None:
    graph = CalculatorGraph(graph_config=call_nodes(3) + "num_threads: 3")
    graph.start_run({"function": Meeting(3)})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()


def test_slow_nodes_of_the_default_executor_run_at_the_same_time() -> None:
    graph = CalculatorGraph(graph_config=call_nodes(3))
    meeting = Meeting(3)
    for _ in range(2):  # in the second run the plan remembers that they are slow
        graph.start_run({"function": meeting})
        for timestamp in range(3):
            graph.add_packet_to_input_stream("in", Packet(1), timestamp)
        graph.close()


def test_a_node_that_waits_for_another_node_does_not_hang_the_graph() -> None:
    said = threading.Event()

    def talk(cc: CalculatorContext) -> None:
        if cc.node_name == "n1":  # runs first: the higher id has the higher priority
            assert said.wait(TIMEOUT_S)
        else:
            said.set()

    graph = CalculatorGraph(graph_config=call_nodes(2))
    graph.start_run({"function": talk})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()


@pytest.mark.parametrize("variant", ["", "num_threads: 4"])
def test_a_packet_that_comes_while_a_node_is_busy_is_processed_although_nobody_waits(variant: str) -> None:
    is_busy, came = threading.Event(), threading.Event()
    came_in_time: list[bool] = []

    def be_busy(cc: CalculatorContext) -> None:
        is_busy.set()
        came_in_time.append(came.wait(TIMEOUT_S))

    graph = CalculatorGraph(
        graph_config=f"""{variant} {call_nodes(1)} input_stream: "other"
        node {{ calculator: "PassThroughCalculator" input_stream: "other" output_stream: "passed" }}"""
    )
    graph.observe_output_stream("passed", lambda _, packet: came.set())
    graph.start_run({"function": be_busy})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert is_busy.wait(TIMEOUT_S)
    graph.add_packet_to_input_stream("other", Packet(1), 0)
    assert came.wait(TIMEOUT_S)
    graph.close()
    assert came_in_time == [True]


def test_one_thread_runs_one_node_at_a_time() -> None:
    inside: list[str] = []
    most: list[int] = []

    def note(cc: CalculatorContext) -> None:
        inside.append(cc.node_name)
        most.append(len(inside))
        inside.remove(cc.node_name)

    graph = CalculatorGraph(graph_config=call_nodes(4) + "num_threads: 1")
    graph.start_run({"function": note})
    for timestamp in range(50):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close()
    assert most == [1] * 200


def test_nodes_of_a_named_executor_run_on_its_threads_only() -> None:
    names: set[tuple[str, bool]] = set()
    main = threading.get_ident()
    io = f'executor {{ name: "io" type: "ThreadPoolExecutor" options {{ {TWO_THREADS} }} }}'
    graph = CalculatorGraph(graph_config=io + call_nodes(2, 'executor: "io"'))
    graph.start_run({"function": lambda cc: names.add((cc.node_name, threading.get_ident() == main))})
    for timestamp in range(20):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
        graph.wait_until_idle()
    graph.close()
    assert names == {("n0", False), ("n1", False)}


def test_the_application_thread_executor_runs_nothing_before_a_wait() -> None:
    ran_on: list[int] = []
    graph = CalculatorGraph(graph_config=call_nodes(1) + APPLICATION_THREAD)
    graph.start_run({"function": lambda cc: ran_on.append(threading.get_ident())})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert ran_on == []
    graph.wait_until_idle()
    assert ran_on == [threading.get_ident()]
    graph.close()


def test_an_executor_of_the_callers_own() -> None:
    tasks: list[Callable[[], None]] = []
    ran: list[str] = []
    graph = CalculatorGraph(
        graph_config='executor { name: "mine" }' + call_nodes(1, 'executor: "mine"'), executors={"mine": tasks.append}
    )
    graph.start_run({"function": lambda cc: ran.append(cc.node_name)})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError) as info:
        graph.wait_until_idle(timeout_s=0)
    assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    assert ran == []
    with ThreadPoolExecutor(1) as pool:
        graph.cancel()
        while tasks:
            pool.submit(tasks.pop())
        with pytest.raises(GraphError, match="cancelled"):
            graph.wait_until_done()

        served = CalculatorGraph(
            graph_config='executor { name: "mine" }' + call_nodes(1, 'executor: "mine"'),
            executors={"mine": pool.submit},
        )
        served.start_run({"function": lambda cc: ran.append(threading.current_thread().name)})
        served.add_packet_to_input_stream("in", Packet(1), 0)
        served.close()
    assert [name.startswith("ThreadPoolExecutor") for name in ran] == [True]


def test_executors_that_the_graph_does_not_declare_are_refused() -> None:
    with pytest.raises(ValueError, match='no executor "mine" in the graph; it has: io'):
        CalculatorGraph(
            graph_config=f'executor {{ name: "io" type: "ThreadPoolExecutor" options {{ {TWO_THREADS} }} }}',
            executors={"mine": lambda task: None},
        )


def pass_through(executor: str) -> str:
    """A graph of one node that runs on an executor of the caller's; "" is the default one."""
    named = f'executor {{ name: "{executor}" }}' if executor else ""
    return f"""input_stream: "in" {named}
    node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" executor: "{executor}" }}"""


@pytest.mark.parametrize("executor", ["", "mine"])
@pytest.mark.parametrize("when", ["before the start", "during the run"])
def test_an_executor_that_takes_no_more_work_fails_the_run_and_the_next_run_may_have_another(
    executor: str, when: str
) -> None:
    pool = ThreadPoolExecutor(1)
    graph = CalculatorGraph(graph_config=pass_through(executor), executors={executor: lambda task: pool.submit(task)})
    poller = graph.add_output_stream_poller("out")
    if when == "before the start":
        pool.shutdown()
    graph.start_run()
    if when == "during the run":
        graph.wait_until_idle()
        pool.shutdown()
    with pytest.raises(RuntimeError, match=f'executor "{executor}".*after shutdown') as info:
        graph.add_packet_to_input_stream("in", Packet(1), 0)  # tells it where the run has failed by now
        graph.close()
    graph.cancel()
    with suppress(GraphError):
        graph.wait_until_done(TIMEOUT_S)
    assert info.value.code == StatusCode.UNAVAILABLE  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        graph.start_run()
        graph.add_packet_to_input_stream("in", Packet(2), 0)
        graph.close()
    assert [packet.value for packet in poller] == [2]


@pytest.mark.parametrize("executor", ["", "mine"])
def test_an_executor_that_runs_a_function_before_it_returns_is_refused(executor: str) -> None:
    graph = CalculatorGraph(graph_config=pass_through(executor), executors={executor: lambda task: task()})
    graph.start_run()
    with pytest.raises(GraphError, match="has to run the function some time later"):
        graph.add_packet_to_input_stream("in", Packet(1), 0)
        graph.close()
    graph.cancel()
    with suppress(GraphError):
        graph.wait_until_done(TIMEOUT_S)
    assert graph.snapshot().state == "failed"


def test_an_executor_is_a_function() -> None:
    with pytest.raises(TypeError, match='executor "" .* not ThreadPoolExecutor; pass its submit method'):
        CalculatorGraph(graph_config=pass_through(""), executors={"": ThreadPoolExecutor(1)})  # type: ignore[dict-item]


def test_max_in_flight_runs_calls_of_one_node_at_once_and_keeps_their_order() -> None:
    got: list[int] = []
    started = [threading.Event() for _ in range(3)]

    def last_first(cc: CalculatorContext) -> None:
        mine = int(cc.input_timestamp)
        started[mine].set()
        if mine < 2:
            assert started[mine + 1].wait(TIMEOUT_S)
        cc.outputs[0].add(mine)

    graph = CalculatorGraph(graph_config=call_nodes(1, "max_in_flight: 3") + "num_threads: 3")
    graph.observe_output_stream("o0", lambda _, packet: got.append(packet.value))
    graph.start_run({"function": last_first})
    for timestamp in range(3):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close()
    assert got == [0, 1, 2]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_failure_in_a_parallel_node_ends_the_run(variant: str) -> None:
    def fail(cc: CalculatorContext) -> None:
        raise ValueError("no")

    graph = CalculatorGraph(graph_config=call_nodes(2, "max_in_flight: 4") + variant)
    graph.start_run({"function": fail})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(ValueError, match="no"):
        graph.close()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_deferred_run_is_run_by_whoever_waits_for_it(variant: str) -> None:
    got: list[str] = []
    graph = CalculatorGraph(graph_config=call_nodes(2) + variant)
    graph.observe_output_stream("o1", lambda _, packet: got.append(packet.value))
    graph.start_run({"function": lambda cc: cc.outputs[0].add(cc.node_name)}, deferred=True)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close_all_packet_sources()
    graph.wait_until_done(TIMEOUT_S)
    assert got == ["n1"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_calculator_that_exits_fails_its_run_and_leaves_no_thread_behind(variant: str) -> None:
    def leave(cc: CalculatorContext) -> None:
        raise SystemExit(3)

    graph = CalculatorGraph(graph_config=call_nodes(2) + variant)
    for _ in range(3):
        graph.start_run({"function": leave})
        graph.add_packet_to_input_stream("in", Packet(1), 0)
        with pytest.raises(GraphError, match='Process\\(\\) for node "n1" failed: SystemExit: 3') as info:
            graph.close()
        assert (info.value.node, info.value.phase) == ("n1", "process")
        assert isinstance(info.value.__cause__, SystemExit)
    run = graph._run
    assert run is not None
    assert [pool.heap for pool in run.pools.values()] == [[]] * len(run.pools)  # nothing that a worker could pick up


TWO_INPUTS = """
max_queue_size: 1 %s
input_stream: "a" input_stream: "b"
node {
  name: "join" calculator: "PassThroughCalculator"
  input_stream: "a" input_stream: "b" output_stream: "oa" output_stream: "ob"
}
"""


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("mode", list(GraphInputStreamAddMode))
def test_a_queue_that_only_waits_for_another_input_grows(variant: str, mode: GraphInputStreamAddMode) -> None:
    graph = CalculatorGraph(graph_config=TWO_INPUTS % variant)
    got: list[int] = []
    graph.observe_output_stream("oa", lambda _, packet: got.append(packet.value))
    graph.graph_input_stream_add_mode = mode
    graph.start_run()
    for timestamp in range(6):
        graph.add_packet_to_input_stream("a", Packet(timestamp), timestamp)
        graph.wait_until_idle()
    graph.close()
    assert got == list(range(6))


JOIN_WITH_ENDLESS_SOURCE = """
%s max_queue_size: 1 input_stream: "in" input_side_packet: "n" input_side_packet: "function"
node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }
node { name: "join" calculator: "Merge" input_stream: "s" input_stream: "in" output_stream: "out" }
node { name: "slow" calculator: "CallFunction" input_stream: "s" input_side_packet: "FUNCTION:function" }
"""


def take_a_moment(cc: CalculatorContext) -> None:
    threading.Event().wait(0.001)  # most of the time is spent here, with the queue of "join" full


@pytest.mark.timeout(30)
@pytest.mark.parametrize("variant", VARIANTS)
def test_whoever_adds_gets_a_turn_although_a_source_fills_every_queue_that_grows(variant: str) -> None:
    graph = CalculatorGraph(graph_config=JOIN_WITH_ENDLESS_SOURCE % variant)
    graph.start_run({"n": -1, "function": take_a_moment})
    for timestamp in range(1, 20):
        graph.add_packet_to_input_stream("in", Packet(timestamp), 10 * timestamp)
    graph.cancel()
    with pytest.raises(GraphError, match="was cancelled"):
        graph.wait_until_done()


@pytest.mark.timeout(30)
async def test_whoever_adds_by_asyncio_gets_a_turn_too() -> None:
    with pytest.raises(asyncio.CancelledError):
        async with aio.running(Plan(JOIN_WITH_ENDLESS_SOURCE % ""), {"n": -1, "function": take_a_moment}) as run:
            for timestamp in range(1, 20):
                await run.add("in", Packet(timestamp), 10 * timestamp)
            raise asyncio.CancelledError


def test_a_full_queue_that_empties_while_others_grow_is_no_error() -> None:
    class Queue(deque[Any]):
        look: Callable[[], object] = staticmethod(lambda: None)

        def __len__(self) -> int:
            self.look()
            return super().__len__()

    plan = Plan(TWO_INPUTS % "")
    run = Run(plan, {}, [])
    (node,) = run.nodes
    first, second = Queue([1]), Queue([1])
    node.queues = [first, second]
    throttle = Throttle(1, plan.ancestors, run.nodes)
    for queue in (first, second):
        throttle.look_at(queue)
    second.clear()

    def look_once() -> None:  # as another thread that adds may do at any time
        first.look = lambda: None
        throttle.is_throttled("other")

    first.look = look_once
    assert throttle.grow() == [("a", "join", 2)]


@pytest.mark.timeout(30)
def test_the_waiting_thread_runs_sources_that_wait_for_a_pool() -> None:
    entered, release = threading.Event(), threading.Event()

    def block(cc: CalculatorContext) -> None:
        entered.set()
        assert release.wait(TIMEOUT_S)

    text = f"""{APPLICATION_THREAD} executor {{ name: "pool" type: "ThreadPoolExecutor" options {{ {TWO_THREADS} }} }}
    {call_nodes(1, 'executor: "pool"')} input_side_packet: "n"
    node {{ calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }}"""
    graph = CalculatorGraph(graph_config=text)
    poller = graph.add_output_stream_poller("s")
    graph.start_run({"function": block, "n": 3}, deferred=True)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.extend(packet.value for packet in poller), daemon=True)
    reader.start()
    assert entered.wait(TIMEOUT_S)
    while not graph._run._watchers:  # type: ignore[union-attr]  # the reader has nothing to do before the pool rests
        threading.Event().wait(0.001)
    graph.close_input_stream("in")
    release.set()
    reader.join(TIMEOUT_S)
    assert got == [0, 1, 2]


def test_report_deadlock_fails_instead_of_growing() -> None:
    graph = CalculatorGraph(graph_config=TWO_INPUTS % "report_deadlock: true")
    graph.start_run()
    graph.add_packet_to_input_stream("a", Packet(0), 0)
    with pytest.raises(
        GraphError, match='Detected a deadlock due to input throttling for input stream: "a" of a node "join"'
    ) as info:
        graph.wait_until_idle()
    assert info.value.code == StatusCode.UNAVAILABLE
    with pytest.raises(GraphError):
        graph.close()


@pytest.mark.parametrize("variant", ["", "num_threads: 2"])
def test_adding_waits_while_a_node_is_busy_and_its_queue_is_full(variant: str) -> None:
    entered, release, added = threading.Event(), threading.Event(), threading.Event()

    def block(cc: CalculatorContext) -> None:
        entered.set()
        assert release.wait(TIMEOUT_S)

    graph = CalculatorGraph(graph_config=f"max_queue_size: 2 {variant} {call_nodes(1)}")
    graph.start_run({"function": block})
    graph.add_packet_to_input_stream("in", Packet(0), 0)
    assert entered.wait(TIMEOUT_S)

    def add() -> None:
        for timestamp in range(1, 20):
            graph.add_packet_to_input_stream("in", Packet(timestamp), timestamp)
        added.set()

    adder = threading.Thread(target=add)
    adder.start()
    assert not added.is_set()
    release.set()
    assert added.wait(TIMEOUT_S)
    adder.join(TIMEOUT_S)
    graph.close()


def test_a_full_graph_refuses_when_asked_not_to_wait() -> None:
    entered, release = threading.Event(), threading.Event()

    def block(cc: CalculatorContext) -> None:
        entered.set()
        assert release.wait(TIMEOUT_S)

    graph = CalculatorGraph(graph_config=f"max_queue_size: 2 {call_nodes(1)}")
    graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
    graph.start_run({"function": block})
    graph.add_packet_to_input_stream("in", Packet(0), 0)
    assert entered.wait(TIMEOUT_S)
    with pytest.raises(GraphError, match="Graph is throttled") as info:
        for timestamp in range(1, 20):
            graph.add_packet_to_input_stream("in", Packet(timestamp), timestamp)
    assert info.value.code == StatusCode.UNAVAILABLE
    release.set()
    graph.close()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_source_is_throttled_by_a_full_queue_downstream(variant: str) -> None:
    longest = 0
    waiting: list[int] = []
    text = f"""{variant} max_queue_size: 5 input_side_packet: "n" input_side_packet: "function" input_stream: "never"
    node {{ calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }}
    node {{ calculator: "CallFunction" input_stream: "s" output_stream: "o" input_side_packet: "FUNCTION:function" }}"""

    def note(cc: CalculatorContext) -> None:
        nonlocal longest
        waiting.append(cc.inputs[0].value)
        longest = max(longest, len(graph._run.nodes[-1].queues[0]))  # type: ignore[union-attr]

    graph = CalculatorGraph(graph_config=text)
    graph.start_run({"n": 200, "function": note})
    graph.close_input_stream("never")
    graph.wait_until_done()
    assert waiting == list(range(200))
    assert longest <= 5


def test_waiting_until_idle_waits_for_sources_on_other_executors() -> None:
    got: list[int] = []
    graph = CalculatorGraph(
        graph_config="""input_stream: "in" input_side_packet: "n"
        executor { name: "" type: "ApplicationThreadExecutor" }
        executor { name: "x" type: "ThreadPoolExecutor" options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 1 } } }
        node { calculator: "CountTo" output_stream: "out" input_side_packet: "N:n" executor: "x" }"""
    )
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    graph.start_run({"n": 3})
    graph.wait_until_idle(TIMEOUT_S)
    assert got == [0, 1, 2]
    graph.close()
