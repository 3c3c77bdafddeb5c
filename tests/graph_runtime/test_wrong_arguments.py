"""What cannot be an argument is a TypeError in the call that has it, or a problem of the node, with words that help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import graph_runtime
from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    GraphInputStreamAddMode,
    Packet,
    Plan,
    ValidatedGraphConfig,
    aio,
)
from graph_runtime.testing import CalculatorRunner

untyped: Any = graph_runtime
TEXT = """input_stream: "in"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""


def new_runner(node: Any) -> CalculatorRunner:
    return CalculatorRunner(node)


def new_graph() -> Any:
    return CalculatorGraph(graph_config=TEXT)


def validated() -> Any:
    config = ValidatedGraphConfig()
    config.initialize(graph_config=TEXT)
    return config


async def enter(*args: Any, **keywords: Any) -> None:
    async with aio.running(*args, **keywords):
        pass


BEFORE_A_RUN: dict[str, tuple[Callable[[], object], str]] = {
    "side packets": (lambda: new_graph().start_run(5), "start_run.*name -> packet or value, not int"),
    "side packet name": (lambda: new_graph().start_run({5: 1}), "names are str, not int"),
    "headers": (lambda: new_graph().start_run(stream_headers=5), "stream_headers.*name -> packet or value, not int"),
    "on_done": (lambda: new_graph().start_run(on_done=5), "on_done is called.*not int"),
    "loop": (lambda: new_graph().start_run(loop=5), "loop is an event loop, not int"),
    "callback": (lambda: new_graph().observe_output_stream("out", 5), r"callback_fn\(stream_name, packet\).*not int"),
    "observed": (lambda: new_graph().observe_output_stream(["out"], print), "a name is a str, not list"),
    "polled": (lambda: new_graph().add_output_stream_poller(5), "a name is a str, not int"),
    "side packet": (lambda: new_graph().get_output_side_packet(5), "a name is a str, not int"),
    "service": (lambda: new_graph().set_service(5, 5), "a name is a str, not int"),
    "queue size": (lambda: setattr(new_graph(), "max_queue_size", "x"), "'str' object"),
    "add mode": (lambda: setattr(new_graph(), "graph_input_stream_add_mode", 1), "GraphInputStreamAddMode, not int"),
    "executors": (
        lambda: untyped.CalculatorGraph(graph_config=TEXT, executors=5),
        "executors.*name -> function, not int",
    ),
    "subgraphs": (lambda: untyped.Plan(TEXT, subgraphs=5), "subgraphs.*not int"),
    "one text as subgraphs": (lambda: untyped.Plan(TEXT, subgraphs=TEXT), "subgraphs.*not str"),
    "stream type": (lambda: validated().registered_stream_type_name(5), "a name is a str, not int"),
    "side packet type": (lambda: validated().registered_side_packet_type_name(5), "a name is a str, not int"),
    "calculator": (lambda: untyped.register_calculator(5), "takes a subclass of Calculator, not 5"),
    "subgraph": (lambda: untyped.register_subgraph(5), "takes a subclass of Subgraph, not 5"),
    "calculator name": (lambda: untyped.find_calculator(5), "a name is a str, not int"),
    "runner": (lambda: new_runner(5), "as text, not int"),
    "asyncio graph": (lambda: asyncio.run(enter(TEXT)), "takes a Plan or a CalculatorGraph, not str"),
    "asyncio outputs": (lambda: asyncio.run(enter(Plan(TEXT), outputs="out")), r"outputs=\['out'\]"),
}


@pytest.mark.parametrize("name", BEFORE_A_RUN)
def test_wrong_types_before_a_run(name: str) -> None:
    call, message = BEFORE_A_RUN[name]
    with pytest.raises(TypeError, match=message):
        call()


DURING_A_RUN: dict[str, tuple[Callable[[Any], object], str]] = {
    "value": (lambda graph: graph.add_packet_to_input_stream("in", 5), r"takes a Packet, not int: write Packet\(5\)"),
    "value at": (lambda graph: graph.add_packet_to_input_stream("in", "a", 5), "takes a Packet, not str"),
    "nothing": (lambda graph: graph.add_packet_to_input_stream("in", None, 5), "takes a Packet, not NoneType"),
    "stream": (lambda graph: graph.add_packet_to_input_stream(5, Packet(1), 1), "a name is a str, not int"),
    "time": (lambda graph: graph.add_packet_to_input_stream("in", Packet(1), 1.5), "'float' object"),
    "closed": (lambda graph: graph.close_input_stream(5), "a name is a str, not int"),
    "limit": (lambda graph: graph.wait_until_idle("5"), "timeout_s is a number of seconds or None, not str"),
    "limit of the end": (lambda graph: graph.wait_until_done("5"), "timeout_s is a number of seconds or None, not str"),
    "limit of output": (lambda graph: graph.wait_for_observed_output("5"), "timeout_s is a number of seconds"),
}


@pytest.mark.parametrize("name", DURING_A_RUN)
def test_wrong_types_during_a_run_which_goes_on(name: str) -> None:
    call, message = DURING_A_RUN[name]
    graph = new_graph()
    poller = graph.add_output_stream_poller("out")
    graph.start_run()
    with pytest.raises(TypeError, match=message):
        call(graph)
    graph.add_packet_to_input_stream("in", Packet("right"), 7)
    graph.close()
    assert [packet.value for packet in poller] == ["right"]


def test_an_attribute_that_is_no_setting_is_refused() -> None:
    with pytest.raises(AttributeError):
        new_graph().max_queue_sise = 5


def test_the_add_mode_stays_what_it_was_set_to() -> None:
    graph = new_graph()
    graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
    assert graph.graph_input_stream_add_mode is GraphInputStreamAddMode.ADD_IF_NOT_FULL


class Wrong(Calculator):
    """Does what one of the tables says."""

    contract: Callable[[Any], object] = staticmethod(lambda cc: None)
    opening: Callable[[Any], object] = staticmethod(lambda cc: None)
    processing: Callable[[Any], object] = staticmethod(lambda cc: None)
    closing: Callable[[Any], object] = staticmethod(lambda cc: None)

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_any()
        return cls.contract(cc)  # type: ignore[return-value]

    def open(self, cc: CalculatorContext) -> None:
        return self.opening(cc)  # type: ignore[return-value]

    def process(self, cc: CalculatorContext) -> None:
        return self.processing(cc)  # type: ignore[return-value]

    def close(self, cc: CalculatorContext) -> None:
        return self.closing(cc)  # type: ignore[return-value]


def runner_of(monkeypatch: pytest.MonkeyPatch, method: str, body: Callable[[Any], object]) -> CalculatorRunner:
    """A runner of a calculator with this method."""
    calculator = type("WrongCalculator", (Wrong,), {method: staticmethod(body), "__module__": __name__})
    monkeypatch.setattr("graph_runtime.registry._classes", {"WrongCalculator": calculator})
    runner = CalculatorRunner('calculator: "WrongCalculator" input_stream: "in" output_stream: "out"')
    runner.feed(0, 1, timestamp=1)
    return runner


CONTRACTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "offset": (lambda cc: cc.set_timestamp_offset("0"), "offset.*int, not str"),
    "offset with a fraction": (lambda cc: cc.set_timestamp_offset(0.5), "offset.*int, not float"),
    "handler": (lambda cc: cc.set_input_stream_handler(5), "handler is named by a str, not int"),
    "same type": (lambda cc: cc.outputs[0].set_same_as("in"), "set_same_as.*port of the contract.*not str"),
    "one of nothing": (lambda cc: cc.outputs[0].set_one_of(), "set_one_of.*at least one type"),
    "options": (lambda cc: cc.options("BlurOptions"), "options.*message class, not 'BlurOptions'"),
    "service": (lambda cc: cc.use_service(5), "a name is a str, not int"),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_wrong_types_in_a_contract_are_problems_of_the_node(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body, message = CONTRACTS[name]
    with pytest.raises(GraphError, match=message) as info:
        runner_of(monkeypatch, "contract", body)
    assert [problem.node for problem in info.value.problems] == ["WrongCalculator"]


CALLS: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "packet": ("processing", lambda cc: cc.outputs[0].add_packet(5), r"add_packet\(\) takes a Packet, not int"),
    "packets": (
        "processing",
        lambda cc: [cc.outputs[0].add_packet(5) for _ in range(2)] and None,
        "takes a Packet, not int",
    ),
    "bound": ("processing", lambda cc: cc.outputs[0].set_next_timestamp_bound(2.5), "'float' object"),
    "offset": ("opening", lambda cc: cc.outputs[0].set_offset("0"), "offset.*int, not str"),
    "header": ("opening", lambda cc: cc.outputs[0].set_header(5), "a header is a Packet, not int"),
    "callback": ("processing", lambda cc: cc.on_cancel(5), r"on_cancel.*callback\(\), not int"),
    "port": ("processing", lambda cc: cc.inputs[1.5], "a port is named by.*not 1.5"),
    "open that returns": ("opening", lambda cc: 5, r"open\(\) returned int; it returns None"),
    "close that returns": ("closing", lambda cc: 5, r"close\(\) returned int; it returns None"),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("step", ["inline", "detached"])
def test_wrong_types_in_a_call_are_errors_of_the_node(name: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, body, message = CALLS[name]
    runner = runner_of(monkeypatch, method, body)
    if step == "detached":
        runner.graph.plan.slow_nodes.add(0)
    with pytest.raises(GraphError, match=message) as info:
        runner.run()
    assert info.value.node == "WrongCalculator"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("contract", r"get_contract\(\) is async; only process may be async"),
        ("opening", r"open\(\) is async; only process may be async"),
        ("closing", r"close\(\) is async; only process may be async"),
        ("processing", "write async def process"),
    ],
)
def test_a_coroutine_is_refused_with_what_may_be_one(
    method: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def coroutine(cc: Any) -> None: ...

    with pytest.raises(GraphError, match=message):
        runner_of(monkeypatch, method, coroutine).run()
