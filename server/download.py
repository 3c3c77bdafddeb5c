"""Files of a hub repository -> a folder: several at a time, each with its checksum compared, and each from where it stopped.

A file that is under way is ``.parts/<path>.<digest>``; it gets its own name when all of it is there and right.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from server.hub import HubError, HubFile, Listing, fetch

if TYPE_CHECKING:
    from tqdm import tqdm

PARTS: Final = ".parts"
_AT_ONCE: Final = 4
_NEEDS_BAR_BYTES: Final = 1_000_000


class Progress:
    """What the person at the terminal sees of a download, on standard error: a bar on a terminal, else a line for each file.

    Args:
        title: what is downloaded.
        total_bytes: how much it is; None if nobody knows.
        present_bytes: how much of it is here already.
    """

    def __init__(self, title: str, total_bytes: int | None, present_bytes: int) -> None:
        self._lock = threading.Lock()
        self._bar: tqdm[Any] | None = None
        self._lines = not sys.stderr.isatty()
        if not self._lines and (total_bytes is None or total_bytes >= _NEEDS_BAR_BYTES):
            from tqdm import tqdm

            self._bar = tqdm(
                desc=title, total=total_bytes, initial=present_bytes, unit="B", unit_scale=True, dynamic_ncols=True
            )

    def arrived(self, size_bytes: int) -> None:
        """So many bytes have arrived."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(size_bytes)

    def finished(self, file: str, size_bytes: int) -> None:
        """A file is complete."""
        if self._lines:
            with self._lock:
                sys.stderr.write(f"fetched {file} ({shown_size(size_bytes)})\n")
                sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def shown_size(size_bytes: int) -> str:
    """A size for people."""
    size = float(size_bytes)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


class _StoppedError(Exception):
    """Another file has failed."""


def download(listing: Listing, files: Sequence[HubFile], folder: Path) -> None:
    """Fetch files into a folder, where none of them is yet.

    Raises:
        HubError: one of them cannot be had, or the disk has no room for them. What has arrived stays.
        OSError: something cannot be written.
    """
    if not files:
        return
    present_bytes = sum(_size_of(_part(folder, file)) for file in files)
    total_bytes = sum(file.size_bytes for file in files)
    free_bytes = shutil.disk_usage(folder).free
    if total_bytes - present_bytes > free_bytes:
        raise HubError(
            f"{listing.repository} needs {shown_size(total_bytes - present_bytes)} more, and the disk of {folder.parent} has "
            f"{shown_size(free_bytes)} left; make room, and run the same command again"
        )
    waiting: SimpleQueue[HubFile] = SimpleQueue()
    for file in sorted(files, key=lambda each: -each.size_bytes):  # the longest first, so that none is left for the end
        waiting.put(file)
    failures: list[Exception] = []
    stop = threading.Event()
    with Progress(listing.repository, total_bytes, present_bytes) as progress:

        def arrived(size_bytes: int) -> None:
            if stop.is_set():
                raise _StoppedError
            progress.arrived(size_bytes)

        def work() -> None:
            try:
                while not stop.is_set():
                    file = waiting.get_nowait()
                    part = _part(folder, file)
                    part.parent.mkdir(parents=True, exist_ok=True)
                    fetch(listing, file, part, arrived)
                    _finish(listing, file, part, folder / file.path)
                    progress.finished(file.path, file.size_bytes)
            except (Empty, _StoppedError):
                pass
            except Exception as error:  # raised below, on the caller's thread
                failures.append(error)
                stop.set()

        # Daemons: after an interrupt nobody waits for them. What they have written counts the next time.
        workers = [
            threading.Thread(target=work, name="download", daemon=True) for _ in range(min(_AT_ONCE, len(files)))
        ]
        try:
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        finally:
            stop.set()
    if failures:
        raise failures[0]


def _finish(listing: Listing, file: HubFile, part: Path, target: Path) -> None:
    if not file.is_at(part):
        part.unlink()
        raise HubError(
            f"{file.path} of {listing.repository} arrived with a wrong checksum (it should be {file.digest}), and was thrown "
            "away; run the same command again, and tell the repository's owners if it stays so"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part.replace(target)


def _part(folder: Path, file: HubFile) -> Path:
    return folder / PARTS / f"{file.path}.{file.digest}"


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
