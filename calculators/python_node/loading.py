"""Python nodes of a graph -> their handlers; called by ``calculators.load_resources`` where that code may run."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from calculators.node_kinds import Loading, Node, repeated_names
from calculators.python_node import pyovms
from calculators.python_node.calculator import SIDE_PACKET
from calculators.python_node.handler import CLASS, Handler
from calculators.statistics import ImageStatistics
from graph_runtime._pb.mediapipe.calculators.python_node.python_executor_calculator_pb2 import (
    PythonExecutorCalculatorOptions,
)
from graph_runtime.config import find_options
from graph_runtime.errors import GraphError, Problem, StatusCode
from graph_runtime.folder_code import FolderCode
from graph_runtime.tags import parse_tag_index_name

_MODULE: Final = "pyovms"


class LoadedHandlers:
    """The handlers of a graph's Python nodes.

    Attributes:
        side_packets: what the graph's runs are started with: ``{"py": {node name: Handler}}``.
        services, tensors: none.
        at_once: None: nothing limits how many runs call a handler.
    """

    at_once = None

    def __init__(self, handlers: dict[str, Handler], folders: Sequence[FolderCode]) -> None:
        self.side_packets: Mapping[str, Any] = {SIDE_PACKET: handlers}
        self.services: Mapping[str, Any] = {}
        self.tensors: Mapping[str, Any] = {}
        self._handlers = handlers
        self._folders = folders
        self._closed = False

    def describe(self) -> dict[str, Any]:
        """Node name -> its file."""
        return {name: {"handler": each.file} for name, each in self._handlers.items()}

    def trouble(self) -> dict[str, str]:
        """Nothing: what a handler is in trouble with, its requests tell."""
        return {}

    def statistics(self) -> dict[str, ImageStatistics]:
        """Nothing: they make no pictures."""
        return {}

    def aliases(self) -> tuple[str, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Finalize the handlers, and forget their modules."""
        if self._closed:
            return
        self._closed = True
        for handler in self._handlers.values():
            handler.finalize()
        for folder in self._folders:
            folder.close()


def check_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
    """Everything that is wrong with the nodes' options and files; the files are compiled, and not run."""
    problems = repeated_names(nodes, "its handler is made for that name")
    for node in nodes:
        path, problem = _file_of(node, base_dir)
        if path is not None:
            problem = _syntax_problem(path)
        if problem is not None:
            problems.append(problem)
    return problems


def notes_on_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
    """Nothing."""
    return []


def load_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> tuple[LoadedHandlers | None, list[Problem]]:
    """Run the files, make the objects, and initialize them.

    Returns: the handlers; or None, with all that were made finalized, and everything that is wrong.
    """
    problems = check_nodes(nodes, base_dir, loading)
    if problems:
        return None, problems
    _provide_pyovms()
    folders: dict[Path, FolderCode] = {}
    handlers: dict[str, Handler] = {}
    loaded = LoadedHandlers(handlers, ())
    try:
        for node in nodes:
            path, _ = _file_of(node, base_dir)
            assert path is not None  # there were no problems
            if path.parent not in folders:
                folders[path.parent] = FolderCode(path.parent)
                loaded = LoadedHandlers(handlers, list(folders.values()))
            name = node.message.name
            try:
                handlers[name] = _make(node, path, folders[path.parent], base_dir)
            except GraphError as error:
                found = error.problems or (Problem(error.message, error.code, node.place("handler_path")),)
                problems += [Problem(each.message, each.code, each.place, name, each.hint) for each in found]
    except BaseException:
        loaded.close()
        raise
    if problems:
        loaded.close()
        return None, problems
    return loaded, []


def _make(node: Node, path: Path, code: FolderCode, base_dir: Path) -> Handler:
    """The handler of a node, initialized.

    Raises:
        GraphError: the file, its class or ``initialize`` raised, or there is no such class.
    """
    module = code.load(path.name)
    found = getattr(module, CLASS, None)
    place = str(path)
    if not isinstance(found, type):
        raise GraphError(
            f"{place}: there is no class {CLASS} in it",
            code=StatusCode.FAILED_PRECONDITION,
            place=place,
            problems=[Problem(f"there is no class {CLASS} in it", StatusCode.FAILED_PRECONDITION, place)],
        )
    if not callable(getattr(found, "execute", None)):
        text = f"the class {CLASS} has no method execute(self, inputs)"
        raise GraphError(text, problems=[Problem(text, StatusCode.FAILED_PRECONDITION, place)])
    with code.blaming(path):
        model = found()
        if hasattr(model, "initialize"):
            model.initialize(
                {
                    "node_name": node.message.name,
                    "input_names": [parse_tag_index_name(each).name for each in node.message.input_stream],
                    "output_names": [parse_tag_index_name(each).name for each in node.message.output_stream],
                    "base_path": str(path.parent),
                }
            )
    return Handler(node.message.name, os.path.relpath(path, base_dir), path, code, model)


def _file_of(node: Node, base_dir: Path) -> tuple[Path | None, Problem | None]:
    """The file of a node, absolute; or what is wrong with its options."""
    name = node.message.name or None
    options = find_options(node.message, PythonExecutorCalculatorOptions)
    if options is None or not options.handler_path:
        if node.told:  # the parser has said so
            return None, None
        hint = 'give [type.googleapis.com / mediapipe.PythonExecutorCalculatorOptions]: { handler_path: "model.py" }'
        what = "node_options is missing" if options is None else "handler_path is empty"
        place = node.place("node_options" if options is None else "handler_path")
        return None, Problem(what, StatusCode.INVALID_ARGUMENT, place, name, hint)
    given, place = options.handler_path, node.place("handler_path")
    folder = Path(os.path.abspath(base_dir))  # noqa: PTH100  # links stay: the folder may be made of them
    path = Path(os.path.normpath(folder / given))
    if not path.is_relative_to(folder):
        text = f'handler_path "{given}" leads out of the folder of the graph'
        hint = "put the file, or a link to it, into the folder"
        return None, Problem(text, StatusCode.INVALID_ARGUMENT, place, name, hint)
    if not path.is_file():
        text = f'handler_path: there is no file "{given}" in the folder of the graph'
        return None, Problem(text, StatusCode.NOT_FOUND, place, name)
    if path.suffix != ".py" or "." in path.stem:
        text = f'handler_path "{given}" is no Python module: its name has to end with .py, and to have no other dot'
        return None, Problem(text, StatusCode.INVALID_ARGUMENT, place, name)
    return path, None


def _syntax_problem(path: Path) -> Problem | None:
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        column = f":{error.offset}" if error.offset else ""
        place = f"{path}:{error.lineno}{column}"
        return Problem(f"SyntaxError: {error.msg}", StatusCode.FAILED_PRECONDITION, place)
    except (OSError, ValueError) as error:
        return Problem(f"the file cannot be read: {error}", StatusCode.FAILED_PRECONDITION, str(path))
    return None


def _provide_pyovms() -> None:
    """Make ``from pyovms import Tensor`` work, unless there is a module of that name."""
    if _MODULE not in sys.modules and importlib.util.find_spec(_MODULE) is None:
        sys.modules[_MODULE] = pyovms
