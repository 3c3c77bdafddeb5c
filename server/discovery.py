"""Where the graphs are: the model folder, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from calculators.inference.model_config import ModelList, is_classic_model
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from server.model_settings import ModelSettings

Warn: TypeAlias = Callable[[str], None]
"""Called with a sentence for the operator."""

GRAPH_FILE: Final = "graph.pbtxt"
MODEL_INDEX: Final = "model_index.json"
_MAX_DEPTH: Final = 16
_OTHER_FORMATS: Final = ("*.pdmodel", "*.tflite", "saved_model.pb")


@dataclass(frozen=True, slots=True)
class ServableSpec:
    """What is needed to load one graph, on any machine that has the folder; picklable.

    Two of them are equal if what they load is: name, graph, files and settings.

    Attributes:
        name: the model name of requests, such as ``shapes`` or ``OpenVINO/FLUX.1-schnell-int4-ov``.
        base_dir: the folder that relative paths in the graph start from; absolute in a server, as ``graph_file``.
        graph_file: its graph.pbtxt; None where the graph is made by us.
        created: when the graph file was last changed, in whole seconds since 1970; does not move with server starts.
        graph_text: the graph, where there is no file, or where it is not what the file has.
        model: what config.json says of it.
        fingerprint: changes when the graph, the settings or a file that it loads from does (``server.fingerprint``).
        models: the OpenVINO models that its nodes can name; None for those of the subconfig.json beside it.
        is_session: whether the graph is the session of a model alone, whose tensors are known when it is loaded
            (``server.classic_models.graph_of``).
    """

    name: str
    base_dir: Path
    graph_file: Path | None
    created: int = field(compare=False)
    graph_text: str | None = None
    model: ModelSettings = field(default_factory=ModelSettings)
    fingerprint: str = ""
    models: ModelList | None = field(default=None, compare=False)
    is_session: bool = False

    @property
    def shown_file(self) -> Path:
        """The graph file, for messages; of a graph without one, a name in its place."""
        return self.graph_file or self.base_dir / f"{GRAPH_FILE} (made)"


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
        if next(_files(place, lambda line: None), None) is not None:
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


def find_servables(folder: Path, warn: Warn) -> list[ServableSpec]:
    """Every graph in the model folder, and every image model without one, sorted by name.

    A folder that holds a graph.pbtxt is named by its path relative to ``folder``, with ``/``; ``folder`` itself, if it
    holds one, by its own name. So is a folder with a model_index.json in OpenVINO format, unless it lies in the folder of a
    graph, to which it then belongs. Hidden folders are left out; links to folders are followed, but never in a circle.

    Args:
        folder: where to look.
        warn: called with a sentence for each thing that looks like one, and is not served.
    """
    found: dict[str, ServableSpec] = {}
    for file in _files(folder, warn):
        relative = file.parent.relative_to(folder).as_posix()
        name = folder.resolve().name if relative == "." else relative
        try:
            name.encode()
            spec = graph_servable(name, file) if file.name == GRAPH_FILE else model_servable(name, file.parent)
        except (UnicodeEncodeError, OSError, ValueError) as error:
            warn(f"{os.fspath(file)!r} is not served: {error}")
            continue
        if name in found:
            warn(f"{file} is not served: {found[name].shown_file} has the name {name!r} already")
            continue
        found[name] = spec
    return [found[name] for name in sorted(found)]


def servable_in(folder: Path, name: str, device: str = "", plugin_config: str = "") -> ServableSpec:
    """The servable of one folder: its graph.pbtxt, that of its version 1, or the image model that it holds.

    Args:
        folder: the folder.
        name: the model name of requests.
        device, plugin_config: for an image model without a graph; as options of a graph.

    Raises:
        OSError, ValueError: there is none; the text says what there is instead, and does not name the folder.
    """
    for graph_file in (folder / GRAPH_FILE, folder / "1" / GRAPH_FILE):
        if graph_file.is_file():
            return graph_servable(name, graph_file)
    if (folder / MODEL_INDEX).is_file():
        return model_servable(name, folder, device, plugin_config)
    if not folder.is_dir():
        raise FileNotFoundError("there is no such folder")
    text = f"the folder has neither a {GRAPH_FILE} nor a {MODEL_INDEX}"
    if is_classic_model(folder):
        raise FileNotFoundError(f"{text}, but versions of a model: list it in model_config_list")
    if any(any(folder.glob(f"[0-9]*/{pattern}")) for pattern in _OTHER_FORMATS):
        raise FileNotFoundError(f"{text}, but a model in another format: convert it to OpenVINO's with ovc")
    raise FileNotFoundError(text)


def is_bare_model(folder: Path) -> bool:
    """Whether a folder holds versions of a model that nodes can run, and neither a graph nor an image model."""
    graphs = (folder / GRAPH_FILE, folder / "1" / GRAPH_FILE, folder / MODEL_INDEX)
    return is_classic_model(folder) and not any(map(Path.is_file, graphs))


def classic_models(folder: Path) -> list[str]:
    """The paths, in and below a folder, of folders with versions of a model that no graph uses; sorted."""
    found = []
    for place, inside, files in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".")]
        if GRAPH_FILE not in files and is_classic_model(Path(place)):
            found.append(Path(place).relative_to(folder).as_posix())
    return sorted(found)


def model_servable(name: str, folder: Path, device: str = "", plugin_config: str = "") -> ServableSpec:
    """The spec of an image model, with a graph that is made for it and stands in no file.

    Args:
        name, folder, device, plugin_config: as for ``servable_in``.

    Raises:
        OSError: the folder cannot be read.
        ValueError: what is in the folder cannot draw.
    """
    from calculators.image_gen.graph_text import graph_text
    from calculators.image_gen.recognise import is_image_model, is_openvino_model

    created = int((folder / MODEL_INDEX).stat().st_mtime)
    if not is_image_model(folder):
        raise ValueError("it is no pipeline that makes pictures")
    if not is_openvino_model(folder):
        raise ValueError("the model is not in OpenVINO format; make that with optimum-cli export openvino")
    options = ImageGenCalculatorOptions(models_path=".")
    if device:
        options.device = device
    if plugin_config:
        options.plugin_config = plugin_config
    return ServableSpec(name, folder, None, created, graph_text(options))


def _files(folder: Path, warn: Warn) -> Iterator[Path]:
    """The graph files in and below a folder, and the model_index.json of folders that belong to none; a folder that is its own
    ancestor (by links) is entered once."""
    pending: list[tuple[Path, frozenset[tuple[int, int]], bool]] = [(folder, frozenset(), False)]
    while pending:
        place, ancestors, belongs = pending.pop()
        try:
            status = place.stat()
            with os.scandir(place) as entries:
                inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
            identity = (status.st_dev, status.st_ino)
            if identity in ancestors:
                continue
            if len(ancestors) >= _MAX_DEPTH:
                warn(f"{place} is more than {_MAX_DEPTH} folders deep: not searched for graphs")
                continue
        except FileNotFoundError:
            continue  # removed while we looked, or no such folder: nothing to serve there
        except OSError as error:
            warn(f"{place} cannot be searched for graphs: {error.strerror}")
            continue
        files = {
            entry.name for entry in inside if entry.name in (GRAPH_FILE, MODEL_INDEX) and Path(entry.path).is_file()
        }
        if GRAPH_FILE in files:
            yield place / GRAPH_FILE
        elif MODEL_INDEX in files and not belongs:
            yield place / MODEL_INDEX
        for entry in inside:
            if not entry.name.startswith(".") and Path(entry.path).is_dir():
                pending.append((Path(entry.path), ancestors | {identity}, belongs or bool(files)))
