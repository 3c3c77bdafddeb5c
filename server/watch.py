"""Hot reload: notices changes of what is served, looks at it anew, and has the servables follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

from server.clock import Clock
from server.local_backend import in_thread
from server.repository import Repository, Scan
from server.servables import Servables
from server.settings import Settings, SettingsError

SCAN_ERRORS: Final = (SettingsError, OSError)
"""What makes it impossible to look at a repository as a whole."""
_GATHER_MS: Final = 50
"""Events that come so close to each other are one."""

_log = logging.getLogger("graph_runtime.server")


class Reloader:
    """Has the servables follow the repository: one look after the other, so that what is older never comes after what is newer."""

    def __init__(self, repository: Repository, servables: Servables) -> None:
        self._repository = repository
        self._servables = servables
        self._turn = asyncio.Lock()
        self._problem: str | None = None
        self.found = Scan(())
        """The newest look."""

    def watched_paths(self) -> Sequence[Path]:
        """Where a change may matter; see :meth:`server.repository.Repository.watched_paths`."""
        return self._repository.watched_paths()

    async def look(self, *, retry: bool = False) -> bool:
        """Look once, and begin to load and to end what has changed.

        Args:
            retry: whether to try again what could not be loaded and has not changed.

        Returns:
            Whether there is anything to do, what is loading already included.

        Raises:
            SettingsError, OSError: the repository cannot be read as a whole; everything stays as it is.
        """
        async with self._turn:
            self.found = await self._scan()
            return self._servables.apply(self.found, retry=retry)

    async def reload(self) -> bool:
        """``look``, with a new try for what could not be loaded, and wait until nothing loads any more."""
        changed = await self.look(retry=True)
        await self._servables.settled.wait()
        return changed

    async def look_until_still(self, pause: Callable[[], Awaitable[None]]) -> None:
        """Look until two looks with a pause between them find the same; what is different in them is left alone so long.

        So no model is loaded from those of its files that have been copied already. A repository that cannot be read as a whole
        changes nothing; the log says why, once for each reason.
        """
        async with self._turn:
            before = await self._attempt()
        while True:
            await pause()
            async with self._turn:
                now = await self._attempt()
                still = now == before
                if isinstance(before, Scan) and isinstance(now, Scan):
                    self.found = now
                    self._servables.apply(now, leave=_different(before, now))
            if still:
                break
            before = now
        problem = now if isinstance(now, str) else None
        if problem is not None and problem != self._problem:
            _log.error("what is served stays as it is, since it cannot be looked at: %s", problem)
        self._problem = problem

    async def _attempt(self) -> Scan | str:
        try:
            return await self._scan()
        except SCAN_ERRORS as error:
            return str(error)

    async def _scan(self) -> Scan:
        scanning = asyncio.create_task(in_thread("scan the models", self._repository.scan))
        try:
            return await asyncio.shield(scanning)
        except asyncio.CancelledError:
            await asyncio.wait([scanning])  # a repository is looked at by one at a time
            raise


def _different(before: Scan, now: Scan) -> set[str]:
    """The names of which two scans tell different things."""
    one, other = ({spec.name: spec for spec in scan.specs} | dict(scan.failures) for scan in (before, now))
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


async def watch(reloader: Reloader, settings: Settings, clock: Clock) -> None:
    """Have a reloader look whenever something changes, for ever; return at once where the settings say that nobody looks.

    The paths are watched anew after each change: there may be others now, other folders behind links, or a new folder in the
    place of one that was removed. What changes in the meantime is found by the look that follows.
    """
    wait_s = settings.file_system_poll_wait_seconds
    if not wait_s:
        return
    wait_ms = max(1, round(wait_s * 1000))
    polling: bool | None = None  # None leaves it to WATCHFILES_FORCE_POLLING

    async def pause() -> None:
        await clock.sleep(wait_s)

    while True:
        places = await in_thread("look for the models", lambda: _identities(reloader.watched_paths()))
        there = [path for path, identity in places.items() if identity is not None]
        watching = awatch(
            *there,
            watch_filter=_filter(there, settings),
            debounce=wait_ms,
            step=min(_GATHER_MS, wait_ms),
            rust_timeout=wait_ms,
            yield_on_timeout=True,
            force_polling=polling,
            poll_delay_ms=wait_ms,
            ignore_permission_denied=True,
        )
        looked = False
        try:
            async with aclosing(watching) as batches:
                async for changes in batches:
                    now = await in_thread("look for the models", lambda: _identities(reloader.watched_paths()))
                    moved = changes or now != places
                    # What is missing may come up where nothing is watched: a folder that config.json names.
                    if moved or not looked or reloader.found.failures:
                        looked = True
                        await reloader.look_until_still(pause)
                    if moved:
                        break
        except FileNotFoundError:
            await pause()  # gone this very moment
        except (OSError, RuntimeError) as error:  # such as: no more inotify watches for this user
            if polling is None:
                _log.warning(
                    "changes of files are looked for every %g s, since they cannot be told of: %s", wait_s, error
                )
            polling = True
            await pause()
        except Exception:  # a fault of ours is no reason to look never again
            _log.exception("looking for changes failed")
            await pause()


def _identities(paths: Sequence[Path]) -> dict[Path, tuple[int, int] | None]:
    """Which file or folder there is at each path, links followed; None where there is none."""
    found: dict[Path, tuple[int, int] | None] = {}
    for path in paths:
        try:
            status = path.stat()
            found[path] = (status.st_dev, status.st_ino)
        except OSError:
            found[path] = None
    return found


def _filter(watched: Sequence[Path], settings: Settings) -> Callable[[Change, str], bool]:
    """What needs a look: anything but hidden files, what Python leaves behind, and what the server writes by itself."""
    written = (settings.image_store, settings.cache_dir, settings.log_path)
    own = [path.absolute() for path in written if path is not None]

    def counts(change: Change, changed: str) -> bool:
        path = Path(changed)
        if any(path.is_relative_to(folder) for folder in own):
            return False
        for folder in watched:
            if path.is_relative_to(folder):
                return not any(_hidden(part) for part in path.relative_to(folder).parts)
        return True

    return counts


def _hidden(name: str) -> bool:
    # Kubernetes swaps the content of a ConfigMap by a link called ..data: that one is not to be missed.
    return name == "__pycache__" or (name.startswith(".") and not name.startswith(".."))
