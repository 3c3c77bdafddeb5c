"""Is the server there, and can it be used: /v2/health/live, /v2/health/ready."""

from __future__ import annotations

from aiohttp import web

from server.errors import json_response
from server.keys import ACCESS, DRAIN, SERVABLES
from server.servables import Servable, Servables, State


async def live(request: web.Request) -> web.StreamResponse:
    """GET /v2/health/live: 200 as soon as the port is open."""
    return json_response({"live": True})


async def ready(request: web.Request) -> web.StreamResponse:
    """GET /v2/health/ready: 200 when every servable can be used, else 503 with the ones that cannot, and why.

    One that came while the server ran counts from when it could be used for the first time: a new model that is broken, or
    takes long to load, must not take those that serve out of a load balancer. 503 too once the server is shutting down, before it
    stops to take requests. Where there is an API key, those who do not send it are told the state alone.
    """
    servables = request.app[SERVABLES]
    about: dict[str, object] = {}
    missing = "some models cannot be used"
    if request.app[ACCESS].knows_key(request.headers.get("Authorization")):
        about = {"models": [_described(servables, each) for each in servables]}
        missing = "; ".join(
            f"{each.name} is still loading" if each.state is State.LOADING else f"{each.name} failed: {reason}"
            for each in servables
            if each.expected
            if (reason := servables.trouble(each)) is not None or each.state is State.LOADING
        )
    if request.app[DRAIN].begun:
        missing = "the server is shutting down"
    elif servables.ready:
        return json_response({"ready": True} | about)
    return json_response({"ready": False, "error": f"Not ready: {missing}"} | about, status=503)


def _described(servables: Servables, servable: Servable) -> dict[str, str]:
    reason = servables.trouble(servable)
    notes = {"reason": reason, "reload_problem": servable.reload_problem}
    return {"name": servable.name, "state": servable.state} | {
        key: text for key, text in notes.items() if text is not None
    }
