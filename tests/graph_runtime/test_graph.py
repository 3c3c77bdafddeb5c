"""CalculatorGraph: packets, timestamps, life cycle, side packets, errors and restart."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import (
    STOP,
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    Packet,
    Plan,
    StatusCode,
    Timestamp,
    register_calculator,
)
from graph_runtime._engine.node import NodeState
from graph_runtime._engine.run import Run
from graph_runtime.timestamp import POST_STREAM

PASS_THROUGH = """
input_stream: "in"
output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
TWO_INPUTS = """
input_stream: "a"
input_stream: "b"
input_side_packet: "log"
node { name: "sink" calculator: "CollectCalls" input_stream: "a" input_stream: "b" input_side_packet: "LOG:log" }
"""
CALL = """
input_stream: "in"
output_stream: "out"
node {
  name: "caller" calculator: "CallFunction" input_stream: "in" output_stream: "out"
  input_side_packet: "FUNCTION:function" input_side_packet: "PHASE:phase"
}
node { name: "after" calculator: "PassThroughCalculator" input_stream: "out" output_stream: "later" }
"""


def appending_to(values: list[Any]) -> Callable[[str, Packet], None]:
    return lambda _, packet: values.append(packet.value)


def calls(log: list[Any], phase: str = "process") -> list[Any]:
    return [row[2:] for row in log if row[0] == phase]


class Fed:
    """A running graph with its log, fed by hand."""

    def __init__(self, pbtxt: str, side_packets: dict[str, Any] | None = None) -> None:
        self.log: list[Any] = []
        self.graph = CalculatorGraph(graph_config=pbtxt)
        self.graph.start_run({"log": self.log, **(side_packets or {})})

    def add(self, stream: str, timestamp: int, value: Any = 0) -> None:
        self.graph.add_packet_to_input_stream(stream, Packet(value), timestamp)
        self.graph.wait_until_idle()


def test_packets_pass_in_order_with_their_timestamps(run_graph: Callable[..., Any]) -> None:
    assert run_graph(PASS_THROUGH, {"in": [(3, "a"), (7, "b")]}, observe=["out"]) == {"out": [(3, "a"), (7, "b")]}


def test_the_same_value_object_arrives() -> None:
    value = object()
    got: list[Packet] = []
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.observe_output_stream("out", lambda _, packet: got.append(packet))
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(value), 0)
    graph.close()
    assert got[0].value is value


def test_a_long_chain_and_a_diamond_deliver_everything(run_graph: Callable[..., Any]) -> None:
    chain = "".join(
        f'node {{ calculator: "PassThroughCalculator" input_stream: "s{i}" output_stream: "s{i + 1}" }}'
        for i in range(50)
    )
    diamond = (
        'node { calculator: "PassThroughCalculator" input_stream: "s50" output_stream: "left" }'
        'node { calculator: "PassThroughCalculator" input_stream: "s50" output_stream: "right" }'
        'node { calculator: "PassThroughCalculator" input_stream: "left" input_stream: "right"'
        ' output_stream: "l" output_stream: "r" }'
    )
    rows = [(t, t * t) for t in range(200)]
    got = run_graph(f'input_stream: "s0" {chain} {diamond}', {"s0": rows}, observe=["l", "r"])
    assert got == {"l": rows, "r": rows}


def test_nodes_written_downstream_first_are_sorted(run_graph: Callable[..., Any]) -> None:
    text = """input_stream: "in"
    node { calculator: "PassThroughCalculator" input_stream: "mid" output_stream: "out" }
    node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "mid" }"""
    assert run_graph(text, {"in": [(0, 1)]}, observe=["out"]) == {"out": [(0, 1)]}


def test_two_inputs_are_processed_by_timestamp_when_settled() -> None:
    fed = Fed(TWO_INPUTS)
    fed.add("a", 1, "a1")
    fed.add("a", 2, "a2")
    assert calls(fed.log) == []  # b may still come at 1
    fed.add("b", 2, "b2")
    assert calls(fed.log) == [(1, ["a1", None]), (2, ["a2", "b2"])]


def test_an_empty_packet_settles_its_timestamp() -> None:
    fed = Fed(TWO_INPUTS)
    fed.add("a", 5, "a5")
    fed.graph.add_packet_to_input_stream("b", Packet(), 5)
    fed.graph.wait_until_idle()
    assert calls(fed.log) == [(5, ["a5", None])]


def test_closing_one_input_releases_what_waited_for_it() -> None:
    fed = Fed(TWO_INPUTS)
    fed.add("a", 1, "a1")
    fed.graph.close_input_stream("b")
    fed.graph.wait_until_idle()
    assert calls(fed.log) == [(1, ["a1", None])]
    assert calls(fed.log, "close") == []
    fed.graph.close()
    assert calls(fed.log, "close") == [(Timestamp.DONE,)]


def test_bounds_run_through_nodes_with_an_offset() -> None:
    fed = Fed(
        """input_stream: "a" input_stream: "b" input_side_packet: "log"
        node { calculator: "PassThroughCalculator" input_stream: "b" output_stream: "b1" }
        node { calculator: "PassThroughCalculator" input_stream: "b1" output_stream: "b2" }
        node { calculator: "CollectCalls" input_stream: "a" input_stream: "b2" input_side_packet: "LOG:log" }"""
    )
    fed.add("a", 10, "a10")
    fed.graph.add_packet_to_input_stream("b", Packet(), 10)  # no packet, but nothing up to 10 either
    fed.graph.wait_until_idle()
    assert calls(fed.log) == [(10, ["a10", None])]


def test_life_cycle_of_a_node() -> None:
    fed = Fed(TWO_INPUTS)
    fed.graph.close()
    assert [row[0] for row in fed.log] == ["open", "close"]
    assert calls(fed.log, "open") == [(Timestamp.UNSTARTED,)]


@pytest.mark.parametrize("timestamp", [Timestamp.PRESTREAM, Timestamp.POSTSTREAM, Timestamp.MIN, Timestamp.MAX])
def test_special_timestamps_pass_a_stream(run_graph: Callable[..., Any], timestamp: int) -> None:
    assert run_graph(PASS_THROUGH, {"in": [(timestamp, 1)]}, observe=["out"]) == {"out": [(timestamp, 1)]}


def test_nothing_may_follow_prestream() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), Timestamp.PRESTREAM)
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(ValueError, match="Packet timestamp mismatch"):
        graph.close()


def test_a_source_runs_until_it_stops(run_graph: Callable[..., Any]) -> None:
    text = """output_stream: "n" input_side_packet: "count"
    node { calculator: "CountTo" output_stream: "n" input_side_packet: "N:count" }"""
    assert run_graph(text, side_packets={"count": 3}, observe=["n"]) == {"n": [(0, 0), (1, 1), (2, 2)]}


def test_a_short_source_that_is_closed_right_after_the_start_still_sends_its_packets() -> None:
    got: list[int] = []
    graph = CalculatorGraph(
        graph_config='input_side_packet: "n" node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
    )
    graph.observe_output_stream("s", lambda _, packet: got.append(packet.value))
    graph.start_run({"n": 3})
    graph.close()
    assert got == [0, 1, 2]


def test_an_endless_source_ends_when_the_graph_is_closed() -> None:
    graph = CalculatorGraph(
        graph_config='input_side_packet: "n" node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
    )
    graph.start_run({"n": -1})
    graph.close()


def test_source_layers_start_one_after_the_other() -> None:
    log: list[Any] = []
    graph = CalculatorGraph(
        graph_config="""input_side_packet: "log" input_side_packet: "count"
        node { calculator: "CountTo" output_stream: "late" input_side_packet: "N:count" source_layer: 1 }
        node { calculator: "CountTo" output_stream: "early" input_side_packet: "N:count" }
        node { name: "late" calculator: "CollectCalls" input_stream: "late" input_side_packet: "LOG:log" }
        node { name: "early" calculator: "CollectCalls" input_stream: "early" input_side_packet: "LOG:log" }"""
    )
    graph.start_run({"log": log, "count": 2})
    graph.wait_until_done()
    assert [row[1] for row in log if row[0] == "process"] == ["early", "early", "late", "late"]


def test_stop_from_a_node_ends_the_sources(run_graph: Callable[..., Any]) -> None:
    text = """input_side_packet: "count" input_side_packet: "function"
    node { calculator: "CountTo" output_stream: "n" input_side_packet: "N:count" }
    node { calculator: "CallFunction" input_stream: "n" output_stream: "out" input_side_packet: "FUNCTION:function" }"""

    def stop_after_two(cc: CalculatorContext) -> Any:
        cc.outputs[0].add_packet(cc.inputs[0].packet)
        return STOP if cc.inputs[0].value == 2 else None

    got = run_graph(text, side_packets={"count": 10**9, "function": stop_after_two}, observe=["out"])
    assert got == {"out": [(0, 0), (1, 1), (2, 2)]}


def test_side_packets_flow_between_nodes() -> None:
    graph = CalculatorGraph(
        graph_config="""input_side_packet: "one" output_side_packet: "four"
        node { calculator: "MakeSidePacket" input_side_packet: "two" output_side_packet: "four" }
        node { calculator: "MakeSidePacket" input_side_packet: "one" output_side_packet: "two" }"""
    )
    with pytest.raises(RuntimeError, match='"four" is unavailable'):
        graph.get_output_side_packet("four")
    graph.start_run({"one": 1})
    graph.wait_until_done()
    assert graph.get_output_side_packet("four").value == 4
    with pytest.raises(RuntimeError, match="doesn't exist"):
        graph.get_output_side_packet("one")


def test_a_missing_or_wrong_side_packet_is_told_at_start() -> None:
    graph = CalculatorGraph(
        graph_config='input_side_packet: "one" node { calculator: "MakeSidePacket"'
        ' input_side_packet: "one" output_side_packet: "two" }'
    )
    with pytest.raises(ValueError, match='Side packet "one" is required but was not provided'):
        graph.start_run()
    with pytest.raises(
        ValueError, match='"one" failed validation: The Packet stores "string", but "int" was requested'
    ):
        graph.start_run({"one": "text"})
    with pytest.raises(
        RuntimeError, match='"one" failed validation: Expected a Packet of type: int, but received an empty Packet'
    ):
        graph.start_run({"one": Packet()})
    graph.start_run({"one": 1, "unused": 2})
    graph.wait_until_done()


def test_an_empty_side_packet_is_refused_where_none_is_needed_and_where_all_types_go() -> None:
    limiter = CalculatorGraph(
        graph_config="""input_stream: "in"
        node { calculator: "FlowLimiterCalculator" input_stream: "in" input_stream: "FINISHED:out" output_stream: "out"
               input_side_packet: "MAX_IN_FLIGHT:n" input_stream_info { tag_index: "FINISHED" back_edge: true } }"""
    )
    with pytest.raises(RuntimeError, match='"n" failed validation: Expected a Packet of type: int'):
        limiter.start_run({"n": Packet()})
    limiter.start_run()
    limiter.close()
    same = CalculatorGraph(
        graph_config='node { calculator: "PassThroughCalculator" input_side_packet: "a" output_side_packet: "b" }'
    )
    with pytest.raises(RuntimeError, match=r"Empty packets are not allowed for type: \[Any Type\]"):
        same.start_run({"a": Packet()})


@pytest.mark.parametrize("phase", ["open", "process", "close"])
def test_a_calculator_that_raises_fails_the_run_and_names_node_and_phase(phase: str) -> None:
    def fail(cc: CalculatorContext) -> None:
        raise KeyError("lost")

    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": fail, "phase": phase})
    try:
        graph.add_packet_to_input_stream("in", Packet(1), 0)
    except GraphError:
        assert phase == "open"  # a worker may already have failed to open
    with pytest.raises(GraphError) as info:
        graph.close()
    assert f"Calculator::{phase.capitalize()}() for node \"caller\" failed: KeyError: 'lost'" in str(info.value)
    assert (info.value.node, info.value.phase) == ("caller", phase)
    assert isinstance(info.value.__cause__, KeyError)


def test_the_code_of_a_graph_error_survives() -> None:
    def fail(cc: CalculatorContext) -> None:
        raise GraphError("not now", code=StatusCode.UNAVAILABLE)

    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": fail, "phase": "process"})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError, match="not now") as info:
        graph.wait_until_idle()
    assert info.value.code == StatusCode.UNAVAILABLE
    assert graph.has_error()
    with pytest.raises(GraphError, match="Graph has errors"):
        graph.add_packet_to_input_stream("in", Packet(1), 1)
    with pytest.raises(GraphError, match="not now"):
        graph.close()


def test_outputs_of_a_failed_call_are_dropped_and_opened_nodes_are_closed() -> None:
    seen: list[Any] = []

    def send_and_fail(cc: CalculatorContext) -> None:
        cc.outputs[0].add("lost")
        raise ValueError("no")

    graph = CalculatorGraph(graph_config=CALL)
    graph.observe_output_stream("later", lambda _, packet: seen.append(packet.value))
    graph.start_run({"function": send_and_fail, "phase": "process"})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(ValueError, match="no"):
        graph.close()
    assert seen == []


def test_returning_a_packet_shows_the_right_way() -> None:
    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": lambda cc: Packet(1), "phase": "process"})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError, match=r'right: cc\.outputs\["TAG"\]\.add\(value\)'):
        graph.close()


def test_sending_out_of_order_names_the_stream_and_the_node() -> None:
    def send_backwards(cc: CalculatorContext) -> None:
        cc.outputs[0].add("x", 8)
        cc.outputs[0].add("y", 3)

    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": send_backwards, "phase": "process"})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(ValueError, match='"out". Current minimum expected timestamp is 9 but received 3') as info:
        graph.close()
    assert isinstance(info.value, GraphError)
    assert info.value.node == "caller"


def test_sending_to_a_closed_output_is_an_error() -> None:
    def close_and_send(cc: CalculatorContext) -> None:
        cc.outputs[0].close()
        cc.outputs[0].close()
        cc.outputs[0].add("x")

    graph = CalculatorGraph(graph_config=CALL)
    graph.start_run({"function": close_and_send, "phase": "process"})
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(RuntimeError, match='Packet sent to closed stream "out"'):
        graph.close()


def test_a_node_may_send_in_open_and_close(run_graph: Callable[..., Any]) -> None:
    def send(cc: CalculatorContext) -> None:
        cc.outputs[0].add("x", 4)

    for phase in ("open", "close"):
        got = run_graph(CALL, {"in": [(9, 0)]}, {"function": send, "phase": phase}, observe=["later"])
        assert got == {"later": [(4, "x")]}


def test_a_callback_that_raises_fails_the_run_not_the_process() -> None:
    def fail(name: str, packet: Packet) -> None:
        raise LookupError("callback")

    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.observe_output_stream("out", fail)
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError, match="A callback on an observed stream failed: LookupError: callback") as info:
        graph.close()
    assert 'Node "PassThroughCalculator" sent it in process() at 0.' in str(info.value)
    assert isinstance(info.value.__cause__, LookupError)
    graph.start_run()
    with pytest.raises(GraphError, match="callback"):
        graph.add_packet_to_input_stream("in", Packet(1), 0)
        graph.close()


def test_restart_after_done_and_after_errors() -> None:
    got: list[Any] = []

    def fail_on_zero(cc: CalculatorContext) -> None:
        got.append(1 // cc.inputs[0].value)

    graph = CalculatorGraph(graph_config=CALL)
    for value, fails in ((1, False), (0, True), (1, False)):
        graph.start_run({"function": fail_on_zero, "phase": "process"})
        graph.add_packet_to_input_stream("in", Packet(value), 0)
        if fails:
            with pytest.raises(GraphError, match="ZeroDivisionError"):
                graph.close()
        else:
            graph.close()
        assert not graph.has_error()
    assert got == [1, 1]


def test_observing_bounds_gives_empty_packets_for_settled_timestamps() -> None:
    got: list[tuple[int, bool]] = []
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.observe_output_stream("out", lambda _, p: got.append((int(p.timestamp), p.is_empty())), True)
    graph.start_run()
    graph.wait_until_idle()
    graph.add_packet_to_input_stream("in", Packet(1), 3)
    graph.wait_until_idle()
    graph.add_packet_to_input_stream("in", Packet(), 7)
    graph.wait_until_idle()
    graph.close()
    assert got == [(3, False), (7, True)]


def test_unknown_streams_are_ordinary_errors() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    with pytest.raises(RuntimeError, match='output stream "outt" because it doesn\'t exist; did you mean "out"?'):
        graph.observe_output_stream("outt", lambda *_: None)
    with pytest.raises(RuntimeError, match='"x" because it doesn.t exist; the streams of the graph are: in, out'):
        graph.add_output_stream_poller("x")
    with pytest.raises(RuntimeError, match='side packet "x" because it doesn.t exist; no node makes one'):
        graph.get_output_side_packet("x")
    with pytest.raises(RuntimeError, match="called before StartRun"):
        graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.start_run()
    with pytest.raises(RuntimeError, match='"x" which is not a graph input stream; the graph inputs are: in'):
        graph.add_packet_to_input_stream("x", Packet(1), 0)
    with pytest.raises(RuntimeError, match="not a graph input stream"):
        graph.close_input_stream("x")
    with pytest.raises(ValueError, match="can't be the timestamp"):
        graph.add_packet_to_input_stream("in", Packet(1))
    with pytest.raises(RuntimeError, match="before the former run ended"):
        graph.start_run()
    graph.close()
    with pytest.raises(RuntimeError, match="called before StartRun"):
        graph.add_packet_to_input_stream("in", Packet(1), 0)


def test_one_plan_serves_many_graphs() -> None:
    plan = Plan(PASS_THROUGH)
    graphs = [CalculatorGraph(plan) for _ in range(3)]
    got: list[list[Any]] = [[], [], []]
    for mine, graph in zip(got, graphs, strict=True):
        graph.observe_output_stream("out", appending_to(mine))
        graph.start_run()
    for value, graph in enumerate(graphs):
        graph.add_packet_to_input_stream("in", Packet(value), 0)
    for graph in graphs:
        graph.close()
    assert got == [[0], [1], [2]]


def test_keywords_of_the_old_api(tmp_path: Any) -> None:
    path = tmp_path / "g.binarypb"
    path.write_bytes(CalculatorGraph(graph_config=PASS_THROUGH).binary_config)
    assert "PassThroughCalculator" in CalculatorGraph(binary_graph_path=path).text_config
    with pytest.raises(ValueError, match="Please provide one of the following"):
        CalculatorGraph()
    with pytest.raises(RuntimeError, match="Unknown kwargs input argument: foo"):
        CalculatorGraph(foo=1)
    with pytest.raises(FileNotFoundError, match="The path does not exist"):
        CalculatorGraph(binary_graph_path=tmp_path / "none")


def test_the_combined_error_message_begins_with_the_code() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.start_run()
    assert graph.get_combined_error_message() == ""
    graph.add_packet_to_input_stream("in", Packet(1).at(5))
    graph.add_packet_to_input_stream("in", Packet(1).at(3))
    assert graph.has_error()
    assert graph.get_combined_error_message().startswith(
        "INVALID_ARGUMENT: CalculatorGraph::Run() failed: \nPacket timestamp"
    )
    with pytest.raises(GraphError):
        graph.close()
    assert graph.get_combined_error_message() == ""


@pytest.mark.parametrize("handler", ["Default", "Immediate", "FixedSize", "SyncSet"])
def test_a_finished_run_leaves_nothing_for_the_garbage_collector(handler: str) -> None:
    plan = Plan(f"""input_stream: "in" input_stream: "other"
    node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "a" }}
    node {{
      calculator: "Merge" input_stream: "a" input_stream: "other" output_stream: "out"
      input_stream_handler {{ input_stream_handler: "{handler}InputStreamHandler" }}
    }}""")
    got: list[int] = []

    def run() -> None:
        graph = CalculatorGraph(plan)
        graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
        graph.start_run(deferred=True)
        graph.add_packet_to_input_stream("in", Packet(1), 0)
        graph.close()

    run()
    while gc.collect():
        pass  # what other tests left may take several rounds: a finalizer keeps its whole ring for the next one
    gc.disable()
    try:
        run()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        # Of this plan: what other tests have left may become garbage at any time.
        assert [each for each in gc.garbage if isinstance(each, Run) and each.plan is plan] == []
        assert [each for each in gc.garbage if isinstance(each, NodeState) and each.plan in plan.nodes] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert got == [1, 1]


def test_a_bound_behind_the_last_packet_of_a_queue_is_passed_on() -> None:
    log: list[Any] = []
    graph = CalculatorGraph(
        graph_config="""input_stream: "a" input_stream: "b" input_side_packet: "log"
        executor { name: "" type: "ApplicationThreadExecutor" }
        node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "passed" }
        node { name: "sink" calculator: "CollectCalls" input_stream: "passed" input_stream: "b" input_side_packet: "LOG:log" }"""
    )
    graph.start_run({"log": log})
    graph.add_packet_to_input_stream("b", Packet("b"), 3)
    graph.add_packet_to_input_stream("a", Packet("a"), 1)
    graph.add_packet_to_input_stream("a", Packet(), 3)  # both lie there when the node is called for the first
    graph.wait_until_idle()
    assert log[1:] == [("process", "sink", 1, ["a", None]), ("process", "sink", 3, [None, "b"])]
    graph.close()


@register_calculator
class TakesAnInt(Calculator):
    """Declares its type, and does nothing."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(int)

    def process(self, cc: CalculatorContext) -> None:
        pass


@pytest.mark.parametrize(
    ("stream", "packet", "text"),
    [
        ("in", Packet(1).at(3), "Current minimum expected timestamp is 4 but received 3"),
        ("in", Packet("one").at(9), 'stores "string", but "int" was requested'),
        ("in", Packet(1).at(POST_STREAM), "must be the only Packet"),
        ("in", Packet(1), "not specified or set to illegal value"),
        ("closed", Packet(1).at(9), "but received 9"),
        ("else", Packet(1).at(9), "the graph inputs are: in, closed"),
    ],
)
def test_a_packet_that_is_only_checked_leaves_the_run_alone(stream: str, packet: Packet, text: str) -> None:
    fed = Fed(
        """input_stream: "in" input_stream: "closed" input_side_packet: "log" output_stream: "out"
        node { calculator: "PassThroughCalculator" input_stream: "in" input_stream: "closed"
          output_stream: "out" output_stream: "other" }
        node { calculator: "TakesAnInt" input_stream: "in" }"""
    )
    fed.add("in", 3, 1)
    fed.graph.close_input_stream("closed")
    with pytest.raises(GraphError, match=text):
        fed.graph.check_packet(stream, packet)
    fed.graph.check_packet("in", Packet(2).at(4))
    fed.graph.check_packet("in", Packet(2).at(4))  # nothing was added
    fed.add("in", 4, 2)
    fed.graph.close()
