"""What happens around every request: its id, its line in the access log, its error if it fails.

The access log has the method, path, model, status, error code and time; never a query, a header or a body, so no prompt is logged.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import re
import secrets
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from server.errors import describe, kserve_response, needs_log, openai_response
from server.keys import ACCESS, DRAIN, ERROR_CODE, KSERVE_ROUTE, METRICS, MODEL, REQUEST_ID
from server.logs import about, note_code
from server.protocol import SERVER_NAME

_PROBES = "/v2/health/"  # asked every few seconds by whoever watches us: only in the log at level DEBUG
_CLIENT_LEFT = 499  # as nginx writes it in its log; nobody receives it
_VALID_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Whoever knows the id of a request can cancel it: ids must not be guessable. Not random bytes for each: that is a system call, in
# which the event loop loses its turn to the worker threads.
_SECRET = secrets.token_bytes(32)
_numbers = itertools.count(1)

_access_log = logging.getLogger("graph_runtime.access")
_log = logging.getLogger("graph_runtime.server")


def request_id(given: str) -> str:
    """The id of a request: what its client calls it, if that is a plain word, else a new one."""
    return given if _VALID_ID.fullmatch(given) else _new_id()


def _new_id() -> str:
    number = next(_numbers).to_bytes(8, "big")
    return f"req_{hashlib.blake2b(number, key=_SECRET, digest_size=16).hexdigest()}"


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put our headers on every answer; a signal, since event streams are sent before their handler returns."""
    if REQUEST_ID in request:
        response.headers["x-request-id"] = request[REQUEST_ID]
    response.headers["Server"] = SERVER_NAME
    if ACCESS in request.app:
        response.headers.update(request.app[ACCESS].cors_headers(request.headers))
    if request.app[DRAIN].begun:
        response.force_close()
        response.headers["Connection"] = "close"


@web.middleware
async def follow_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """From arrival to answer: an id, a place in the count that a shutdown waits for, a line in the access log.

    The id is the caller's ``x-request-id`` if that is a plain one.
    """
    app, started = request.app, time.perf_counter()
    request[REQUEST_ID] = request_id(request.headers.get("x-request-id", ""))
    drain, metrics = app[DRAIN], app[METRICS]
    drain.enter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    except (asyncio.CancelledError, ConnectionError):
        status = _CLIENT_LEFT
        raise
    finally:
        drain.leave()
        if metrics is not None:
            metrics.answered(request, status)
        level = logging.DEBUG if request.rel_url.raw_path.startswith(_PROBES) else logging.INFO
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


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through if it may come in, and turn an exception into an answer.

    What the client is not told goes to the log, with its traceback.
    """
    try:
        access = request.app[ACCESS]
        answer = access.preflight(request)
        if answer is not None:
            return answer
        access.check_page(request)
        if access.key_needed and not access.is_open(request.match_info.handler):
            access.check_key(request.headers.get("Authorization"))
        return await handler(request)
    except ConnectionError:
        raise  # the client has gone: aiohttp drops the connection, there is nobody to answer
    except Exception as error:
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


MIDDLEWARES: tuple[Middleware, ...] = (follow_request, answer_errors)
"""From the outside to the inside; few, since each one costs every request some microseconds."""
