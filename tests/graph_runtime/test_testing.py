"""The tools that users get for their own tests."""

from __future__ import annotations

import pytest

from graph_runtime import CalculatorGraph, GraphError, Packet
from graph_runtime.testing import CalculatorRunner, ManualExecutor

MERGE = 'calculator: "Merge" input_stream: "a" input_stream: "b" output_stream: "out"'


def test_a_runner_feeds_a_node_and_keeps_what_it_sends() -> None:
    runner = CalculatorRunner(MERGE)
    runner.feed(0, "a", timestamp=1)
    runner.feed(1, "b", timestamp=2)
    for _ in range(2):
        runner.run()
        assert [(int(packet.timestamp), packet.value) for packet in runner.outputs(0)] == [(1, "a"), (2, "b")]


def test_a_runner_takes_and_gives_side_packets() -> None:
    runner = CalculatorRunner('calculator: "MakeSidePacket" input_side_packet: "one" output_side_packet: "two"')
    runner.side_packets[0] = 4
    runner.run()
    assert runner.output_side_packet(0).value == 8


def test_a_runner_names_the_ports_there_are() -> None:
    with pytest.raises(ValueError, match=r"the node has no input_stream X; it has: :0, :1"):
        CalculatorRunner(MERGE).feed("X", 1, timestamp=0)


def test_a_runner_raises_what_the_node_raises() -> None:
    runner = CalculatorRunner(
        'calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function"'
    )
    runner.side_packets["FUNCTION"] = lambda cc: 1 / 0
    runner.feed(0, 1, timestamp=0)
    with pytest.raises(GraphError, match="ZeroDivisionError"):
        runner.run()


def test_a_manual_executor_runs_a_graph_by_hand() -> None:
    manual = ManualExecutor()
    got: list[int] = []
    graph = CalculatorGraph(
        graph_config='input_stream: "in" node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }',
        executors={"": manual.submit},
    )
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    assert got == []
    assert manual.run_until_idle() > 0
    assert got == [1]
    graph.close_all_packet_sources()
    manual.run_until_idle()
    graph.wait_until_done(timeout_s=0)
    assert not manual.step()
