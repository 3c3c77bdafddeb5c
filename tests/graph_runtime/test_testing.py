"""The tools that users get for their own tests."""

from __future__ import annotations

import pytest

from graph_runtime import CalculatorContext, CalculatorGraph, GraphError, Packet, Timestamp
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


def test_a_runner_tells_the_line_of_the_node_and_has_no_outputs_before_it_ran() -> None:
    with pytest.raises(GraphError) as info:
        CalculatorRunner(
            'calculator: "PassThroughCalculator"\ninput_stream: "IN:in"\noutput_stream: "OUT:out"\nnam: "x"'
        )
    assert [problem.place for problem in info.value.problems] == ["<node>:4:1"]
    with pytest.raises(GraphError) as info:
        CalculatorRunner('\ncalculator: "PassThruCalculator" input_stream: "in"')
    assert [problem.place for problem in info.value.problems] == ["<node>:2:13"]
    assert CalculatorRunner(MERGE).outputs(0) == []


def test_a_runner_raises_what_the_node_raises() -> None:
    runner = CalculatorRunner(
        'calculator: "CallFunction" input_stream: "in" output_stream: "out" input_side_packet: "FUNCTION:function"'
    )
    runner.side_packets["FUNCTION"] = lambda cc: 1 / 0
    runner.feed(0, 1, timestamp=0)
    with pytest.raises(GraphError, match="ZeroDivisionError"):
        runner.run()


CALL = 'calculator: "CallFunction" input_stream: "A:a" input_stream: "B:b" output_stream: "O:out" input_side_packet: "FUNCTION:f"'


def test_a_runner_gives_and_takes_headers() -> None:
    def pass_header_on(cc: CalculatorContext) -> None:
        cc.outputs["O"].set_header(cc.inputs["A"].header)

    runner = CalculatorRunner(CALL + ' input_side_packet: "PHASE:phase"')
    runner.side_packets.update(FUNCTION=pass_header_on, PHASE="open")
    runner.headers["A"] = "30 fps"
    runner.run()
    assert runner.header("O").value == "30 fps"
    runner.headers.clear()
    runner.run()
    assert runner.header("O").is_empty()


def test_a_header_with_a_timestamp_or_for_no_input_is_refused() -> None:
    runner = CalculatorRunner(MERGE)
    runner.headers[0] = Packet("late", 5)
    with pytest.raises(GraphError, match="Headers must not have a timestamp"):
        runner.run()
    graph = CalculatorGraph(
        graph_config='input_stream: "in" node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }'
    )
    with pytest.raises(GraphError, match='"out" which is not a graph input stream; the graph inputs are: in'):
        graph.start_run(stream_headers={"out": 1})
    graph.start_run()
    graph.close()


def test_a_runner_feeds_bounds_and_ends() -> None:
    seen: list[tuple[int, bool, bool]] = []
    runner = CalculatorRunner(CALL)
    runner.side_packets["FUNCTION"] = lambda cc: seen.append(
        (int(cc.input_timestamp), cc.inputs["B"].is_empty(), cc.inputs["B"].is_done())
    )
    runner.feed("A", "first", timestamp=1)
    runner.feed_bound("B", 2)
    runner.feed("A", "second", timestamp=2)
    runner.feed_end("B")
    runner.run()
    assert seen == [(1, True, False), (2, True, True)]


def test_a_runner_keeps_what_was_sent_before_a_failure_and_counts() -> None:
    def fail_at_two(cc: CalculatorContext) -> None:
        cc.count("calls")
        if cc.input_timestamp == 2:
            raise LookupError("no more")
        cc.outputs["O"].add("sent")

    runner = CalculatorRunner(CALL)
    runner.side_packets["FUNCTION"] = fail_at_two
    for timestamp in (1, 2, 3):
        runner.feed("A", "x", timestamp)
        runner.feed("B", "y", timestamp)
    with pytest.raises(GraphError, match="no more") as info:
        runner.run()
    assert (info.value.phase, type(info.value.__cause__)) == ("process", LookupError)
    assert runner.values("O") == ["sent"]
    assert runner.graph.counters() == {"calls": 2}


def test_a_runner_takes_special_timestamps_and_options() -> None:
    runner = CalculatorRunner(
        'calculator: "SidePacketToStreamCalculator" input_side_packet: "s" output_stream: "AT_PRESTREAM:out"'
    )
    runner.side_packets[0] = "model"
    runner.run()
    assert [(packet.timestamp, packet.value) for packet in runner.outputs("AT_PRESTREAM")] == [
        (Timestamp.PRESTREAM, "model")
    ]
    runner = CalculatorRunner(
        """calculator: "GateCalculator" input_stream: "in" output_stream: "out"
        options { [mediapipe.GateCalculatorOptions.ext] { allow: false } }""",
        bounds=True,
    )
    runner.feed(0, "closed", timestamp=Timestamp.PRESTREAM)
    runner.run()
    assert runner.outputs(0) == [] or runner.outputs(0)[0].is_empty()


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
