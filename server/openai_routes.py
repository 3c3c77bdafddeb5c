"""The OpenAI side: graph calls under /v1 and /v3, and the list of models."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Any

from aiohttp import web

from calculators.http_payload import RequestError
from server.arrival import asked_timeout_s
from server.backend import Origin, RunRequest
from server.departures import cancel_when_client_leaves
from server.errors import json_response
from server.graph_routes import graph_address
from server.interface import http_gap, http_ports
from server.keys import ADMISSION, CLOCK, METRICS, MODEL, REQUEST_ID, SERVABLES, SETTINGS
from server.metrics import counted_rejections
from server.payload import read_payload, wants_stream
from server.replies import event_reply, json_reply
from server.servables import Servable, Servables

OWNER = "graph-runtime"


async def call_graph(request: web.Request) -> web.StreamResponse:
    """POST /v1/... and /v3/...: run the graph that the body's ``model`` names, or the address, and answer with its packet."""
    app = request.app
    # Built from the route's own parts, so that it is the same wherever the application is mounted.
    version, call = request.match_info["version"], request.match_info["call"]
    uri = f"/{version}/{call}"
    settings = app[SETTINGS]
    admission, servables = app[ADMISSION], app[SERVABLES]
    limits = {"allowed_s": settings.request_timeout_s, "asked_s": asked_timeout_s(request.headers)}
    async with AsyncExitStack() as held:
        held.enter_context(cancel_when_client_leaves(request))
        with admission.arriving(request[REQUEST_ID], **limits) as arrival:
            addressed = servables.addressed(call.removeprefix("v1/") if version == "v3" else call)
            name, payload = await read_payload(request, uri, settings, addressed)
            request[MODEL] = servables.find(name).name
            handle = await held.enter_async_context(servables.lease(request[MODEL]))
        streams = wants_stream(payload)
        origin = Origin("V3", "Stream" if streams else "Unary", "REST")
        with counted_rejections(app[METRICS], handle.name, origin):
            source, sink = http_ports(handle.name, handle.interface)
        run = RunRequest(
            request[REQUEST_ID],
            {source.name: payload},
            timeout_s=arrival.timeout_s(handle),
            age_s=arrival.age_s,
            origin=origin,
        )
        events = admission.run(handle, run)
        if streams:
            return await event_reply(request, events, sink.name, app[CLOCK])
        return await json_reply(events, sink.name)


async def list_models(request: web.Request) -> web.StreamResponse:
    """GET /v1/models and /v3/models: every servable, with its state, and every adapter that requests can name.

    What is not served any more is not among them.
    """
    servables = request.app[SERVABLES]
    models = [_model(servables, servable, servable.name) for servable in servables]
    models += [_model(servables, servable, alias) for alias, servable in sorted(servables.aliases.items())]
    return json_response({"object": "list", "data": models})


async def retrieve_model(request: web.Request) -> web.StreamResponse:
    """GET /v1/models/ID and /v3/models/ID; the id may hold slashes."""
    servables = request.app[SERVABLES]
    name = request.match_info["model"]
    return json_response(_model(servables, servables.find(name), name))


async def refuse_empty_id(request: web.Request) -> web.StreamResponse:
    """GET /v1/models/ and /v3/models/: an id is missing."""
    raise RequestError(
        "There is no model id after models/; GET /v3/models, without the slash, lists the models.",
        status=404,
        param="model",
        code="model_not_found",
    )


def _model(servables: Servables, servable: Servable, name: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": servable.created,
        "owned_by": OWNER,
        "state": servable.state,
    }
    if name != servable.name:
        described["parent"] = servable.name
    reason = servables.trouble(servable)
    if reason is not None:
        described["reason"] = reason
    if servable.reload_problem is not None:
        described["reload_problem"] = servable.reload_problem
    gap = None if servable.handle is None else http_gap(servable.handle.interface)
    if gap is not None:
        described["note"] = f"The graph {gap}."
    described["graph_runtime"] = _details(servable)
    return described


def _details(servable: Servable) -> dict[str, Any]:
    """What pages need to know, beyond what OpenAI's clients do; addresses are relative to where the application is."""
    details = {"state": servable.state, "graph": graph_address(servable.name)}
    handle = servable.handle
    if handle is None:
        return {**details, "makes_images": None}
    images = {} if handle.images is None else {**asdict(handle.images), "adapters": handle.aliases}
    return {**details, "makes_images": handle.images is not None, **images}
