"""What is in a picture of a graph: plain data, whatever it is drawn with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["stream", "side_packet"]


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a node.

    Attributes:
        tag: ``TAG`` or ``TAG:index`` as it is written; "" for an untagged one.
        name: the stream or side packet, as the expanded graph calls it.
        label: the same, short: without the name of the box that it is in.
        back_edge: whether the input closes a loop.
    """

    tag: str
    name: str
    label: str
    kind: Kind
    back_edge: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph, or of a subgraph that was put in its place.

    Attributes:
        id: unique in the picture: a letter and a number.
        name: its canonical name, by which snapshots and traces know it.
        label: the same, without the name of the box that it is in.
        box: the id of the innermost box around it; None at the top.
        notes: what is special about how it is run: its executor, its input stream handler.
        place: ``file:line:column`` where it was written; None where there is no text.
        problems: what is wrong with it, a sentence each.
        is_subgraph: whether it stands for a graph that was not put in its place.
    """

    id: str
    name: str
    label: str
    calculator: str
    box: str | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...] = ()
    place: str | None = None
    problems: tuple[str, ...] = ()
    is_subgraph: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A subgraph: the frame around the nodes that came in the place of one node.

    Attributes:
        label: the name of that node, without the name of the box around it.
        subgraph: the type of the graph that it stands for.
        box: the id of the box around this one; None at the top.
    """

    id: str
    label: str
    subgraph: str
    box: str | None


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a stream or side packet enters or leaves the graph.

    Attributes:
        role: ``"input"`` and ``"output"`` of the graph; ``"missing"`` for a stream that a node needs and nobody makes.
    """

    id: str
    tag: str
    name: str
    kind: Kind
    role: Literal["input", "output", "missing"]


@dataclass(frozen=True, slots=True)
class Edge:
    """From an output to an input: ids of nodes or terminals, and the positions of their ports (0 for a terminal)."""

    source: str
    output: int
    target: str
    input: int
    kind: Kind
    back_edge: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graph as it is drawn.

    Attributes:
        title: what it is a picture of.
        nodes: in the order of the graph.
        boxes: outer ones before those in them.
    """

    title: str
    nodes: tuple[Node, ...]
    boxes: tuple[Box, ...]
    terminals: tuple[Terminal, ...]
    edges: tuple[Edge, ...]

    def summary(self) -> str:
        """The picture in a sentence, for those who do not see it."""
        counts = [
            _count(len(self.nodes), "node"),
            _count(len({each.name for node in self.nodes for each in node.outputs if each.kind == "stream"}), "stream"),
        ]
        if self.boxes:
            counts.append(_count(len(self.boxes), "subgraph"))
        parts = [", ".join(counts)]
        for role, word in (("input", "in"), ("output", "out")):
            names = [each.name for each in self.terminals if each.role == role]
            if names:
                parts.append(f"{word}: {', '.join(names)}")
        return "; ".join(parts)

    def labelled_edges(self) -> Iterator[tuple[Edge, str, str, str]]:
        """Each edge with the tag of its output, the name of what travels along it, and the tag of its input."""
        nodes = {node.id: node for node in self.nodes}
        terminals = {each.id: each for each in self.terminals}
        for edge in self.edges:
            source, target = nodes.get(edge.source), nodes.get(edge.target)
            tag_in = "" if target is None else target.inputs[edge.input].tag
            if source is None:
                yield edge, "", terminals[edge.source].name, tag_in
            else:
                port = source.outputs[edge.output]
                yield edge, port.tag, port.label, tag_in


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
