"""Requests by their id: POST /v1/requests/ID/cancel."""

from __future__ import annotations

from aiohttp import web

from calculators.http_payload import RequestError
from server.errors import json_response
from server.keys import ADMISSION


async def cancel_request(request: web.Request) -> web.StreamResponse:
    """POST /v1/requests/ID/cancel and /v3/...: end the request with this x-request-id, wherever it is.

    Whoever knows the id may do it: ids that the server makes cannot be guessed, and are told to the one who asked alone. The form
    is that of OpenAI's ``POST /v1/responses/ID/cancel``.
    """
    request_id = request.match_info["id"]
    if not request.app[ADMISSION].cancel(request_id, "this was asked for by its id"):
        raise RequestError(
            f"There is no request {request_id[:128]!r} that runs or waits; it may have ended. Its id is the header x-request-id of "
            "the request, or the one that the server made and wrote to its log.",
            status=404,
            param="id",
            code="request_not_found",
        )
    return json_response({"id": request_id, "object": "request", "status": "cancelled"})
