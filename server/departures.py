"""Noticing that a client has left, also in a host application that does not ask aiohttp for it.

aiohttp cancels the handler of a departed client only with ``handler_cancellation=True``, which our own server sets. An
application that mounts ours may not have set it: so the connections of requests that wait for a graph are looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

LOOK_EVERY_S = 0.5

Watched = dict["asyncio.Task[object]", web.Request]
WATCHED: web.AppKey[Watched] = web.AppKey("WATCHED", dict)


async def departures(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: the task that looks."""
    app[WATCHED] = {}
    task = asyncio.create_task(_watch(app[WATCHED]), name="departures")
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@contextmanager
def cancel_when_client_leaves(request: web.Request) -> Iterator[None]:
    """Cancel the current task if the request's connection is lost while the body runs."""
    watched = request.app[WATCHED]
    task = asyncio.current_task()
    assert task is not None, "handlers run in tasks"
    watched[task] = request
    try:
        yield
    finally:
        del watched[task]


async def _watch(watched: Watched) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        cancel_departed(watched)


def cancel_departed(watched: Watched) -> None:
    """Cancel the tasks of the requests whose connection is gone; once, since a second time would break in on their clean-up."""
    for task, request in list(watched.items()):
        gone = request.transport is None or request.transport.is_closing()
        if gone and not task.cancelling():
            task.cancel()
