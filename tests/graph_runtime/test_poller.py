"""Pollers, waits for output, pause and resume, services."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    Packet,
    StatusCode,
)
from graph_runtime.registry import register_calculator

TIMEOUT_S = 20.0
PASS_THROUGH = """input_stream: "in"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""
COUNT = 'input_side_packet: "n" node { calculator: "CountTo" output_stream: "s" input_side_packet: "N:n" }'
SERVICE = 'input_stream: "in" node { calculator: "UseService" input_stream: "in" output_stream: "out" }'


@register_calculator
class UseService(Calculator):
    """Sends what its services are."""

    default: Any = None

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()
        cc.use_service("clock", default=cls.default)
        cc.use_service("extra", optional=True)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add((cc.service("clock"), cc.service("extra")))


def test_a_poller_gives_packets_in_order_and_ends_with_the_run() -> None:
    graph = CalculatorGraph(graph_config=COUNT)
    poller = graph.add_output_stream_poller("s")
    for _ in range(2):
        graph.start_run({"n": 5})
        assert [packet.value for packet in poller] == [0, 1, 2, 3, 4]
        graph.wait_until_done()


def test_a_poller_gets_packets_from_a_source_that_never_ends() -> None:
    graph = CalculatorGraph(graph_config=COUNT)
    poller = graph.add_output_stream_poller("s")
    graph.start_run({"n": -1})
    first = poller.next(TIMEOUT_S)
    second = poller.next(TIMEOUT_S)
    assert first is not None
    assert second is not None
    assert [first.value, second.value] == [0, 1]
    graph.cancel()
    with pytest.raises(GraphError):
        graph.wait_until_done(TIMEOUT_S)


def test_a_poller_does_not_wait_longer_than_asked() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    poller = graph.add_output_stream_poller("out")
    with pytest.raises(GraphError, match="before start_run"):
        poller.next()
    graph.start_run()
    with pytest.raises(GraphError) as info:
        poller.next(timeout_s=0)
    assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    graph.add_packet_to_input_stream("in", Packet("x"), 0)
    packet = poller.next(TIMEOUT_S)
    assert packet is not None
    assert packet.value == "x"
    graph.close()


def test_a_failed_run_ends_the_poller() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    poller = graph.add_output_stream_poller("out")
    graph.start_run()
    graph.cancel()
    assert poller.next(TIMEOUT_S) is None
    with pytest.raises(GraphError):
        graph.wait_until_done()


def test_wait_for_observed_output() -> None:
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.observe_output_stream("out", lambda *_: None)
    graph.start_run()
    with pytest.raises(GraphError) as info:
        graph.wait_for_observed_output(timeout_s=0)
    assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.wait_for_observed_output(TIMEOUT_S)
    graph.close()
    graph.wait_for_observed_output(TIMEOUT_S)  # the end of the stream counts too
    with pytest.raises(RuntimeError, match="Graph is done"):
        graph.wait_for_observed_output(TIMEOUT_S)
    graph.start_run()
    with pytest.raises(GraphError) as info:
        graph.wait_for_observed_output(timeout_s=0)
    assert info.value.code == StatusCode.DEADLINE_EXCEEDED, "what came in the former run is not news"


def test_a_paused_graph_starts_nothing_until_it_is_resumed() -> None:
    got: list[int] = []
    graph = CalculatorGraph(graph_config=PASS_THROUGH)
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    graph.start_run()
    graph.wait_until_idle()
    graph.pause()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError) as info:
        graph.wait_until_idle(timeout_s=0)
    assert info.value.code == StatusCode.DEADLINE_EXCEEDED
    assert got == []
    graph.resume()
    graph.wait_until_idle()
    assert got == [1]
    graph.close()


def test_services_are_shared_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Any] = []
    graph = CalculatorGraph(graph_config=SERVICE)
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    with pytest.raises(
        RuntimeError, match='Service "clock", required by node UseService, was not provided and cannot be created'
    ):
        graph.start_run()
    graph.set_service("clock", "mine")
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()
    monkeypatch.setattr(UseService, "default", staticmethod(lambda: "made"))
    graph = CalculatorGraph(graph_config=SERVICE)
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    graph.set_service("extra", 5)
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    graph.close()
    assert got == [("mine", None), ("made", 5)]


@pytest.mark.parametrize("maker", ["PassThroughCalculator", None])
def test_a_poller_gets_the_packet_at_which_another_observer_fails(maker: str | None) -> None:
    node = f'node {{ calculator: "{maker}" input_stream: "in" output_stream: "s" }}' if maker else ""
    stream = "s" if maker else "in"
    graph = CalculatorGraph(graph_config=f'input_stream: "in" {node}')

    def fail(name: str, packet: Packet) -> None:
        raise LookupError("no more")

    graph.observe_output_stream(stream, fail)
    poller = graph.add_output_stream_poller(stream)
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(1), 0)
    with pytest.raises(GraphError, match="no more"):
        graph.close()
    assert [packet.value for packet in poller] == [1]


def test_several_threads_may_wait_for_the_same_end() -> None:
    graph = CalculatorGraph(graph_config=COUNT)
    graph.start_run({"n": 1000})
    threads = [threading.Thread(target=graph.wait_until_done) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
