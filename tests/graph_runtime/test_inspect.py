"""Seeing into a graph: snapshots, hang reports, counters, traces."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
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
    register_calculator,
)
from graph_runtime.testing import ManualExecutor

JOIN = """input_stream: "a" input_stream: "b"
node { name: "first" calculator: "PassThroughCalculator" input_stream: "b" output_stream: "b1" }
node { name: "join" calculator: "Merge" input_stream: "a" input_stream: "b1" output_stream: "out" }"""
CALL = """input_stream: "in" input_side_packet: "function"
node { name: "n" calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function" }"""


@register_calculator
class AwaitFunction(Calculator):
    """Awaits the coroutine function in side packet FUNCTION."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()
        cc.input_side_packets["FUNCTION"].set_any()

    async def process(self, cc: CalculatorContext) -> None:
        await cc.input_side_packets["FUNCTION"].value(cc)


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


def test_a_report_says_that_a_node_handled_all_and_has_no_offset() -> None:
    graph = CalculatorGraph(
        graph_config="""input_stream: "in" input_side_packet: "function"
        node { name: "drops" calculator: "CallFunction" input_stream: "in" output_stream: "kept"
               input_side_packet: "FUNCTION:function" }
        node { name: "join" calculator: "Merge" input_stream: "in" input_stream: "kept" output_stream: "out" }"""
    )
    graph.start_run({"function": lambda cc: None})
    graph.add_packet_to_input_stream("in", Packet(1), 5)
    graph.wait_until_idle()
    assert graph.snapshot().hang_report().splitlines()[0] == (
        'node "join" has 1 packet(s) from stream "in" at 5 and waits for stream "kept", whose bound is Timestamp::PreStream(), '
        'produced by node "drops", which has handled all it got and sent nothing there; with cc.set_timestamp_offset(0) in its '
        "contract (or an explicit bound) others would know"
    )
    graph.close()


def test_a_report_names_the_call_that_does_not_return() -> None:
    entered, release = threading.Event(), threading.Event()

    def block(cc: CalculatorContext) -> None:
        entered.set()
        assert release.wait(20)

    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": block})
    graph.add_packet_to_input_stream("in", Packet(1), 7)
    assert entered.wait(20)
    with pytest.raises(
        GraphError, match=r'within 0.01 s:\nnode "n" is inside process\(\) at 7\ngraph inputs that are not'
    ):
        graph.wait_until_done(timeout_s=0.01)
    release.set()
    graph.close()


@pytest.mark.parametrize("calculator", ["CallFunction", "AwaitFunction"])
def test_a_report_names_the_first_of_several_calls_that_do_not_return(calculator: str) -> None:
    both = threading.Semaphore(0)
    release = threading.Event()

    def wait(cc: CalculatorContext) -> None:
        both.release()
        release.wait(20)

    async def wait_without_a_thread(cc: CalculatorContext) -> None:
        both.release()
        await asyncio.to_thread(release.wait, 20)

    graph = CalculatorGraph(
        graph_config=f"""num_threads: 4 input_stream: "in" input_side_packet: "f"
        node {{ name: "stuck" calculator: "{calculator}" input_stream: "in" output_stream: "out" max_in_flight: 2
        input_side_packet: "FUNCTION:f" }}"""
    )
    graph.start_run({"f": wait if calculator == "CallFunction" else wait_without_a_thread})
    for timestamp in (4, 5):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close_all_packet_sources()
    assert both.acquire(timeout=20)
    assert both.acquire(timeout=20)
    with pytest.raises(GraphError, match=r'node "stuck" is inside process\(\) at 4'):
        graph.wait_until_done(timeout_s=0)
    assert graph.snapshot().nodes[0].state == "running"
    release.set()
    graph.wait_until_done()


def test_a_report_says_who_is_held_up_by_a_full_queue_and_that_the_graph_is_paused() -> None:
    graph = CalculatorGraph(
        graph_config="""max_queue_size: 2 input_stream: "a" input_side_packet: "n"
        node { name: "source" calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }
        node { name: "join" calculator: "Merge" input_stream: "a" input_stream: "s" output_stream: "out" }""",
        executors={"": (manual := ManualExecutor()).submit},
    )
    graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
    graph.start_run({"n": 0})
    with pytest.raises(GraphError, match="throttled"):
        for timestamp in range(3):
            graph.add_packet_to_input_stream("a", Packet(timestamp), timestamp)
    graph.pause()
    manual.run_until_idle()
    report = graph.snapshot().hang_report().splitlines()
    assert 'graph input "a" is full: 2 packet(s) of stream "a" wait for node "join"' in report
    assert "the graph is paused: resume() lets it go on" in report
    graph.cancel()


def test_what_nobody_processed_is_told_at_the_end_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    graph = CalculatorGraph(
        graph_config="""input_stream: "in" input_side_packet: "function"
        node { name: "loop" calculator: "Merge" input_stream: "in" input_stream: "again"
               input_stream_info { tag_index: ":1" back_edge: true } output_stream: "again" }
        node { name: "maker" calculator: "CallFunction" input_stream: "in" output_side_packet: "made"
               input_side_packet: "FUNCTION:function" }
        node { name: "late" calculator: "CallFunction" input_stream: "in" input_side_packet: "FUNCTION:made" }"""
    )
    graph.start_run({"function": lambda cc: None})
    for timestamp in range(3):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close()
    assert graph.snapshot().unprocessed == (
        'node "loop" has 3 packet(s) from stream "in" at 0 and waits for stream "again", whose bound is '
        'Timestamp::PreStream(), produced by node "loop"; 3 packet(s) of stream "in" were never processed',
        'node "late" was never opened: it cannot open before side packet made is made, by node "maker"; '
        '3 packet(s) of stream "in" were never processed',
    )
    assert [record.getMessage() for record in caplog.records] == list(graph.snapshot().unprocessed)
    assert graph.snapshot().hang_report().splitlines() == list(graph.snapshot().unprocessed)


def test_a_timestamp_error_names_the_node_that_sent_the_packet_and_when() -> None:
    graph = CalculatorGraph(
        graph_config=CALL + """node { calculator: "PassThroughCalculator" input_stream: "out" output_stream: "end" }"""
    )
    graph.start_run({"function": lambda cc: cc.outputs[0].add(1, 10 - int(cc.input_timestamp))})
    for timestamp in (3, 5):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    with pytest.raises(GraphError, match="minimum expected timestamp is 8 but received 5") as info:
        graph.close()
    assert str(info.value).endswith('Node "n" sent it in process() at 5.')
    assert (info.value.node, info.value.phase) == ("n", "process")


def test_a_snapshot_may_be_taken_while_the_run_ends() -> None:
    graph = CalculatorGraph(
        graph_config="""input_stream: "in" node { name: "n" calculator: "PassThroughCalculator" input_stream: "in"
        output_stream: "out" input_stream_handler { input_stream_handler: "FixedSizeInputStreamHandler" } }"""
    )
    graph.start_run()
    graph.wait_until_idle()
    assert graph._run is not None
    nodes = graph._run.nodes
    graph.close()
    graph._run.nodes = nodes  # as another thread has them that began to look before the end
    assert [(node.name, node.state, node.waits_for) for node in graph.snapshot().nodes] == [("n", "closed", None)]


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


def check_trace(text: str) -> list[dict[str, Any]]:
    """The events of a trace, checked by the rules of the Trace Event Format for those kinds that we write."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    trace = json.loads(text, parse_constant=refuse)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events: list[dict[str, Any]] = trace["traceEvents"]
    open_calls: dict[tuple[int, int], list[float]] = {}
    coroutines: dict[tuple[str, int], float] = {}
    for event in sorted(events, key=lambda each: (each.get("ts", -1.0), -each.get("dur", 0.0))):
        assert isinstance(event["name"], str)
        assert 0 <= event["pid"] < 2**32
        assert 0 <= event["tid"] < 2**32
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            continue
        assert isinstance(event["cat"], str)
        assert event["ts"] >= 0
        if event["ph"] == "X":  # complete events of one thread lie inside each other or apart
            stack = open_calls.setdefault((event["pid"], event["tid"]), [])
            while stack and stack[-1] <= event["ts"]:
                stack.pop()
            end = event["ts"] + event["dur"]
            assert event["dur"] >= 0
            assert not stack or end <= stack[-1] + 0.001
            stack.append(end)
        elif event["ph"] == "b":
            assert coroutines.setdefault((event["cat"], event["id"]), event["ts"]) == event["ts"]
        elif event["ph"] == "i":
            assert event["s"] == "t"
        else:
            assert event["ph"] == "e"
            assert coroutines.pop((event["cat"], event["id"])) <= event["ts"]
    assert not coroutines
    return events


@pytest.mark.parametrize("executor", ["", "num_threads: 4"])
def test_a_trace_has_every_call_in_the_trace_event_format(tmp_path: Path, executor: str) -> None:
    graph = CalculatorGraph(graph_config=f"{executor} {CALL}")
    tracer = graph.enable_tracing()
    graph.start_run({"function": lambda cc: None})
    for timestamp in range(3):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close()
    tracer.write(tmp_path / "trace.json")
    events = [each for each in check_trace((tmp_path / "trace.json").read_text()) if each["ph"] == "X"]
    assert [(each["name"], each["cat"], each["args"]["input_timestamp"]) for each in events] == [
        ("n", "open", "Timestamp::Unstarted()"),
        ("n", "process", 0),
        ("n", "process", 1),
        ("n", "process", 2),
        ("n", "close", "Timestamp::Done()"),
    ]
    assert tracer.calls("n") == 3


def test_coroutines_that_overlap_are_async_events_of_a_trace() -> None:
    all_begun = threading.Barrier(3)

    async def meet(cc: CalculatorContext) -> None:
        await asyncio.to_thread(all_begun.wait, 20)

    graph = CalculatorGraph(
        graph_config=CALL.replace("CallFunction", "AwaitFunction").replace('name: "n"', 'name: "n" max_in_flight: 3')
    )
    tracer = graph.enable_tracing()
    graph.start_run({"function": meet})
    for timestamp in range(3):
        graph.add_packet_to_input_stream("in", Packet(1), timestamp)
    graph.close()
    events = check_trace(json.dumps(tracer.chrome_trace()))
    begins = [each for each in events if each["ph"] == "b"]
    assert sorted(each["args"]["input_timestamp"] for each in begins) == [0, 1, 2]
    assert len({each["id"] for each in begins}) == 3


def test_without_tracing_the_engine_calls_the_calculators_own_method() -> None:
    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": lambda cc: None})
    graph.wait_until_idle()
    assert graph._run is not None
    assert graph._run.nodes[0].process == graph._run.nodes[0].calculator.process  # type: ignore[union-attr]
    graph.close()


def test_the_graph_file_can_turn_tracing_on() -> None:
    graph = CalculatorGraph(graph_config=CALL + "profiler_config { trace_enabled: true trace_log_capacity: 2 }")
    graph.start_run({"function": lambda cc: None})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()
    assert graph.tracer is not None
    assert len([each for each in graph.tracer.chrome_trace()["traceEvents"] if each["ph"] == "X"]) == 2
