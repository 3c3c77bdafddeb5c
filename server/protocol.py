"""What is answered, and logged, where a request is so broken that no handler ever sees it."""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from calculators.http_payload import RequestError
from server.errors import BODY_ERRORS, openai_response

SERVER_NAME = "graph-runtime"  # not the versions of Python and aiohttp
_LONGEST_REASON = 200

_log = logging.getLogger("graph_runtime.server")


class Protocol(web.RequestHandler):
    """aiohttp's connection, but for its errors: in our form, and one line in the log where the client is at fault."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP, or a fault of aiohttp's own."""
        if isinstance(exc, HttpProcessingError) or status < 500:
            _log.info("what %s sent is not HTTP: %s", request.remote, _reason(message))
            if request.writer.output_size > 0:
                raise ConnectionError("an answer is on its way already")
            error = RequestError(f"This is not a valid HTTP request: {_reason(message)}", code="invalid_http")
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
