"""``graph-runtime check``: everything that is wrong with graphs, without running or loading anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from calculators import check_resources, notes_on_resources
from graph_runtime import GraphError, Plan, Problem, register_options
from graph_runtime.config import read_graph
from server.discovery import GRAPH_FILE, find_servables
from server.interface import http_gap, interface_of, no_nodes
from server.terminal import complain, say


def check(paths: Sequence[Path], options_proto: Sequence[Path] = ()) -> int:
    """Print every problem of every graph, one a line, or that a graph is ok; after it notes on what could be better.

    Returns:
        The exit code: 0 without problems (notes are none), 1 with some, 2 if a path is not there or has no graph, or an options
            file is broken.
    """
    try:
        for options_file in options_proto:
            register_options(options_file)
    except GraphError as error:
        complain("check", str(error))
        return 2
    graph_files: list[Path] = []
    for path in paths:
        found = _graph_files(path)
        if not found:
            missing = f"there is no {GRAPH_FILE} in or below {path}" if path.exists() else f"{path} does not exist"
            complain("check", missing)
            return 2
        graph_files += found
    correct = True
    for graph_file in dict.fromkeys(graph_files):
        problems, notes, plan = _look_at(graph_file)
        correct = correct and not problems
        gap = None if plan is None else http_gap(interface_of(plan))
        ok = f"{graph_file}: ok" if gap is None else f"{graph_file}: ok; it {gap}"
        say("\n".join(_lines(problems, graph_file)) or ok)
        for note in _lines(notes, graph_file):
            say(f"note: {note}")
    return 0 if correct else 1


def problems_of(graph_file: Path) -> list[Problem]:
    """What keeps a graph from being served, as far as that can be known without loading its models."""
    return _look_at(graph_file)[0]


def _look_at(graph_file: Path) -> tuple[list[Problem], list[Problem], Plan | None]:
    """The problems of a graph, notes on it, and its Plan if it has one."""
    found: list[Problem] = []
    plan = None
    try:
        plan = Plan(graph_file)
        found += [*no_nodes(plan), *plan.warnings]  # MediaPipe takes these; nobody means them
    except GraphError as error:
        found += _problems_in(error)
    try:
        source = read_graph(graph_file, keep_problems=True)
    except GraphError:  # so broken that the Plan has told all that there is to tell
        return found, [], plan
    found += check_resources(source, graph_file.parent)
    return list(dict.fromkeys(found)), notes_on_resources(source, graph_file.parent), plan


def _problems_in(error: GraphError) -> list[Problem]:
    return list(error.problems) or [Problem(error.message, error.code, error.place, error.node)]


def _graph_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [spec.graph_file for spec in find_servables(path)]


def _lines(problems: Sequence[Problem], graph_file: Path) -> Iterator[str]:
    for problem in problems:
        text = " ".join(str(problem).split())  # one line each, whatever a plug-in wrote
        yield text if problem.place is not None else f"{graph_file}: {text}"
