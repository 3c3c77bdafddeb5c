"""Requests by their id: GET /v1/requests/ID, and POST /v1/requests/ID/cancel.

Whoever knows the id may do both: ids that the server makes cannot be guessed, and are told to the one who asked alone. Nothing that
a request says is told.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from calculators.http_payload import RequestError
from server.errors import json_response
from server.keys import ADMISSION


async def show_request(request: web.Request) -> web.StreamResponse:
    """GET /v1/requests/ID and /v3/...: where the request with this x-request-id is in the line, or how many steps it has done."""
    request_id = request.match_info["id"]
    progress = request.app[ADMISSION].progress(request_id)
    if progress is None:
        raise _unknown(request_id)
    told: dict[str, Any] = {"id": request_id, "object": "request", "state": progress.state}
    if progress.state != "arriving":
        told["model"] = progress.model
    if progress.state == "waiting":
        told["position"] = progress.position
    if progress.state == "running":
        told |= {"step": progress.step, "steps": progress.steps}
    return json_response(told, headers={"Cache-Control": "no-store"})


async def cancel_request(request: web.Request) -> web.StreamResponse:
    """POST /v1/requests/ID/cancel and /v3/...: end the request with this x-request-id, wherever it is.

    The form is that of OpenAI's ``POST /v1/responses/ID/cancel``.
    """
    request_id = request.match_info["id"]
    if not request.app[ADMISSION].cancel(request_id, "this was asked for by its id"):
        raise _unknown(request_id)
    return json_response({"id": request_id, "object": "request", "status": "cancelled"})


def _unknown(request_id: str) -> RequestError:
    return RequestError(
        f"There is no request {request_id[:128]!r} that runs or waits; it may have ended. Its id is the header x-request-id of "
        "the request, or the one that the server made and wrote to its log.",
        status=404,
        param="id",
        code="request_not_found",
    )
