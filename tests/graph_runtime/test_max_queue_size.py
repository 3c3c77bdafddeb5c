"""CalculatorGraph.max_queue_size: what it reads, and what setting it does."""

from __future__ import annotations

import pytest

from graph_runtime import CalculatorGraph, GraphError, GraphInputStreamAddMode, Packet

ONE_SIDE_FED = """
    input_stream: "a" input_stream: "b" report_deadlock: true max_queue_size: 2
    node { calculator: "Merge" input_stream: "a" input_stream: "b" output_stream: "out" }
"""


@pytest.mark.parametrize(
    ("graph_field", "node_field", "size"),
    [
        ("", "", 100),
        ("max_queue_size: 7", "", 7),
        ("max_queue_size: -1", "", -1),
        ("max_queue_size: 5", "buffer_size_hint: 10", 10),
    ],
)
def test_it_reads_what_the_graph_says(graph_field: str, node_field: str, size: int) -> None:
    graph = CalculatorGraph(
        graph_config=f"""input_stream: "in" {graph_field}
        node {{ calculator: "Merge" input_stream: "in" output_stream: "out" {node_field} }}"""
    )
    assert graph.max_queue_size == size


def feed_one_side(graph: CalculatorGraph, count: int) -> None:
    graph.start_run()
    for timestamp in range(count):
        graph.add_packet_to_input_stream("a", Packet(timestamp), timestamp)
    graph.wait_until_idle()
    graph.close()


def test_a_larger_size_lets_queues_grow_in_all_following_runs() -> None:
    graph = CalculatorGraph(graph_config=ONE_SIDE_FED)
    graph.max_queue_size = 4
    for _ in range(2):
        feed_one_side(graph, 3)
    assert graph.max_queue_size == 4


@pytest.mark.parametrize("size", [2, 3])
def test_a_queue_of_that_size_is_full(size: int) -> None:
    graph = CalculatorGraph(graph_config=ONE_SIDE_FED)
    graph.max_queue_size = size
    with pytest.raises(GraphError, match="Detected a deadlock"):
        feed_one_side(graph, size)


def test_without_limit_nothing_is_full() -> None:
    graph = CalculatorGraph(graph_config=ONE_SIDE_FED)
    graph.max_queue_size = -1
    assert graph.max_queue_size == -1
    feed_one_side(graph, 300)


def test_packets_that_nobody_has_taken_yet_count_too() -> None:
    graph = CalculatorGraph(graph_config=ONE_SIDE_FED)
    graph.max_queue_size = 1
    graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
    assert str(graph.graph_input_stream_add_mode) == "GraphInputStreamAddMode.ADD_IF_NOT_FULL"
    graph.start_run(deferred=True)
    graph.add_packet_to_input_stream("b", Packet(0), 0)
    with pytest.raises(GraphError, match="throttled"):
        graph.add_packet_to_input_stream("b", Packet(1), 1)
    graph.cancel()


@pytest.mark.parametrize("size", [0, -2])
def test_a_size_that_holds_nothing_is_refused(size: int) -> None:
    graph = CalculatorGraph(graph_config=ONE_SIDE_FED)
    with pytest.raises(ValueError, match="positive, or -1"):
        graph.max_queue_size = size
    assert graph.max_queue_size == 2


def test_it_cannot_be_set_during_a_run() -> None:
    graph = CalculatorGraph(graph_config=ONE_SIDE_FED)
    graph.start_run()
    with pytest.raises(RuntimeError, match="during a run"):
        graph.max_queue_size = 5
    graph.close()
    assert graph.max_queue_size == 2
