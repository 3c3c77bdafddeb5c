"""Runs as blocks, in programs with threads: the outputs, the end, and what happens when something goes wrong."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from graph_runtime import (
    STOP,
    CalculatorContext,
    CalculatorGraph,
    GraphError,
    Packet,
    Plan,
    StatusCode,
    Stop,
    run,
    running,
)

TIMEOUT_S = 20.0
PASS_THROUGH = """input_stream: "in" output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""
CALL = """input_stream: "in" output_stream: "out" input_side_packet: "function"
node { name: "call" calculator: "CallFunction" input_stream: "in" output_stream: "out"
       input_side_packet: "FUNCTION:function" }"""
TWO = """input_stream: "a" input_stream: "b" output_stream: "a_out" output_stream: "b_out"
node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "a_out" }
node { calculator: "PassThroughCalculator" input_stream: "b" output_stream: "b_out" }"""

SOURCE = """output_stream: "out" input_side_packet: "function"
node { calculator: "CallFunction" output_stream: "out" input_side_packet: "FUNCTION:function" }"""


def count_to(end: int) -> Callable[[CalculatorContext], Stop | None]:
    """What a source does that gives so many packets: more than it has time for before others close it."""
    numbers = iter(range(end))

    def give(cc: CalculatorContext) -> Stop | None:
        number = next(numbers, None)
        if number is None:
            return STOP
        cc.outputs[0].add_packet(Packet(number).at(number))
        return None

    return give


def test_packets_go_in_and_come_out_and_the_end_of_the_block_ends_the_run() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    with running(graph, outputs=["out"]) as started:
        for timestamp in range(200):
            started.add("in", Packet(timestamp), timestamp)
        first = next(started.output("out"))
    assert first.value == 0
    assert [packet.value for packet in started.output("out")] == list(range(1, 200))
    assert graph.snapshot().state == "done"


def test_a_graph_is_afterwards_as_it_was() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    with running(graph, outputs=["out"]) as first:
        first.add("in", Packet("a"), 0)
    with running(graph, outputs=["out"]) as second:
        second.add("in", Packet("b"), 0)
    assert [packet.value for packet in first.output("out")] == ["a"]
    assert [packet.value for packet in second.output("out")] == ["b"]
    with pytest.raises(GraphError, match="doesn't exist"), running(graph, outputs=["out", "nope"]):
        pass
    assert graph._observers == []


def test_a_failure_reaches_every_reader_and_is_told_at_the_end_to_those_who_did_not_look() -> None:
    def fail(cc: CalculatorContext) -> None:
        if cc.inputs[0].value == 2:
            raise LookupError("gone")
        cc.outputs[0].add_packet(cc.inputs[0].packet)

    plan = Plan(CALL)
    with pytest.raises(GraphError, match="gone"), running(plan, {"function": fail}) as started:
        started.add("in", Packet(2), 0)
    with running(plan, {"function": fail}, outputs=["out"]) as started:
        started.add("in", Packet(1), 0)
        started.add("in", Packet(2), 1)
        started.close_inputs()
        for expected in ([1], list[int]()):
            got: list[int] = []
            with pytest.raises(GraphError, match="gone") as failure:
                for packet in started.output("out"):
                    got.append(packet.value)
            assert got == expected
        assert (failure.value.node, type(failure.value.__cause__)) == ("call", LookupError)


def test_an_exception_in_the_block_cancels_the_run_and_is_the_one_that_comes_out() -> None:
    entered, cancelled = threading.Event(), threading.Event()

    def wait_for_cancel(cc: CalculatorContext) -> None:
        cc.on_cancel(cancelled.set)
        entered.set()
        assert cancelled.wait(TIMEOUT_S)

    with pytest.raises(KeyboardInterrupt), running(Plan(CALL), {"function": wait_for_cancel}) as started:
        started.add("in", Packet(1), 0)
        assert entered.wait(TIMEOUT_S)
        raise KeyboardInterrupt
    assert cancelled.is_set()
    assert started.graph.snapshot().state == "failed"


def test_a_node_that_ignores_its_cancellation_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    entered, released = threading.Event(), threading.Event()

    def ignore(cc: CalculatorContext) -> None:
        entered.set()
        assert released.wait(TIMEOUT_S)

    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(ZeroDivisionError),
        running(Plan(CALL), {"function": ignore}, cancel_grace_s=0) as started,
    ):
        started.add("in", Packet(1), 0)
        assert entered.wait(TIMEOUT_S)
        raise ZeroDivisionError
    assert 'node "call"' in caplog.text
    with pytest.raises(GraphError, match="runs already"), running(started.graph, {"function": ignore}):
        pass
    released.set()
    with pytest.raises(GraphError, match="cancelled"):
        started.wait_until_done(TIMEOUT_S)


def test_a_program_that_cancels_leaves_the_block_without_an_error() -> None:
    def wait_for_cancel(cc: CalculatorContext) -> None:
        cancelled = threading.Event()
        cc.outputs[0].add_packet(cc.inputs[0].packet)
        cc.on_cancel(cancelled.set)
        cc.flush()
        assert cancelled.wait(TIMEOUT_S)

    with running(Plan(CALL), {"function": wait_for_cancel}, outputs=["out"]) as started:
        started.add("in", Packet("enough"), 0)
        for packet in started.output("out"):
            assert packet.value == "enough"
            started.cancel()
            break
    with pytest.raises(GraphError, match="cancelled"):
        started.wait_until_done()


def test_waiting_for_an_output_has_a_time_limit() -> None:
    with running(Plan(PASS_THROUGH), outputs=["out"]) as started:
        with pytest.raises(GraphError, match="within 0 s") as late:
            next(started.output("out", timeout_s=0))
        assert late.value.code == StatusCode.DEADLINE_EXCEEDED
        started.add("in", Packet(1), 0)
        assert next(started.output("out", timeout_s=TIMEOUT_S)).value == 1


def test_who_got_no_packet_in_time_can_wait_again_by_the_same_iterator() -> None:
    with running(Plan(PASS_THROUGH), outputs=["out"]) as started:
        packets = started.output("out", timeout_s=0)
        with pytest.raises(GraphError, match="within 0 s"):
            next(packets)
        started.add("in", Packet(1), 0)
        started.close_inputs()
        started.wait_until_done(TIMEOUT_S)
        assert [packet.value for packet in packets] == [1]
        assert list(packets) == []


def test_run_works_on_its_own_thread_except_on_the_main_one_where_ctrl_c_would_fall_into_a_node() -> None:
    def where(cc: CalculatorContext) -> None:
        cc.outputs[0].add(threading.current_thread())

    def run_here() -> bool:
        return run(Plan(CALL), {"in": 1}, {"function": where})["out"][0].value is threading.current_thread()

    assert not run_here()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_here).result(TIMEOUT_S)


ROOT = Path(__file__).parents[2]
CTRL_C = f"""
import signal, threading
import tests.graph_runtime.conftest
from graph_runtime import Plan
from tests.graph_runtime.test_sync import CALL, run

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for jobs in the background
cancelled = threading.Event()

def press_ctrl_c(cc):
    cc.on_cancel(cancelled.set)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    assert cancelled.wait({TIMEOUT_S})

try:
    run(Plan(CALL), {{"in": 1}}, {{"function": press_ctrl_c}})
except KeyboardInterrupt:
    assert cancelled.is_set()
    print("interrupted")
"""


def test_ctrl_c_during_a_run_cancels_it() -> None:
    # In a process of its own: there Ctrl-C cannot meet the test runner.
    done = subprocess.run([sys.executable, "-c", CTRL_C], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_outputs_that_were_not_asked_for_are_named() -> None:
    with (
        running(Plan(TWO), outputs=["a_out"]) as started,
        pytest.raises(GraphError, match='"b_out" is not among the outputs that running\\(\\) was asked for: a_out'),
    ):
        started.output("b_out")


def test_run_gives_each_input_a_packet_and_returns_what_comes_out() -> None:
    assert {
        name: [packet.value for packet in packets] for name, packets in run(Plan(TWO), {"a": 1, "b": 2}).items()
    } == {
        "a_out": [1],
        "b_out": [2],
    }
    (packet,) = run(Plan(TWO), {"a": Packet("late").at(7)}, outputs=["a_out"])["a_out"]
    assert (packet.value, packet.timestamp) == ("late", 7)
    assert run(Plan(TWO)) == {"a_out": [], "b_out": []}


def test_run_returns_all_that_a_source_gives_until_it_stops() -> None:
    assert [packet.value for packet in run(Plan(SOURCE), {}, {"function": count_to(5000)})["out"]] == list(range(5000))


def test_run_raises_what_failed() -> None:
    def fail(cc: CalculatorContext) -> None:
        raise LookupError("gone")

    for outputs in (None, list[str]()):
        with pytest.raises(GraphError, match="gone"):
            run(Plan(CALL), {"in": 1}, {"function": fail}, outputs=outputs)
    with pytest.raises(GraphError, match="not a graph input"):
        run(Plan(CALL), {"nope": 1}, {"function": fail})


def test_a_run_in_a_node_of_another_run() -> None:
    inner = Plan(PASS_THROUGH)

    def nested(cc: CalculatorContext) -> None:
        (packet,) = run(inner, {"in": cc.inputs[0].value + 1})["out"]
        cc.outputs[0].add(packet.value)

    assert run(Plan(CALL), {"in": 1}, {"function": nested})["out"][0].value == 2


@pytest.mark.parametrize("wrong", [PASS_THROUGH, None])
def test_what_is_no_graph_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="takes a Plan or a CalculatorGraph"):
        run(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"outputs=\['out'\]"):
        run(Plan(PASS_THROUGH), outputs="out")
    with pytest.raises(TypeError, match="inputs as name -> packet or value"):
        run(Plan(PASS_THROUGH), [1])  # type: ignore[arg-type]
