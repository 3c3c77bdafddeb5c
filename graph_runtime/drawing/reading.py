"""A graph -> what is in a picture of it; also of a graph that is not valid, as far as it can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import GraphSource, Source, read_graph
from graph_runtime.drawing.parts import Box, Drawing, Edge, Kind, Node, Port, Terminal
from graph_runtime.errors import GraphError, Problem
from graph_runtime.handler_choice import DEFAULT_INPUT_STREAM_HANDLER
from graph_runtime.node_names import canonical_names
from graph_runtime.origins import Origin, Use
from graph_runtime.plan import Plan
from graph_runtime.subgraph import Definition, Subgraphs, find_subgraph, local_subgraphs
from graph_runtime.subgraph_expansion import expand
from graph_runtime.subgraph_ports import name_of
from graph_runtime.tags import parse_tag_index, parse_tag_index_name

_LISTS: Final[Mapping[Literal["in", "out"], tuple[tuple[Kind, str], ...]]] = {
    "in": (("stream", "input_stream"), ("side_packet", "input_side_packet")),
    "out": (("stream", "output_stream"), ("side_packet", "output_side_packet")),
}


def drawing_of(
    source: Plan | GraphSource | Source,
    *,
    title: str = "",
    subgraphs: Subgraphs = (),
    expand_subgraphs: bool = True,
    problems: Iterable[Problem] = (),
) -> Drawing:
    """What is in a picture of a graph.

    Nothing is checked, and no calculator is looked up: a graph is drawn as far as it can be read. Where a subgraph cannot be put in
    its place, all are drawn as the nodes that they are in the file.

    Args:
        source: a Plan, a graph that was read, or what ``Plan`` takes.
        title: what the picture is of; the graph's ``type`` unless given.
        subgraphs: as for ``Plan``; a Plan has its own.
        expand_subgraphs: whether to draw what is in subgraphs; of a Plan, always.
        problems: what is known to be wrong with the graph; it is told at the nodes that have it.

    Raises:
        GraphError: the graph cannot be read at all.
    """
    told: dict[str, list[str]] = {}
    for problem in problems:
        if problem.node is not None:
            text = problem.message if problem.hint is None else f"{problem.message}; {problem.hint}"
            told.setdefault(problem.node, []).append(text)
    if isinstance(source, Plan):
        handlers = [node.handler.__name__ for node in source.nodes]
        names = [node.name for node in source.nodes]
        return _Reader(source.config, names, source.origins, handlers, told, {}).drawing(title)
    read = source if isinstance(source, GraphSource) else read_graph(source, keep_problems=True)
    local: Mapping[str, Definition] = {}
    try:
        local = local_subgraphs(subgraphs)
    except GraphError:
        expand_subgraphs = False
    if expand_subgraphs:
        expansion = expand(read, local)
        if not expansion.problems:
            config = expansion.config
            origins = [expansion.origin("node", at) for at in range(len(config.node))]
            return _Reader(config, canonical_names(config.node), origins, None, told, {}).drawing(title)
    config = read.config
    origins = [Origin(read.positions, ("node", at)) for at in range(len(config.node))]
    return _Reader(config, canonical_names(config.node), origins, None, told, local).drawing(title)


class _Reader:
    def __init__(
        self,
        config: CalculatorGraphConfig,
        names: Sequence[str],
        origins: Sequence[Origin],
        handlers: Sequence[str] | None,
        told: Mapping[str, Sequence[str]],
        local: Mapping[str, Definition],
    ) -> None:
        self.config = config
        self.names = names
        self.origins = origins
        self.handlers = handlers
        self.told = told
        self.local = local
        self.boxes: dict[int, Box] = {}
        self.prefixes: dict[str, tuple[str, str | None]] = {}
        """Of each box, what it puts before names, and the box around it."""
        self.terminals: list[Terminal] = []

    def drawing(self, title: str) -> Drawing:
        nodes = tuple(self._node(at) for at in range(len(self.config.node)))
        makers: dict[tuple[Kind, str], tuple[str, int]] = {}
        self._graph_ports("in", makers)
        for node in nodes:
            for at, port in enumerate(node.outputs):
                makers.setdefault((port.kind, port.name), (node.id, at))
        edges = [
            Edge(*self._maker(port.kind, port.name, makers), node.id, at, port.kind, port.back_edge)
            for node in nodes
            for at, port in enumerate(node.inputs)
        ]
        edges += [
            Edge(*makers[end.kind, end.name], end.id, 0, end.kind)
            for end in self._graph_ports("out", {})
            if (end.kind, end.name) in makers
        ]
        boxes = tuple(self.boxes.values())
        return Drawing(title or self.config.type or "graph", nodes, boxes, tuple(self.terminals), tuple(edges))

    def _graph_ports(
        self, way: Literal["in", "out"], makers: dict[tuple[Kind, str], tuple[str, int]]
    ) -> list[Terminal]:
        """Terminals for the graph's own ports of one way."""
        made = []
        for kind, field in _LISTS[way]:
            for entry in getattr(self.config, field):
                tag, name = entry.rpartition(":")[0], name_of(entry)
                end = self._terminal(tag, name, kind, "input" if way == "in" else "output")
                makers.setdefault((kind, name), (end.id, 0))
                made.append(end)
        return made

    def _terminal(self, tag: str, name: str, kind: Kind, role: Literal["input", "output", "missing"]) -> Terminal:
        end = Terminal(f"t{len(self.terminals)}", tag, name, kind, role)
        self.terminals.append(end)
        return end

    def _maker(self, kind: Kind, name: str, makers: dict[tuple[Kind, str], tuple[str, int]]) -> tuple[str, int]:
        """Who makes a stream or side packet; a side packet that no node makes comes from the caller, declared or not."""
        if (kind, name) not in makers:
            end = self._terminal("", name, kind, "missing" if kind == "stream" else "input")
            makers[kind, name] = end.id, 0
        return makers[kind, name]

    def _node(self, at: int) -> Node:
        message, name = self.config.node[at], self.names[at]
        use = self.origins[at].use
        box = None if use is None else self._box(use)
        problems = [*self.told.get(name, ())]
        return Node(
            id=f"n{at}",
            name=name,
            label=self._short(name, box),
            calculator=message.calculator,
            box=box,
            inputs=tuple(self._ports(message, "in", box)),
            outputs=tuple(self._ports(message, "out", box)),
            notes=tuple(self._notes(at)),
            place=self.origins[at].place() or None,
            problems=tuple(problems),
            is_subgraph=self._is_subgraph(message.calculator),
        )

    def _is_subgraph(self, calculator: str) -> bool:
        try:
            return find_subgraph(calculator, self.config.package, self.local) is not None
        except GraphError:  # a plug-in that cannot be used: whoever checks the graph tells
            return True

    def _box(self, use: Use) -> str:
        """The id of the box of a subgraph node; boxes around it are made first."""
        if id(use) not in self.boxes:
            around = None if use.origin.use is None else self._box(use.origin.use)
            box = Box(f"b{len(self.boxes)}", self._short(use.node, around), use.subgraph, around)
            self.boxes[id(use)] = box
            self.prefixes[box.id] = use.prefix, around
        return self.boxes[id(use)].id

    def _short(self, name: str, box: str | None) -> str:
        """A name without what its box has put before it; what a box around it has, if it comes from there."""
        while box is not None:
            prefix, around = self.prefixes[box]
            if name.startswith(prefix) and name != prefix:
                return name.removeprefix(prefix)
            box = around
        return name

    def _ports(self, message: Any, way: Literal["in", "out"], box: str | None) -> Iterable[Port]:
        back = {_tag_index(info.tag_index) for info in message.input_stream_info if info.back_edge}
        for kind, field in _LISTS[way]:
            count: Counter[str] = Counter()
            for entry in getattr(message, field):
                tag, name = entry.rpartition(":")[0], name_of(entry)
                key: tuple[str, int] | None = None
                try:
                    parsed = parse_tag_index_name(entry)
                    key = parsed.tag, parsed.index if parsed.index >= 0 else count[parsed.tag]
                    count[parsed.tag] += 1
                except GraphError:
                    pass  # it is told by whoever checks the graph
                is_back = field == "input_stream" and key in back
                yield Port(tag, name, self._short(name, box), kind, is_back)

    def _notes(self, at: int) -> Iterable[str]:
        message = self.config.node[at]
        if message.executor:
            yield f"executor {message.executor}"
        handler = self.handlers[at] if self.handlers is not None else message.input_stream_handler.input_stream_handler
        handler = handler or self.config.input_stream_handler.input_stream_handler
        if handler not in ("", DEFAULT_INPUT_STREAM_HANDLER):
            yield handler
        if message.max_in_flight > 1:
            yield f"max_in_flight {message.max_in_flight}"
        if message.source_layer:
            yield f"source_layer {message.source_layer}"


def _tag_index(text: str) -> tuple[str, int] | None:
    try:
        return parse_tag_index(text)
    except GraphError:
        return None
