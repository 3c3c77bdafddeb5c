"""Who may wait: a bounded queue for each servable, in front of the backend.

A servable works on ``Limits.at_once`` requests, and ``Limits.queue_size`` more may wait, first come first served; whoever leaves
frees a place. What comes beyond that is refused with 429 and told when to come again, from how long requests took lately and how
many are there. The place of a request is decided here and not in the lanes of models, so that the bound holds however many
requests come in one instant.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final, Protocol

from calculators.http_payload import RequestError, refusal_in
from server.arrival import Arrival
from server.backend import (
    Backend,
    DeadlineError,
    Event,
    Feed,
    Handle,
    Origin,
    Refused,
    RunCancelledError,
    RunProgress,
    RunRequest,
    StoppedError,
)
from server.clock import Clock

DEFAULT_RETRY_S: Final = 5
"""When to come again, as long as nothing is known of how long requests take."""
_SAMPLES: Final = 32


class Outcome(enum.StrEnum):
    """How a request that was let in ended."""

    OK = "ok"
    REFUSED = "refused"
    """A calculator said that the client is at fault."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    """By its client, who left, by its id, or by the end of the server."""
    TOO_LATE = "too_late"


class Observer(Protocol):
    """Is told what becomes of requests; called on the event loop, and must not raise."""

    def full(self, servable: str, origin: Origin) -> None:
        """A request was refused, since too many wait."""

    def started(self, servable: str, origin: Origin) -> None:
        """A request was let in: it runs, or waits."""

    def responded(self, servable: str, origin: Origin) -> None:
        """A packet came out of its run."""

    def ended(self, servable: str, origin: Origin, outcome: Outcome, seconds: float, waited_s: float) -> None:
        """It ended, so many seconds after it came, of which it waited some for its turn."""

    def ran(self, servable: str, origin: Origin, outcome: Outcome, responses: int, seconds: float) -> None:
        """A request was let in, gave so many packets and ended, all at once."""


class Admission:
    """Runs graphs by way of a backend, as long as there is room.

    Args:
        backend: who runs.
        clock: for the time that requests take.
        observer: is told.
    """

    def __init__(self, backend: Backend, clock: Clock, observer: Observer | None = None) -> None:
        self._backend = backend
        self._clock = clock
        self._observer: Observer = _Silent() if observer is None else observer
        self._lines: dict[int, _Line] = {}
        self._arrivals: dict[str, list[Arrival]] = {}

    @contextmanager
    def arriving(self, request_id: str, *, allowed_s: float, asked_s: float = 0.0) -> Iterator[Arrival]:
        """What a request does before it can run goes in here: reading its body, waiting for its model.

        Args:
            request_id: by which it can be cancelled.
            allowed_s: how long the server lets a request take whose model is not known yet; 0 sets no limit.
            asked_s: how long the client wants it to take at most; 0 for as long as the server lets it.

        Raises:
            RunCancelledError: ``cancel`` ended it.
            DeadlineError: its time was over.
        """
        arrival = Arrival(self._clock, allowed_s, asked_s)
        arrivals = self._arrivals.setdefault(request_id, [])
        arrivals.append(arrival)
        try:
            with arrival.on_its_way():
                yield arrival
        finally:
            arrivals.remove(arrival)
            if not arrivals:
                self._arrivals.pop(request_id, None)

    def cancel(self, request_id: str, reason: str) -> int:
        """End the requests with this id, before and in their runs; returns how many there were."""
        arriving = list(self._arrivals.get(request_id, ()))
        for arrival in arriving:
            arrival.end(RunCancelledError(reason))
        return len(arriving) + self._backend.cancel(request_id, reason)

    def progress(self, request_id: str) -> RunProgress | None:
        """How far the request with this id is, the first of several; None if there is none."""
        arriving = RunProgress("arriving") if self._arrivals.get(request_id) else None
        return self._backend.progress(request_id) or arriving

    async def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        """See :meth:`server.backend.Backend.run`.

        Raises:
            RequestError: 429 ``rate_limit_exceeded``; too many requests for this servable wait already.
        """
        with self._place(handle, request.origin):
            async with aclosing(self._backend.run(handle, request)) as events:
                async for event in events:
                    self._observer.responded(handle.name, request.origin)
                    yield event

    def run_now(self, handle: Handle, request: RunRequest) -> list[Event]:
        """See :meth:`server.backend.Backend.run_now`; what is over at once needs no place in a line."""
        observer, name, origin = self._observer, handle.name, request.origin
        began_s = self._clock.monotonic()
        try:
            events = self._backend.run_now(handle, request)
        except Exception as error:
            observer.ran(name, origin, _outcome(error), 0, self._clock.monotonic() - began_s)
            raise
        observer.ran(name, origin, Outcome.OK, len(events), self._clock.monotonic() - began_s)
        return events

    async def converse(
        self, handle: Handle, request: RunRequest, feeds: AsyncIterator[Feed | Refused]
    ) -> AsyncGenerator[Event | Refused, None]:
        """See :meth:`server.backend.Backend.converse`; one conversation is one request, as long as it goes on.

        Raises:
            RequestError: as ``run``.
        """
        with self._place(handle, request.origin, typical=False):
            async with aclosing(self._backend.converse(handle, request, feeds)) as events:
                async for event in events:
                    self._observer.responded(handle.name, request.origin)
                    yield event

    def stop(self, reason: str) -> None:
        """End every request, before and in its run; the backend refuses new runs from then on."""
        for arrivals in list(self._arrivals.values()):
            for arrival in list(arrivals):
                arrival.end(StoppedError(reason))
        self._backend.stop(reason)

    @contextmanager
    def _place(self, handle: Handle, origin: Origin, *, typical: bool = True) -> Iterator[None]:
        """A place in the line of a servable, while the body runs; how long that takes says something of others, if ``typical``."""
        line = self._lines.get(handle.key) or self._new_line(handle)
        if line.full:
            self._observer.full(handle.name, origin)
            raise _full(handle, line)
        came_s = self._clock.monotonic()
        place = line.enter(came_s)
        self._observer.started(handle.name, origin)
        outcome = Outcome.OK
        try:
            yield
        except BaseException as error:
            outcome = _outcome(error)
            raise
        finally:
            now_s = self._clock.monotonic()
            line.leave(place, now_s, measured=typical and outcome is Outcome.OK)
            waited_s = (now_s if place.began_s is None else place.began_s) - came_s
            self._observer.ended(handle.name, origin, outcome, now_s - came_s, waited_s)

    def _new_line(self, handle: Handle) -> _Line:
        # Lines of versions that have gone are dropped when there is a new one.
        self._lines = {key: line for key, line in self._lines.items() if line.handle.name != handle.name or line.length}
        made = self._lines[handle.key] = _Line(handle)
        return made


class _Place:
    """Of one request; ``began_s`` is when its turn came."""

    def __init__(self, began_s: float | None) -> None:
        self.began_s = began_s


class _Line:
    """The requests of one servable in the order in which they came: the first ones are worked on, the others wait."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self._working = 0
        self._waiting: dict[_Place, None] = {}
        self._seconds: deque[float] = deque(maxlen=_SAMPLES)

    @property
    def length(self) -> int:
        return self._working + len(self._waiting)

    @property
    def full(self) -> bool:
        limits = self.handle.limits
        return self.length >= limits.at_once + limits.queue_size

    @property
    def retry_s(self) -> int:
        """In how many seconds those who are here now will be done; whole ones, from 1."""
        if not self._seconds:
            return DEFAULT_RETRY_S
        each_s = sum(self._seconds) / len(self._seconds)
        return max(1, math.ceil(each_s * self.length / self.handle.limits.at_once))

    def enter(self, now_s: float) -> _Place:
        if self._working < self.handle.limits.at_once:
            self._working += 1
            return _Place(now_s)
        place = _Place(None)
        self._waiting[place] = None
        return place

    def leave(self, place: _Place, now_s: float, *, measured: bool) -> None:
        """Give a place up; the next one that waits takes the turn."""
        if place.began_s is None:
            del self._waiting[place]
            return
        if measured:
            self._seconds.append(now_s - place.began_s)
        following = next(iter(self._waiting), None)
        if following is None:
            self._working -= 1
        else:
            del self._waiting[following]
            following.began_s = now_s


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, DeadlineError):
        return Outcome.TOO_LATE
    if isinstance(error, RunCancelledError) or not isinstance(
        error, Exception
    ):  # a caller that left closes the generator
        return Outcome.CANCELLED
    refusal = refusal_in(error)
    return Outcome.REFUSED if refusal is not None and refusal.status < 500 else Outcome.FAILED


def _full(handle: Handle, line: _Line) -> RequestError:
    retry_s = line.retry_s
    limits = handle.limits
    return RequestError(
        f"The model {handle.name!r} is busy: it works on {limits.at_once} request(s), and {limits.queue_size} wait, the most "
        f"that may. Try again in {retry_s} second(s).",
        status=429,
        type="requests",  # OpenAI's words for too many of them
        code="rate_limit_exceeded",
        headers=(("Retry-After", str(retry_s)),),
    )


class _Silent:
    def full(self, servable: str, origin: Origin) -> None:
        pass

    def started(self, servable: str, origin: Origin) -> None:
        pass

    def responded(self, servable: str, origin: Origin) -> None:
        pass

    def ended(self, servable: str, origin: Origin, outcome: Outcome, seconds: float, waited_s: float) -> None:
        pass

    def ran(self, servable: str, origin: Origin, outcome: Outcome, responses: int, seconds: float) -> None:
        pass
