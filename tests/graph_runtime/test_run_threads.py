"""Which thread runs what: waiting, workers, cancellation, and calls from inside calculators and callbacks."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from graph_runtime import CalculatorContext, CalculatorGraph, GraphError, Packet, StatusCode

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
