"""What is served: name -> specification, state and handle; loading in the background."""

from __future__ import annotations

import asyncio
import difflib
import enum
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from calculators.http_payload import RequestError
from graph_runtime import GraphError, StatusCode
from server.backend import Backend, Handle, Occupancy
from server.discovery import ServableSpec

LOADS_AT_ONCE = 2  # one slow model does not hold up all others, and memory does not peak for all of them together
_RETRY_LOADING_S = 5
_NAMES_SHOWN = 20
# A plug-in that cannot be imported says so with its whole traceback; what remains is the exception at its end.
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*")

_log = logging.getLogger("graph_runtime.server")


class State(enum.StrEnum):
    """Where a servable is in its life; the words are those of OVMS, but for FAILED, which it does not have."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    FAILED = "FAILED"


@dataclass(slots=True, eq=False)
class Version:
    """A loaded graph, and how many requests use it."""

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
    """A graph that is served, or that should be.

    ``version`` is there in the state AVAILABLE alone, ``reason`` in the state FAILED alone; ``settled`` is set in both.
    """

    spec: ServableSpec
    state: State
    settled: asyncio.Event
    version: Version | None = None
    reason: str | None = None

    @property
    def handle(self) -> Handle | None:
        """What it is served with at present."""
        return None if self.version is None else self.version.handle

    @property
    def name(self) -> str:
        """The model name of requests."""
        return self.spec.name


class Servables:
    """All servables of a server, sorted by name."""

    def __init__(self, backend: Backend, specs: Sequence[ServableSpec], load_wait_s: float) -> None:
        self._backend = backend
        self._load_wait_s = load_wait_s
        self._by_name = {spec.name: Servable(spec, State.LOADING, asyncio.Event()) for spec in specs}
        self._by_alias: dict[str, Servable] = {}
        self.settled = asyncio.Event()
        """Set when no servable is loading."""

    def __iter__(self) -> Iterator[Servable]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def ready(self) -> bool:
        """Whether every servable can be used."""
        return all(servable.state is State.AVAILABLE and self.trouble(servable) is None for servable in self)

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
        servable = self._by_name.get(name) or self._by_alias.get(name)
        if servable is None and any(each.state is State.LOADING for each in self):
            raise RequestError(
                f"The model {_quoted(name)} does not exist, unless it is an adapter of a model that is still loading; "
                "try again in some seconds.",
                status=503,
                type="server_error",
                param="model",
                code="model_loading",
                headers=(("Retry-After", str(_RETRY_LOADING_S)),),
            )
        if servable is None:
            raise RequestError(
                f"The model {_quoted(name)} does not exist{self._suggestion(name)}",
                status=404,
                param="model",
                code="model_not_found",
            )
        return servable

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
        if servable.version is None and servable.state is State.LOADING:
            try:
                await asyncio.wait_for(servable.settled.wait(), self._load_wait_s)
            except TimeoutError:
                raise RequestError(
                    f"The model {_quoted(name)} is still loading; try again in some seconds.",
                    status=503,
                    type="server_error",
                    param="model",
                    code="model_loading",
                    headers=(("Retry-After", str(_RETRY_LOADING_S)),),
                ) from None
        if servable.version is None:
            raise RequestError(
                f"The model {_quoted(name)} could not be loaded: {servable.reason}",
                status=503,
                type="server_error",
                param="model",
                code="model_load_failed",
                headers=(("x-should-retry", "false"),),
            )
        return servable.version

    async def load_all(self) -> None:
        """Load every servable; one that fails is marked, with its reason, and stops no other."""
        turns = asyncio.Semaphore(LOADS_AT_ONCE)

        async def load(servable: Servable) -> None:
            async with turns:
                await self._load(servable)

        async with asyncio.TaskGroup() as group:
            for servable in self:
                group.create_task(load(servable))
        self.settled.set()

    async def _load(self, servable: Servable) -> None:
        started = time.monotonic()
        try:
            handle = await self._backend.load(servable.spec)
            try:
                self._take_aliases(servable, handle)
            except GraphError:
                await self._backend.unload(handle)
                raise
            servable.version = Version(handle)
        except Exception as error:
            servable.reason = public_reason(error, servable.spec)
            servable.state = State.FAILED
            if isinstance(error, GraphError):  # the operator's to mend; it says where
                _log.error("model %s cannot be served: %s", servable.name, _problems(error))
            else:
                _log.error("model %s cannot be served", servable.name, exc_info=error)
        else:
            servable.state = State.AVAILABLE
            _log.info("model %s is available after %.1f s", servable.name, time.monotonic() - started)
        servable.settled.set()

    def _take_aliases(self, servable: Servable, handle: Handle) -> None:
        """Make a servable known under its aliases.

        Raises:
            GraphError: another servable has one of them.
        """
        for alias in handle.aliases:
            owner = self._by_name.get(alias) or self._by_alias.get(alias)
            if owner is not None:
                whose = "its own name" if owner is servable else f"a name of the model {_quoted(owner.name)}"
                raise GraphError(
                    f"{servable.name}: the adapter alias {_quoted(alias)} is {whose} too; requests choose by these names, so "
                    "that each can be there once",
                    code=StatusCode.ALREADY_EXISTS,
                )
        self._by_alias.update(dict.fromkeys(handle.aliases, servable))

    def _suggestion(self, name: str) -> str:
        names = [*self._by_name, *self._by_alias]
        if not names:
            return "; this server has no models."
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        hint = f"; did you mean {_quoted(near[0])}?" if near else "."
        return f"{hint} This server has: {shown}{more}"


def public_reason(error: Exception, spec: ServableSpec) -> str:
    """Why a model failed to load, as clients are told: every problem, without folders above the model or code."""
    if not isinstance(error, GraphError):
        return f"an unexpected {type(error).__name__}; the server's log says more"
    base = str(spec.base_dir)
    text = _problems(error).replace(f"{base}/", f"{spec.name}/").replace(base, spec.name)
    return _TRACEBACK.sub("", text)


def _problems(error: GraphError) -> str:
    return "\n".join(map(str, error.problems)) if error.problems else str(error)


def _quoted(name: str) -> str:
    """A model name from outside as it may stand in a message: quoted, escaped, and not endless."""
    return repr(name if len(name) <= 100 else name[:100] + "...")
