"""Files that are replaced whole or not at all, whatever happens on the way."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from server.terminal import complain


def replace_file(path: Path, content: str) -> None:
    """Write a text file, or put another one in its place: readers see the old one or the new one, and never a part.

    A link stays, what it leads to is replaced; rights stay as they were.

    Raises:
        OSError: it cannot be written; what was there is unharmed.
    """
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")  # hidden: nobody serves it
    try:
        with beside.open("x", encoding="utf-8", newline="") as out:
            if target.exists():
                os.fchmod(out.fileno(), target.stat().st_mode & 0o7777)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            beside.unlink()
        raise


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """While this lasts no other process is in it for the same folder: an edit is a look and a replacement, and none may be lost.

    Who has to wait is told so.

    Raises:
        OSError: there is no such folder, or it may not be read.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            complain("configure", f"waiting for another process that changes a file in {folder}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
