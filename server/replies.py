"""The packets that come out of a graph -> an HTTP response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from aiohttp import web

from server.backend import Event

_LARGE_CHARACTERS: Final = (
    1024 * 1024
)  # from this size on encoding would hold up the event loop for a millisecond and more


class GraphAnswerError(Exception):
    """A graph answered with something that cannot be sent: a fault of the graph or of one of its calculators."""


async def json_reply(events: AsyncGenerator[Event, None], stream: str) -> web.Response:
    """The one packet on ``stream`` as a JSON response; the run has ended when it returns.

    Raises:
        GraphAnswerError: there was no packet, more than one, or one that is not a ``str``.
    """
    answers = []
    async with aclosing(events):
        async for event in events:
            if event.stream == stream:
                answers.append(event.value)
    if len(answers) != 1:
        raise GraphAnswerError(f'output stream "{stream}" gave {len(answers)} packets; a JSON answer is exactly one')
    answer = answers[0]
    if not isinstance(answer, str):
        raise GraphAnswerError(
            f'output stream "{stream}" gave a {type(answer).__name__}; HTTP answers are str packets with JSON text'
        )
    body = answer.encode() if len(answer) < _LARGE_CHARACTERS else await asyncio.to_thread(answer.encode)
    return web.Response(body=body, content_type="application/json")
