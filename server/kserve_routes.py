"""KServe v2 over HTTP: metadata of the server and of models, readiness, inference.

A model's name may hold slashes, plain or as %2F. Where a plain one could be read in two ways, as in a model called ``a/ready``,
%2F makes it clear: the paths of the protocol never have one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from aiohttp import web

from calculators.http_payload import RequestError
from server.arrival import asked_timeout_s
from server.backend import Event, Handle, Origin, RunRequest
from server.departures import cancel_when_client_leaves
from server.errors import json_response
from server.keys import ADMISSION, KSERVE_ROUTE, METRICS, MODEL, REQUEST_ID, SERVABLES, SETTINGS
from server.kserve_codec import (
    LARGE_BYTES,
    VERSION,
    GraphInputs,
    first_of_each,
    is_large,
    metadata_of,
    packets_of,
    unary_response,
)
from server.kserve_json import HEADER_LENGTH, ReadRequest, read_request, split_body, write_response
from server.kserve_models import can_be_used, describe_server, index_of
from server.metrics import counted_question, counted_rejections
from server.payload import base_url, body_at_hand, read_body
from server.replies import ignored_header
from server.servables import State

KSERVE_MODEL: Final = "/v2/models/{model:.+?}{version:(?:/versions/[^/]+)?}"
"""The beginning of every route about one model."""

_LARGE_JSON_BYTES: Final = (
    128 * 1024
)  # from this size on the work would hold up the event loop for a millisecond and more

_ORIGIN: Final = Origin("KServe", "ModelInfer", "REST")
_METADATA: Final = Origin("KServe", "ModelMetadata", "REST")
_READY: Final = Origin("KServe", "ModelReady", "REST")
_CODINGS: Final = {"gzip": web.ContentCoding.gzip, "deflate": web.ContentCoding.deflate}


async def server_metadata(request: web.Request) -> web.StreamResponse:
    """GET /v2: what this is."""
    return json_response(describe_server("binary_tensor_data"))


async def model_metadata(request: web.Request) -> web.StreamResponse:
    """GET /v2/models/NAME[/versions/V]: the inputs and outputs of a graph."""
    name, _ = _asked(request)
    servables = request.app[SERVABLES]
    with counted_question(request.app[METRICS], servables.find(name).name, _METADATA):
        async with servables.lease(name) as handle:
            return json_response(metadata_of(name, handle.interface))


async def model_ready(request: web.Request) -> web.StreamResponse:
    """GET /v2/models/NAME[/versions/V]/ready: 200 if it can be used now, else 503 with the reason."""
    name, _ = _asked(request)
    servables = request.app[SERVABLES]
    servable = servables.find(name)
    ready = can_be_used(servables, servable)
    metrics = request.app[METRICS]
    if metrics is not None:
        metrics.asked(servable.name, _READY, ready)
    if ready:
        return json_response({"name": name, "ready": True})
    reason = "is still loading" if servable.state is State.LOADING else f"failed: {servables.trouble(servable)}"
    return json_response({"name": name, "ready": False, "error": f"{name} {reason}"}, status=503)


async def repository_index(request: web.Request) -> web.StreamResponse:
    """POST /v2/repository/index: all models and their states, as Triton words them."""
    return json_response(index_of(request.app[SERVABLES]))


async def infer(request: web.Request) -> web.StreamResponse:
    """POST /v2/models/NAME[/versions/V]/infer: run a graph with the tensors of the body, and answer with those it gives."""
    app = request.app
    name, version = _asked(request)
    settings, servables = app[SETTINGS], app[SERVABLES]
    servable = servables.find(name)
    request[MODEL] = servable.name
    asked_s = asked_timeout_s(request.headers)
    handle = servable.handle
    at_hand = body_at_hand(request, settings)
    if at_hand is not None and len(at_hand) < LARGE_BYTES and handle is not None and handle.nonblocking:
        return _infer_now(request, app, handle, at_hand, name, version)
    admission = app[ADMISSION]
    async with AsyncExitStack() as held:
        held.enter_context(cancel_when_client_leaves(request))
        with admission.arriving(request[REQUEST_ID], allowed_s=settings.request_timeout_s, asked_s=asked_s) as arrival:
            body = await read_body(request, settings) if at_hand is None else at_hand
            handle = await held.enter_async_context(servables.lease(name))
            with counted_rejections(app[METRICS], handle.name, _ORIGIN):
                text, binary = split_body(body, request.headers.get(HEADER_LENGTH))
                address = _base_url(request, handle)
                if len(text) < _LARGE_JSON_BYTES and len(binary) < LARGE_BYTES:
                    read, inputs = _read(handle, text, binary, name, version, address)
                else:
                    read, inputs = await asyncio.to_thread(_read, handle, text, binary, name, version, address)
        run = RunRequest(
            request[REQUEST_ID],
            inputs.values,
            inputs.side_packets,
            timeout_s=arrival.timeout_s(handle),
            age_s=arrival.age_s,
            timestamp=inputs.timestamp or 0,
            origin=_ORIGIN,
        )
        first = await first_of_each(admission.run(handle, run))
    if is_large(first.values()):
        written = await asyncio.to_thread(_written, handle, read, first)
    else:
        written = _written(handle, read, first)
    return _answer(request, *written, [*read.ignored, *inputs.ignored])


def _infer_now(
    request: web.Request, app: web.Application, handle: Handle, body: bytes, name: str, version: str
) -> web.Response:
    """The same where nothing has to be waited for: so nobody can cancel the request meanwhile, and no version be unloaded."""
    with counted_rejections(app[METRICS], handle.name, _ORIGIN):
        text, binary = split_body(body, request.headers.get(HEADER_LENGTH))
        read, inputs = _read(handle, text, binary, name, version, _base_url(request, handle))
    run = RunRequest(
        request[REQUEST_ID], inputs.values, inputs.side_packets, timestamp=inputs.timestamp or 0, origin=_ORIGIN
    )
    first: dict[str, Event] = {}
    for event in app[ADMISSION].run_now(handle, run):
        first.setdefault(event.stream, event)
    return _answer(request, *_written(handle, read, first), [*read.ignored, *inputs.ignored])


def _read(
    handle: Handle, text: bytes, binary: memoryview, name: str, version: str, address: str
) -> tuple[ReadRequest, GraphInputs]:
    read = read_request(text, binary, name, version)
    return read, packets_of(handle.interface, read.request, base_url=address)


def _written(handle: Handle, read: ReadRequest, first: Mapping[str, Event]) -> tuple[bytes, int | None]:
    return write_response(unary_response(handle.interface, read.request, first), read.forms)


def _answer(request: web.Request, body: bytes, size: int | None, ignored: list[str]) -> web.Response:
    """The HTTP answer with a body whose first ``size`` bytes are JSON; all of it where that is None."""
    headers = {"Content-Type": "application/json" if size is None else "application/octet-stream"}
    if ignored:
        headers |= ignored_header(ignored)
    if size is not None:
        headers[HEADER_LENGTH] = str(size)
    answer = web.Response(body=body, headers=headers, zlib_executor_size=_LARGE_JSON_BYTES)
    # Most HTTP libraries offer several codings always; who names one alone has chosen it. To compress costs more than it saves
    # between machines that are near each other.
    coding = _CODINGS.get(request.headers.get("Accept-Encoding", ""))
    if coding is not None:
        answer.enable_compression(coding)
    return answer


def _asked(request: web.Request) -> tuple[str, str]:
    """The model and the version that a path names.

    Raises:
        RequestError: 404; the version is no number.
    """
    asked = request.match_info["version"].removeprefix("/versions/")
    if asked and not (asked.isascii() and asked.isdigit()):
        raise RequestError(
            f"The version {asked[:40]!r} does not exist: versions are numbers, and a graph has version {VERSION}.",
            status=404,
            code="model_not_found",
        )
    return request.match_info["model"], asked


def _base_url(request: web.Request, handle: Handle) -> str:
    """How the client reaches this server, for a graph that takes HTTP calls; "" for others."""
    if not handle.interface.takes_payloads:
        return ""
    mount = request.app.router[KSERVE_ROUTE].canonical.removesuffix("/v2")
    return base_url(request, request.path.removeprefix(mount), request.app[SETTINGS].trust_forwarded_headers)
