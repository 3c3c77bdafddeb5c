"""What the server counts, for Prometheus: /metrics."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from calculators.http_payload import RequestError
from server.keys import METRICS

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


async def show_metrics(request: web.Request) -> web.StreamResponse:
    """GET /metrics: the numbers in the text format of Prometheus."""
    metrics = request.app[METRICS]
    if metrics is None:
        raise RequestError(
            "This server does not tell its metrics: it was started with --metrics_enable false.",
            status=404,
            code="metrics_disabled",
        )
    return web.Response(body=metrics.text().encode(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})
