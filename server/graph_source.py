"""The graph of a servable, read and planned: from its file or its generated text, with what lies beside the file: subgraphs, and
calculators of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calculators.node_kinds import NODE_KINDS
from graph_runtime import CalculatorGraphConfig, GraphError, Plan, load_calculators
from graph_runtime.config import GraphSource, read_graph
from graph_runtime.errors import Problem, StatusCode, raise_problems
from graph_runtime.folder_code import CALCULATORS_FILE, FolderCode
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


def calculators_beside(spec: ServableSpec, *, allowed: bool) -> FolderCode | None:
    """The calculators of the ``calculators.py`` beside a graph's file, which is run; None where there is none.

    Call it before the graph is read, whose options messages the file may bring, and close it when the graph is not used any more.

    Args:
        spec: the servable.
        allowed: whether code of the folder may run (the setting ``allow_python_nodes``).

    Raises:
        GraphError: there is one and it may not run, or it raised.
    """
    file = None if spec.graph_file is None else spec.graph_file.parent / CALCULATORS_FILE
    if file is None or not file.is_file():
        return None
    if not allowed:
        # Not even where the graph may do without: what a name stands for must not depend on the flag.
        raise_problems("", [Problem(
            f"{CALCULATORS_FILE} beside the graph is not run: code of model folders is not allowed",
            StatusCode.FAILED_PRECONDITION,
            str(file),
            hint="give --allow_python_nodes if you trust whoever can write to this folder, or remove the file",
        )])  # fmt: skip
    return load_calculators(file)


def plan_servable(spec: ServableSpec, *, own: FolderCode | None = None, file: str | None = None) -> Plan:
    """The graph as a Plan.

    Args:
        spec, file: as for ``read_servable``.
        own: what ``calculators_beside`` has found.

    Raises:
        GraphError: the graph, or a subgraph file that it uses, is not valid.
    """
    calculators = None if own is None else own.calculators
    subgraphs = subgraphs_of(spec, own)
    try:
        return Plan(_graph(spec), file=file or str(spec.shown_file), subgraphs=subgraphs, calculators=calculators)
    except GraphError as error:
        forgotten = [] if own is None else [name for name in own.unregistered() if f'Calculator "{name}"' in str(error)]
        if not forgotten:
            raise
        lines = [
            Problem(
                f"the class {name} is not registered",
                StatusCode.NOT_FOUND,
                str(own.folder / CALCULATORS_FILE) if own is not None else None,
                hint="write @register_calculator above it",
            )
            for name in forgotten
        ]
        raise_problems("", [*error.problems, *lines])
        raise


def subgraphs_of(spec: ServableSpec, own: FolderCode | None = None) -> Mapping[str, Any]:
    """The subgraphs that a servable's graph can use beside those that are registered: type -> file, or what ``own`` has."""
    subgraphs: dict[str, Any] = {} if own is None else dict(own.subgraphs)
    if spec.graph_file is not None:
        subgraphs.update(subgraphs_beside(spec.graph_file, spec.graph_text))
    return subgraphs


def loadable(plan: Plan, source: GraphSource) -> GraphSource | CalculatorGraphConfig:
    """What ``load_resources`` is to be given for a graph.

    That is the graph as it is written, whose problems have places; where nodes of its subgraphs need something too, it is the graph
    with these in their place.
    """
    kinds = {calculator for kind in NODE_KINDS for calculator in kind.options}
    names = {node.name for node in source.config.node}
    inside = any(node.calculator in kinds and node.name and node.name not in names for node in plan.config.node)
    return plan.config if inside else source


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
