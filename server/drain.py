"""The way out: readiness goes first, then the doors close, and whoever was let in gets an answer.

The order of a shutdown (``server.serve``)::

    a signal        /v2/health/ready says 503, answers carry "Connection: close"
    drain_delay_s   load balancers notice; requests are taken as ever
    doors close     nobody new is let in; what came in is answered
    shutdown_grace_s later what is left is cancelled, and told so with 503
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

LINGER_S: Final = 1.0
"""How long a connection without a request stays open when nobody new may come in: one may be on its way to us."""


class Drain:
    """Counts the requests that are being answered, and knows whether the server is on its way out.

    Attributes:
        begun: whether it is.
        closed: whether nobody new may come in; set before the doors are called.
        doors: called, all at the same time, when nobody new may come in; each waits until its own requests are answered.
    """

    def __init__(self) -> None:
        self.begun = False
        self.closed = False
        self.doors: list[Callable[[], Awaitable[None]]] = []
        self._inside = 0
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def inside(self) -> int:
        """How many requests are being answered."""
        return self._inside

    def enter(self) -> None:
        """A request is being answered; ``leave`` has to follow."""
        self._inside += 1
        self._empty.clear()

    def leave(self) -> None:
        """It has been answered, or its client has left."""
        self._inside -= 1
        if not self._inside:
            self._empty.set()

    async def wait_empty(self, at_most_s: float) -> bool:
        """Return when no request is being answered any more, or after so many seconds; whether all were answered."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._empty.wait()
        return not self._inside
