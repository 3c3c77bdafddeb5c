"""Which exception becomes which answer: one table, for every route.

::

    RequestError, also as the cause of a GraphError    its own status, type, param, code
    StoppedError                                       503, code "shutting_down"
    DeadlineError                                      504, code "request_timeout"
    RunCancelledError, for another reason              499, code "request_cancelled"
    aiohttp's HTTPException                            its own status (unknown path, wrong method, ...)
    a body that breaks off or cannot be decoded        400
    everything else                                    500; the text is in the log alone, the client gets the request id

Bodies have OpenAI's form, ``{"error": {"message", "type", "param", "code"}}``, and KServe's, ``{"error": "text"}``, under /v2.
"""

from __future__ import annotations

import json
from typing import Any

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from calculators.http_payload import RequestError, refusal_in
from server.backend import DeadlineError, RunCancelledError, StoppedError

NO_RETRY = ("x-should-retry", "false")
"""OpenAI's clients repeat a request that got a 500 twice; each would be a whole generation that fails again."""

BODY_ERRORS = (ClientPayloadError, HttpProcessingError, web.RequestPayloadError)


def describe(error: BaseException, request_id: str) -> RequestError:
    """What a client is told about an exception."""
    refusal = refusal_in(error)
    if refusal is not None:
        return refusal
    if isinstance(error, StoppedError):
        return RequestError(
            f"The request was cancelled: {error}.",
            status=503,
            type="server_error",
            code="shutting_down",
            headers=(("Retry-After", "5"),),
        )
    if isinstance(error, DeadlineError):
        return RequestError(
            f"The request was cancelled: {error}.",
            status=504,
            type="server_error",
            code="request_timeout",
            headers=(NO_RETRY,),
        )
    if isinstance(error, RunCancelledError):
        # Source of the number: it is what proxies log for a cancelled request, and no client repeats it.
        return RequestError(
            f"The request was cancelled: {error}.", status=499, type="request_cancelled", code="request_cancelled"
        )
    if isinstance(error, web.HTTPException):
        return _http_exception(error)
    if isinstance(error, BODY_ERRORS):
        return RequestError("The body broke off, or its encoding is damaged.", status=400, code="invalid_body")
    return RequestError(
        f"The server failed while it worked on this request. Its log has the reason under the request id {request_id}.",
        status=500,
        type="server_error",
        code="internal_error",
        headers=(NO_RETRY,),
    )


def needs_log(error: BaseException) -> bool:
    """Whether the log has to tell more than the client is told: for our own faults, named ones too."""
    refusal = refusal_in(error)
    if refusal is not None:
        return refusal.status == 500
    return not isinstance(error, (RunCancelledError, web.HTTPException, *BODY_ERRORS))


def openai_response(error: RequestError) -> web.Response:
    """A refusal as the OpenAI API words it."""
    return json_response(error.body(), status=error.status, headers=dict(error.headers))


def kserve_response(error: RequestError) -> web.Response:
    """A refusal as KServe words it."""
    return json_response({"error": error.message}, status=error.status, headers=dict(error.headers))


def json_response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON as UTF-8, without blanks."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # Half surrogates can come from outside (an escaped file name, a path); replaced, they still give a body.
    return web.Response(
        body=text.encode(errors="replace"), status=status, headers=headers, content_type="application/json"
    )


def _http_exception(error: web.HTTPException) -> RequestError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return RequestError(
            f"{error.method} is not allowed here; use {allowed}.",
            status=405,
            code="method_not_allowed",
            headers=(("Allow", allowed),),
        )
    if isinstance(error, web.HTTPNotFound):
        return RequestError(
            "There is nothing under this path. Graphs are called with POST /v3/images/generations (or /v1/...) or with "
            "POST /v2/models/NAME/infer, GET /v3/models lists the models, GET / explains.",
            status=404,
            code="unknown_path",
        )
    return RequestError(error.reason, status=error.status, code=None)
