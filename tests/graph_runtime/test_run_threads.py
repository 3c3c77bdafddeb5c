"""Which thread runs what: waiting, workers, cancellation, and calls from inside calculators and callbacks."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import pytest

from calculators.core.pass_through import PassThroughCalculator
from graph_runtime import CalculatorContext, CalculatorGraph, GraphError, Packet, Plan, StatusCode, register_calculator

APPLICATION_THREAD = 'executor { name: "" type: "ApplicationThreadExecutor" }'
CALL = """
input_stream: "in"
output_stream: "out"
node { name: "caller" calculator: "CallFunction" input_stream: "in" output_stream: "out"
       input_side_packet: "FUNCTION:function" }
"""
TIMEOUT_S = 20.0


def started(function: Any) -> CalculatorGraph:
    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": function})
    return graph


def test_adding_does_not_run_user_code_on_the_calling_thread() -> None:
    ran_on: list[int] = []
    ran = threading.Event()

    def note(cc: CalculatorContext) -> None:
        ran_on.append(threading.get_ident())
        ran.set()

    graph = started(note)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert ran.wait(TIMEOUT_S)  # nobody waits for the graph, so a worker ran it
    assert ran_on != [threading.get_ident()]
    graph.close()


def test_the_waiting_thread_helps() -> None:
    ran_on: set[int] = set()
    graph = started(lambda cc: ran_on.add(threading.get_ident()))
    graph.wait_until_idle()
    for timestamp in range(200):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
        graph.wait_until_idle()
    graph.close()
    assert threading.get_ident() in ran_on


def test_adding_returns_while_a_node_is_busy() -> None:
    entered, release = threading.Event(), threading.Event()

    def block(cc: CalculatorContext) -> None:
        entered.set()
        assert release.wait(TIMEOUT_S)

    graph = started(block)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert entered.wait(TIMEOUT_S)
    graph.add_packet_to_input_stream("in", Packet(2), 1)  # returns although the node is inside process()
    with pytest.raises(GraphError, match="has not ended within 0 s") as info:
        graph.wait_until_done(timeout_s=0)
    assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    release.set()
    graph.close()


def test_packets_from_several_threads_are_all_delivered() -> None:
    text = "".join(f'input_stream: "s{i}"\n' for i in range(4)) + "".join(
        f'node {{ calculator: "PassThroughCalculator" input_stream: "s{i}" output_stream: "o{i}" }}\n' for i in range(4)
    )
    graph = CalculatorGraph(graph_config=text)
    got: dict[str, list[int]] = {f"o{i}": [] for i in range(4)}
    for name in got:
        graph.observe_output_stream(name, lambda name, packet: got[name].append(packet.value))
    graph.start_run()

    def feed(stream: str) -> None:
        for timestamp in range(500):
            graph.add_packet_to_input_stream(stream, Packet(timestamp), timestamp)

    threads = [threading.Thread(target=feed, args=(f"s{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    graph.close()
    assert got == {name: list(range(500)) for name in got}


def test_cancel_tells_a_running_call_and_ends_the_run() -> None:
    entered, told = threading.Event(), threading.Event()
    saw: list[bool] = []

    def wait_for_cancel(cc: CalculatorContext) -> None:
        cc.on_cancel(told.set)
        entered.set()
        assert told.wait(TIMEOUT_S)
        saw.append(cc.cancelled)

    graph = started(wait_for_cancel)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.add_packet_to_input_stream("in", Packet(2), 1)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    graph.cancel()
    with pytest.raises(GraphError) as info:
        graph.wait_until_done()
    assert info.value.code == StatusCode.CANCELLED
    assert saw == [True]  # the second packet was never processed


def test_on_cancel_after_cancel_calls_at_once_and_a_removed_callback_is_not_called() -> None:
    calls: list[str] = []
    entered, go_on = threading.Event(), threading.Event()

    def work(cc: CalculatorContext) -> None:
        remove = cc.on_cancel(lambda: calls.append("removed"))
        remove()
        entered.set()
        assert go_on.wait(TIMEOUT_S)
        cc.on_cancel(lambda: calls.append("late"))

    graph = started(work)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    go_on.set()
    with pytest.raises(GraphError):
        graph.wait_until_done()
    assert calls == ["late"]


def test_one_function_left_twice_is_called_twice_and_removed_once() -> None:
    calls: list[str] = []
    entered, go_on = threading.Event(), threading.Event()

    def told() -> None:
        calls.append("told")

    def work(cc: CalculatorContext) -> None:
        for _ in range(3):
            remove = cc.on_cancel(told)
        remove()
        entered.set()
        assert go_on.wait(TIMEOUT_S)

    graph = started(work)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    go_on.set()
    with pytest.raises(GraphError):
        graph.wait_until_done()
    assert calls == ["told", "told"]


def test_an_endless_source_can_be_cancelled() -> None:
    graph = CalculatorGraph(
        graph_config='input_side_packet: "n" node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
    )
    running = threading.Event()
    graph.observe_output_stream("s", lambda *_: running.set())
    graph.start_run({"n": -1})
    assert running.wait(TIMEOUT_S)
    graph.cancel()
    with pytest.raises(GraphError) as info:
        graph.wait_until_done(TIMEOUT_S)
    assert info.value.code == StatusCode.CANCELLED


def test_waiting_inside_a_node_is_refused_instead_of_hanging() -> None:
    holder: list[CalculatorGraph] = []
    graph = started(lambda cc: holder[0].wait_until_idle())
    holder.append(graph)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError, match="it would wait for itself"):
        graph.close()


def test_a_callback_may_feed_the_graph() -> None:
    got: list[int] = []
    graph = CalculatorGraph(graph_config=CALL)

    def feed(name: str, packet: Packet) -> None:
        got.append(packet.value)
        if packet.value < 5:
            graph.add_packet_to_input_stream("in", Packet(packet.value + 1), packet.value + 1)

    graph.observe_output_stream("out", feed)
    graph.start_run({"function": lambda cc: cc.outputs[0].add_packet(cc.inputs[0].packet)})
    graph.add_packet_to_input_stream("in", Packet(0), 0)
    graph.wait_until_idle()
    graph.close()
    assert got == [0, 1, 2, 3, 4, 5]


def test_keyboard_interrupt_in_a_node_reaches_the_waiting_thread_and_ends_the_run() -> None:
    main = threading.get_ident()

    def interrupt(cc: CalculatorContext) -> None:
        if threading.get_ident() == main:
            raise KeyboardInterrupt

    graph = started(interrupt)
    with pytest.raises(KeyboardInterrupt):
        for timestamp in range(100_000):  # until this thread is the one that runs the node
            graph.add_packet_to_input_stream("in", Packet(1), timestamp)
            graph.wait_until_idle()
    assert graph.has_error()
    graph.start_run({"function": lambda cc: None})
    graph.close()


@pytest.mark.parametrize("deferred", [False, True])
def test_a_wait_with_a_time_limit_ends_although_a_node_does_not(deferred: bool) -> None:
    release = threading.Event()
    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": lambda cc: release.wait(TIMEOUT_S) and None}, deferred=deferred)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    for wait in (graph.wait_until_idle, graph.wait_until_done, graph.wait_for_observed_output):
        with pytest.raises(GraphError) as info:
            wait(timeout_s=0.01)
        assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    assert not release.is_set()
    release.set()
    graph.close()


@pytest.mark.parametrize("executor", ["", "num_threads: 2", APPLICATION_THREAD])
def test_a_wait_with_a_time_limit_ends_although_a_source_does_not(executor: str) -> None:
    graph = CalculatorGraph(
        graph_config=f'{executor} input_side_packet: "n" '
        'node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
    )
    graph.start_run({"n": -1})
    for wait in (graph.wait_until_idle, graph.wait_until_done):
        with pytest.raises(GraphError) as info:
            wait(timeout_s=0.01)
        assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    graph.cancel()
    with pytest.raises(GraphError, match="was cancelled"):
        graph.wait_until_done(TIMEOUT_S)


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("executor", ["", APPLICATION_THREAD])
def test_a_full_graph_with_an_endless_source_takes_more_when_it_has_room(executor: str, deferred: bool) -> None:
    graph = CalculatorGraph(
        graph_config=f'{executor} max_queue_size: 1 input_stream: "in" input_side_packet: "n" '
        'node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
        'node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }'
    )
    graph.start_run({"n": -1}, deferred=deferred)
    for timestamp in range(5):
        graph.add_packet_to_input_stream("in", Packet(timestamp), timestamp)
    graph.close()


def test_a_call_that_a_cancel_callback_ends_is_the_last_one() -> None:
    calls: list[int] = []
    entered, told, left = threading.Event(), threading.Event(), threading.Event()

    def work(cc: CalculatorContext) -> None:
        calls.append(cc.input_timestamp)
        entered.set()
        cc.on_cancel(end_call)
        assert told.wait(TIMEOUT_S)
        left.set()

    def end_call() -> None:
        told.set()
        assert left.wait(TIMEOUT_S)

    graph = started(work)
    for timestamp in range(50):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    with pytest.raises(GraphError, match="was cancelled"):
        graph.wait_until_done()
    assert calls == [0]


def test_a_cancel_callback_that_fails_is_told_and_the_others_are_called() -> None:
    calls: list[str] = []
    entered, go_on = threading.Event(), threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    def work(cc: CalculatorContext) -> None:
        cc.on_cancel(fail)
        cc.on_cancel(lambda: calls.append("second"))
        entered.set()
        assert go_on.wait(TIMEOUT_S)

    graph = started(work)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    go_on.set()
    with pytest.raises(GraphError, match=r"was cancelled\non_cancel callback failed: ZeroDivisionError") as info:
        graph.wait_until_done()
    assert info.value.code == StatusCode.CANCELLED
    assert calls == ["second"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("executor", ["", "num_threads: 2", APPLICATION_THREAD])
@pytest.mark.parametrize("resumes", [False, True])
def test_a_paused_run_that_is_cancelled_ends(executor: str, resumes: bool) -> None:
    graph = CalculatorGraph(graph_config=f"{executor} {CALL}")
    graph.start_run({"function": lambda cc: None})
    graph.wait_until_idle()
    graph.pause()
    graph.cancel()
    if resumes:
        graph.resume()
    with pytest.raises(GraphError, match="was cancelled"):
        graph.wait_until_done()
    graph.start_run({"function": lambda cc: None})
    graph.close()


@pytest.mark.parametrize("executor", ["num_threads: 2", ""])
def test_after_a_cancel_a_slow_node_is_not_called_for_what_waits(executor: str) -> None:
    calls: list[int] = []
    entered, release = threading.Event(), threading.Event()

    def work(cc: CalculatorContext) -> None:
        calls.append(cc.input_timestamp)
        entered.set()
        assert release.wait(TIMEOUT_S)
        cc.outputs[0].add(1)

    graph = CalculatorGraph(graph_config=f"{executor} {CALL}")
    graph.start_run({"function": work})
    for timestamp in range(5):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    assert entered.wait(TIMEOUT_S)
    graph.cancel()
    while not graph.has_error():  # another thread takes note of it, while the call goes on
        with pytest.raises(GraphError):
            graph.wait_until_idle(timeout_s=0.001)
    release.set()
    with pytest.raises(GraphError, match="was cancelled"):
        graph.wait_until_done()
    assert calls == [0]


@pytest.mark.parametrize("executor", ["num_threads: 2", ""])
def test_a_node_whose_call_failed_is_not_called_again_for_what_comes_later(executor: str) -> None:
    calls: list[tuple[str, str]] = []
    other_entered, failed = threading.Event(), threading.Event()

    def work(cc: CalculatorContext) -> None:
        calls.append((cc.node_name, cc.inputs[0].value))
        if cc.node_name == "fails":
            assert other_entered.wait(TIMEOUT_S)
            failed.set()
            raise ValueError("first call")
        other_entered.set()
        assert failed.wait(TIMEOUT_S)
        while not graph.has_error():
            threading.Event().wait(0.001)
        cc.outputs[0].add("late")

    graph = CalculatorGraph(
        graph_config=f"""{executor} input_stream: "a" input_stream: "b" input_side_packet: "function"
        node {{ name: "upstream" calculator: "CallFunction" input_stream: "a" output_stream: "s"
                input_side_packet: "FUNCTION:function" }}
        node {{ name: "fails" calculator: "CallFunction" input_stream: "b" input_stream: "s"
                input_side_packet: "FUNCTION:function"
                input_stream_handler {{ input_stream_handler: "ImmediateInputStreamHandler" }} }}"""
    )
    graph.start_run({"function": work})
    graph.add_packet_to_input_stream("a", Packet("a"), 5)
    graph.add_packet_to_input_stream("b", Packet("b"), 0)
    with pytest.raises(GraphError, match="first call"):
        graph.wait_until_done()
    assert sorted(calls) == [("fails", "b"), ("upstream", "a")]


def test_sources_go_on_when_the_waiting_thread_has_what_it_wanted() -> None:
    graph = CalculatorGraph(
        graph_config='input_side_packet: "n" node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
    )
    poller = graph.add_output_stream_poller("s")
    done = threading.Event()
    graph.start_run({"n": 5000}, on_done=done.set)
    assert poller.next() is not None
    assert done.wait(TIMEOUT_S)  # a worker went on
    assert len(list(poller)) == 4999


def test_a_thread_that_waits_goes_on_with_what_another_one_left() -> None:
    graph = CalculatorGraph(
        graph_config=f'{APPLICATION_THREAD} input_side_packet: "n" '
        'node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
    )
    poller = graph.add_output_stream_poller("s")
    graph.start_run({"n": 3})
    graph.pause()
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.extend(packet.value for packet in poller), daemon=True)
    reader.start()
    while not graph._run._watchers:  # type: ignore[union-attr]
        threading.Event().wait(0.001)
    graph.resume()
    with suppress(GraphError):
        graph.wait_until_idle(timeout_s=0)  # takes note of it, and has no time for more
    reader.join(TIMEOUT_S)
    assert got == [0, 1, 2]


@pytest.mark.parametrize("phase", ["open", "process"])
def test_a_keyboard_interrupt_ends_a_run_whose_other_nodes_were_due(phase: str) -> None:
    graph = CalculatorGraph(
        graph_config='input_stream: "in" input_side_packet: "function" input_side_packet: "phase"'
        + "".join(
            f'node {{ name: "n{i}" calculator: "CallFunction" input_stream: "in" output_stream: "o{i}" '
            'input_side_packet: "FUNCTION:function" input_side_packet: "PHASE:phase" }'
            for i in range(3)
        )
    )

    def interrupt(cc: CalculatorContext) -> None:
        if cc.node_name == "n1":
            raise KeyboardInterrupt

    graph.start_run({"function": interrupt, "phase": phase}, deferred=True)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(KeyboardInterrupt):
        graph.wait_until_done()
    with pytest.raises(GraphError, match="KeyboardInterrupt"):
        graph.wait_until_done(timeout_s=0)
    assert graph.snapshot().nodes == ()


@register_calculator
class QuietRelay(PassThroughCalculator):
    """Does more than its base class, so that the promise of that class is not its own."""


NODE = 'input_stream: "in" output_stream: "out" node {{ calculator: "{}" input_stream: "in" output_stream: "out" }}'
PROMISES = NODE.format("PassThroughCalculator")


@pytest.mark.parametrize(
    ("graph", "nonblocking"),
    [
        (PROMISES, True),
        (NODE.format("CallFunction").replace("node { ", 'node { input_side_packet: "FUNCTION:function" '), False),
        (NODE.format("QuietRelay"), False),
        (PROMISES + "num_threads: 2", False),
        (PROMISES + APPLICATION_THREAD, True),
        (
            PROMISES
            + 'node { calculator: "CountingSourceCalculator" output_stream: "counted" input_side_packet: "MAX_COUNT:most" }',
            False,
        ),
    ],
    ids=["all promise", "no promise", "a subclass", "threads of its own", "the waiting thread", "a source"],
)
def test_a_graph_never_blocks_if_all_its_nodes_promise_it_and_the_waiting_thread_runs_them(
    graph: str, nonblocking: bool
) -> None:
    assert Plan(graph).nonblocking is nonblocking
