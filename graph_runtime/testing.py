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
from collections.abc import Callable
from typing import Any

from graph_runtime.config import parse_graph_config
from graph_runtime.contract import split_key
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.graph import CalculatorGraph
from graph_runtime.packet import Packet
from graph_runtime.plan import Plan
from graph_runtime.tags import PortKey, TagMap, describe_port, parse_tag_index_name


class CalculatorRunner:
    """Runs one node with given packets. Source of the idea: MediaPipe ``framework/calculator_runner.h``.

    Args:
        node: the inside of a ``node { ... }`` in a graph, as text.

    Attributes:
        side_packets: tag, index or (tag, index) -> value, for the node's input side packets.
        bounds: whether outputs list empty packets for settled timestamps too.

    Raises:
        GraphError: the node is not valid.
    """

    def __init__(self, node: str, *, bounds: bool = False) -> None:
        message = parse_graph_config(f"node {{\n{node}\n}}").node[0]
        entries = {
            field: list(getattr(message, field))
            for field in ("input_stream", "output_stream", "input_side_packet", "output_side_packet")
        }
        graph = "".join(f'{field}: "{entry}"\n' for field, names in entries.items() for entry in names)
        self._maps = {field: TagMap([parse_tag_index_name(name) for name in names]) for field, names in entries.items()}
        self._graph = CalculatorGraph(Plan(f"{graph}node {{\n{node}\n}}"))
        self._feeds: list[tuple[str, Packet]] = []
        self._outputs: dict[str, list[Packet]] = {}
        self.side_packets: dict[PortKey, Any] = {}
        for name in self._maps["output_stream"].names:
            self._graph.observe_output_stream(name, self._note, bounds)

    def feed(self, port: PortKey, value: Any, timestamp: int) -> None:
        """Give an input a value at ``timestamp``; a Packet is taken as it is. Fed in the order of these calls."""
        packet = value if isinstance(value, Packet) else Packet(value)
        self._feeds.append((self._name("input_stream", port), packet.at(timestamp)))

    def run(self) -> None:
        """Run the node on what was fed, to the end.

        Raises:
            GraphError: the node failed.
        """
        self._outputs = {name: [] for name in self._maps["output_stream"].names}
        self._graph.start_run(
            {self._name("input_side_packet", port): value for port, value in self.side_packets.items()}
        )
        for stream, packet in self._feeds:
            self._graph.add_packet_to_input_stream(stream, packet)
            self._graph.wait_until_idle()
        for name in self._maps["input_stream"].names:
            self._graph.close_input_stream(name)
        self._graph.wait_until_done()

    def outputs(self, port: PortKey) -> list[Packet]:
        """The packets that an output has sent in the last run."""
        return self._outputs[self._name("output_stream", port)]

    def values(self, port: PortKey) -> list[Any]:
        """Their values."""
        return [packet.value for packet in self.outputs(port)]

    def output_side_packet(self, port: PortKey) -> Packet:
        """A side packet that the node made in the last run."""
        return self._graph.get_output_side_packet(self._name("output_side_packet", port))

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

    ``CalculatorGraph(graph_config=..., executors={"": manual.submit})``
    """

    def __init__(self) -> None:
        self._tasks: deque[Callable[[], None]] = deque()

    def submit(self, task: Callable[[], None]) -> None:
        """Called by the graph: there is something to do."""
        self._tasks.append(task)

    def step(self) -> bool:
        """Do one task on this thread; whether there was one."""
        if not self._tasks:
            return False
        self._tasks.popleft()()
        return True

    def run_until_idle(self) -> int:
        """Do tasks until there are none; how many there were."""
        count = 0
        while self.step():
            count += 1
        return count
