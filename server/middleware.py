"""What happens around every request: its id, its line in the access log, its error if it fails.

The access log has the method, path, model, status, error code and time; never a query, a header or a body, so no prompt is logged.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler

from server.errors import describe, kserve_response, needs_log, openai_response
from server.keys import ACCESS, DRAIN, ERROR_CODE, KSERVE_ROUTE, METRICS, MODEL, REQUEST_ID
from server.logs import about, note_code
from server.protocol import SERVER_NAME

_PROBES = re.compile(r"/v2/health/[a-z]+$|/v[13]/requests/[^/]+$|/graphs/.+/snapshot$")
"""Asked again and again by whoever watches us, a request or a graph, below a prefix too: only in the log at level DEBUG."""
_CLIENT_LEFT = 499  # as nginx writes it in its log; nobody receives it
_VALID_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_IDS_AT_ONCE = 256

_access_log = logging.getLogger("graph_runtime.access")
_log = logging.getLogger("graph_runtime.server")


def _new_ids() -> Iterator[str]:
    # Whoever knows the id of a request can cancel it: ids must not be guessable. Many at once, since random bytes are a system
    # call, in which the event loop loses its turn to the worker threads.
    while True:
        digits = secrets.token_hex(16 * _IDS_AT_ONCE)
        for at in range(0, len(digits), 32):
            yield f"req_{digits[at : at + 32]}"


_ids = _new_ids()


def request_id(given: str) -> str:
    """The id of a request: what its client calls it, if that is a plain word, else a new one."""
    return given if _VALID_ID.fullmatch(given) else next(_ids)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put our headers on every answer; a signal, since event streams are sent before their handler returns."""
    app, headers = request.app, response.headers
    request_id = request.get(REQUEST_ID)
    if request_id is not None:
        headers["x-request-id"] = request_id
    headers["Server"] = SERVER_NAME
    access = app.get(ACCESS)
    if access is not None:
        access.add_cors_headers(request.headers, headers)
    if app[DRAIN].begun:
        response.force_close()
        headers["Connection"] = "close"


@web.middleware
async def follow_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """From arrival to answer: an id, a place in the count that a shutdown waits for, a line in the access log.

    The id is the caller's ``x-request-id`` if that is a plain one. An exception becomes an answer; what the client is not told goes
    to the log, with its traceback.
    """
    app, started = request.app, time.perf_counter()
    request[REQUEST_ID] = request_id(request.headers.get("x-request-id", ""))
    drain, metrics, access = app[DRAIN], app[METRICS], app[ACCESS]
    drain.enter()
    status = 500
    try:
        try:
            response: web.StreamResponse | None = access.preflight(request)
            if response is None:
                access.check(request)
                response = await handler(request)
        except ConnectionError:
            raise  # the client has gone: aiohttp drops the connection, there is nobody to answer
        except Exception as error:
            response = _answer_error(request, error)
        status = response.status
        return response
    except (asyncio.CancelledError, ConnectionError):
        status = _CLIENT_LEFT
        raise
    finally:
        drain.leave()
        if metrics is not None:
            metrics.answered(request, status)
        level = logging.DEBUG if _PROBES.search(request.rel_url.raw_path) else logging.INFO
        if _access_log.isEnabledFor(level):
            _write_access(level, request, status, (time.perf_counter() - started) * 1000)


def _write_access(level: int, request: web.Request, status: int, ms: float) -> None:
    named = {name: request[key] for name, key in (("model", MODEL), ("code", ERROR_CODE)) if key in request}
    _access_log.log(
        level,
        "%s %s %d %.1f ms%s %s",
        request.method,
        request.rel_url.raw_path,
        status,
        ms,
        "".join(f" {name}={value}" for name, value in named.items()),
        request[REQUEST_ID],
        extra={**about(request), **named, "status": status, "ms": round(ms, 1)},
    )


def _answer_error(request: web.Request, error: Exception) -> web.Response:
    request_id = request[REQUEST_ID]
    if needs_log(error):
        _log.error("request %s failed", request_id, exc_info=error, extra=about(request))
    told = describe(error, request_id)
    note_code(request, told)
    form = kserve_response if _speaks_kserve(request) else openai_response
    return form(told)


def _speaks_kserve(request: web.Request) -> bool:
    """Whether a path is KServe's: /v2 or below, wherever the application is mounted."""
    root = request.app.router[KSERVE_ROUTE].canonical
    return request.path == root or request.path.startswith(f"{root}/")
