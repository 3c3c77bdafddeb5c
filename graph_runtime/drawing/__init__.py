"""Graphs as pictures: a graph -> nodes, boxes and edges -> Mermaid, DOT or SVG, without any program from outside.

::

    print(to_mermaid(drawing_of(Path("graph.pbtxt"))))
"""

from __future__ import annotations

from graph_runtime.drawing.dot import to_dot
from graph_runtime.drawing.mermaid import to_mermaid
from graph_runtime.drawing.parts import Box, Drawing, Edge, Node, Port, Terminal
from graph_runtime.drawing.reading import drawing_of
from graph_runtime.drawing.svg import MAX_SVG_NODES, to_svg

__all__ = [
    "MAX_SVG_NODES",
    "Box",
    "Drawing",
    "Edge",
    "Node",
    "Port",
    "Terminal",
    "drawing_of",
    "to_dot",
    "to_mermaid",
    "to_svg",
]
