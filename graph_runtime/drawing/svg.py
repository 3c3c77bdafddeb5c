"""A drawing as SVG: one file that needs nothing else, in the colours of its surroundings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Final

from graph_runtime.drawing.layout import (
    HEADER,
    LINE,
    NAME_SIZE,
    SMALL_SIZE,
    TAG_ROW,
    TEXT_SIZE,
    Layout,
    Rect,
    lay_out,
    node_lines,
    path,
    shorten,
)
from graph_runtime.drawing.parts import Box, Drawing, Edge, Node, Port, Terminal

MAX_SVG_NODES: Final = 1000
"""More would be no picture that anybody can read, and cost seconds."""
_MARGIN: Final = 28.0
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_STYLE: Final = """\
  svg { color-scheme: light dark; color: #1c1e21; font-family: system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) { svg { color: #e6e6e6; } }
"""


def to_svg(drawing: Drawing) -> str:
    """The text of an SVG file. Lines are solid for streams, dashed for side packets, and thick for back edges.

    Every node is a ``<g class="node" data-node="NAME">``, every edge ends at ``data-source`` and ``data-target``, for programs that
    go on with it. All names are escaped; nothing in the file is run.

    Raises:
        ValueError: the graph has more than ``MAX_SVG_NODES`` nodes.
    """
    if len(drawing.nodes) > MAX_SVG_NODES:
        raise ValueError(
            f"the graph has {len(drawing.nodes)} nodes, and a picture of more than {MAX_SVG_NODES} would show nothing; draw it "
            "without what is in its subgraphs, or as DOT"
        )
    return "\n".join(_lines(drawing, lay_out(drawing))) + "\n"


def _lines(drawing: Drawing, layout: Layout) -> Iterator[str]:
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN:g} {-_MARGIN:g} {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" font-size="{TEXT_SIZE:g}" '
        'aria-labelledby="picture-title picture-text">'
    )
    yield f'<title id="picture-title">{_text(drawing.title)}</title>'
    yield f'<desc id="picture-text">{_text(drawing.summary())}</desc>'
    yield f"<style>\n{_STYLE}</style>"
    for box in drawing.boxes:
        yield from _box(box, layout.rects[box.id])
    for edge, way in zip(drawing.labelled_edges(), layout.ways, strict=True):
        yield from _edge(edge[0], f"{edge[1]} {edge[2]} {edge[3]}".strip(), path(way), way[-1])
    for box in drawing.boxes:
        yield _box_title(box, layout.rects[box.id])
    for end in drawing.terminals:
        yield from _terminal(end, layout.rects[end.id])
    for node in drawing.nodes:
        yield from _node(node, layout.rects[node.id])
    yield "</svg>"


def _edge(edge: Edge, title: str, line: str, end: tuple[float, float]) -> Iterator[str]:
    kind = "back-edge" if edge.back_edge else edge.kind.replace("_", "-")
    colour = "#c2570c" if edge.back_edge else "currentColor"
    width = 2.6 if edge.back_edge else 1.2
    dashes = ' stroke-dasharray="5 4"' if edge.kind == "side_packet" else ""
    x, y = end
    yield f'<g class="edge {kind}" data-source="{edge.source}" data-target="{edge.target}"><title>{_text(title)}</title>'
    yield f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'
    yield f'<path d="M{x:.1f},{y:.1f}l-4,-7h8z" fill="{colour}"/></g>'


def _box(box: Box, rect: Rect) -> Iterator[str]:
    yield f'<g class="box" data-box="{box.id}"><title>{_text(f"{box.label}: subgraph {box.subgraph}")}</title>'
    yield f'{_rect(rect, 8)} fill="currentColor" fill-opacity=".045" stroke="currentColor" stroke-opacity=".55"/></g>'


def _box_title(box: Box, rect: Rect) -> str:
    kind = "" if box.label == box.subgraph else f' <tspan font-weight="400">{_text(shorten(box.subgraph))}</tspan>'
    return (
        f'<text x="{rect.x + 10:.1f}" y="{rect.y + HEADER - 9:.1f}" font-weight="600" {_HALO}>'
        f"{_text(shorten(box.label))}{kind}</text>"
    )


_HALO: Final = 'fill="currentColor" stroke="Canvas" stroke-width="4" stroke-linejoin="round" paint-order="stroke"'


def _terminal(end: Terminal, rect: Rect) -> Iterator[str]:
    name = f"{end.tag}:{end.name}" if end.tag else end.name
    what = {"input": "graph input", "output": "graph output", "missing": "made by no node"}[end.role]
    what = f"{what}: {name}" if end.kind == "stream" else f"{what}, side packet: {name}"
    colour = "#d32f2f" if end.role == "missing" else "currentColor"
    dashes = ' stroke-dasharray="5 4"' if end.kind == "side_packet" else ""
    yield f'<g class="terminal {end.role}" data-terminal="{end.id}"><title>{_text(what)}</title>'
    radius = rect.height / 2 if end.kind == "stream" else 2
    yield f'{_rect(rect, radius)} fill="none" stroke="{colour}"{dashes}/>'
    middle = rect.y + rect.height / 2 + TEXT_SIZE * 0.36
    yield _line(rect.x + rect.width / 2, middle, shorten(name), TEXT_SIZE) + "</g>"


def _node(node: Node, rect: Rect) -> Iterator[str]:
    title = "; ".join([f"{node.name}: {node.calculator}", *node.notes, *node.problems])
    colour, width = ("#d32f2f", 2.2) if node.problems else ("currentColor", 1.2)
    middle = rect.x + rect.width / 2
    yield f'<g class="node" id="{node.id}" data-node="{_text(node.name)}"><title>{_text(title)}</title>'
    yield (
        f'{_rect(rect, 5)} class="shape" fill="currentColor" fill-opacity=".08" stroke="{colour}" stroke-width="{width}"/>'
    )
    if node.is_subgraph:
        inner = Rect(rect.x + 3, rect.y + 3, rect.width - 6, rect.height - 6)
        yield f'{_rect(inner, 3)} fill="none" stroke="currentColor" stroke-opacity=".6"/>'
    y = rect.y + 1
    if any(port.tag for port in node.inputs):
        yield from _tags(node.inputs, rect.inputs, rect.x, y + SMALL_SIZE)
        y += TAG_ROW
    for at, text in enumerate(node_lines(node)):
        size, weight = (NAME_SIZE, "600") if not at else (TEXT_SIZE, "400")
        y += LINE
        yield _line(middle, y, shorten(text), size, weight)
    if any(port.tag for port in node.outputs):
        yield from _tags(node.outputs, rect.outputs, rect.x, rect.y + rect.height - 3)
    for port, x in zip(node.outputs, rect.outputs, strict=True):
        yield _line(rect.x + x, rect.y + rect.height + 15, shorten(port.label), SMALL_SIZE, "400", _HALO)
    yield "</g>"


def _tags(ports: tuple[Port, ...], places: tuple[float, ...], left: float, y: float) -> Iterator[str]:
    for port, x in zip(ports, places, strict=True):
        if port.tag:
            yield _line(left + x, y, shorten(port.tag), SMALL_SIZE, "400", 'fill="currentColor" fill-opacity=".8"')


def _line(x: float, y: float, text: str, size: float, weight: str = "400", paint: str = 'fill="currentColor"') -> str:
    bold = "" if weight == "400" else f' font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" font-size="{size:g}"{bold} {paint}>{_text(text)}</text>'


def _rect(rect: Rect, radius: float) -> str:
    return (
        f'<rect x="{rect.x:.1f}" y="{rect.y:.1f}" width="{rect.width:.1f}" height="{rect.height:.1f}" rx="{radius:g}"'
    )


def _text(text: str) -> str:
    """Any text, for XML: what cannot stand there is replaced."""
    return escape(_NO_XML.sub("\ufffd", text))
