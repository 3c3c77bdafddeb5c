"""A drawing -> places. Each subgraph is laid out on its own, and is one item of what is around it: no box overlaps another."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from graph_runtime.drawing.layers import GAP_Y, Item, Link, Point, place
from graph_runtime.drawing.parts import Drawing, Node, Terminal

MAX_TEXT: Final = 40
"""Characters of a name that are drawn; the whole name is told by a title."""
NAME_SIZE: Final = 13.0
TEXT_SIZE: Final = 11.0
SMALL_SIZE: Final = 10.0
BOLD: Final = 1.12
"""How much wider bold letters are."""
LINE: Final = 15.0
TAG_ROW: Final = 13.0
LABEL_ROW: Final = 24.0
"""Room below a node for the names of its output streams, which stand on the lines."""
PADDING: Final = 10.0
HEADER: Final = 26.0
_WIDTHS: Final = dict.fromkeys("iljtfrI.,:;'|!()[]/ ", 0.34) | dict.fromkeys("mwMW@%", 0.88)

Output = tuple[str, int]
"""A node or terminal, and which output of it: what travels along an edge."""
_Port = tuple[str, Output | int]
"""An item and its port: by number of a node or terminal; of a box, by the output that passes there. "" is the border around."""


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle, and the x of its inputs and outputs from its left side."""

    x: float
    y: float
    width: float
    height: float
    inputs: tuple[float, ...] = ()
    outputs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is: by the ids of nodes, terminals and boxes; the way of each edge, in their order; where it
    is that of an earlier edge from the same output, it begins where they part."""

    width: float
    height: float
    rects: dict[str, Rect]
    ways: list[list[Point]]


def text_width(text: str, size: float) -> float:
    """About how wide a text is in the fonts of most systems, in pixels."""
    total = 0.0
    for character in text:
        if unicodedata.east_asian_width(character) in "WF":
            total += 1.0
        else:
            total += _WIDTHS.get(character, 0.7 if character.isupper() else 0.6)
    return total * size


def shorten(text: str) -> str:
    """A name as it is drawn."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def node_lines(node: Node) -> list[str]:
    """The lines in a node, the first of which is its name."""
    return [node.label, *([] if node.calculator == node.label else [node.calculator]), *node.notes]


def lay_out(drawing: Drawing) -> Layout:
    """Give everything a place."""
    containers: _Containers = {None: _Container()} | {box.id: _Container() for box in drawing.boxes}
    for node in drawing.nodes:
        containers[node.box].add(node.id, _node_item(node))
    for end in drawing.terminals:
        containers[None].add(end.id, _terminal_item(end))
    routes = _routes(drawing, containers)
    _place_boxes(drawing, containers)
    root = containers[None]
    width, height = place(root.items, root.links)
    rects: dict[str, Rect] = {}
    offsets: dict[str | None, Point] = {None: (0.0, 0.0)}
    for at in (None, *(box.id for box in drawing.boxes)):
        container, (x, y) = containers[at], offsets[at]
        for thing, position in container.position.items():
            item = container.items[position]
            rects[thing] = Rect(
                x + item.x, y + item.y, item.width, item.height, tuple(item.inputs), tuple(item.outputs)
            )
            if thing in containers:
                offsets[thing] = (x + item.x + containers[thing].left, y + item.y + containers[thing].top)
    ways = []
    drawn: dict[Output, set[Point]] = {}
    for edge, route in zip(drawing.edges, routes, strict=True):
        way: list[Point] = []
        for at, link in route:
            x, y = offsets[at]
            way += [(x + each[0], y + each[1]) for each in link.way]
        ways.append(_branch(way, drawn.setdefault((edge.source, edge.output), set())))
    for node in drawing.nodes:
        if node.outputs:
            rects[node.id] = replace(rects[node.id], height=rects[node.id].height - LABEL_ROW)
    return Layout(width, height, rects, ways)


def _routes(drawing: Drawing, containers: _Containers) -> list[list[tuple[str | None, Link]]]:
    """Of each edge, the links that it is made of: out of the boxes of its source, and into those of its target."""
    around_box = {box.id: box.box for box in drawing.boxes}
    home = {node.id: node.box for node in drawing.nodes}

    def around(thing: str) -> list[str | None]:
        chain = [home.get(thing)]
        while chain[-1] is not None:
            chain.append(around_box[chain[-1]])
        return chain[::-1]

    routes = []
    for edge in drawing.edges:
        output = (edge.source, edge.output)
        above, below = around(edge.source), around(edge.target)
        common = sum(one == two for one, two in zip(above, below, strict=False)) - 1
        route: list[tuple[str | None, Link]] = []
        start: _Port = (edge.source, edge.output)
        for box in reversed(above[common + 1 :]):
            route.append((box, containers[box].leave(start, output, edge.back_edge)))
            start = (str(box), output)
        ends: list[_Port] = [(str(inner), output) for inner in below[common + 1 :]]
        ends.append((edge.target, edge.input))
        for box, end in zip(below[common:], ends, strict=True):
            route.append((box, containers[box].join(start, end, edge.back_edge)))
            start = ("", output)
        routes.append(route)
    return routes


@dataclass(slots=True)
class _Container:
    """The whole picture, or a box: its items and links, and where on its border streams come in and go out."""

    items: list[Item] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)
    entries: dict[Output, int] = field(default_factory=dict)
    exits: dict[Output, int] = field(default_factory=dict)
    ports_in: dict[str, list[Output]] = field(default_factory=dict)
    ports_out: dict[str, list[Output]] = field(default_factory=dict)
    known: dict[tuple[int, int, int, int], Link] = field(default_factory=dict)
    left: float = 0.0
    top: float = 0.0

    def add(self, thing: str, item: Item) -> None:
        """Add a node, a terminal or a box."""
        self.position[thing] = len(self.items)
        self.items.append(item)

    def leave(self, start: _Port, output: Output, back: bool) -> Link:
        """The link from a thing to where its output leaves this box."""
        if output not in self.exits:
            self.exits[output] = len(self.items)
            self.items.append(Item(8.0, 0.0, [4.0], [4.0], "last"))
        return self._link(self._from(start), (self.exits[output], 0), back)

    def join(self, start: _Port, end: _Port, back: bool) -> Link:
        """The link from a thing, or from where an output comes into this box, to a thing."""
        thing, port = end
        if not isinstance(port, int):
            port = _number(self.ports_in, thing, port)
            self._reserve(thing)
        return self._link(self._from(start), (self.position[thing], port), back)

    def _from(self, start: _Port) -> tuple[int, int]:
        thing, port = start
        if isinstance(port, int):
            return self.position[thing], port
        if thing:
            self._reserve(thing)
            return self.position[thing], _number(self.ports_out, thing, port)
        if port not in self.entries:
            self.entries[port] = len(self.items)
            self.items.append(Item(8.0, 0.0, [4.0], [4.0], "first"))
        return self.entries[port], 0

    def _reserve(self, box: str) -> None:
        """Make an item for a box, whose size is known later."""
        if box not in self.position:
            self.add(box, Item(0.0, 0.0, [], []))

    def _link(self, start: tuple[int, int], end: tuple[int, int], back: bool) -> Link:
        link = self.known.get((*start, *end))
        if link is None:
            link = self.known[*start, *end] = Link(*start, *end, back)
            self.links.append(link)
        link.back &= back
        return link


_Containers = dict[str | None, _Container]
"""By the id of the box; None is the whole picture."""


def _number(ports: dict[str, list[Output]], box: str, output: Output) -> int:
    have = ports.setdefault(box, [])
    if output not in have:
        have.append(output)
    return have.index(output)


def _place_boxes(drawing: Drawing, containers: _Containers) -> None:
    """Lay boxes out, inner ones first, and give their items in the containers around them sizes and ports."""
    for box in reversed(drawing.boxes):
        inside, outside = containers[box.id], containers[box.box]
        outside._reserve(box.id)
        width, height = place(inside.items, inside.links)
        title = text_width(shorten(box.label), TEXT_SIZE * BOLD) + text_width(shorten(box.subgraph), TEXT_SIZE) + 16
        full = max(width, title) + 2 * PADDING
        inside.left = (full - width) / 2
        inside.top = 0.0 if inside.entries else HEADER
        item = outside.items[outside.position[box.id]]
        item.width = full
        item.height = inside.top + height + (0.0 if inside.exits else PADDING)
        item.inputs = [
            _middle(inside.items[inside.entries[output]]) + inside.left for output in outside.ports_in.get(box.id, ())
        ]
        item.outputs = [
            _middle(inside.items[inside.exits[output]]) + inside.left for output in outside.ports_out.get(box.id, ())
        ]


def _branch(way: list[Point], drawn: set[Point]) -> list[Point]:
    """The part of a way that no other edge of its output has drawn yet, and the straight line before it."""
    shared = next((at for at, point in enumerate(way) if point not in drawn), len(way))
    drawn.update(way)
    return way[max(0, shared - 2) :]


def _middle(item: Item) -> float:
    return item.x + item.width / 2


def _node_item(node: Node) -> Item:
    """The size of a node and the places of its ports; the names of its outputs stand below it."""
    above = [text_width(shorten(port.tag), SMALL_SIZE) + 12 for port in node.inputs]
    below = [
        max(text_width(shorten(port.tag), SMALL_SIZE), text_width(shorten(port.label), SMALL_SIZE)) + 12
        for port in node.outputs
    ]
    lines = node_lines(node)
    texts = [text_width(shorten(line), TEXT_SIZE if at else NAME_SIZE * BOLD) for at, line in enumerate(lines)]
    width = max(max(texts) + 2 * PADDING, sum(above) + 4, sum(below) + 4, 60.0)
    rows = any(port.tag for port in node.inputs) + any(port.tag for port in node.outputs)
    height = LINE * len(lines) + TAG_ROW * rows + PADDING + (LABEL_ROW if node.outputs else 0)
    return Item(width, height, _centers(above, width), _centers(below, width))


def _terminal_item(end: Terminal) -> Item:
    width = text_width(shorten(f"{end.tag}:{end.name}" if end.tag else end.name), TEXT_SIZE) + 2 * PADDING
    at = ""
    if end.role == "output":
        at = "last"
    elif end.role == "input" and end.kind == "stream":  # side packets stand near where they are used
        at = "first"
    return Item(width, 24.0, [width / 2], [width / 2], at)


def _centers(widths: Sequence[float], room: float) -> list[float]:
    """The centers of columns that share the room."""
    more = (room - sum(widths)) / len(widths) if widths else 0.0
    centers, left = [], 0.0
    for width in widths:
        centers.append(left + (width + more) / 2)
        left += width + more
    return centers


def path(way: Sequence[Point]) -> str:
    """The points of a way as an SVG path: straight through layers, curved between them."""
    parts = [f"M{_number_text(way[0])}"]
    for at, (one, two) in enumerate(pairwise(way)):
        if one == two:
            continue
        if one[0] == two[0]:
            parts.append(f"L{_number_text(two)}")
        elif one[1] == two[1]:  # a turn: down at the end of a node's output, up in front of its input
            y = one[1] + (GAP_Y * 0.5 if way[at - 1][1] <= one[1] else -GAP_Y * 0.5)
            parts.append(f"C{_points(((one[0], y), (two[0], y), two))}")
        else:
            y = (one[1] + two[1]) / 2
            parts.append(f"C{_points(((one[0], y), (two[0], y), two))}")
    return "".join(parts)


def _points(points: Iterable[Point]) -> str:
    return " ".join(map(_number_text, points))


def _number_text(point: Point) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"
