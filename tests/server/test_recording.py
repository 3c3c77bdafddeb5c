"""What is seen of runs that go on: their queues, and what their nodes wait for."""

from __future__ import annotations

import pytest

from graph_runtime import CalculatorGraph, GraphError, Packet, Plan
from server.backend import RunRequest
from server.graph_report import QueueReport
from server.recording import KEPT_CALLS, Recorder
from tests.server.conftest import FakeClock

JOIN = """input_stream: "a" input_stream: "b" output_stream: "out" max_queue_size: 7
node { name: "pass" calculator: "PassThroughCalculator" input_stream: "b" output_stream: "b1" }
node { name: "join" calculator: "MergeCalculator" input_stream: "a" input_stream: "b1" output_stream: "out" }"""


def started(recorder: Recorder, plan: Plan, packets: int) -> CalculatorGraph:
    """A run that waits for stream b, with packets on a."""
    graph = CalculatorGraph(plan)
    recorder.begin(graph, RunRequest("id", {}))
    graph.start_run()
    for timestamp in range(packets):
        graph.add_packet_to_input_stream("a", Packet(1).at(timestamp))
    graph.wait_until_idle()
    return graph


def test_queues_of_all_runs_are_added_up_and_the_fullest_is_told(clock: FakeClock) -> None:
    plan = Plan(JOIN)
    recorder = Recorder(plan, clock)
    graphs = [started(recorder, plan, packets) for packets in (2, 3)]
    report = recorder.report()
    passing, joining = report.nodes
    assert joining.queues == (QueueReport("a", 5, 3), QueueReport("b1", 0, 0))
    assert report.max_queue_size == 7
    (reason,) = {each.partition(" and waits")[2] for each in joining.waits_for}
    assert reason.startswith(' for stream "b1", whose bound is')
    assert (passing.waits_for, joining.running, joining.calls, len(report.ages_s)) == ((), 0, 0, 2)
    for graph in graphs:
        graph.close()


def test_a_run_counts_once_whether_it_goes_on_or_has_ended(clock: FakeClock) -> None:
    plan = Plan(JOIN)
    recorder = Recorder(plan, clock)
    graph = CalculatorGraph(plan)
    recording = recorder.begin(graph, RunRequest("id", {}))
    graph.start_run()
    graph.add_packet_to_input_stream("b", Packet(1).at(0))
    graph.wait_until_idle()
    assert [node.calls for node in recorder.report().nodes] == [1, 0]
    graph.close()
    assert [node.calls for node in recorder.report().nodes] == [1, 1]
    recorder.end(recording, None)
    report = recorder.report()
    assert [node.calls for node in report.nodes] == [1, 1]
    assert (report.ages_s, report.recorded, report.runs[0].outcome) == ((), 1, "done")


def test_steps_that_are_told_under_the_name_of_no_node_do_no_harm(clock: FakeClock) -> None:
    plan = Plan(JOIN)
    recorder = Recorder(plan, clock)
    recording = recorder.begin(CalculatorGraph(plan), RunRequest("id", {}))
    recording.tracer.note_step("nobody", 1, 2)
    assert [node.progress for node in recorder.report().nodes] == [None, None]
    recorder.end(recording, None)
    assert [call.phase for call in recorder.report().runs[0].calls] == ["1 of 2"]


@pytest.mark.parametrize("capacity", [2, 3 * KEPT_CALLS])
def test_what_a_graph_says_of_its_own_trace_changes_nothing(clock: FakeClock, capacity: int) -> None:
    plan = Plan(JOIN + f"profiler_config {{ trace_enabled: true trace_log_capacity: {capacity} }}")
    recorder = Recorder(plan, clock)
    recording = recorder.begin(CalculatorGraph(plan), RunRequest("id", {}))
    for step in range(KEPT_CALLS + 5):
        recording.tracer.note_step("b", step, step)
    recorder.end(recording, None)
    (run,) = recorder.report().runs
    assert (len(run.calls), run.left_out) == (KEPT_CALLS, 5)


def test_a_run_that_never_began_is_told_as_failed(clock: FakeClock) -> None:
    plan = Plan(JOIN)
    recorder = Recorder(plan, clock)
    recording = recorder.begin(CalculatorGraph(plan), RunRequest("id", {}))
    assert [node.queues for node in recorder.report().nodes] == [(), ()]
    recorder.end(recording, GraphError("a side packet is missing"))
    (run,) = recorder.report().runs
    assert (run.outcome, run.calls, run.left_out) == ("failed", (), 0)
