"""Tools for tests of calculators and graphs: run one node, and decide step by step when a graph works.

::

    node = 'calculator: "Scale" input_stream: "IN:in" output_stream: "OUT:out" input_side_packet: "FACTOR:factor"'
    runner = CalculatorRunner(node)
    runner.side_packets["FACTOR"] = 2.0
    runner.feed("IN", 1.5, timestamp=0)
    runner.run()
    assert runner.values("OUT") == [3.0]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from graph_runtime.arguments import wrong_type
from graph_runtime.calculator import Calculator
from graph_runtime.config import parse_graph_config
from graph_runtime.contract import split_key
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.graph import CalculatorGraph
from graph_runtime.packet import Packet
from graph_runtime.plan import Plan
from graph_runtime.tags import PortKey, TagMap, describe_port, parse_tag_index_name
from graph_runtime.timestamp import previous_allowed


class CalculatorRunner:
    """Runs one node with given packets. Source of the idea: MediaPipe ``framework/calculator_runner.h``.

    What is fed is processed step by step: the graph is idle before the next packet comes. The same can be run several times.

    Args:
        node: the inside of a ``node { ... }`` in a graph, as text.
        bounds: whether outputs list empty packets for settled timestamps too.
        calculators: as for Plan.

    Attributes:
        side_packets: tag, index or (tag, index) -> value, for the node's input side packets.
        headers: the same for the headers of its input streams.
        graph: the CalculatorGraph, for its counters, services, snapshots and tracing.

    Raises:
        GraphError: the node is not valid.
    """

    def __init__(
        self, node: str, *, bounds: bool = False, calculators: Mapping[str, type[Calculator]] | None = None
    ) -> None:
        if not isinstance(node, str):
            raise wrong_type("the inside of a node { ... } is given as text", node)
        text = f"node {{{node}\n}}\n"  # its lines stay what they are
        message = parse_graph_config(text, file="<node>").node[0]
        entries = {
            field: list(getattr(message, field))
            for field in ("input_stream", "output_stream", "input_side_packet", "output_side_packet")
        }
        graph = "".join(f'{field}: "{entry}"\n' for field, names in entries.items() for entry in names)
        self._maps = {field: TagMap([parse_tag_index_name(name) for name in names]) for field, names in entries.items()}
        self.graph = CalculatorGraph(Plan(text + graph, file="<node>", calculators=calculators))
        self._feeds: list[tuple[str, Packet | None]] = []
        self._outputs: dict[str, list[Packet]] = {name: [] for name in self._maps["output_stream"].names}
        self.side_packets: dict[PortKey, Any] = {}
        self.headers: dict[PortKey, Any] = {}
        for name in self._maps["output_stream"].names:
            self.graph.observe_output_stream(name, self._note, bounds)

    def feed(self, port: PortKey, value: Any, timestamp: int) -> None:
        """Give an input a value at ``timestamp``; a Packet is taken as it is. Fed in the order of these calls."""
        packet = value if isinstance(value, Packet) else Packet(value)
        self._feeds.append((self._name("input_stream", port), packet.at(timestamp)))

    def feed_bound(self, port: PortKey, timestamp: int) -> None:
        """Tell an input that nothing before ``timestamp`` will come."""
        self.feed(port, Packet(), previous_allowed(timestamp))

    def feed_end(self, port: PortKey) -> None:
        """End an input now, before the others; what was not ended ends after the last packet."""
        self._feeds.append((self._name("input_stream", port), None))

    def run(self) -> None:
        """Run the node on what was fed, to the end.

        Raises:
            GraphError: the node failed, with ``node``, ``phase`` and the exception as ``__cause__``. What it had sent stays.
        """
        self._outputs = {name: [] for name in self._maps["output_stream"].names}
        self.graph.start_run(
            {self._name("input_side_packet", port): value for port, value in self.side_packets.items()},
            stream_headers={self._name("input_stream", port): value for port, value in self.headers.items()},
        )
        try:
            for stream, packet in self._feeds:
                if packet is None:
                    self.graph.close_input_stream(stream)
                else:
                    self.graph.add_packet_to_input_stream(stream, packet)
                self.graph.wait_until_idle()
        finally:
            self.graph.close()  # tells a failure again, with its cause

    def outputs(self, port: PortKey) -> list[Packet]:
        """The packets that an output has sent in the last run."""
        return self._outputs[self._name("output_stream", port)]

    def values(self, port: PortKey) -> list[Any]:
        """Their values."""
        return [packet.value for packet in self.outputs(port)]

    def header(self, port: PortKey) -> Packet:
        """The header that the node gave an output in the last run; empty when it gave none."""
        run = self.graph._run
        return Packet() if run is None else run.stream(self._name("output_stream", port)).header

    def output_side_packet(self, port: PortKey) -> Packet:
        """A side packet that the node made in the last run."""
        return self.graph.get_output_side_packet(self._name("output_side_packet", port))

    def _note(self, name: str, packet: Packet) -> None:
        self._outputs[name].append(packet)

    def _name(self, field: str, port: PortKey) -> str:
        tag_map = self._maps[field]
        port_id = tag_map.id_of(*split_key(port))
        if port_id is None:
            have = ", ".join(describe_port(*each) for each in tag_map) or "none"
            raise GraphError(
                f"the node has no {field} {describe_port(*split_key(port))}; it has: {have}",
                code=StatusCode.INVALID_ARGUMENT,
            )
        return tag_map.names[port_id]


class ManualExecutor:
    """An executor whose threads are the test's own calls: nothing runs before ``step`` or ``run_until_idle``.

    So a test decides what is in the queues before the graph gets to work, as if it had been busy until then::

        manual = ManualExecutor()
        graph = CalculatorGraph(graph_config=..., executors={"": manual.submit})
    """

    def __init__(self) -> None:
        self._tasks: deque[Callable[[], None]] = deque()

    def submit(self, task: Callable[[], None]) -> None:
        """Called by the graph: there is something to do."""
        self._tasks.append(task)

    def step(self) -> bool:
        """Give the graph one turn on this thread: it goes on until it has nothing to do. False when it has asked for none."""
        if not self._tasks:
            return False
        self._tasks.popleft()()
        return True

    def run_until_idle(self) -> int:
        """Give it turns until it asks for no more; how many there were."""
        count = 0
        while self.step():
            count += 1
        return count
