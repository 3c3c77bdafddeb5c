"""What is served: name -> state and loaded version; versions come, are swapped and go while requests run."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import AsyncIterator, Container, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from graph_runtime import GraphError, StatusCode
from server.backend import Backend, Handle, Occupancy
from server.discovery import ServableSpec
from server.repository import Scan
from server.servable_errors import failed, gone, loading, perhaps_loading, problems, public_reason, quoted, unknown

LOADS_AT_ONCE = 2  # one slow model does not hold up all others, and memory does not peak for all of them together

_log = logging.getLogger("graph_runtime.server")


class State(enum.StrEnum):
    """Where a servable is in its life; the words are those of OVMS, but for FAILED, which it does not have."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    FAILED = "FAILED"
    END = "END"


@dataclass(slots=True, eq=False)
class Version:
    """A loaded graph, and how many requests use it."""

    spec: ServableSpec
    handle: Handle
    leases: int = 0
    unused: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there are no leases."""

    def __post_init__(self) -> None:
        self.unused.set()

    def take(self) -> None:
        """Begin a lease."""
        self.leases += 1
        self.unused.clear()

    def give_back(self) -> None:
        """End a lease."""
        self.leases -= 1
        if not self.leases:
            self.unused.set()


@dataclass(slots=True, eq=False)
class Servable:
    """A name under which something is served, or should be, or was.

    Attributes:
        name: the model name of requests.
        state: AVAILABLE while there is a ``version``, also while a newer one loads.
        settled: set in all states but LOADING.
        version: what it is served with.
        wanted: what it should be served with; None where the repository has nothing to load under this name.
        reason: why it cannot be served; in the state FAILED alone.
        reload_problem: why ``version`` is not the newest; in the state AVAILABLE alone.
        expected: whether the server is not ready without it: it was there at the start, or could be used before.
        taken_names: the names for want of which it could not be loaded; others have them.
    """

    name: str
    state: State = State.LOADING
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    version: Version | None = None
    wanted: ServableSpec | None = None
    reason: str | None = None
    reload_problem: str | None = None
    expected: bool = False
    taken_names: frozenset[str] = frozenset()

    @property
    def handle(self) -> Handle | None:
        """What runs it at present."""
        return None if self.version is None else self.version.handle

    @property
    def created(self) -> int:
        """When its graph was last changed, in whole seconds since 1970; 0 where there is none."""
        spec = self.wanted if self.version is None else self.version.spec
        return 0 if spec is None else spec.created

    @property
    def problem(self) -> str | None:
        """Why the newest version could not be loaded; None if it could, or still loads."""
        return self.reason or self.reload_problem


class Servables:
    """All servables of a server, sorted by name.

    A new version of a servable is loaded beside the old one, which goes on serving; they are swapped in one step of the
    event loop, names of adapters included, and the old one is unloaded when the last request that uses it has ended. One
    that cannot be loaded changes nothing but ``reload_problem``.

    Everything is called on the event loop.
    """

    def __init__(self, backend: Backend, load_wait_s: float) -> None:
        self._backend = backend
        self._load_wait_s = load_wait_s
        self._by_name: dict[str, Servable] = {}
        self._by_alias: dict[str, Servable] = {}
        self._ended: dict[str, Servable] = {}
        self._turns = asyncio.Semaphore(LOADS_AT_ONCE)
        self._loading: dict[Servable, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._scanned = False
        self.settled = asyncio.Event()
        """Set when no servable is loading, nor a new version of one."""

    def __iter__(self) -> Iterator[Servable]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def ready(self) -> bool:
        """Whether every servable can be used that is expected to."""
        return all(self.usable(servable) for servable in self if servable.expected)

    @property
    def ended(self) -> Mapping[str, Servable]:
        """What was served and is not any more, by name."""
        return self._ended

    def usable(self, servable: Servable) -> bool:
        """Whether requests can be answered at present."""
        return servable.state is State.AVAILABLE and self.trouble(servable) is None

    def trouble(self, servable: Servable) -> str | None:
        """Why a servable cannot be used: the reason of one that failed, or what has befallen a loaded one; None otherwise."""
        if servable.handle is None:
            return servable.reason
        return self._backend.trouble(servable.handle)

    def occupancy(self, servable: Servable) -> Occupancy:
        """How busy a servable is."""
        return Occupancy(0, 0) if servable.handle is None else self._backend.occupancy(servable.handle)

    @property
    def aliases(self) -> Mapping[str, Servable]:
        """Further names of loaded servables -> the servable."""
        return self._by_alias

    def find(self, name: str) -> Servable:
        """The servable of a name or of an alias.

        Raises:
            RequestError: 404 ``model_not_found``; the text lists what there is. 503 as long as a model loads whose adapter it
                may be.
        """
        # An alias first: a new servable of the same name is refused, and must not get the requests meanwhile.
        servable = self._by_alias.get(name) or self._by_name.get(name)
        if servable is not None:
            return servable
        if name in self._ended:
            raise gone(name)
        if any(each.state is State.LOADING for each in self):
            raise perhaps_loading(name)
        raise unknown(name, [*self._by_name, *self._by_alias])

    def addressed(self, path: str) -> str | None:
        """The name that a path is, or begins with before a slash, of all that are or were served: the longest, aliases too."""
        names = (name for known in (self._by_name, self._by_alias, self._ended) for name in known)
        return max((name for name in names if f"{path}/".startswith(f"{name}/")), key=len, default=None)

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Handle]:
        """The handle to run a servable with, which stays loaded while the context lasts; waits a while for one that is loading.

        Raises:
            RequestError: 404 when nobody knows the name; 503 when the model failed to load (with the reason), or loads still.
        """
        version = await self._loaded(self.find(name), name)
        version.take()
        try:
            yield version.handle
        finally:
            version.give_back()

    async def _loaded(self, servable: Servable, name: str) -> Version:
        try:
            async with asyncio.timeout(self._load_wait_s):
                while servable.state is State.LOADING:
                    await servable.settled.wait()
        except TimeoutError:
            raise loading(name) from None
        if servable.state is State.END:  # while we waited
            raise gone(name)
        if servable.version is None:
            raise failed(name, servable.reason)
        return servable.version

    async def update(self, scan: Scan, *, retry: bool = False) -> bool:
        """Serve what a scan found, and wait until nothing loads any more; see :meth:`apply`."""
        changed = self.apply(scan, retry=retry)
        await self.settled.wait()
        return changed

    def apply(self, scan: Scan, *, retry: bool = False, leave: Container[str] = ()) -> bool:
        """Begin to serve what a scan found: load what is new or has changed, end what is gone.

        A servable that is loading already looks at its newest specification when that load has ended.

        Args:
            scan: the newest look at the repository.
            retry: whether to try again what could not be loaded and has not changed.
            leave: names that are to stay as they are, whatever the scan says of them.

        Returns:
            Whether there is anything to do, what is loading already included.
        """
        busy = bool(self._loading)
        found = {spec.name: spec for spec in scan.specs}
        changes = [
            self._end(name)
            for name in list(self._by_name)
            if name not in found and name not in scan.failures and name not in leave
        ]
        changes += [self._refuse(name, reason) for name, reason in scan.failures.items() if name not in leave]
        changes += [self._want(spec, retry) for spec in found.values() if spec.name not in leave]
        self._by_name = dict(sorted(self._by_name.items()))
        if not self._scanned:
            self._scanned = True
            for servable in self:
                servable.expected = True
        self._notice_settled()
        return busy or any(changes)

    async def close(self) -> None:
        """Give up what loads; what is loaded is left to the backend."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _want(self, spec: ServableSpec, retry: bool) -> bool:
        servable = self._named(spec.name)
        if servable.wanted == spec and not (retry and servable.problem is not None):
            return False
        servable.wanted = spec
        self._start_loading(servable)
        return True

    def _refuse(self, name: str, reason: str) -> bool:
        """Note why there is nothing to load under a name; a version that serves goes on."""
        servable = self._named(name)
        if servable.wanted is None and servable.problem == reason:
            return False
        self._stop_loading(servable)
        servable.wanted = None
        servable.taken_names = frozenset()
        self._fail(servable, reason)
        _log.error("model %s cannot be served%s: %s", name, _goes_on(servable), reason)
        return True

    def _end(self, name: str) -> bool:
        servable = self._by_name.pop(name)
        self._stop_loading(servable)
        self._retire(servable)
        servable.state = State.END
        servable.reason = servable.reload_problem = None
        servable.settled.set()
        self._ended[name] = servable
        self._try_for_freed_names()
        _log.info("model %s is not served any more", name)
        return True

    def _named(self, name: str) -> Servable:
        servable = self._by_name.get(name)
        if servable is None:
            servable = self._by_name[name] = Servable(name)
            self._ended.pop(name, None)
        return servable

    def _start_loading(self, servable: Servable) -> None:
        if servable.version is None:
            servable.state = State.LOADING
            servable.reason = None
            servable.settled.clear()
        if servable not in self._loading:
            self.settled.clear()
            self._loading[servable] = self._spawn(self._catch_up(servable), f"load {servable.name}")

    def _stop_loading(self, servable: Servable) -> None:
        task = self._loading.pop(servable, None)
        if task is not None:
            task.cancel()

    def _notice_settled(self) -> None:
        if not self._loading:
            self.settled.set()

    async def _catch_up(self, servable: Servable) -> None:
        """Load until what is wanted is served, or has failed."""
        while True:
            async with self._turns:
                spec = servable.wanted
                assert spec is not None, "who takes it away stops this task"
                problem = None
                if servable.version is None or servable.version.spec != spec:
                    problem = await self._load(servable, spec)
            if servable.wanted == spec:
                break
        if problem is None:
            servable.reload_problem = None
        else:
            self._fail(servable, problem)
        del self._loading[servable]
        self._try_for_freed_names()
        self._notice_settled()

    async def _load(self, servable: Servable, spec: ServableSpec) -> str | None:
        """Load a version and swap it in; returns why that was not possible."""
        started = time.monotonic()
        servable.taken_names = frozenset()
        try:
            self._check_name(servable)
            handle = await self._backend.load(spec)
            try:
                self._check_aliases(servable, handle)
            except GraphError:
                # Shielded: whoever takes the servable away meanwhile must not leave it half unloaded.
                await asyncio.shield(self._spawn(self._unload(Version(spec, handle)), f"unload {spec.name}"))
                raise
        except Exception as error:
            if isinstance(error, GraphError):  # the operator's to mend; it says where
                _log.error("model %s cannot be served%s: %s", servable.name, _goes_on(servable), problems(error))
            else:
                _log.error("model %s cannot be served%s", servable.name, _goes_on(servable), exc_info=error)
            return public_reason(error, spec)
        self._retire(servable)
        self._by_alias.update(dict.fromkeys(handle.aliases, servable))
        servable.version = Version(spec, handle)
        servable.state = State.AVAILABLE
        servable.reason = servable.reload_problem = None
        servable.expected = True
        servable.settled.set()
        _log.info("model %s is available after %.1f s", servable.name, time.monotonic() - started)
        return None

    def _fail(self, servable: Servable, reason: str) -> None:
        if servable.version is None:
            servable.state, servable.reason = State.FAILED, reason
            servable.settled.set()
        else:
            servable.reload_problem = reason

    def _check_name(self, servable: Servable) -> None:
        owner = self._by_alias.get(servable.name)
        if owner is not None:
            servable.taken_names = frozenset({servable.name})
            raise GraphError(
                f"{servable.name}: its name is an adapter alias of the model {quoted(owner.name)} too; requests choose by "
                "these names, so that each can be there once",
                code=StatusCode.ALREADY_EXISTS,
            )

    def _check_aliases(self, servable: Servable, handle: Handle) -> None:
        for alias in handle.aliases:
            owner = self._by_alias.get(alias) or self._by_name.get(alias)
            if alias == servable.name:
                whose = "its own name"
            elif owner is not None and owner is not servable:
                whose = f"a name of the model {quoted(owner.name)}"
                servable.taken_names |= {alias}
            else:
                continue
            raise GraphError(
                f"{servable.name}: the adapter alias {quoted(alias)} is {whose} too; requests choose by these names, so "
                "that each can be there once",
                code=StatusCode.ALREADY_EXISTS,
            )

    def _try_for_freed_names(self) -> None:
        """Load what failed because others had its names, and have them no more."""
        for servable in self:
            taken = self._by_alias.keys() | (self._by_name.keys() - {servable.name})
            if servable.taken_names and servable not in self._loading and not servable.taken_names & taken:
                servable.taken_names = frozenset()
                self._start_loading(servable)

    def _retire(self, servable: Servable) -> None:
        """Take a servable's version out of use; it is unloaded when its last lease has ended."""
        version, servable.version = servable.version, None
        if version is None:
            return
        for alias in version.handle.aliases:
            del self._by_alias[alias]
        self._spawn(self._unload(version), f"unload {servable.name}")

    async def _unload(self, version: Version) -> None:
        await version.unused.wait()
        try:
            await self._backend.unload(version.handle)
        except Exception:
            _log.exception("unloading an old version of %s failed", version.spec.name)

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _goes_on(servable: Servable) -> str:
    return "" if servable.version is None else " anew, its old version goes on"
