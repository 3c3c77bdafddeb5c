"""The flags of ``graph-runtime draw``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from server.flags import add_flag, add_python_nodes_flag

DRAW_HELP: Final = """\
Draw a graph: as SVG, as a Mermaid flowchart (which GitHub shows), or in DOT, the language of Graphviz.

    graph-runtime draw models/shapes -o shapes.svg
    graph-runtime draw graph.pbtxt --format mermaid

PATH is a graph file or a model folder. Nothing is run or loaded. A graph with problems, or with calculators that are not
installed here, is drawn as far as it can be read; what is wrong goes to standard error, and the exit code is 1.
"""
FORMATS: Final = {".svg": "svg", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot"}
"""How a file's name ends -> the format that it is written in."""


def add_draw_flags(parser: argparse.ArgumentParser) -> None:
    """Give ``draw`` its flags."""
    parser.add_argument("path", metavar="PATH", type=Path, help="a graph file or a model folder")
    add_flag(
        parser, "--format", dest="format", choices=("mermaid", "dot", "svg"), default=None,
        help="what to write (default: by the ending of -o, else mermaid)",
    )  # fmt: skip
    add_flag(
        parser, "-o", "--output", dest="output", metavar="FILE", type=Path, default=None,
        help="where to write it; a file that exists is replaced (default: standard output)",
    )  # fmt: skip
    add_flag(
        parser, "--no-expand", dest="no_expand", action="store_true", default=False,
        help="draw subgraphs as the nodes that they are in the file, without what is in them",
    )  # fmt: skip
    add_python_nodes_flag(parser)
