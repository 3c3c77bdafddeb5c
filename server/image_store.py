"""Keeps pictures for a while, for answers with ``response_format: "url"``; only where the operator gives a folder for them.

Names are random, so that whoever does not get an answer cannot guess its pictures. They are gone after a time, and earlier where
all together would take more room than allowed: the oldest go first. What an earlier process left behind is removed at the start.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.clock import Clock

CONTENT_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_NAME_BYTES: Final = 24
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{32}\.(?:png|jpeg|webp)(?:\.part)?")
_SWEEP_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture that is still there."""

    path: Path
    content_type: str
    left_s: float
    """How long it stays, in seconds."""


class ImageStore:
    """A folder of pictures. Any thread may put some in.

    Args:
        folder: where they are kept; made if it is not there. No two servers may share it.
        ttl_s: how long each is kept.
        max_bytes: how much room all of them may take.
        clock: tells the time.

    Raises:
        OSError: the folder cannot be made, or written to.
    """

    def __init__(self, folder: Path, ttl_s: float, max_bytes: int, clock: Clock) -> None:
        self._folder = folder
        self._ttl_s = ttl_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Name -> when it goes, and its size; the oldest first."""
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if _NAME.fullmatch(left.name):
                left.unlink()
        probe = folder / f"{secrets.token_urlsafe(_NAME_BYTES)}.png.part"
        probe.touch()
        probe.unlink()

    def put(self, image: bytes, output_format: str) -> str:
        """Keep an encoded file; returns its name.

        Raises:
            OSError: it could not be written.
        """
        name = f"{secrets.token_urlsafe(_NAME_BYTES)}.{output_format}"
        part = self._folder / f"{name}.part"
        try:
            part.write_bytes(image)
            part.replace(self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        with self._lock:
            self._kept[name] = (self._clock.time() + self._ttl_s, len(image))
        self.sweep()
        return name

    def find(self, name: str) -> StoredImage | None:
        """The picture of a name, if it is still there."""
        with self._lock:
            expires, _ = self._kept.get(name, (0.0, 0))
        left_s = expires - self._clock.time()
        if left_s <= 0:
            return None
        return StoredImage(self._folder / name, CONTENT_TYPES[name.rpartition(".")[2]], left_s)

    def sweep(self) -> None:
        """Remove what has expired, and the oldest of what is too much; the newest one always stays."""
        now = self._clock.time()
        gone = []
        with self._lock:
            room = self._max_bytes - sum(size for _, size in self._kept.values())
            while self._kept:
                name, (expires, size) = next(iter(self._kept.items()))
                if expires > now and (room >= 0 or len(self._kept) == 1):
                    break
                del self._kept[name]
                room += size
                gone.append(name)
        for name in gone:
            with suppress(OSError):  # gone already, or the folder is
                (self._folder / name).unlink()

    async def sweep_for_ever(self) -> None:
        """Sweep from time to time, so that pictures go although nobody asks for new ones."""
        while True:
            await self._clock.sleep(_SWEEP_EVERY_S)
            await asyncio.to_thread(self.sweep)
