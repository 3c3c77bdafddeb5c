"""``graph-runtime pull``: an image model of the Hugging Face hub -> a folder that is served.

The folder appears with all that is in it, graph.pbtxt included, or not at all. An interrupted pull goes on where it stopped.
"""

from __future__ import annotations

import argparse
import errno
import re
import shutil
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Final

from server.atomic_file import replace_file
from server.discovery import GRAPH_FILE, MODEL_INDEX, ServableSpec
from server.download import download, shown_size
from server.hub import REPOSITORY, HubError, HubFile, Listing, is_offline, list_repository
from server.image_flags import given_flags, options_from
from server.lora_download import fetch_loras
from server.lora_sources import LoraSource
from server.model_place import (
    DEFAULT_FOLDER,
    STATE_FILE,
    State,
    discard_partial,
    filling,
    keep_only,
    put_into_place,
    read_state,
    take_over,
    take_over_others,
)
from server.settings import Settings
from server.terminal import complain, say

_SCHEDULER: Final = "scheduler/scheduler_config.json"
_OPENVINO: Final = re.compile(r"[^/]+/openvino_model\.xml")
_WEIGHTS: Final = frozenset(
    {
        ".bin",
        ".ckpt",
        ".gguf",
        ".h5",
        ".msgpack",
        ".onnx",
        ".onnx_data",
        ".pb",
        ".pt",
        ".pth",
        ".safetensors",
        ".tflite",
    }
)


@dataclass(frozen=True, slots=True)
class Pull:
    """What is asked for.

    Attributes:
        repository: ``org/name``.
        models: the model folder; the model's own is ``org/name`` in it.
        graph: the text of graph.pbtxt, from the adapters with their files.
        loras: the adapters.
        sets_graph: whether anything is said about the graph.
        revision: a branch, a tag or a commit; None for the main branch.
        overwrite: compare all that is there with the hub, write graph.pbtxt anew, and take a folder that was not pulled.
        update: whether to ask the hub for a newer commit of a model that is complete.
        arguments: all that the command line says, for an export of what is not in OpenVINO format.
    """

    repository: str
    models: Path
    graph: Callable[[Sequence[LoraSource]], str]
    loras: Sequence[LoraSource] = ()
    sets_graph: bool = False
    revision: str | None = None
    overwrite: bool = False
    update: bool = True
    arguments: argparse.Namespace = field(default_factory=argparse.Namespace)

    @property
    def place(self) -> Path:
        """The model's own folder."""
        place = self.models / self.repository
        return place.resolve() if place.is_symlink() else place


def pull(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    models = arguments.models or DEFAULT_FOLDER
    try:
        wanted = wish(arguments, models)
    except ValueError as error:
        complain("pull", str(error))
        return 2
    return 0 if pulled(wanted, "pull") else 1


def pull_and_serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run ``serve --source_model``; returns the exit code. A model that is complete is served without asking the hub."""
    if settings.model_path is not None or settings.config_path is not None:
        other = "--model_path" if settings.model_path is not None else "--config_path"
        complain(
            "serve",
            f"--source_model and {other} exclude each other: a pulled model is served from the model folder (--models DIR)",
        )
        return 2
    models = settings.models or DEFAULT_FOLDER
    try:
        wanted = wish(arguments, models, update=bool(arguments.pull))
    except ValueError as error:
        complain("serve", str(error))
        return 2
    if not pulled(wanted, "pull" if arguments.pull else "serve"):
        return 1
    if arguments.pull:
        return 0
    from server.serve import serve

    name = settings.model_name or wanted.repository
    return serve(replace(settings, models=None, model_path=wanted.models / wanted.repository, model_name=name))


def pulled(wanted: Pull, command: str) -> bool:
    """Pull, and tell how it went; whether the model is in its place and complete."""
    try:
        outcome = pull_model(wanted)
    except KeyboardInterrupt:
        complain(command, "interrupted; what has arrived is kept, and the same command goes on from there")
        raise
    except HubError as error:
        complain(command, str(error))
        return False
    except OSError as error:
        full = (
            "; make room, and run the same command again: what has arrived is kept"
            if error.errno == errno.ENOSPC
            else ""
        )
        complain(command, f"{error.filename or wanted.place}: {error.strerror or error}{full}")
        return False
    if command == "pull":
        say(f"{wanted.place}: {outcome}; serve it with: graph-runtime serve --models {wanted.models}")
    return True


def wish(arguments: argparse.Namespace, models: Path, *, update: bool = True) -> Pull:
    """What the command line asks for.

    Args:
        arguments: the parsed flags.
        models: the model folder.
        update: as in :class:`Pull`.

    Raises:
        ValueError: what it says cannot be; the text names the flag.
    """
    from calculators.image_gen.graph_text import graph_text
    from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions

    if not REPOSITORY.fullmatch(arguments.source_model):
        raise ValueError(
            f"{arguments.source_model!r} is no repository of the Hugging Face hub: give org/name, such as "
            "OpenVINO/FLUX.1-schnell-int4-ov"
        )

    def graph(loras: Sequence[LoraSource]) -> str:
        return graph_text(options_from(arguments, ImageGenCalculatorOptions(models_path="./"), loras))

    loras: tuple[LoraSource, ...] = arguments.source_loras or ()
    # Flags that do not go together are told before anything is fetched; which file of a repository it is makes no difference.
    graph([replace(lora, file=lora.file or "file.safetensors") for lora in loras])
    return Pull(
        arguments.source_model,
        models,
        graph,
        loras,
        bool(given_flags(arguments)),
        arguments.revision,
        bool(arguments.overwrite_models),
        update,
        arguments,
    )


def pull_model(wanted: Pull) -> str:
    """Have a model in its place.

    Returns:
        What was done, for people.

    Raises:
        HubError: it cannot be had, or must not be touched; a model that is in its place is as it was.
        OSError: as before, for a reason of the disk.
    """
    state = read_state(wanted.place)
    _check_old(wanted, state)
    if state is None or wanted.overwrite or not _suffices(wanted, state):
        listing = list_repository(wanted.repository, wanted.revision)
        if state is None or wanted.overwrite or state.commit != listing.commit or not _is_whole(wanted.place, state):
            is_openvino = any(_OPENVINO.fullmatch(file.path) for file in listing.files)
            return _fill(wanted, listing, state) if is_openvino else _export(wanted, listing, state)
        discard_partial(wanted.place)
    _check_weight_format(wanted, state)
    loras = fetch_loras(wanted.loras, wanted.place)
    settled = _write_graph(wanted.place, state, wanted, loras)
    if settled == state:
        return f"up to date (commit {state.commit[:12]})"
    settled.write(wanted.place)
    return f"up to date (commit {state.commit[:12]}), {GRAPH_FILE} is new"


def _suffices(wanted: Pull, state: State) -> bool:
    """Whether the hub need not be asked what there is."""
    if not _is_whole(wanted.place, state):
        return False
    if wanted.revision == state.commit:
        return True
    return wanted.revision in (None, state.revision) and (not wanted.update or is_offline())


def _is_whole(place: Path, state: State) -> bool:
    return all((place / path).is_file() for path in state.files)


def _check_old(wanted: Pull, state: State | None) -> None:
    if wanted.place.exists() and not wanted.place.is_dir():
        raise HubError(f"{wanted.place} is a file, and the folder of the model has this name; move it away")
    if wanted.overwrite or not wanted.place.is_dir() or not any(wanted.place.iterdir()):
        return
    if state is None:
        raise HubError(
            f"{wanted.place} is there, and was not pulled by graph-runtime: it stays as it is. With --overwrite_models the "
            f"files of {wanted.repository} take the place of those that differ"
        )
    if wanted.sets_graph and state.has_edited_graph(wanted.place):
        raise HubError(
            f"{wanted.place / GRAPH_FILE} was edited since it was written, and stays as it is: leave out the flags that "
            "would change it, or have it written anew with --overwrite_models"
        )


def _export(wanted: Pull, listing: Listing, state: State | None) -> str:
    """Have a model that is not in OpenVINO format exported."""
    from server.configure import ConfigureError
    from server.export import Export, ExportError, export_model
    from server.export_flags import DEFAULT_WEIGHT_FORMAT

    repository, arguments = wanted.repository, wanted.arguments
    if state is not None and state.commit != listing.commit and not wanted.overwrite:
        raise HubError(
            f"{repository} is not in OpenVINO format, and has a newer commit, {listing.commit[:12]}; {wanted.place} stays "
            "as it is, and --overwrite_models exports it anew"
        )
    weight_format = arguments.weight_format or DEFAULT_WEIGHT_FORMAT
    extra = tuple(arguments.extra_quantization_params or ())
    export = Export(
        repository, wanted.models, repository, weight_format, arguments, wanted.revision, extra, wanted.overwrite
    )
    try:
        done, *notes = export_model(export, listing)
    except ExportError as error:
        raise HubError(f"{repository} is not in OpenVINO format, and its export failed: {error}") from None
    except ConfigureError as error:
        raise HubError(f"{wanted.place} is complete, but its {GRAPH_FILE} was not written: {error}") from None
    for note in notes:
        say(note)
    return done


def _check_weight_format(wanted: Pull, state: State) -> None:
    """Say that weights are not as they are asked for; who exports them anew says so."""
    asked = getattr(wanted.arguments, "weight_format", None)
    if asked not in (None, state.weight_format):
        if not state.weight_format:
            raise HubError(
                f"{wanted.repository} is in OpenVINO format already, and is not exported; leave --weight-format out"
            )
        raise HubError(
            f"{wanted.place} was exported to {state.weight_format}, and not to {asked}; --overwrite_models exports it anew"
        )


def _fill(wanted: Pull, listing: Listing, state: State | None) -> str:
    place = wanted.place
    files = _files_of_model(listing)
    _check_weight_format(wanted, State(listing.repository, listing.commit, wanted.revision, {}))
    with filling(place) as folder:
        before = read_state(folder)
        keep_only(folder, files, verify=before is None or before.commit != listing.commit)
        digests = {path: file.digest for path, file in files.items()}
        made = State(
            listing.repository, listing.commit, wanted.revision, digests, state.graph if state is not None else ""
        )
        made.write(folder)
        # What is to be judged first, and then the weights.
        judged = {path: file for path, file in files.items() if path in (MODEL_INDEX, _SCHEDULER)}
        for chosen in (judged, files):
            take_over(place, folder, chosen)
            download(listing, [file for path, file in chosen.items() if not (folder / path).exists()], folder)
            if chosen is judged:
                _judge(folder, listing)
        _check_model(folder, listing)
        if place.is_dir():
            take_over_others(place, folder, state)
        loras = fetch_loras(wanted.loras, folder, overwrite=wanted.overwrite)
        _write_graph(folder, made, wanted, loras).write(folder)
        put_into_place(folder, place)
    size = shown_size(sum(file.size_bytes for file in files.values()))
    return f"complete (commit {listing.commit[:12]}, {len(files)} files, {size})"


def _files_of_model(listing: Listing) -> dict[str, HubFile]:
    """Path -> file: all that is fetched of a repository.

    Left out are hidden files, a graph (this server writes its own), the weights that components have in other formats, and Python
    files: with ``allow_python_nodes`` a ``calculators.py`` would be run, which nobody here has read.

    Raises:
        HubError: there is no image model.
    """
    found = {file.path: file for file in listing.files}
    if MODEL_INDEX not in found:
        raise HubError(
            f"{listing.repository} has no {MODEL_INDEX}, so that it is no image model as diffusers and OpenVINO GenAI keep "
            "them; models of other tasks are not served"
        )
    hidden = {path for path in found if any(part.startswith(".") for part in PurePosixPath(path).parts)}
    others = {path for path in found.keys() - hidden if _is_other_format(PurePosixPath(path), found.keys())}
    code = {path for path in found if path.endswith(".py")}
    return {path: file for path, file in found.items() if path not in hidden | others | code | {GRAPH_FILE, STATE_FILE}}


def _is_other_format(path: PurePosixPath, present: Container[str]) -> bool:
    if path.suffix not in _WEIGHTS or str(path.with_suffix(".xml")) in present:
        return False
    is_component = len(path.parts) == 2 and str(path.with_name("config.json")) in present
    return len(path.parts) == 1 or is_component


def _judge(folder: Path, listing: Listing) -> None:
    """Refuse what OpenVINO GenAI cannot run, before its weights are fetched."""
    from calculators.image_gen.model_folder import check_pipeline

    problems: list[str] = []
    check_pipeline(folder, problems.append)
    if problems:
        shutil.rmtree(folder)
    _refuse(problems, folder, listing)


def _check_model(folder: Path, listing: Listing) -> None:
    from calculators.image_gen.model_folder import read_model_folder

    problems: list[str] = []
    read_model_folder(folder, problems.append)
    _refuse(problems, folder, listing)


def _refuse(problems: Sequence[str], folder: Path, listing: Listing) -> None:
    if problems:
        told = "; ".join(problem.replace(str(folder), listing.repository) for problem in problems)
        raise HubError(f"{listing.repository} cannot be served: {told}")


def _write_graph(folder: Path, state: State, wanted: Pull, loras: Sequence[LoraSource]) -> State:
    """Write graph.pbtxt, if there is none or it has to be another one; the state that results."""
    path = folder / GRAPH_FILE
    if path.is_file() and not wanted.overwrite and (not wanted.sets_graph or state.has_edited_graph(folder)):
        return state
    text = wanted.graph(loras)
    if path.is_file() and _without_header(path.read_bytes()) == _without_header(text.encode()):
        return state
    if wanted.sets_graph:
        _check_graph(path, text, wanted)
    replace_file(path, text)
    return replace(state, graph=sha256(text.encode()).hexdigest())


def _check_graph(path: Path, text: str, wanted: Pull) -> None:
    """Refuse flags that the model cannot be served with, as ``configure`` does."""
    from server.check import look_at

    problems, _, _ = look_at(ServableSpec(wanted.place.name, path.parent, path, 0, graph_text=text))
    if problems:
        told = "; ".join(" ".join(str(replace(problem, place=None)).split()) for problem in problems)
        raise HubError(
            f"{wanted.place / GRAPH_FILE} was not written, it could not be used: {told}. "
            "Change the flags, and run the command again: nothing is fetched twice"
        )


def _without_header(text: bytes) -> bytes:
    """A graph without the line that says which release has made it: a new one is no reason to write it again."""
    return text.partition(b"\n")[2]
