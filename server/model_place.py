"""The folder of a pulled model: what is known of it, where a newer one is made ready beside it, and how the two change places.

While it is being filled, ``models/org/name`` is ``models/org/.name.partial``: hidden, so that no server takes it up.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.atomic_file import replace_file
from server.discovery import GRAPH_FILE
from server.download import PARTS
from server.hub import HubError, HubFile
from server.lora_sources import FOLDER

DEFAULT_FOLDER: Final = Path("models")
"""Where models come to be, unless another folder is given."""
STATE_FILE: Final = ".pulled.json"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@dataclass(frozen=True, slots=True)
class State:
    """What a folder was made of.

    Attributes:
        repository: ``org/name``.
        commit: the commit of it.
        revision: the branch, tag or commit that was asked for; None for the main branch.
        files: path -> digest, of all files that were taken from it.
        graph: the SHA-256 of graph.pbtxt as it was written; "" before.
        weight_format: what the model was exported to; "" for one that came in OpenVINO format.
    """

    repository: str
    commit: str
    revision: str | None
    files: Mapping[str, str]
    graph: str = ""
    weight_format: str = ""

    def write(self, folder: Path) -> None:
        """Keep it in a folder."""
        told: dict[str, Any] = {
            "repository": self.repository,
            "revision": self.revision,
            "commit": self.commit,
            "graph": self.graph,
            "weight_format": self.weight_format,
        }
        told |= {"files": dict(self.files)}
        replace_file(folder / STATE_FILE, json.dumps(told, indent=1) + "\n")

    def has_edited_graph(self, folder: Path) -> bool:
        """Whether the graph is another one than was written."""
        path = folder / GRAPH_FILE
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != self.graph


def read_state(folder: Path) -> State | None:
    """What is known of a folder; None where it was not pulled, or not all of that can be read."""
    try:
        told: dict[str, Any] = json.loads((folder / STATE_FILE).read_bytes())
        return State(
            told["repository"],
            told["commit"],
            told["revision"],
            dict(told["files"]),
            told["graph"],
            told.get("weight_format", ""),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def partial_of(place: Path) -> Path:
    """Where a model is made ready."""
    return place.with_name(f".{place.name}.partial")


@contextmanager
def filling(place: Path) -> Iterator[Path]:
    """The folder beside ``place``, for one process at a time; it stays, unless nothing was put there.

    Raises:
        HubError: another process fills it.
        OSError: it cannot be made.
    """
    folder = partial_of(place)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HubError(f"{place} is being pulled by another process; wait for it") from None
            except OSError:
                pass  # a network's file system without locks
            if not _is_same(lock, folder):  # the other one has just finished, and put it into its place
                continue
            try:
                yield folder
            finally:
                if folder.is_dir() and _is_same(lock, folder) and not _holds_data(folder):
                    shutil.rmtree(folder)
            return
        finally:
            os.close(lock)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _holds_data(folder: Path) -> bool:
    return any(path.name != STATE_FILE and path.is_file() and path.stat().st_size for path in folder.rglob("*"))


def keep_only(folder: Path, files: Mapping[str, HubFile], *, verify: bool) -> None:
    """Remove what an earlier attempt left and is not of use any more; adapters stay.

    Args:
        folder: the folder.
        files: path -> file, what shall be there at the end.
        verify: compare checksums: what is there may be of another commit.
    """
    parts = {f"{path}.{file.digest}" for path, file in files.items()}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):
                path.rmdir()  # those that are empty
            continue
        name = path.relative_to(folder).as_posix()
        file = files.get(name)
        is_adapter = file is None and name.startswith(f"{FOLDER}/")
        if is_adapter or name == STATE_FILE or name.removeprefix(f"{PARTS}/") in parts:
            continue
        if (
            file is None
            or path.is_symlink()
            or path.stat().st_size != file.size_bytes
            or (verify and not file.is_at(path))
        ):
            path.unlink()


def take_over(place: Path, folder: Path, files: Mapping[str, HubFile]) -> None:
    """Link those files of the old folder into the new one that are the same there."""
    for path, file in files.items():
        target = folder / path
        if not target.exists() and file.is_at(place / path):
            _link(place / path, target)


def take_over_others(place: Path, folder: Path, old: State | None) -> None:
    """Link into the new folder what somebody has put into the old one: what is of no commit, adapters and edited graphs say."""
    pulled = set(old.files) if old is not None else set()
    for root, folders, names in os.walk(place):
        linked = [name for name in folders if Path(root, name).is_symlink()]
        for name in [*names, *linked]:
            path = Path(root, name)
            relative = path.relative_to(place)
            target = folder / relative
            if relative.as_posix() in pulled or relative.name == STATE_FILE or relative.parts[0] == PARTS:
                continue
            if not target.exists() and not target.is_symlink():
                _link(path, target)


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError:  # a file system that has no links
        shutil.copy2(path, target, follow_symlinks=False)


def discard_partial(place: Path) -> None:
    """Remove what was left beside a model that is up to date, unless somebody is at it."""
    if partial_of(place).is_dir():
        with suppress(HubError), filling(place) as folder:
            shutil.rmtree(folder)


def put_into_place(folder: Path, place: Path) -> None:
    """Give a complete folder its name; an older one is replaced in one step, and removed.

    Raises:
        OSError: it cannot be done; the older one is in place.
    """
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    try:
        folder.rename(place)  # also over an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _exchange(folder, place)
        shutil.rmtree(folder)


def _exchange(one: Path, other: Path) -> None:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc and musl on Linux
    if (
        renameat2 is not None
        and renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    ):
        return
    # No such call on this system, or on this file system: for a moment there is nothing in its place.
    aside = other.with_name(f".{other.name}.old")
    other.rename(aside)
    try:
        one.rename(other)
    except OSError:
        aside.rename(other)
        raise
    aside.rename(one)
