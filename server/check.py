"""``graph-runtime check``: everything that is wrong with graphs, without running or loading anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from calculators import check_resources, notes_on_resources
from graph_runtime import GraphError, Plan, Problem, register_options
from graph_runtime.folder_code import FolderCode
from server.discovery import GRAPH_FILE, ServableSpec, graph_servable
from server.graph_checks import graph_problems
from server.graph_queue import read_graph_queue
from server.graph_source import calculators_beside, loadable, plan_servable, read_servable
from server.interface import http_gap, interface_of, no_nodes
from server.repository import Scan, scan_config, scan_folder
from server.settings import SettingsError
from server.terminal import complain, say


def check(paths: Sequence[Path], options_proto: Sequence[Path] = (), *, allow_python_nodes: bool = False) -> int:
    """Print every problem of every graph, one a line, or that a graph is ok; after it notes on what could be better.

    Args:
        paths: graph files, folders, config.json files.
        options_proto: files with options messages.
        allow_python_nodes: whether code of the graphs' folders may run.

    Returns:
        The exit code: 0 without problems (notes are none), 1 with some, of a config.json too, 2 if a path is not there or has no
            graph, or an options file is broken.
    """
    try:
        for options_file in options_proto:
            register_options(options_file)
    except GraphError as error:
        complain("check", str(error))
        return 2
    specs: list[ServableSpec] = []
    problems: list[str] = []
    notes: list[str] = []
    for path in paths:
        try:
            scan = scan_path(path)
        except SettingsError as error:
            problems.append(str(error))
            continue
        if not scan.specs and not scan.failures:
            missing = f"there is no {GRAPH_FILE} in or below {path}" if path.exists() else f"{path} does not exist"
            complain("check", missing)
            return 2
        specs += scan.specs
        problems += [*scan.failures.values(), *scan.errors]
        notes += scan.warnings
    for line in [*problems, *(f"note: {note}" for note in notes)]:
        say(line)
    correct = not problems
    for file, spec in {spec.shown_file: spec for spec in specs}.items():
        found, remarks, plan = look_at(spec, allow_python_nodes=allow_python_nodes)
        correct = correct and not found
        gap = None if plan is None else http_gap(interface_of(plan))
        ok = f"{file}: ok" if gap is None else f"{file}: ok; it {gap}"
        say("\n".join(problem_lines(found, file)) or ok)
        for note in problem_lines(remarks, file):
            say(f"note: {note}")
    return 0 if correct else 1


def look_at(
    spec: ServableSpec, *, allow_python_nodes: bool = False
) -> tuple[list[Problem], list[Problem], Plan | None]:
    """The problems of a graph, notes on it, and its Plan if it has one."""
    try:
        own = calculators_beside(spec, allowed=allow_python_nodes)
    except GraphError as error:  # without its calculators there would be more, none of them true
        return problems_in(error), [], None
    with own or nullcontext():
        return _look_at(spec, own, allow_python_nodes)


def _look_at(
    spec: ServableSpec, own: FolderCode | None, allow_python_nodes: bool
) -> tuple[list[Problem], list[Problem], Plan | None]:
    if spec.is_session:  # the rest of its graph is made when the model is loaded
        return check_resources(read_servable(spec), spec.base_dir, spec.models), [], None
    found: list[Problem] = []
    plan = None
    try:
        plan = plan_servable(spec, own=own)
        found += [*no_nodes(plan), *plan.warnings]  # MediaPipe takes these; nobody means them
    except GraphError as error:
        found += problems_in(error)
    try:
        source = read_servable(spec, keep_problems=True)
    except GraphError:  # so broken that the Plan has told all that there is to tell
        return found, [], plan
    queue = read_graph_queue(source)
    found += [
        *graph_problems(source),
        *queue.problems,
        *check_resources(
            source if plan is None else loadable(plan, source),
            spec.base_dir,
            spec.models,
            allow_python_nodes=allow_python_nodes,
        ),
    ]
    return list(dict.fromkeys(found)), [*queue.warnings, *notes_on_resources(source, spec.base_dir, spec.models)], plan


def problems_in(error: GraphError) -> list[Problem]:
    """What an error lists, or the error itself as a problem."""
    return list(error.problems) or [Problem(error.message, error.code, error.place, error.node)]


def scan_path(path: Path) -> Scan:
    """What there is to check: a graph file, what a config.json lists, or what is in and below a folder.

    Raises:
        SettingsError: a config.json says something that cannot be.
    """
    if not path.is_file():
        return scan_folder(path)
    return scan_config(path) if path.suffix == ".json" else Scan((graph_servable(path.name, path),))


def problem_lines(problems: Sequence[Problem], graph_file: Path) -> Iterator[str]:
    """Problems as they are printed: a line each, the place first. What a plug-in wrote in several is indented below its first."""
    for problem in problems:
        text = "\n    ".join(str(problem).splitlines())
        yield text if problem.place is not None else f"{graph_file}: {text}"
