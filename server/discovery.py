"""Where the graphs are: the model folder, and what is in it.

Needs the standard library alone: ``graph-runtime check`` uses it too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from server.config_file import ModelSettings

GRAPH_FILE = "graph.pbtxt"
MODEL_INDEX = "model_index.json"
_MAX_DEPTH = 16

_log = logging.getLogger("graph_runtime.server")


@dataclass(frozen=True, slots=True)
class ServableSpec:
    """What is needed to load one graph, on any machine that has the folder; picklable.

    Two of them are equal if what they load is: name, graph, files and settings.

    Attributes:
        name: the model name of requests, such as ``shapes`` or ``OpenVINO/FLUX.1-schnell-int4-ov``.
        base_dir: the folder that relative paths in the graph start from; absolute in a server, as ``graph_file``.
        graph_file: its graph.pbtxt; None where the graph is made by us.
        created: when the graph file was last changed, in whole seconds since 1970; does not move with server starts.
        graph_text: the graph, where there is no file.
        model: what config.json says of it.
        fingerprint: changes when the graph, the settings or a file that it loads from does (``server.fingerprint``).
    """

    name: str
    base_dir: Path
    graph_file: Path | None
    created: int = field(compare=False)
    graph_text: str | None = None
    model: ModelSettings = field(default_factory=ModelSettings)
    fingerprint: str = ""

    @property
    def shown_file(self) -> Path:
        """The graph file for messages; of a graph without a file, where it would be."""
        return self.graph_file or self.base_dir / GRAPH_FILE


def graph_servable(name: str, graph_file: Path, base_dir: Path | None = None) -> ServableSpec:
    """The spec of a graph file; relative paths in it start at ``base_dir``, its own folder unless given.

    Raises:
        OSError: there is no such file.
    """
    created = int(graph_file.stat().st_mtime)
    return ServableSpec(name, graph_file.parent if base_dir is None else base_dir, graph_file, created)


def bundled_models_dir() -> Path:
    """The folder with the model that comes with the project: from the installed package, or from a checkout.

    Raises:
        FileNotFoundError: neither place has it.
    """
    package = Path(__file__).resolve().parent
    places = (package / "_bundled" / "models", package.parent / "examples" / "models")
    for place in places:
        if next(_graph_files(place), None) is not None:
            return place
    raise FileNotFoundError(
        "the model that comes with graph-runtime is missing from this installation "
        f"(looked in {' and '.join(map(str, places))}); give a model folder with --models"
    )


def models_dir(given: Path | None) -> Path:
    """The model folder to use: the given one, else ./models if there is one, else the bundled one; absolute.

    Raises:
        FileNotFoundError: the given folder is not there, or none was given and nothing is bundled.
        NotADirectoryError: the given path is a file.
    """
    if given is None:
        here = Path("models")
        return here.absolute() if here.is_dir() else bundled_models_dir()
    if not given.exists():
        raise FileNotFoundError(f"model folder {str(given)!r} does not exist")
    if not given.is_dir():
        raise NotADirectoryError(f"model folder {str(given)!r} is a file; give the folder that holds the model folders")
    return given.absolute()


def find_servables(folder: Path) -> list[ServableSpec]:
    """Every graph in the model folder, sorted by name.

    A folder that holds a graph.pbtxt is named by its path relative to ``folder``, with ``/``; ``folder`` itself, if it
    holds one, by its own name. Hidden folders are left out; links to folders are followed, but never in a circle.
    """
    found: dict[str, ServableSpec] = {}
    for graph_file in _graph_files(folder):
        relative = graph_file.parent.relative_to(folder).as_posix()
        name = folder.resolve().name if relative == "." else relative
        try:
            name.encode()
            spec = graph_servable(name, graph_file)
        except (UnicodeEncodeError, OSError) as error:
            _log.warning("%r is not served: %s", os.fspath(graph_file), error)
            continue
        if name in found:
            _log.warning("%s is not served: %s has the name %r already", graph_file, found[name].graph_file, name)
            continue
        found[name] = spec
    return [found[name] for name in sorted(found)]


def _graph_files(folder: Path) -> Iterator[Path]:
    """The graph files in and below a folder; a folder that is its own ancestor (by links) is entered once."""
    pending: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while pending:
        place, ancestors = pending.pop()
        try:
            status = place.stat()
            with os.scandir(place) as entries:
                inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                continue
            if len(ancestors) >= _MAX_DEPTH:
                _log.warning("%s is more than %d folders deep: not searched for graphs", place, _MAX_DEPTH)
                continue
        except FileNotFoundError:
            continue  # removed while we looked, or no such folder: nothing to serve there
        except OSError as error:
            _log.warning("%s cannot be searched for graphs: %s", place, error.strerror)
            continue
        for entry in inside:
            if entry.name == GRAPH_FILE and Path(entry.path).is_file():
                yield Path(entry.path)
            elif not entry.name.startswith(".") and Path(entry.path).is_dir():
                pending.append((Path(entry.path), ancestors | {identity}))
