"""``graph-runtime draw``: a graph file or a model folder as a picture."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

from graph_runtime import GraphError, Problem
from graph_runtime.drawing import Drawing, drawing_of, to_dot, to_mermaid, to_svg
from graph_runtime.folder_code import FolderCode
from server.check import problem_lines, problems_in, scan_path
from server.discovery import GRAPH_FILE, ServableSpec, servable_in
from server.draw_flags import FORMATS
from server.flags import allows_python_nodes
from server.graph_source import calculators_beside, plan_servable, read_servable, subgraphs_of
from server.settings import SettingsError
from server.terminal import complain, say

_WRITERS: Final[Mapping[str, Callable[[Drawing], str]]] = {"mermaid": to_mermaid, "dot": to_dot, "svg": to_svg}


def draw(arguments: argparse.Namespace) -> int:
    """Draw what the command line asks for.

    Returns:
        The exit code: 0 if the graph is valid; 1 if it is not, drawn or not, or the file cannot be written; 2 if the command line
            is wrong: there is no graph, or the format is not known.
    """
    output: Path | None = arguments.output
    name = arguments.format or ("mermaid" if output is None else FORMATS.get(output.suffix.lower()))
    if name is None:
        return _fail(f"{output}: give --format, or a name that ends with one of {', '.join(FORMATS)}", 2)
    try:
        allowed = allows_python_nodes(arguments)
        spec = find_graph(arguments.path)
    except (SettingsError, OSError, ValueError) as error:
        return _fail(str(error), 2)
    own, problems = None, []
    try:
        own = calculators_beside(spec, allowed=allowed)
    except GraphError as error:  # without its calculators there would be more problems, none of them true
        problems = problems_in(error)
    with own or nullcontext():
        problems = problems or problems_of(spec, own)
        for line in problem_lines(problems, spec.shown_file):
            sys.stderr.write(f"{line}\n")
        try:
            drawing = draw_servable(spec, problems, own=own, expand_subgraphs=not arguments.no_expand)
            text = _WRITERS[name](drawing)
        except GraphError:  # so broken that the lines above say all that there is to say
            return _fail(f"{spec.shown_file} cannot be read, so that there is nothing to draw", 1)
        except ValueError as error:
            return _fail(str(error), 1)
    try:
        if output is None:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            output.write_text(text, encoding="utf-8")
            say(f"{output}: {drawing.summary()}")
    except BrokenPipeError:  # who reads has seen enough; what is left must not fail at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _fail(f"{output or 'standard output'}: {error.strerror}", 1)
    return 1 if problems else 0


def problems_of(spec: ServableSpec, own: FolderCode | None) -> list[Problem]:
    """All that keeps a servable's graph from being run; what a server asks of it beyond that is told by ``check``."""
    try:
        plan_servable(spec, own=own)
    except GraphError as error:
        return problems_in(error)
    return []


def draw_servable(
    spec: ServableSpec,
    problems: Sequence[Problem],
    *,
    own: FolderCode | None = None,
    file: str | None = None,
    expand_subgraphs: bool = True,
) -> Drawing:
    """What is in a picture of a servable's graph, with its problems at the nodes that have them.

    Args:
        spec, problems: the servable, and what is known to be wrong with it.
        own: what ``calculators_beside`` has found.
        file: the name to print in places; the path of the file unless given.
        expand_subgraphs: as for ``graph_runtime.drawing.drawing_of``.

    Raises:
        GraphError: the graph cannot be read at all.
    """
    return drawing_of(
        read_servable(spec, file=file, keep_problems=True),
        title=spec.name,
        subgraphs=subgraphs_of(spec, own),
        expand_subgraphs=expand_subgraphs,
        problems=problems,
    )


def find_graph(path: Path) -> ServableSpec:
    """The one graph that a path leads to: a file, a model folder, or a folder with one model in it.

    Raises:
        SettingsError: a config.json on the way says something that cannot be.
        OSError, ValueError: there is no graph, or there are several.
    """
    if path.is_dir():
        with suppress(OSError, ValueError):
            return servable_in(path.absolute(), path.resolve().name)
    specs = scan_path(path).specs
    if not specs:
        raise ValueError(f"there is no {GRAPH_FILE} in or below {path}" if path.exists() else f"{path} does not exist")
    if len(specs) > 1:
        raise ValueError(
            f"{path} has several graphs; give one of them: {', '.join(str(each.shown_file) for each in specs)}"
        )
    return specs[0]


def _fail(message: str, code: int) -> int:
    complain("draw", message)
    return code
