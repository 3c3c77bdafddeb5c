"""``graph-runtime check``: everything that is wrong with graphs, without running or loading anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from calculators import check_resources, notes_on_resources
from graph_runtime import GraphError, Plan, Problem, register_options
from server.discovery import GRAPH_FILE, ServableSpec, find_servables, graph_servable
from server.graph_source import plan_servable, read_servable
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
    specs: list[ServableSpec] = []
    for path in paths:
        found = _servables(path)
        if not found:
            missing = f"there is no {GRAPH_FILE} in or below {path}" if path.exists() else f"{path} does not exist"
            complain("check", missing)
            return 2
        specs += found
    correct = True
    for graph_file, spec in {spec.shown_file: spec for spec in specs}.items():
        problems, notes, plan = _look_at(spec)
        correct = correct and not problems
        gap = None if plan is None else http_gap(interface_of(plan))
        ok = f"{graph_file}: ok" if gap is None else f"{graph_file}: ok; it {gap}"
        say("\n".join(_lines(problems, graph_file)) or ok)
        for note in _lines(notes, graph_file):
            say(f"note: {note}")
    return 0 if correct else 1


def _look_at(spec: ServableSpec) -> tuple[list[Problem], list[Problem], Plan | None]:
    """The problems of a graph, notes on it, and its Plan if it has one."""
    found: list[Problem] = []
    plan = None
    try:
        plan = plan_servable(spec)
        found += [*no_nodes(plan), *plan.warnings]  # MediaPipe takes these; nobody means them
    except GraphError as error:
        found += _problems_in(error)
    try:
        source = read_servable(spec, keep_problems=True)
    except GraphError:  # so broken that the Plan has told all that there is to tell
        return found, [], plan
    found += check_resources(source, spec.base_dir)
    return list(dict.fromkeys(found)), notes_on_resources(source, spec.base_dir), plan


def _problems_in(error: GraphError) -> list[Problem]:
    return list(error.problems) or [Problem(error.message, error.code, error.place, error.node)]


def _servables(path: Path) -> list[ServableSpec]:
    return [graph_servable(path.name, path)] if path.is_file() else find_servables(path)


def _lines(problems: Sequence[Problem], graph_file: Path) -> Iterator[str]:
    for problem in problems:
        text = " ".join(str(problem).split())  # one line each, whatever a plug-in wrote
        yield text if problem.place is not None else f"{graph_file}: {text}"
