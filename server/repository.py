"""The model repository: what is to be served, read anew from disk at each scan."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from server.config_file import CONFIG_FILE, ConfigFile, read_config_file
from server.discovery import GRAPH_FILE, ServableSpec, find_servables, models_dir
from server.fingerprint import fingerprint, outside_paths
from server.settings import Settings

_log = logging.getLogger("graph_runtime.server")


@dataclass(frozen=True, slots=True)
class Scan:
    """What a repository holds at one moment.

    Attributes:
        specs: what can be loaded, sorted by name; two with equal values load the same.
        failures: name -> why there is nothing to load under a name that somebody asked for. Not a name of ``specs``.
        warnings: what has no effect, or another one than it seems, a sentence each.
    """

    specs: tuple[ServableSpec, ...]
    failures: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Repository:
    """Where servables come from, by the settings of the server.

    Everything blocks on the disk, and may be called on any thread, by one at a time.

    Raises (when made):
        OSError: the model folder is not there, or is no folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = models_dir(settings.models)
        self._outside: tuple[Path, ...] = ()
        self._told: frozenset[str] = frozenset()

    @property
    def place(self) -> str:
        """Where everything is, for people."""
        return str(self._folder)

    def scan(self) -> Scan:
        """Look at the disk. A warning is logged when it comes up, and not again as long as it stays.

        Raises:
            SettingsError: the config.json says something that cannot be.
            OSError: the folder cannot be read.
        """
        models_dir(self._folder)  # one that is missing, such as a drive that is not mounted, is not an empty one
        config = read_config_file(self._folder)
        found = find_servables(self._folder)
        warnings = [] if found else [f"no {GRAPH_FILE} in or below {self._folder}: there is nothing to serve"]
        warnings += config.unknown_models(spec.name for spec in found)
        specs = tuple(self._complete(spec, config) for spec in found)
        self._outside = tuple(
            dict.fromkeys(path for spec in specs for path in outside_paths(_text(spec), spec.base_dir))
        )
        for line in warnings:
            if line not in self._told:
                _log.warning("%s", line)
        self._told = frozenset(warnings)
        return Scan(specs, {}, tuple(warnings))

    def watched_paths(self) -> Sequence[Path]:
        """The files and folders in which a change may make the next scan differ, by what the last one found; folders mean all that
        is below them."""
        return (self._folder, *(path for path in self._outside if path.exists()))

    def _complete(self, spec: ServableSpec, config: ConfigFile) -> ServableSpec:
        """A spec with its settings and its fingerprint."""
        model = config.of(spec.name)
        excluded = [
            path.absolute() for path in (self._settings.cache_dir, self._settings.image_store) if path is not None
        ]
        excluded += [self._folder / CONFIG_FILE, *([] if spec.graph_file is None else [spec.graph_file])]
        return replace(spec, model=model, fingerprint=fingerprint(_text(spec), repr(model), spec.base_dir, excluded))


def _text(spec: ServableSpec) -> str:
    """The graph, as far as it can be read; one that is gone or is no text fails when it is loaded, with the reason."""
    if spec.graph_file is None:
        return spec.graph_text or ""
    try:
        return spec.graph_file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
