"""The flags of ``graph-runtime trace``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from server.flags import add_flag, add_python_nodes_flag, typed

TRACE_HELP: Final = """\
Write what the nodes of a graph did when, call by call, into a file that Perfetto (ui.perfetto.dev) and chrome://tracing open.

The last runs of a model of a running server, whose API key, if it asks for one, stands in GRAPH_RUNTIME_API_KEY or API_KEY:

    graph-runtime trace shapes --url http://localhost:8000 -o trace.json

Or one run in this process, of a graph file or a model folder:

    graph-runtime trace graph.pbtxt --input number=1 --input number=2 -o trace.json
    graph-runtime trace models/shapes --prompt "a red circle" -o trace.json
"""


def add_trace_flags(parser: argparse.ArgumentParser) -> None:
    """Give ``trace`` its flags."""
    parser.add_argument(
        "graph", metavar="GRAPH", help="a graph file or a model folder; with --url, the name of a model"
    )
    add_flag(
        parser, "-o", "--output", dest="output", metavar="FILE", type=Path, default=Path("trace.json"),
        help="where to write the trace; a file that exists is replaced (default: trace.json)",
    )  # fmt: skip
    add_flag(parser, "--url", dest="url", metavar="URL", default=None, help="where the server is that runs the model")
    add_flag(
        parser, "--input", dest="inputs", metavar="NAME=VALUE", type=typed(_input), action="append", default=[],
        help="a packet for an input stream, or a side packet: a JSON value, or else the text as it is; a stream that is given "
        "several gets them at 0, 1, 2 ...",
    )  # fmt: skip
    add_flag(
        parser, "--prompt", dest="prompt", metavar="TEXT", default=None,
        help="what a graph that makes pictures is asked for, with its defaults for all else",
    )  # fmt: skip
    add_python_nodes_flag(parser)


def _input(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (sign and name):
        raise ValueError(f"{text!r} is not NAME=VALUE")
    return name, value
