"""Seeing into a graph: snapshots, hang reports, counters, traces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graph_runtime import CalculatorContext, CalculatorGraph, GraphError, Packet

JOIN = """input_stream: "a" input_stream: "b"
node { name: "first" calculator: "PassThroughCalculator" input_stream: "b" output_stream: "b1" }
node { name: "join" calculator: "Merge" input_stream: "a" input_stream: "b1" output_stream: "out" }"""
CALL = """input_stream: "in" input_side_packet: "function"
node { name: "n" calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function" }"""


def test_a_snapshot_says_what_a_node_waits_for_and_who_makes_it() -> None:
    graph = CalculatorGraph(graph_config=JOIN)
    assert graph.snapshot().state == "not started"
    graph.start_run()
    graph.add_packet_to_input_stream("b", Packet("b"), 6)
    graph.add_packet_to_input_stream("a", Packet("a"), 7)
    graph.wait_until_idle()
    snapshot = graph.snapshot()
    join = next(node for node in snapshot.nodes if node.name == "join")
    assert (snapshot.state, join.state) == ("running", "open")
    assert [(each.stream, each.queue_size, each.first_timestamp, each.bound) for each in join.inputs] == [
        ("a", 1, 7, 8),
        ("b1", 0, None, 7),
    ]
    assert join.waits_for == (
        'has 1 packet(s) from stream "a" at 7 and waits for stream "b1", whose bound is 7, produced by node "first"'
    )
    json.dumps(snapshot.as_dict())
    graph.close()
    assert graph.snapshot().state == "done"


def test_a_wait_that_is_too_long_tells_what_hangs() -> None:
    graph = CalculatorGraph(graph_config=JOIN)
    graph.start_run()
    graph.add_packet_to_input_stream("a", Packet("a"), 7)
    graph.wait_until_idle()
    with pytest.raises(GraphError) as info:
        graph.wait_until_done(timeout_s=0)
    assert 'node "join" has 1 packet(s) from stream "a" at 7 and waits for stream "b1"' in str(info.value)
    assert "graph inputs that are not closed: a, b" in str(info.value)
    graph.close()


def test_a_node_without_its_side_packet_says_so() -> None:
    graph = CalculatorGraph(
        graph_config="""input_stream: "in" input_side_packet: "function"
        node { name: "late" calculator: "CallFunction" input_stream: "in" output_side_packet: "made"
               input_side_packet: "FUNCTION:function" }
        node { name: "needs" calculator: "MakeSidePacket" input_side_packet: "made" output_side_packet: "twice" }"""
    )
    graph.start_run({"function": lambda cc: cc.output_side_packets[0].set(2)})
    graph.wait_until_idle()
    assert 'node "needs" cannot open before side packet made is made' in graph.snapshot().hang_report()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()
    assert graph.get_output_side_packet("twice").value == 4


def test_counters_add_up_in_a_run() -> None:
    def count(cc: CalculatorContext) -> None:
        cc.count("seen")
        cc.count("sum", cc.inputs[0].value)

    graph = CalculatorGraph(graph_config=CALL)
    for _ in range(2):
        graph.start_run({"function": count})
        for timestamp in range(4):
            graph.add_packet_to_input_stream("in", Packet(timestamp), timestamp)
        graph.close()
        assert graph.counters() == {"seen": 4, "sum": 6}


def test_a_trace_has_every_call_in_the_trace_event_format(tmp_path: Path) -> None:
    graph = CalculatorGraph(graph_config=CALL)
    tracer = graph.enable_tracing()
    graph.start_run({"function": lambda cc: None})
    for timestamp in range(3):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close()
    tracer.write(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    calls = [(each["name"], each["cat"], each["args"]["input_timestamp"]) for each in events if each["ph"] == "X"]
    assert [call[:2] for call in calls] == [
        ("n", "open"),
        ("n", "process"),
        ("n", "process"),
        ("n", "process"),
        ("n", "close"),
    ]
    assert [call[2] for call in calls[1:4]] == [0, 1, 2]
    assert all(each["dur"] >= 0 and "tid" in each for each in events if each["ph"] == "X")
    assert tracer.calls("n") == 3


def test_the_graph_file_can_turn_tracing_on() -> None:
    graph = CalculatorGraph(graph_config=CALL + "profiler_config { trace_enabled: true trace_log_capacity: 2 }")
    graph.start_run({"function": lambda cc: None})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()
    assert graph.tracer is not None
    assert len([each for each in graph.tracer.chrome_trace()["traceEvents"] if each["ph"] == "X"]) == 2
