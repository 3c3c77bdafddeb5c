"""A request between its arrival and its run: its body comes, its model loads. Its time may run out here, or somebody cancels it.

The run itself is ended by the backend, which is told how much of the time is gone.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from calculators.http_payload import RequestError
from server.backend import DeadlineError, Handle, RunCancelledError
from server.clock import Clock

TIMEOUT_HEADER: Final = "x-request-timeout-s"
"""In how many seconds a request has to be answered; a client can ask for less time than the server allows, not for more."""


def asked_timeout_s(headers: Mapping[str, str]) -> float:
    """What a request says in ``x-request-timeout-s``; 0 if it says nothing.

    Raises:
        RequestError: 400; it is no number of seconds above 0.
    """
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise RequestError(
            f"The header {TIMEOUT_HEADER} is {text[:40]!r}; it has to be a number of seconds above 0, such as 30 or 2.5.",
            param=TIMEOUT_HEADER,
            code="invalid_value",
        )
    return seconds


class Arrival:
    """One request on its way to its run.

    Args:
        clock: tells the time.
        allowed_s: what the server allows a request whose model is not known yet; 0 sets no limit.
        asked_s: what the client asked for; 0 for nothing.
    """

    def __init__(self, clock: Clock, allowed_s: float, asked_s: float) -> None:
        self._clock = clock
        self._came_s = clock.monotonic()
        self._asked_s = asked_s
        self._first_limit_s = _least(allowed_s, asked_s)
        self._task: asyncio.Task[object] | None = None
        self._why: RunCancelledError | None = None

    @property
    def age_s(self) -> float:
        """How long ago the request came."""
        return self._clock.monotonic() - self._came_s

    def timeout_s(self, handle: Handle) -> float:
        """How long the request may take, now that its model is known; 0 for as long as it likes."""
        return _least(handle.limits.timeout_s, self._asked_s)

    def end(self, why: RunCancelledError) -> None:
        """End a request that is still on its way; nothing happens to another."""
        if self._task is not None and self._why is None:
            self._why = why
            self._task.cancel()

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """While the body runs, the request can be ended.

        Raises:
            DeadlineError: its time was over.
            RunCancelledError: it was ended for another reason.
        """
        self._task = task = asyncio.current_task()
        assert task is not None, "requests are served in tasks"
        cancellations = task.cancelling()
        timer = asyncio.ensure_future(self._end_in_time()) if self._first_limit_s else None
        try:
            yield
        except asyncio.CancelledError:
            # As asyncio.timeout does it: a cancellation that we asked for becomes our exception, one from outside goes on.
            if self._why is not None and task.uncancel() <= cancellations:
                raise self._why from None
            raise
        finally:
            self._task = None
            if timer is not None:
                timer.cancel()

    async def _end_in_time(self) -> None:
        await self._clock.sleep(self._first_limit_s)
        self.end(too_late(self._first_limit_s))


def too_late(limit_s: float) -> DeadlineError:
    """The error of a request that took longer than it may."""
    return DeadlineError(
        f"it took longer than {limit_s:g} seconds, the most that the server or the request itself allows"
    )


def _least(*limits_s: float) -> float:
    """The lowest of some limits, of which 0 sets none."""
    return min((each for each in limits_s if each), default=0.0)
