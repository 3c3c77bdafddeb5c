"""What is answered, and logged, where a request is so broken that no handler ever sees it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from calculators.http_payload import RequestError
from server.errors import BODY_ERRORS, openai_response

SERVER_NAME = "graph-runtime"  # not the versions of Python and aiohttp
HEAD_S: Final = 60.0
"""How long the head of a request may take to arrive."""
_LONGEST_REASON = 200

_log = logging.getLogger("graph_runtime.server")


class Connections:
    """The open connections of a server."""

    def __init__(self) -> None:
        self._open: set[Protocol] = set()
        self._none_left = asyncio.Event()
        self._none_left.set()

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Protocol) -> None:
        """Count one in."""
        self._open.add(connection)
        self._none_left.clear()

    def lost(self, connection: Protocol) -> None:
        """Count one out."""
        self._open.discard(connection)
        if not self._open:
            self._none_left.set()

    async def wait_none_left(self, at_most_s: float) -> None:
        """Return when all are closed, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._none_left.wait()


class Protocol(web.RequestHandler):
    """aiohttp's connection, but for its errors, and for clients that send slowly.

    Errors are in our form, and one line in the log where the client is at fault. Bodies come as they were sent, compressed or
    not. A connection whose next request has begun has ``HEAD_S`` seconds to send the rest of its head; one that never sent
    anything has as long.
    """

    __slots__ = ("_head_timer", "_open")

    def __init__(self, *args: Any, connections: Connections, **kw: Any) -> None:
        super().__init__(*args, auto_decompress=False, **kw)  # see server.compression
        self._open = connections
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._open.opened(self)
        self._await_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._open.lost(self)
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that is not complete has to be so in time."""
        super().data_received(data)
        if self._busy:
            self._have_head()
        elif self._head_timer is None:
            self._await_head()

    def close(self) -> None:
        """Take no further request, when the server leaves; a request that is here goes on, and its answer ends the connection.

        aiohttp would throw away whatever comes from now on: also the rest of a body that is on its way, and requests of clients who
        cannot know, since it leaves connections without a request open until all others have been answered.
        """
        if self._busy:
            self.keep_alive(False)
        else:
            self.force_close()

    @property
    def _busy(self) -> bool:
        """Whether there is a request that is not answered wholly."""
        return self._request_in_progress or bool(self._messages)

    def _await_head(self) -> None:
        self._head_timer = asyncio.get_running_loop().call_later(HEAD_S, self._too_slow)

    def _have_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self._busy:
            _log.info("a client took more than %g s to send the head of a request", HEAD_S)
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, or a fault of aiohttp's own."""
        if isinstance(exc, HttpProcessingError) or status < 500:
            # What is too long is repeated by aiohttp, on the same line: a header, or a query with a prompt.
            reason = f"a line has more than {exc.args[1]} bytes" if isinstance(exc, LineTooLong) else _reason(message)
            _log.info("what %s sent is not HTTP: %s", request.remote, reason)
            if request.writer.output_size > 0:
                raise ConnectionError("an answer is on its way already")
            error = RequestError(f"This is not a valid HTTP request: {reason}", code="invalid_http")
            error.status = status
        else:
            super().handle_error(request, status, exc, message)  # the log, and the check for an answer on its way
            error = RequestError(
                "The server failed while it worked on this request.", status=status, type="server_error"
            )
        response = openai_response(error)
        response.headers["Server"] = SERVER_NAME
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that is damaged or breaks off is the client's fault: aiohttp meets it again when it clears the connection."""
        error = kw.get("exc_info")
        if isinstance(error, BODY_ERRORS):
            _log.info("the body of a request could not be read: %s", _reason(str(error)))
        else:
            super().log_exception(*args, **kw)


def _reason(message: str | None) -> str:
    """The first line of a text that repeats what the client sent, so that it cannot forge lines of the log."""
    lines = (message or "").strip().splitlines()
    text = ascii(lines[0])[1:-1] if lines else "it cannot be read"
    return text.rstrip(":") if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."
