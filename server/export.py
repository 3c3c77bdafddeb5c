"""``graph-runtime export``: a diffusers pipeline -> a model in OpenVINO format with its graph.pbtxt, by optimum-intel.

optimum-intel, with torch, works in a child process (``optimum-cli``). The model's folder appears as a whole, or not at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Final

from calculators.image_gen.families import FAMILIES, LOADED_FOR_INPAINTING
from calculators.image_gen.model_folder import MODEL_INDEX, check_pipeline, read_model_folder
from calculators.image_gen.options import check_options
from calculators.image_gen.recognise import is_openvino_model
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from server.configure import ConfigureError, configure_folder
from server.discovery import GRAPH_FILE
from server.download import download, shown_size
from server.export_size import element_bytes, room_for_export, weight_files
from server.hub import REPOSITORY, HubError, HubFile, Listing, list_repository
from server.image_flags import options_from
from server.json_file import read_json_file
from server.lora_download import fetch_loras
from server.model_place import DEFAULT_FOLDER, State, filling, keep_only, put_into_place
from server.settings import SettingsError
from server.terminal import complain, say

PROGRAM: Final = "optimum-cli"
_SCHEDULER: Final = "scheduler/scheduler_config.json"
_SMALL: Final = (".json", ".txt", ".model", ".jinja")
_MODELS_PATH: Final = "./"
_PATIENCE_S: Final = 10.0


class ExportError(Exception):
    """There is no new model, and all that was in its place is as it was; the text says why."""


@dataclass(frozen=True, slots=True)
class Export:
    """What is asked for.

    Attributes:
        source: a folder, or ``org/name`` of the hub.
        models: the model folder.
        name: of the model's own folder in it, which need not be there.
        weight_format: ``fp16``, ``int8`` or ``int4``.
        arguments: the flags of ``server.image_flags``.
        revision: of the repository.
        extra: further flags of optimum-cli.
        overwrite: whether a model that is in the place is replaced.
    """

    source: str | Path
    models: Path
    name: str
    weight_format: str
    arguments: argparse.Namespace
    revision: str | None = None
    extra: Sequence[str] = ()
    overwrite: bool = False

    @property
    def place(self) -> Path:
        """The model's own folder."""
        return self.models / self.name


def export(arguments: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    try:
        wanted = _wish(arguments)
    except ValueError as error:
        complain("export", str(error))
        return 2
    try:
        with _sigterm_interrupts():
            done, *notes = export_model(wanted)
    except KeyboardInterrupt:
        complain("export", f"interrupted; there is no half of a model in {wanted.place}")
        raise
    except (ExportError, HubError, SettingsError) as error:
        complain("export", str(error))
        return 1
    except ConfigureError as error:
        complain("export", f"{wanted.place} is complete, but its graph.pbtxt was not written: {error}")
        return 1
    except OSError as error:
        complain("export", f"{error.filename or wanted.place}: {error.strerror or error}")
        return 1
    say(f"{wanted.place}: {done}; serve it with: graph-runtime serve --models {wanted.models}")
    for note in notes:
        say(note)
    return 0


def _wish(arguments: argparse.Namespace) -> Export:
    """What the command line asks for.

    Raises:
        ValueError: what it says cannot be.
    """
    given: str = arguments.source_model
    source: str | Path = given
    if Path(given).is_dir():
        source = Path(given)
    elif not REPOSITORY.fullmatch(given):
        raise ValueError(f"{given!r} is neither a folder nor a repository of the Hugging Face hub (org/name)")
    elif arguments.revision is None and given.startswith("OpenVINO/"):
        raise ValueError(f"{given} is in OpenVINO format already; fetch it with: graph-runtime pull {given}")
    name = Path(arguments.model_name or (source.resolve().name if isinstance(source, Path) else given))
    if name.is_absolute() or ".." in name.parts or any(part.startswith(".") for part in name.parts):
        raise ValueError(f"--model_name {str(name)!r} has to be a path inside the model folder, without hidden parts")
    if isinstance(source, Path) and arguments.revision is not None:
        raise ValueError("--revision is for repositories of the hub; a folder has none")
    _check_flags(arguments)
    return Export(
        source, arguments.models or DEFAULT_FOLDER, name.as_posix(), arguments.weight_format, arguments, arguments.revision,
        tuple(arguments.extra_quantization_params or ()), arguments.overwrite_models,
    )  # fmt: skip


def _check_flags(arguments: argparse.Namespace) -> None:
    """Find before hours of work which flags do not go together.

    Raises:
        ValueError: some do not.
    """
    loras = [replace(lora, file=lora.file or "file.safetensors") for lora in arguments.source_loras or ()]
    options = options_from(arguments, ImageGenCalculatorOptions(models_path=_MODELS_PATH), loras)
    # The model is not there yet, and neither are adapters that will be fetched.
    later = ("models_path", "lora_adapters")
    problems = [problem for problem in check_options(options, Path(), place=str) if problem.place not in later]
    if problems:
        raise ValueError(
            "\n".join(f"{problem.message}{f'; {problem.hint}' if problem.hint else ''}" for problem in problems)
        )


def export_model(wanted: Export, listing: Listing | None = None) -> list[str]:
    """Have a model in its place; what was done, for people, and then what else there is to say.

    Args:
        wanted: what is asked for.
        listing: of the repository, where somebody has it already.

    Raises:
        ExportError, HubError, OSError: it cannot be done.
        ConfigureError: the model is in its place, without a graph.
    """
    place = wanted.place
    if isinstance(wanted.source, Path):
        if place.resolve() == wanted.source.resolve():
            raise ExportError(f"{place} is the pipeline itself; give its export another name with --model_name NAME")
        _check_source(wanted.source, str(wanted.source))
    program = _program()
    _check_place(wanted)
    if isinstance(wanted.source, Path):
        return _export_folder(wanted, wanted.source, program)
    listing = listing or list_repository(wanted.source, wanted.revision)
    with filling(place.with_name(f"{place.name}.source")) as source:
        try:
            _fetch_source(wanted, listing, source)
            lines = _export_folder(wanted, source, program, listing)
        except ExportError as error:
            if any(source.iterdir()):
                raise ExportError(
                    f"{error}\nthe pipeline as it was fetched is kept in {source} for another try"
                ) from None
            raise
        shutil.rmtree(source)
    return lines


def _program() -> str:
    """The path of optimum-cli: the one of this installation rather than another.

    Raises:
        ExportError: there is none.
    """
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(PROGRAM, path=folders)
    if found is None:
        raise ExportError(f"{PROGRAM} is not installed; this command needs: pip install 'graph-runtime[export]'")
    return found


def _check_place(wanted: Export) -> None:
    place = wanted.place
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not place.is_dir():
        raise ExportError(f"{place} is a file, and not the folder of a model")
    if not wanted.overwrite:
        raise ExportError(
            f"{place} is there already; replace it with --overwrite_models, or choose another --model_name"
        )


def _check_source(folder: Path, shown: str) -> None:
    """Refuse what is no diffusers pipeline, or none that OpenVINO GenAI can run."""
    if not (folder / MODEL_INDEX).is_file():
        raise ExportError(f"{shown} has no {MODEL_INDEX}, so that it is no pipeline of diffusers")
    if is_openvino_model(folder):
        raise ExportError(
            f"{shown} is in OpenVINO format already; write its graph with: graph-runtime configure {shown}"
        )
    problems: list[str] = []
    check_pipeline(folder, problems.append)
    _refuse(problems, folder, shown, "could not be served")


def _refuse(problems: Sequence[str], folder: Path, shown: str, what: str) -> None:
    if problems:
        told = "; ".join(problem.replace(str(folder), shown) for problem in problems)
        raise ExportError(f"{shown} {what}: {told}")


def _fetch_source(wanted: Export, listing: Listing, folder: Path) -> None:
    """Fetch what diffusers loads of a repository: its small files, a look at them, and then the weights."""
    found = {file.path: file for file in listing.files}
    if MODEL_INDEX not in found:
        raise ExportError(f"{listing.repository} has no {MODEL_INDEX}, so that it is no pipeline of diffusers")
    if any(path.endswith("/openvino_model.xml") for path in found):
        raise ExportError(
            f"{listing.repository} is in OpenVINO format already; fetch it with: graph-runtime pull {listing.repository}"
        )
    weights, _ = weight_files(listing.files, lambda file: file.path)
    small = [file for file in listing.files if _is_small(file)]
    files = {file.path: file for file in (*small, *weights)}
    keep_only(folder, files, verify=True)
    judged = [file for file in small if file.path in (MODEL_INDEX, _SCHEDULER)]
    download(listing, _missing(judged, folder), folder)
    try:
        _check_source(folder, listing.repository)
    except ExportError:
        shutil.rmtree(folder)
        folder.mkdir()
        raise
    missing = _missing(files.values(), folder)
    size = sum(file.size_bytes for file in weights)
    # Which precision they have is known when they are there; it is looked at again then.
    _check_room(wanted, sum(file.size_bytes for file in missing) + room_for_export(size, 4, wanted.weight_format))
    download(listing, missing, folder)


def _is_small(file: HubFile) -> bool:
    parts = file.path.split("/")
    if any(part.startswith(".") for part in parts):
        return False
    return file.path == MODEL_INDEX or (len(parts) == 2 and file.path.endswith(_SMALL))


def _missing(files: Iterable[HubFile], folder: Path) -> list[HubFile]:
    return [file for file in files if not (folder / file.path).is_file()]


def _check_room(wanted: Export, needed_bytes: int) -> None:
    folder = wanted.place
    while not folder.exists():
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise ExportError(
            f"an export to {wanted.weight_format} needs about {shown_size(needed_bytes)}, and the disk of {folder} has "
            f"{shown_size(free_bytes)} left; make room, or choose another folder with --models"
        )


def _export_folder(wanted: Export, source: Path, program: str, listing: Listing | None = None) -> list[str]:
    shown = listing.repository if listing is not None else str(source)
    every = [path for path in source.rglob("*") if path.is_file()]
    weights, variant = weight_files(every, lambda path: path.relative_to(source).as_posix())
    if not weights:
        raise ExportError(f"{shown} has no weights (.safetensors or .bin) in the folders of its components")
    size = sum(path.stat().st_size for path in weights)
    needed = room_for_export(size, element_bytes(weights), wanted.weight_format)
    _check_room(wanted, needed)
    say(
        f"exporting {shown} ({shown_size(size)}) to {wanted.weight_format}: needs about {shown_size(needed)} on the way"
    )
    with filling(wanted.place) as folder:
        try:
            _empty(folder)
            _run(wanted, source, folder, program, variant)
            problems: list[str] = []
            read_model_folder(folder, problems.append)
            _refuse(problems, folder, shown, "was exported, but the result could not be served")
            lines = _finish(wanted, folder, listing)
        except ConfigureError:
            put_into_place(folder, wanted.place)
            raise
        except BaseException:
            _empty(folder)
            raise
        put_into_place(folder, wanted.place)
    return lines


def _finish(wanted: Export, folder: Path, listing: Listing | None) -> list[str]:
    """Adapters, graph, and a note of what it was made of; what to tell, with the folder's name to be."""
    files = {path.relative_to(folder).as_posix(): "" for path in folder.rglob("*") if path.is_file()}
    size = sum((folder / path).stat().st_size for path in files)
    loras = fetch_loras(wanted.arguments.source_loras, folder) if wanted.arguments.source_loras is not None else None
    try:
        lines = configure_folder(folder, wanted.arguments, overwrite=True, models_path=_MODELS_PATH, loras=loras)
    except ConfigureError as error:
        raise ConfigureError(str(error).replace(str(folder), str(wanted.place))) from None
    if listing is not None:  # so that it need not be exported at the next start
        graph = sha256((folder / GRAPH_FILE).read_bytes()).hexdigest()
        State(listing.repository, listing.commit, wanted.revision, files, graph, wanted.weight_format).write(folder)
    return [
        f"complete ({wanted.weight_format}, {shown_size(size)})",
        *(line.replace(str(folder), str(wanted.place)) for line in lines),
    ]


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _run(wanted: Export, source: Path, folder: Path, program: str, variant: str | None) -> None:
    """Run optimum-cli, its progress on our standard error.

    Raises:
        ExportError: it failed.
    """
    scratch = folder / ".scratch"
    scratch.mkdir()
    index = read_json_file(source / MODEL_INDEX).value
    task = "inpainting" if index.get("_class_name") in LOADED_FOR_INPAINTING else "text-to-image"
    command = [
        program, "export", "openvino", "--model", str(source.absolute()), "--task", task, "--library", "diffusers",
        "--weight-format", wanted.weight_format, *(["--variant", variant] if variant else []), *wanted.extra,
        str(folder.absolute()),
    ]  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(scratch.absolute()), "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    # In a group of its own: a Ctrl-C reaches this process alone, which then ends all of the child's.
    child = subprocess.Popen(  # noqa: S603 - the program was looked up, nothing goes through a shell
        command, stdin=subprocess.DEVNULL, stdout=2, env=environment, process_group=0
    )
    try:
        code = child.wait()
    except BaseException:
        _end(child)
        raise
    if code != 0:
        what = f"failed with exit code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
        why = " (the system does that when memory runs out)" if code == -signal.SIGKILL else ""
        family = FAMILIES[index["_class_name"]].title
        raise ExportError(
            f"{PROGRAM} {what}{why}, for a {family} pipeline; what it says stands above. Nothing of it is left in "
            f"{wanted.place.parent}"
        )
    shutil.rmtree(scratch)


def _end(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(_PATIENCE_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
        break
    child.wait()


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """While this lasts SIGTERM does what Ctrl-C does: without it the child would go on alone."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
