"""``graph-runtime configure``: the graph.pbtxt of a model folder, and the models that a config.json lists."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from calculators.image_gen.graph_edit import EditError, edit_graph_text, image_options
from calculators.image_gen.graph_text import graph_text
from calculators.image_gen.model_folder import MODEL_INDEX
from calculators.image_gen.recognise import is_image_model, is_openvino_model
from graph_runtime import GraphError
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.config import read_graph
from server.atomic_file import locked_folder, replace_file
from server.check import look_at
from server.config_edit import add_to_config, remove_from_config
from server.config_file import CONFIG_FILE
from server.discovery import GRAPH_FILE, ServableSpec, classic_models, find_servables, models_dir, servable_in
from server.flags import allows_python_nodes
from server.hub import HubError
from server.image_flags import given_flags, options_from
from server.lora_download import fetch_loras
from server.lora_sources import LoraSource
from server.settings import Settings, SettingsError
from server.terminal import complain, say


class ConfigureError(Exception):
    """What is asked for cannot be done, and nothing was written; the text says why, and may have several lines."""


def configure(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; returns the exit code."""
    try:
        _settle(arguments)
        if arguments.list_models:
            _list_models(arguments)
        elif arguments.add_to_config is not None:
            _add(arguments)
        elif arguments.remove_from_config is not None:
            _remove(arguments)
        elif arguments.path is None:
            raise _UsageError("give the folder of a model: graph-runtime configure PATH")
        else:
            _refuse_flags(
                arguments, "model_name", "config_path", "models", why="they are for --add_to_config and its like"
            )
            # Two at the same time: each one's changes are in the graph at the end.
            with locked_folder(arguments.path) if arguments.path.is_dir() else nullcontext():
                lines = configure_folder(
                    arguments.path,
                    arguments,
                    overwrite=arguments.overwrite,
                    allow_python_nodes=allows_python_nodes(arguments),
                )
            for line in lines:
                say(line)
    except _UsageError as error:
        complain("configure", str(error))
        return 2
    except (ConfigureError, HubError, SettingsError) as error:
        complain("configure", str(error))
        return 1
    except OSError as error:
        complain("configure", f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    return 0


class _UsageError(Exception):
    """The command line says something that cannot be."""


def _settle(arguments: argparse.Namespace) -> None:
    """Refuse what excludes each other, and take OVMS's ``--model_path`` for PATH."""
    commands = [name for name in ("list_models", "add_to_config", "remove_from_config") if _given(arguments, name)]
    if len(commands) > 1:
        raise _UsageError(
            f"{' and '.join(f'--{name}' for name in commands)} are commands of their own; give one of them"
        )
    if arguments.path is not None and arguments.model_path is not None:
        raise _UsageError(f"{arguments.path} and --model_path {arguments.model_path} are two models; give one")
    arguments.path = arguments.path or arguments.model_path


def _given(arguments: argparse.Namespace, name: str) -> bool:
    return getattr(arguments, name) not in (None, False)


# ---- the graph of a folder


def configure_folder(
    folder: Path,
    arguments: argparse.Namespace,
    *,
    overwrite: bool = False,
    models_path: str = ".",
    loras: Sequence[LoraSource] | None = None,
    allow_python_nodes: bool = False,
) -> list[str]:
    """Write the graph.pbtxt of a model folder, or change the one that is there; checked before it takes its place.

    Args:
        folder: the folder.
        arguments: the flags of ``server.image_flags``.
        overwrite: make a new one in any case.
        models_path: of a new one, as it is to be written.
        loras: as for ``options_from``; None to fetch those of the flag.
        allow_python_nodes: whether code of the folder may run, to check the graph.

    Returns: what was done, and what could be better; a line each.

    Raises:
        ConfigureError: there is no model, or the graph would be one that cannot be used.
        HubError: an adapter cannot be fetched.
        OSError: the file cannot be read or written.
    """
    file = folder / GRAPH_FILE
    updates = file.exists() and not overwrite
    try:
        if updates:
            text, done = _updated(file, arguments, loras)
        else:
            text, done = _new(folder, arguments, models_path, loras), "written"
    except ValueError as error:
        raise ConfigureError(f"{file}: {error}" if updates else str(error)) from None
    spec = ServableSpec(folder.resolve().name, folder, file, 0, graph_text=text)
    problems, notes, _ = look_at(spec, allow_python_nodes=allow_python_nodes)
    if problems:
        # Their places are in a text that nobody will see.
        lines = [" ".join(str(replace(problem, place=None)).split()) for problem in problems]
        what = "cannot be used" if done == _AS_IT_WAS else "was not written, it could not be used"
        raise ConfigureError("\n".join([f"{file} {what}:", *lines]))
    if done != _AS_IT_WAS:
        replace_file(file, text)
    return [f"{file}: {done}", *(f"note: {' '.join(str(replace(note, place=None)).split())}" for note in notes)]


_AS_IT_WAS = "as it was; flags change it (graph-runtime configure --help), --overwrite makes a new one"


def _updated(file: Path, arguments: argparse.Namespace, loras: Sequence[LoraSource] | None) -> tuple[str, str]:
    try:
        source = read_graph(file)
        before = image_options(source)
        text, changed = edit_graph_text(
            source, options_from(arguments, before, _fetched(file.parent, arguments, loras))
        )
    except (GraphError, EditError) as error:
        raise ConfigureError(
            f"{file} cannot be changed: {error}\nchange it by hand, or make a new one with --overwrite"
        ) from None
    return text, f"changed: {', '.join(changed)}" if changed else _AS_IT_WAS


def _new(folder: Path, arguments: argparse.Namespace, models_path: str, loras: Sequence[LoraSource] | None) -> str:
    if not folder.is_dir():
        raise ConfigureError(f"{folder} is {'a file; give its folder' if folder.exists() else 'not there'}")
    if not (folder / MODEL_INDEX).is_file():
        raise ConfigureError(
            f"{folder} has no {MODEL_INDEX}: a folder with a model of diffusers, exported to OpenVINO, has one"
        )
    if not is_image_model(folder):
        raise ConfigureError(f"{folder} is no pipeline that makes pictures, as its {MODEL_INDEX} says")
    if not is_openvino_model(folder):
        raise ConfigureError(f"{folder} is not in OpenVINO format; make that with: graph-runtime export {folder}")
    start = ImageGenCalculatorOptions(models_path=models_path)
    return graph_text(options_from(arguments, start, _fetched(folder, arguments, loras)))


def _fetched(
    folder: Path, arguments: argparse.Namespace, loras: Sequence[LoraSource] | None
) -> Sequence[LoraSource] | None:
    """The adapters of the flag, in place."""
    if loras is None and arguments.source_loras is not None:
        return fetch_loras(arguments.source_loras, folder)
    return loras


# ---- the lists of a config.json


def _add(arguments: argparse.Namespace) -> None:
    allowed = ("target_device", "plugin_config")
    others = [name for name in given_flags(arguments) if name not in allowed]
    if others or arguments.overwrite:
        raise _UsageError(
            f"--{(others or ['overwrite'])[0]} changes a graph.pbtxt, --add_to_config the list in a config.json: use two commands"
        )
    folder: Path | None = arguments.path
    if folder is None:
        raise _UsageError("give the folder of the model: graph-runtime configure PATH --add_to_config CONFIG")
    config = _config_path(arguments, arguments.add_to_config)
    name = arguments.model_name or _name_of(folder, config)
    given: dict[str, Any] = {"name": name, "base_path": _shown(folder, config)}
    if arguments.target_device is not None:
        given["target_device"] = arguments.target_device
    if arguments.plugin_config is not None:
        given["plugin_config"] = json.loads(arguments.plugin_config or "{}")
    try:
        (name + given["base_path"]).encode()
    except UnicodeEncodeError:
        raise ConfigureError(f"{name!a} is no UTF-8, and a config.json is: give the folder another name") from None
    _check_entry(folder, name, given)
    add_to_config(config, given)
    say(f"Config updated: {config}")


def _check_entry(folder: Path, name: str, given: Mapping[str, Any]) -> None:
    try:
        spec = servable_in(folder, name)
    except (OSError, ValueError) as error:
        raise ConfigureError(f"{folder} cannot be served: {error}") from None
    if spec.graph_file is not None and len(given) > 2:
        raise _UsageError(
            f"{spec.graph_file} says device and plugin_config itself; change it there: graph-runtime configure {folder} ..."
        )


def _remove(arguments: argparse.Namespace) -> None:
    _refuse_flags(arguments, "overwrite", *given_flags(arguments), why="nothing is written but the list")
    config = _config_path(arguments, arguments.remove_from_config)
    name = arguments.model_name
    if name is None:
        if arguments.path is None:
            raise _UsageError("give the --model_name, or the folder of the model")
        name = _name_of(arguments.path, config)
    remove_from_config(config, name)
    say(f"Config updated: {config}")


def _config_path(arguments: argparse.Namespace, given: Path | bool) -> Path:
    """The file that ``--add_to_config FILE``, ``--config_path FILE`` or ``--models DIR`` names."""
    named: list[Path] = [each for each in (given, arguments.config_path) if isinstance(each, Path)]
    if len(named) > 1:
        raise _UsageError(f"{named[0]} and --config_path {named[1]} are two files; give one")
    path = named[0] if named else _models_dir(arguments)
    if path.is_dir():
        path = path / CONFIG_FILE
    if not path.parent.is_dir():
        raise ConfigureError(f"{path}: there is no folder {path.parent}")
    return path


def _models_dir(arguments: argparse.Namespace) -> Path:
    settings = Settings.resolve({"models": arguments.models}, os.environ)
    if settings.config_path is not None and arguments.models is None:
        return settings.config_path
    if settings.models is None and not Path("models").is_dir():
        raise _UsageError("give the config.json with --config_path FILE, or the model folder with --models DIR")
    try:
        return models_dir(settings.models)
    except OSError as error:
        raise ConfigureError(str(error)) from None


def _name_of(folder: Path, config: Path) -> str:
    """A model's path below the config.json, as a model folder names it; else the name of its folder."""
    above, place = config.parent.resolve(), folder.resolve()
    return place.relative_to(above).as_posix() if place.is_relative_to(above) and place != above else place.name


def _shown(folder: Path, config: Path) -> str:
    """``base_path``: relative to the config.json where that lies above, so that both can be moved together."""
    above, place = config.parent.resolve(), folder.resolve()
    return place.relative_to(above).as_posix() if place.is_relative_to(above) else str(place)


def _list_models(arguments: argparse.Namespace) -> None:
    _refuse_flags(
        arguments,
        "overwrite",
        "model_name",
        "config_path",
        *given_flags(arguments),
        why="--list_models only looks at a folder",
    )
    if arguments.path is not None and arguments.models is not None:
        raise _UsageError(f"{arguments.path} and --models {arguments.models} are two folders; give one")
    folder = arguments.path or _models_dir(arguments)
    if not folder.is_dir():
        raise ConfigureError(f"{folder} is no folder")
    warnings: list[str] = []
    for name in [spec.name for spec in find_servables(folder, warnings.append)]:
        say(name)
    for line in warnings:
        complain("configure", line)
    for name in classic_models(folder):
        complain(
            "configure", f"{name} holds a model that is not served yet: list it in model_config_list of config.json"
        )


def _refuse_flags(arguments: argparse.Namespace, *names: str, why: str) -> None:
    given = [name for name in names if _given(arguments, name)]
    if given:
        raise _UsageError(f"--{given[0]} has no meaning here: {why}")
