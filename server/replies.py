"""The packets that come out of a graph -> an HTTP response: one JSON text, or a stream of events.

Whether it is a stream is the request's choice (``payload.wants_stream``). A stream begins with its first event, so that a request
which is refused before gets an ordinary error; or after some seconds of silence, so that no proxy takes a long wait for a dead
connection: comment lines keep it alive from then on. Source of the format: WHATWG HTML, server-sent events; OpenAI's events have
their ``type`` as name. An error in the middle is an event with the error object, and the end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from typing import Any, Final

from aiohttp import web

from calculators.http_payload import RequestError
from server.backend import Event
from server.clock import Clock
from server.errors import NO_RETRY, describe, needs_log
from server.keys import REQUEST_ID
from server.logs import about, note_code

KEEP_ALIVE_S: Final = 10.0
IGNORED_HEADER: Final = "x-ignored-parameters"
"""Lists what was accepted although it changes nothing: the ``ignored_parameters`` of a JSON answer."""

_IGNORED: Final = '"ignored_parameters"'
_TYPE: Final = re.compile(r'\{\s*"type"\s*:\s*"([\w.]{1,100})"')
_LINE_END: Final = re.compile(r"\r\n|\n|\r")  # no other: JSON may hold U+2028 and the like as they are
_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,100}")
_MOST_IGNORED: Final = 40
_LARGE_CHARACTERS: Final = (
    1024 * 1024
)  # from this size on encoding would hold up the event loop for a millisecond and more
_HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would wait for the end
}

_log = logging.getLogger("graph_runtime.server")


class GraphAnswerError(Exception):
    """A graph answered with something that cannot be sent: a fault of the graph or of one of its calculators."""


async def json_reply(events: AsyncGenerator[Event, None], stream: str) -> web.Response:
    """The one packet on ``stream`` as a JSON response; the run has ended when it returns.

    Raises:
        GraphAnswerError: there was no packet, or one that is not a ``str``.
        RequestError: 500 ``several_answers``; there was more than one.
    """
    answers = []
    async with aclosing(events):
        async for event in events:
            if event.stream == stream:
                answers.append(event.value)
    if not answers:
        raise GraphAnswerError(f'output stream "{stream}" gave no packet')
    if len(answers) > 1:
        raise RequestError(
            f'The graph gave {len(answers)} packets on its output "{stream}", and an answer without "stream": true is one; '
            "ask for a stream.",
            status=500,
            type="server_error",
            param="stream",
            code="several_answers",
            headers=(NO_RETRY,),
        )
    answer = _text(answers[0], stream)
    return web.Response(
        body=await _encoded(answer), content_type="application/json", headers=await _ignored_header(answer)
    )


async def event_reply(
    request: web.Request, events: AsyncGenerator[Event, None], stream: str, clock: Clock
) -> web.StreamResponse:
    """The packets on ``stream`` as server-sent events, as they come; the run has ended when it returns.

    Raises:
        Exception: whatever the run raises before anything has been sent; later errors are sent.
    """
    response: web.StreamResponse | None = None
    try:
        async with aclosing(_with_pauses(events, lambda: clock.sleep(KEEP_ALIVE_S))) as coming:
            async for event in coming:
                if event is not None and event.stream != stream:
                    continue
                text = None if event is None else _text(event.value, stream)
                if response is None:
                    response = web.StreamResponse(headers=_HEADERS | (await _ignored_header(text) if text else {}))
                    await response.prepare(request)
                await response.write(b": waiting\n\n" if text is None else await _encoded(_as_event(text)))
        if response is None:
            raise GraphAnswerError(f'output stream "{stream}" gave no packet')
    except ConnectionError:
        raise  # the client has gone
    except Exception as error:
        if response is None:
            raise
        request_id = request[REQUEST_ID]
        if needs_log(error):
            _log.error(
                "request %s failed in the middle of its stream", request_id, exc_info=error, extra=about(request)
            )
        told = describe(error, request_id)
        note_code(request, told)
        body = json.dumps(told.body(), ensure_ascii=False)
        await response.write(f"data: {body}\n\n".encode(errors="replace"))
    await response.write_eof()
    return response


async def _with_pauses(
    events: AsyncGenerator[Event, None], pause: Callable[[], Awaitable[None]]
) -> AsyncGenerator[Event | None, None]:
    """The events, and None whenever there was none for the time of a pause."""
    coming: asyncio.Task[Event | None] | None = None
    pausing: asyncio.Task[None] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events, None))
            pausing = asyncio.ensure_future(pause())
            await asyncio.wait((coming, pausing), return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                yield None
                continue
            pausing.cancel()
            event, coming = coming.result(), None
            if event is None:
                return
            yield event
    finally:
        for task in (pausing, coming):
            if task is not None:
                task.cancel()
        if coming is not None:
            with suppress(asyncio.CancelledError, Exception):
                await coming  # the generator can only be closed when nobody is inside
        await events.aclose()


def _text(answer: Any, stream: str) -> str:
    if isinstance(answer, str):
        return answer
    raise GraphAnswerError(
        f'output stream "{stream}" gave a {type(answer).__name__}; HTTP answers are str packets with JSON text'
    )


def _as_event(text: str) -> str:
    named = _TYPE.match(text)
    name = f"event: {named[1]}\n" if named is not None else ""
    lines = _LINE_END.split(text) if "\n" in text or "\r" in text else [text]
    return name + "".join(f"data: {line}\n" for line in lines) + "\n"


async def _encoded(text: str) -> bytes:
    return text.encode() if len(text) < _LARGE_CHARACTERS else await asyncio.to_thread(text.encode)


async def _ignored_header(answer: str) -> dict[str, str]:
    if _IGNORED not in answer:
        return {}
    try:
        content = json.loads(answer) if len(answer) < _LARGE_CHARACTERS else await asyncio.to_thread(json.loads, answer)
    except ValueError:
        return {}
    names = content.get("ignored_parameters") if isinstance(content, dict) else None
    return ignored_header(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else {}


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """The header that lists what was accepted although it changes nothing; without names that no header can carry."""
    shown = ", ".join(name for name in itertools.islice(names, _MOST_IGNORED) if _NAME.fullmatch(name))
    return {IGNORED_HEADER: shown} if shown else {}
