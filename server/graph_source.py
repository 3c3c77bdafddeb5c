"""The graph of a servable, read and planned: from its file or its generated text, with the subgraphs that lie beside the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from graph_runtime import Plan
from graph_runtime.config import GraphSource, read_graph
from server.discovery import ServableSpec

_TYPE = re.compile(r"""^\s*type\s*:\s*(["'])([\w.]+)\1""", re.MULTILINE)


def read_servable(spec: ServableSpec, *, file: str | None = None, keep_problems: bool = False) -> GraphSource:
    """The graph as a message, with the places of its fields.

    Args:
        spec: the servable.
        file: the name to print in places; the path of the file unless given.
        keep_problems: as for ``graph_runtime.config.read_graph``.

    Raises:
        GraphError: as for ``read_graph``.
    """
    return read_graph(_graph(spec), file=file or str(spec.shown_file), keep_problems=keep_problems)


def plan_servable(spec: ServableSpec, *, file: str | None = None) -> Plan:
    """The graph as a Plan.

    Args:
        spec, file: as for ``read_servable``.

    Raises:
        GraphError: the graph, or a subgraph file that it uses, is not valid.
    """
    subgraphs = {} if spec.graph_file is None else subgraphs_beside(spec.graph_file, spec.graph_text)
    return Plan(_graph(spec), file=file or str(spec.shown_file), subgraphs=subgraphs)


def subgraphs_beside(graph_file: Path, graph: str | None = None) -> Mapping[str, Path]:
    """The subgraph files that a graph can use: type -> file.

    Args:
        graph_file: the graph's file.
        graph: the graph, where it is not what the file has.

    They are the ``.pbtxt`` files in its folder that have a ``type`` which the graph, or another of them that it uses, has as the
    ``calculator`` of a node. All others (examples, other graphs of the folder) have no effect, whatever is in them.
    """
    by_type: dict[str, Path] = {}
    texts = {file: _text(file) for file in sorted(graph_file.parent.glob("*.pbtxt")) if not file.name.startswith(".")}
    for file, text in texts.items():
        kind = _TYPE.search(text)
        if file != graph_file and kind is not None:
            by_type.setdefault(kind[2], file)
    used: dict[str, Path] = {}
    pending = [texts.get(graph_file, "") if graph is None else graph] if by_type else []
    while pending:
        text = pending.pop()
        for kind_name, file in by_type.items():
            if kind_name not in used and re.search(rf"""["']\.?{re.escape(kind_name)}["']""", text):
                used[kind_name] = file
                pending.append(texts[file])
    return used


def _graph(spec: ServableSpec) -> str | Path:
    if spec.graph_text is not None:
        return spec.graph_text
    assert spec.graph_file is not None  # a spec has the one or the other
    return spec.graph_file


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a folder, or gone by now; the graph itself is read again, and tells
        return ""
