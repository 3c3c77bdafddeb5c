"""The pictures that answers with ``response_format: "url"`` point to."""

from __future__ import annotations

from aiohttp import web

from calculators.http_payload import RequestError
from server.keys import IMAGE_STORE


async def send_image(request: web.Request) -> web.StreamResponse:
    """GET /v1/images/files/NAME and /v3/images/files/NAME."""
    store = request.app[IMAGE_STORE]
    stored = None if store is None else store.find(request.match_info["name"])
    if stored is None:
        raise RequestError(
            "There is no such picture, or its time is over: pictures of answers with response_format url are kept for a while.",
            status=404,
            code="image_not_found",
        )
    return web.FileResponse(
        stored.path,
        headers={
            "Content-Type": stored.content_type,
            "Cache-Control": f"private, max-age={int(stored.left_s)}",
            "X-Content-Type-Options": "nosniff",
        },
    )
