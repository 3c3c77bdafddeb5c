"""Random graphs of every shape give the same packets in every run, whatever runs them.

Wider than ``test_ordering_rules``: sources in layers, loops, nodes that open late, batches, barriers, offsets, calls that
overlap, nodes in pools of their own. Only what depends on the moment of arrival (Immediate and its like) is left to the stress run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    Packet,
    register_calculator,
)

THREE_THREADS = "[mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 3 }"
POOL = f'executor {{ name: "pool" type: "ThreadPoolExecutor" options {{ {THREE_THREADS} }} }}'
EXECUTORS = ["", "num_threads: 1", "num_threads: 8"]
BATCH = "options { [mediapipe.DefaultInputStreamHandlerOptions.ext] { batch_size: 3 } }"
HANDLERS = {
    "": "",
    "batch": f'input_stream_handler {{ input_stream_handler: "DefaultInputStreamHandler" {BATCH} }}',
    "barrier": 'input_stream_handler { input_stream_handler: "BarrierInputStreamHandler" }',
}


@register_calculator
class NumberCalls(Calculator):
    """Sends what each call has, at the number of the call."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for port in cc.inputs:
            port.set_any()
        cc.outputs[0].set_any()

    def open(self, cc: CalculatorContext) -> None:
        self.number = 0

    def process(self, cc: CalculatorContext) -> None:
        self.number += 1
        cc.outputs[0].add(tuple(None if port.is_empty() else port.value for port in cc.inputs), self.number)


@register_calculator
class Later(Calculator):
    """Sends packets by five later, and says so by its offset."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])
        cc.set_timestamp_offset(5)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add(cc.inputs[0].value, cc.input_timestamp + 5)


@register_calculator
class PassWhenOpened(Calculator):
    """Passes packets on; opens when its side packet is made."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])
        cc.input_side_packets[0].set_any()
        cc.set_timestamp_offset(0)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add_packet(cc.inputs[0].packet)


@register_calculator
class MakeAtPacket(Calculator):
    """Makes its side packet with its second packet, or at its end."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.output_side_packets[0].set_any()

    def open(self, cc: CalculatorContext) -> None:
        self.packets = 0

    def process(self, cc: CalculatorContext) -> None:
        self.packets += 1
        if self.packets == 2:
            cc.output_side_packets[0].set("made")

    def close(self, cc: CalculatorContext) -> None:
        if self.packets < 2:
            cc.output_side_packets[0].set("made")


@dataclass
class Drawn:
    """A graph in the making."""

    text: str = 'input_side_packet: "count"\n'
    inputs: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)

    def node(self, calculator: str, inputs: list[str], outputs: list[str], more: str = "") -> None:
        """Add a node."""
        ports = "".join(f' input_stream: "{name}"' for name in inputs)
        ports += "".join(f' output_stream: "{name}"' for name in outputs)
        self.text += f'node {{ calculator: "{calculator}"{ports} {more} }}\n'
        self.streams += [name.rpartition(":")[2] for name in outputs]


@st.composite
def graphs(draw: st.DrawFn) -> Drawn:
    """A graph of up to eight parts."""
    graph = Drawn(inputs=[f"in{i}" for i in range(draw(st.integers(1, 3)))])
    graph.text += "".join(f'input_stream: "{name}"\n' for name in graph.inputs)
    graph.text += f"max_queue_size: {draw(st.sampled_from([-1, 1, 2, 100]))}\n{POOL}\n"
    graph.streams += graph.inputs
    for number in range(draw(st.integers(1, 8))):
        out = f"s{number}"
        pool = draw(st.sampled_from(["", "", 'executor: "pool"']))
        source = draw(st.sampled_from(graph.streams))
        other = draw(st.sampled_from(graph.streams))
        kind = draw(
            st.sampled_from(["pass", "merge", "twice", "even", "later", "number", "source", "loop", "late", "many"])
        )
        if kind == "pass":
            graph.node("PassThroughCalculator", [source, other], [out, f"{out}b"], pool)
        elif kind == "merge":
            graph.node("Merge", [source, other], [out], pool)
        elif kind == "number":
            handler = HANDLERS[draw(st.sampled_from(sorted(HANDLERS)))]
            graph.node("NumberCalls", [source, other], [out], f"{pool} {handler}")
        elif kind == "source":
            layer = draw(st.integers(0, 2))
            graph.node("CountTo", [], [out], f'{pool} input_side_packet: "N:count" source_layer: {layer}')
        elif kind == "loop":
            back_edge = 'input_stream_info { tag_index: "LOOP" back_edge: true }'
            graph.node(
                "PreviousLoopbackCalculator", [f"MAIN:{source}", f"LOOP:{out}"], [f"PREV_LOOP:{out}prev"], back_edge
            )
            graph.node("PassThroughCalculator", [source, f"{out}prev"], [out, f"{out}q"], pool)
        elif kind == "late":
            graph.node("MakeAtPacket", [other], [], f'output_side_packet: "{out}made"')
            graph.node("PassWhenOpened", [source], [out], f'{pool} input_side_packet: "{out}made"')
        else:
            calculator = {"twice": "Twice", "even": "OnlyEven", "later": "Later", "many": "OnlyEven"}[kind]
            graph.node(calculator, [source], [out], f"{pool} max_in_flight: 3" if kind == "many" else pool)
    return graph


feeds = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=25)


def run(text: str, graph: Drawn, rows: list[tuple[int, int, bool]], count: int) -> list[dict[str, list[Any]]]:
    """The packets on every stream, in two runs. Rows are (input, distance to its last timestamp, whether it is empty)."""
    running = CalculatorGraph(graph_config=text)
    got: dict[str, list[Any]] = {name: [] for name in graph.streams}
    for name in graph.streams:
        running.observe_output_stream(
            name, lambda name, packet: got[name].append((int(packet.timestamp), packet.value))
        )
    runs = []
    for _ in range(2):
        running.start_run({"count": count})
        clocks = dict.fromkeys(graph.inputs, 0)
        for position, distance, is_empty in rows:
            name = graph.inputs[position % len(graph.inputs)]
            clocks[name] += 1 + distance
            running.add_packet_to_input_stream(name, Packet() if is_empty else Packet(clocks[name]), clocks[name])
        for name in graph.inputs:
            running.close_input_stream(name)
        running.wait_until_done()
        runs.append({name: packets.copy() for name, packets in got.items()})
        for packets in got.values():
            packets.clear()
    return runs


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graphs(), feeds, st.integers(0, 20))
def test_every_run_gives_the_same_packets(graph: Drawn, rows: list[Any], count: int) -> None:
    inline = f'executor {{ type: "ApplicationThreadExecutor" }}\n{graph.text}'.replace('executor: "pool"', "")
    expected, again = run(inline, graph, rows, count)
    assert again == expected
    for packets in expected.values():
        timestamps = [timestamp for timestamp, _ in packets]
        assert timestamps == sorted(set(timestamps))
    for executor in EXECUTORS:
        assert run(f"{executor}\n{graph.text}", graph, rows, count) == [expected, expected], executor


@pytest.mark.parametrize("executor", [*EXECUTORS, 'executor { name: "" type: "ApplicationThreadExecutor" }'])
@pytest.mark.parametrize("calculator", ["PassThroughCalculator", "Twice"])
def test_a_node_behind_one_that_drops_packets_gets_those_of_a_stream_that_both_have(
    calculator: str, executor: str
) -> None:
    calls: list[Any] = []
    cut = "[mediapipe.FixedSizeInputStreamHandlerOptions.ext] { trigger_queue_size: 1 target_queue_size: 1 }"
    graph = CalculatorGraph(
        graph_config=f'''{executor} input_stream: "in" input_side_packet: "log"
        node {{ calculator: "{calculator}" input_stream: "in" output_stream: "s" }}
        node {{ calculator: "PassThroughCalculator" input_stream: "in" input_stream: "s" output_stream: "x" output_stream: "y"
          input_stream_handler {{ input_stream_handler: "FixedSizeInputStreamHandler" options {{ {cut} }} }} }}
        node {{ calculator: "CollectCalls" input_stream: "s" input_stream: "in" input_stream: "x" input_side_packet: "LOG:log" }}'''
    )
    graph.start_run({"log": calls})
    for timestamp in range(1, 8):
        graph.add_packet_to_input_stream("in", Packet(timestamp), timestamp)
    graph.close()
    times = [call[2] for call in calls if call[0] == "process"]
    assert times == sorted(set(times))
    expected = range(1, 8) if calculator == "PassThroughCalculator" else range(2, 16)
    assert [call[3][0] for call in calls if call[0] == "process" and call[2] in expected] == [
        timestamp if calculator == "PassThroughCalculator" else timestamp // 2 for timestamp in expected
    ]
