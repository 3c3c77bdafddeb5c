"""Random graphs and feeds give the same packets whatever runs them: compiled steps, one thread, eight, the application thread.

Compiled steps also make the same calls in the same order as the plain input policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph_runtime import CalculatorGraph, Packet
from graph_runtime.stream_handlers import HANDLERS
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler

EXECUTORS = ["num_threads: 1", "num_threads: 8", 'executor { name: "" type: "ApplicationThreadExecutor" }']


@st.composite
def graphs(draw: st.DrawFn) -> tuple[str, list[str], list[str]]:
    """A random acyclic graph of nodes with one or two inputs; its text, its inputs and all of its streams."""
    inputs = [f"in{i}" for i in range(draw(st.integers(1, 3)))]
    streams = list(inputs)
    text = "".join(f'input_stream: "{name}"\n' for name in inputs)
    for number in range(draw(st.integers(1, 8))):
        calculator = draw(st.sampled_from(["PassThroughCalculator", "Merge", "Twice", "OnlyEven"]))
        sources = draw(st.lists(st.sampled_from(streams), min_size=1, max_size=2))
        if calculator in ("Twice", "OnlyEven"):
            sources = sources[:1]
        outputs = [f"s{number}_{i}" for i in range(len(sources) if calculator == "PassThroughCalculator" else 1)]
        ports = "".join(f' input_stream: "{name}"' for name in sources) + "".join(
            f' output_stream: "{n}"' for n in outputs
        )
        text += f'node {{ calculator: "{calculator}"{ports} }}\n'
        streams += outputs
    return text, inputs, streams


feeds = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=25)


def run(text: str, inputs: list[str], streams: list[str], rows: list[tuple[int, int, bool]]) -> dict[str, list[Any]]:
    """The packets on every stream. Rows are (input, distance to its last timestamp, whether it is empty)."""
    graph = CalculatorGraph(graph_config=text)
    got: dict[str, list[Any]] = {name: [] for name in streams}
    for name in streams:
        graph.observe_output_stream(name, lambda name, packet: got[name].append((int(packet.timestamp), packet.value)))
    graph.start_run()
    clocks = dict.fromkeys(inputs, 0)
    for position, distance, is_empty in rows:
        name = inputs[position % len(inputs)]
        clocks[name] += 1 + distance
        graph.add_packet_to_input_stream(name, Packet() if is_empty else Packet(clocks[name]), clocks[name])
    graph.close()
    return got


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), feeds)
def test_every_executor_gives_the_same_packets(graph: tuple[str, list[str], list[str]], rows: list[Any]) -> None:
    text, inputs, streams = graph
    expected = run(text, inputs, streams, rows)
    for executor in EXECUTORS:
        assert run(f"{executor}\n{text}", inputs, streams, rows) == expected


class PlainDefault(DefaultInputStreamHandler):
    """The default policy under a name that no compiled step knows."""


@pytest.fixture(scope="module", autouse=True)
def plain_default() -> Iterator[None]:
    HANDLERS["PlainDefault"] = PlainDefault
    yield
    del HANDLERS["PlainDefault"]


def calls(text: str, inputs: list[str], observe: list[str], rows: list[tuple[int, int, bool]]) -> list[Any]:
    """Every call of a node, and every observed packet, in order; the graph works after every third row of the feed."""
    graph = CalculatorGraph(graph_config=f'executor {{ name: "" type: "ApplicationThreadExecutor" }}\n{text}')
    tracer = graph.enable_tracing()
    seen: list[Any] = []
    for name in observe:
        graph.observe_output_stream(name, lambda name, packet: seen.append((name, int(packet.timestamp), packet.value)))
    graph.start_run()
    clocks = dict.fromkeys(inputs, 0)
    for number, (position, distance, is_empty) in enumerate(rows):
        name = inputs[position % len(inputs)]
        clocks[name] += 1 + distance
        graph.add_packet_to_input_stream(name, Packet() if is_empty else Packet(clocks[name]), clocks[name])
        if number % 3 == 2:
            graph.wait_until_idle()
    graph.close()
    events = tracer.chrome_trace()["traceEvents"]
    made = [(each["name"], each["cat"], each["args"]["input_timestamp"]) for each in events if each["ph"] == "X"]
    return [*made, *seen]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), feeds, st.integers(0, 2))
def test_compiled_steps_make_the_calls_of_the_plain_policy(
    graph: tuple[str, list[str], list[str]], rows: list[Any], observed: int
) -> None:
    text, inputs, streams = graph
    plain = text.replace("node {", 'node { input_stream_handler { input_stream_handler: "PlainDefault" }')
    observe = streams[-observed:] if observed else []
    assert calls(text, inputs, observe, rows) == calls(plain, inputs, observe, rows)


@settings(max_examples=60, deadline=None)
@given(graphs(), feeds)
def test_timestamps_increase_on_every_stream(graph: tuple[str, list[str], list[str]], rows: list[Any]) -> None:
    for packets in run(*graph, rows).values():
        timestamps = [timestamp for timestamp, _ in packets]
        assert timestamps == sorted(set(timestamps))


@pytest.mark.parametrize("executor", ["", *EXECUTORS])
def test_a_chain_of_many_nodes_keeps_order(executor: str) -> None:
    nodes = "".join(
        f'node {{ calculator: "PassThroughCalculator" input_stream: "s{i}" output_stream: "s{i + 1}" }}\n'
        for i in range(40)
    )
    rows = [(0, 0, False)] * 300
    got = run(f'{executor} input_stream: "s0"\n{nodes}', ["s0"], ["s40"], rows)
    assert got["s40"] == [(t, t) for t in range(1, 301)]
