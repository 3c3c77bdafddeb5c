"""What a servable is made of, as a short text that changes when it does: from file dates, so that a look costs little."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from calculators.inference.model_config import ModelList
from calculators.inference.model_load import stamp_of
from calculators.load_error import LoadError
from server.discovery import GRAPH_FILE, MODEL_INDEX

# What programs leave behind, unfinished downloads, and what OpenVINO keeps for itself (CACHE_DIR): no graph is made of it.
_LEFT_OUT: Final = (".pyc", ".blob", ".cl_cache", ".tmp", ".part", ".lfs_part", ".lfswip", "~")
_PATH_OPTION: Final = re.compile(r"""\b\w*path\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)')""")
_CACHE_DIR: Final = re.compile(r"""CACHE_DIR\\?["']\s*:\s*\\?["']([^"'\\\n]+)""")


def fingerprint(
    text: str, settings: str, base_dir: Path, excluded: Collection[Path] = (), graph_dir: Path | None = None
) -> str:
    """A digest of a graph's text, of its settings, and of path, size and date of every file that it may be loaded from.

    These files are: all in and below its folder, but for hidden ones, caches, unfinished downloads and folders with a graph.pbtxt
    of their own; what options whose name ends with ``path`` name outside of it (a file, or the folder of a model); and
    all there in the same way.

    Args:
        text: the graph.
        settings: whatever else a change of has to be noticed.
        base_dir: the folder that relative paths in the graph start from.
        excluded: absolute paths of files and folders to leave out.
        graph_dir: the folder of the graph's file, where that is another: with its subgraphs and its calculators.
    """
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape"))
    digest.update(b"\0" + settings.encode("utf-8", "surrogateescape"))
    left_out = {*excluded, *(_normal(Path(found)) for found in _CACHE_DIR.findall(text))}
    tops = (base_dir,) if graph_dir in (None, base_dir) else (base_dir, graph_dir)
    for place in (*tops, *outside_paths(text, base_dir)):
        for entry in _stamps(place, left_out, tops):
            digest.update(os.fsencode(f"\0{entry}"))
    return digest.hexdigest()[:32]


def stamps(models: ModelList | None, text: str) -> Iterator[str]:
    """A line for each OpenVINO model that a graph names: how it is run, and the files of its versions."""
    if models is None:
        return
    for name, model in models.models.items():
        if f'"{name}"' not in text and f"'{name}'" not in text:
            continue
        yield repr(replace(model, place=""))
        try:
            files = model.available()
        except LoadError:  # the folder is gone; loading tells
            continue
        yield from (f"{file} {stamp_of(file)}" for file in files.values())
    yield from (f"{name}: {why}" for name, why in models.problems.items() if name in text)


def named_paths(text: str, base_dir: Path) -> list[Path]:
    """The files and folders that options of a graph name, absolute: all whose name ends with ``path``."""
    found = [base_dir / (double or single) for double, single in _PATH_OPTION.findall(text) if double or single]
    return [_normal(path) for path in dict.fromkeys(found)]


def outside_paths(text: str, base_dir: Path) -> list[Path]:
    """Those of ``named_paths`` that lie outside of the graph's folder."""
    folder = _normal(base_dir)
    return [path for path in named_paths(text, base_dir) if not path.is_relative_to(folder)]


def _stamps(place: Path, excluded: Collection[Path], tops: Collection[Path | None]) -> Iterator[str]:
    """A line for each file: of ``place`` itself, or of those in and below it, in a fixed order."""
    pending = [place]
    entered: set[tuple[int, int]] = set()  # links may lead in a circle
    while pending:
        path = pending.pop()
        if path in excluded:
            continue
        try:
            status = path.stat()
            if not path.is_dir():
                yield f"{path} {status.st_size} {status.st_mtime_ns}"
                continue
            # A model folder is searched wholly; any other folder that an option names may be anything, such as /.
            if path == place and path not in tops and not (path / MODEL_INDEX).is_file():
                continue
            with os.scandir(path) as entries:
                names = sorted((entry.name for entry in entries), reverse=True)
        except OSError:  # gone, or not for us: loading tells, if it matters
            yield f"{path} is missing"
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in entered or (path != place and GRAPH_FILE in names):
            continue
        entered.add(identity)
        pending += [path / name for name in names if _counts(name)]


def _normal(path: Path) -> Path:
    """Absolute and without ``..``, as it is written: links stay."""
    return Path(os.path.normpath(path.absolute()))


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__" and not name.endswith(_LEFT_OUT)
