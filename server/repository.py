"""The model repository: what is to be served, read anew from disk at each scan.

Sources, one for each server: a model folder (with a config.json in it, if there is one), one model, or a config.json alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from calculators.inference.model_config import ModelList
from calculators.load_error import LoadError
from server.classic_models import classic_servable, default_model, models_of, read_listed_model
from server.config_file import CONFIG_FILE, OF_CLASSIC_MODELS, ConfigFile, Entry, read_config_file
from server.discovery import (
    GRAPH_FILE,
    MODEL_INDEX,
    ServableSpec,
    Warn,
    find_servables,
    graph_servable,
    is_bare_model,
    models_dir,
    servable_in,
)
from server.fingerprint import fingerprint, named_paths, outside_paths, stamps
from server.settings import Settings, SettingsError

_log = logging.getLogger("graph_runtime.server")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a repository holds at one moment.

    Attributes:
        specs: what can be loaded, sorted by name; two with equal values load the same.
        failures: name -> why there is nothing to load under a name that somebody asked for. Not a name of ``specs``.
        errors: what else is wrong and keeps something from being served, such as a name that is there twice; a sentence each.
        warnings: what has no effect, or another one than it seems; a sentence each.
    """

    specs: tuple[ServableSpec, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Repository:
    """Where servables come from, by the settings of the server.

    Everything blocks on the disk, and may be called on any thread, by one at a time.

    Raises (when made):
        SettingsError: the settings name more than one source.
        OSError: what they name is not there, or is no folder or no file.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder: Path | None = None
        self._outside: tuple[Path, ...] = ()
        self._told: frozenset[str] = frozenset()
        _check_sources(settings)
        if settings.config_path is not None:
            self._config_path = settings.config_path.absolute()
        elif settings.model_path is not None:
            self._config_path = settings.model_path.absolute() / CONFIG_FILE
        else:
            self._folder = models_dir(settings.models)
            self._config_path = self._folder / CONFIG_FILE
        self._look_for_source()

    def _look_for_source(self) -> None:
        """Raise an OSError if it is not there: a drive that is not mounted, say, is not an empty folder."""
        if self._folder is not None:
            models_dir(self._folder)
        elif self._settings.config_path is not None and not self._config_path.is_file():
            what = "is a folder; give the file in it" if self._config_path.is_dir() else "does not exist"
            raise FileNotFoundError(f"config file {str(self._settings.config_path)!r} {what}")

    @property
    def _source(self) -> Path:
        if self._settings.model_path is not None:
            return self._settings.model_path.absolute()
        return self._folder or self._config_path

    @property
    def is_single(self) -> bool:
        """Whether it holds one model, without which there is no use in a server."""
        return self._settings.model_path is not None

    @property
    def place(self) -> str:
        """Where everything is, for people."""
        return str(self._source)

    def scan(self, *, quiet: bool = False) -> Scan:
        """Look at the disk.

        Args:
            quiet: leave errors and warnings to the caller; else each is logged when it comes up, and not again as long as it stays.

        Raises:
            SettingsError: the config.json says something that cannot be; the text has a line for each problem.
            OSError: the folder or the file is not there any more.
        """
        self._look_for_source()
        config = read_config_file(self._config_path)
        if self._settings.model_path is not None:
            scan = _scan_one(config, self._settings.model_path.absolute(), self._settings.model_name)
        else:
            scan = _scan_all(config, self._folder)
        scan = replace(scan, specs=tuple(self._complete(spec, config) for spec in scan.specs))
        outside = [path for spec in scan.specs for path in outside_paths(text_of(spec), spec.base_dir)]
        folders = [
            folder
            for spec in scan.specs
            for folder in (spec.base_dir, *((spec.graph_file.parent,) if spec.graph_file else ()))
            if self._folder is None or not folder.is_relative_to(self._folder)
        ]
        models = [
            model.folder
            for spec in scan.specs
            if spec.models is not None
            for model in spec.models.models.values()
            if self._folder is None or not model.folder.is_relative_to(self._folder)
        ]
        self._outside = tuple(dict.fromkeys([*folders, *outside, *models]))
        if not quiet:
            self._tell(scan)
        return scan

    def _tell(self, scan: Scan) -> None:
        for level, lines in ((logging.ERROR, scan.errors), (logging.WARNING, scan.warnings)):
            for line in lines:
                if line not in self._told:
                    _log.log(level, "%s", line)
        self._told = frozenset((*scan.errors, *scan.warnings))

    def watched_paths(self) -> Sequence[Path]:
        """The files and folders in which a change may make the next scan differ, by what the last one found; folders mean all that
        is below them."""
        return tuple(dict.fromkeys([self._source, *(path for path in self._outside if path.exists())]))

    def _complete(self, spec: ServableSpec, config: ConfigFile) -> ServableSpec:
        """A spec with its settings and its fingerprint."""
        model = config.of(spec.name)
        others = (self._settings.cache_dir, self._settings.image_store, spec.graph_file)
        excluded = [path.absolute() for path in others if path is not None]
        settings = "\n".join([repr(model), *stamps(spec.models, text_of(spec))])
        graph_dir = None if spec.graph_file is None else spec.graph_file.parent
        found = fingerprint(text_of(spec), settings, spec.base_dir, excluded, graph_dir)
        return replace(spec, model=model, fingerprint=found)


def scan_folder(folder: Path) -> Scan:
    """What a model folder holds, its config.json included; the specs are without settings and fingerprint.

    Raises:
        SettingsError: the config.json says something that cannot be.
    """
    return _scan_all(read_config_file(folder / CONFIG_FILE), folder)


def scan_config(path: Path) -> Scan:
    """What a config.json lists, as ``scan_folder``.

    Raises:
        SettingsError: it says something that cannot be.
    """
    return _scan_all(read_config_file(path), None)


def text_of(spec: ServableSpec) -> str:
    """The graph, as far as it can be read; one that is gone or is no text fails when it is loaded, with the reason."""
    if spec.graph_file is None or spec.graph_text is not None:
        return spec.graph_text or ""
    try:
        return spec.graph_file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _check_sources(settings: Settings) -> None:
    given = {
        "--models": settings.models is not None,
        "--model_path": settings.model_path is not None,
        "--config_path": settings.config_path is not None,
    }
    several = [flag for flag, is_given in given.items() if is_given]
    if len(several) > 1:
        raise SettingsError(
            f"{' and '.join(several)} exclude each other: models come from a folder (--models DIR), from a file that lists them "
            "(--config_path FILE), or are one (--model_path DIR); give one of these"
        )
    if settings.model_name is not None and settings.model_path is None:
        raise SettingsError("--model_name names the model of --model_path, and there is none; give --model_path DIR")


def _scan_one(config: ConfigFile, folder: Path, name: str | None) -> Scan:
    name = name or folder.resolve().name
    warnings = [*config.warnings, *config.unknown_models([name])]
    warnings += [f"{entry.place} has no effect: --model_path serves one model" for entry in config.entries]
    try:
        if is_bare_model(folder):
            return Scan((classic_servable(default_model(name, folder)),), warnings=tuple(warnings))
        spec = servable_in(folder, name)
        return Scan(
            (replace(spec, models=models_of(spec, None, ModelList(), warnings.append)),), warnings=tuple(warnings)
        )
    except (LoadError, OSError, ValueError) as error:
        return Scan((), {name: str(error).replace(f"{folder}/", "")}, warnings=tuple(warnings))


def _scan_all(config: ConfigFile, folder: Path | None) -> Scan:
    """The servables of the lists, and those that are found in the folder and that no list names."""
    warnings = list(config.warnings)
    listed, failures, errors, models = _listed(config, warnings.append)
    found = [] if folder is None else find_servables(folder, warnings.append)
    found = [replace(spec, models=models_of(spec, None, models, warnings.append)) for spec in found]
    specs = dict(listed)
    claimed = {spec.base_dir.resolve() for spec in listed.values()}
    claimed |= {_folder_of(entry, config.path.parent).resolve() for entry in config.entries}
    parts = {
        path.resolve()
        for spec in (*listed.values(), *found)
        if spec.graph_file is not None
        for path in named_paths(text_of(spec), spec.base_dir)
    }
    for spec in found:
        place = spec.base_dir.resolve()
        if place in claimed or (spec.graph_file is None and place in parts):
            continue  # served under the name that somebody has given it, or part of another graph
        if spec.name in specs or spec.name in failures:
            errors.append(
                f"{spec.shown_file} is not served: {config.path} gives the name {spec.name!r} to something else"
            )
            continue
        specs[spec.name] = spec
    names = [*specs, *failures]
    if not names:
        where = f"in or below {folder}" if folder is not None else f"listed in {config.path}"
        warnings.append(f"no {GRAPH_FILE} and no {MODEL_INDEX} {where}: there is nothing to serve")
    warnings += config.unknown_models(names)
    return Scan(
        tuple(specs[name] for name in sorted(specs)), dict(sorted(failures.items())), tuple(errors), tuple(warnings)
    )


def _listed(config: ConfigFile, warn: Warn) -> tuple[dict[str, ServableSpec], dict[str, str], list[str], ModelList]:
    """What the lists name: name -> spec, name -> why there is none, what is wrong besides, and the classic models."""
    specs: dict[str, ServableSpec] = {}
    failures: dict[str, str] = {}
    places: dict[str, str] = {}
    errors = []
    models = ModelList()
    above = config.path.parent
    entries: list[Entry] = []
    for entry in config.entries:
        if entry.name in places:
            errors.append(
                f"{entry.place} is not served: the name {entry.name!r} is taken by {places[entry.name]}; give it another one"
            )
            continue
        places[entry.name] = entry.place
        if entry.is_model and not entry.graph_path and is_bare_model(_folder_of(entry, above)):
            read_listed_model(models, entry, above)
        else:
            entries.append(entry)
    models.problems = {name: why.replace(f"{above}/", "") for name, why in models.problems.items()}
    for line in models.warnings:
        warn(line)
    failures.update(models.problems)
    for model in models.models.values():
        try:
            specs[model.name] = classic_servable(model)
        except (LoadError, OSError, ValueError) as error:
            failures[model.name] = f"{model.place}: {error}".replace(f"{above}/", "")
    for entry in entries:
        try:
            spec = _servable_of(entry, above, warn)
            specs[entry.name] = replace(spec, models=models_of(spec, entry.subconfig, models, warn))
        except (OSError, ValueError) as error:
            # For clients too: they need not know the folders above.
            failures[entry.name] = f"{entry.place}: {error}".replace(f"{above}/", "")
    return specs, failures, errors, models


def _folder_of(entry: Entry, above: Path) -> Path:
    return above / (entry.base_path or entry.name)


def _servable_of(entry: Entry, above: Path, warn: Warn) -> ServableSpec:
    """The servable of an entry; its paths start at the folder of the config.json, and ``graph_path`` at ``base_path``.

    Raises:
        OSError, ValueError: there is none; the text says why.
    """
    paths = {"base_path": entry.base_path or entry.name, "graph_path": entry.graph_path, "subconfig": entry.subconfig}
    for key, text in paths.items():
        if ".." in Path(text or "").parts:
            raise ValueError(f'{key} "{text}" must not contain ".."; use an absolute path')
    folder = _folder_of(entry, above)
    shown = entry.base_path or entry.name
    if entry.graph_path:
        graph_file = folder / entry.graph_path
        if not graph_file.is_file():
            raise FileNotFoundError(f'there is no file "{entry.graph_path}" in "{shown}"')
        # A file elsewhere without a folder of that name: what it names can lie beside it alone.
        spec = graph_servable(entry.name, graph_file, folder if entry.base_path or folder.is_dir() else None)
    else:
        try:
            spec = servable_in(folder, entry.name, entry.target_device, entry.plugin_config)
        except (OSError, ValueError) as error:
            raise ValueError(f'"{shown}": {error}') from error
    for key in OF_CLASSIC_MODELS:
        if key in entry.given:
            warn(f"{entry.places[key]} has no effect: it is for classic models, and a graph is served")
    if spec.graph_file is not None:
        for key in ("target_device", "plugin_config"):
            if getattr(entry, key):
                warn(f"{entry.place}.{key} has no effect: the graph {spec.graph_file} says it for itself")
    return spec
