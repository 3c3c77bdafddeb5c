"""The OpenAPI document of the server: ``OPERATIONS`` has a row for every route.

Whoever adds a route adds its row here: a test asks the application for all its routes, and compares both ways.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from aiohttp import web

from server.arrival import TIMEOUT_HEADER
from server.errors import json_response
from server.keys import ACCESS
from server.kserve_json import HEADER_LENGTH
from server.openapi_schemas import Schema, ref, schemas
from server.protocol import SERVER_NAME

PATH: Final = "/openapi.json"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"
MULTIPART: Final = "multipart/form-data"

ERRORS: Final = MappingProxyType(
    {
        400: "The request is wrong: no JSON, a field that is unknown or has a value that cannot be used.",
        401: "The API key is missing or wrong.",
        403: "A web page of another origin may not do this.",
        404: "There is no such thing: a model, a request, a path.",
        405: "Another method is allowed here; the header Allow says which.",
        408: "The body did not come in time.",
        412: "The model cannot draw from what was given.",
        413: "The body is too large.",
        415: "The body is of another type than those that are taken.",
        421: "The Host header names another server.",
        422: "The graph has too many nodes for a picture.",
        429: "Too many requests wait for this model; Retry-After says when to come again.",
        499: "Somebody has cancelled the request by its id.",
        500: "The server or a graph failed; the log says why, under the id of the request.",
        503: "The model loads, cannot be loaded, or the server is shutting down.",
        504: "The request took longer than it may.",
    }
)
"""Status -> what it means, on every route."""

_EVERYWHERE: Final = (401, 403, 421, 500)
_RUNS: Final = (400, 404, 405, 408, 412, 413, 415, 429, 499, 503, 504)

PARAMETERS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "model": {"in": "path", "description": "a model's name; a slash in it can be written as it is, or as %2F"},
        "version": {
            "in": "path", "description": "a number; graphs have the version 1", "schema": {"type": "string", "pattern": "^[0-9]+$"}
        },
        "id": {"in": "path", "description": "the x-request-id of a request that runs or waits"},
        "name": {"in": "path", "description": "the end of a URL that an answer gave"},
        "file": {"in": "path", "description": "its name"},
        "call": {"in": "path", "description": "what the graph takes as the address of a call"},
        "after": {
            "in": "query", "required": False, "description": "leave out runs up to this number",
            "schema": {"type": "integer", "minimum": 0},
        },
        TIMEOUT_HEADER: {
            "in": "header", "required": False, "description": "in how many seconds the request has to be answered",
            "schema": {"type": "number", "exclusiveMinimum": 0},
        },
        HEADER_LENGTH: {
            "in": "header", "required": False, "description": "length of the JSON in a body with binary tensors behind it",
            "schema": {"type": "integer", "minimum": 1},
        },
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of one or of several equal paths.

    Attributes:
        method, paths: in the words of OpenAPI.
        tag, summary: for people.
        takes: content type -> schema of the body.
        gives: status -> content type -> schema of the body.
        errors: statuses with an error object, beside those that every route has.
        headers: names in ``PARAMETERS``, beside those in the path.
        open: whether it is answered without an API key.
    """

    method: str
    paths: tuple[str, ...]
    tag: str
    summary: str
    gives: Mapping[int, Mapping[str, Schema]]
    takes: Mapping[str, Schema] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    open: bool = False


def _both(path: str) -> tuple[str, str]:
    return f"/v1{path}", f"/v3{path}"


def _model(end: str = "") -> tuple[str, str]:
    return f"/v2/models/{{model}}{end}", f"/v2/models/{{model}}/versions/{{version}}{end}"


_TEXT: Final[Schema] = {"type": "string"}
_ANY: Final[Schema] = {}
_BINARY: Final[Schema] = {"type": "string", "contentMediaType": BYTES}
_MODELS: Final = ("/v1/models", "/v3/models", "/v3/v1/models")

OPERATIONS: Final = (
    Operation(
        method="post", paths=_both("/images/generations"), tag="Images", summary="Draw pictures from a text",
        takes={JSON: ref("GenerationsRequest")}, gives={200: {JSON: ref("ImagesResponse"), EVENTS: _TEXT}},
        errors=_RUNS, headers=(TIMEOUT_HEADER,),
    ),
    Operation(
        method="post", paths=_both("/images/edits"), tag="Images", summary="Draw pictures from a picture and a text",
        takes={MULTIPART: ref("EditsRequest")}, gives={200: {JSON: ref("ImagesResponse"), EVENTS: _TEXT}},
        errors=_RUNS, headers=(TIMEOUT_HEADER,),
    ),
    Operation(
        method="get", paths=_both("/images/files/{name}"), tag="Images", summary="A picture, where an answer gave its URL",
        gives={200: {f"image/{form}": _BINARY for form in ("png", "jpeg", "webp")}}, errors=(404,),
    ),
    Operation(
        method="post", paths=_both("/{call}"), tag="Graphs", summary="Call the graph that the field model names, or the address",
        takes={JSON: ref("GraphRequest"), MULTIPART: ref("GraphRequest"), BYTES: _BINARY}, gives={200: {JSON: _ANY, EVENTS: _TEXT}},
        errors=_RUNS, headers=(TIMEOUT_HEADER,),
    ),
    Operation(
        method="get", paths=_both("/requests/{id}"), tag="Graphs", summary="How far is a request that runs or waits?",
        gives={200: {JSON: ref("Progress")}}, errors=(404,),
    ),
    Operation(
        method="post", paths=_both("/requests/{id}/cancel"), tag="Graphs", summary="End a request that runs or waits",
        gives={200: {JSON: ref("Cancelled")}}, errors=(404,),
    ),
    Operation(
        method="get", paths=_MODELS, tag="Models", summary="What is served, with LoRA adapters", gives={200: {JSON: ref("Models")}},
    ),
    Operation(
        method="get", paths=tuple(f"{path}/{{model}}" for path in _MODELS), tag="Models", summary="One of them",
        gives={200: {JSON: ref("Model")}}, errors=(404, 503),
    ),
    Operation(method="get", paths=("/v2",), tag="KServe", summary="What this server is", gives={200: {JSON: ref("Server")}}),
    Operation(
        method="get", paths=_model(), tag="KServe", summary="The inputs and outputs of a graph",
        gives={200: {JSON: ref("ModelMetadata")}}, errors=(404, 503),
    ),
    Operation(
        method="get", paths=_model("/ready"), tag="KServe", summary="Can a model be used?",
        gives={200: {JSON: ref("ModelReady")}, 503: {JSON: ref("ModelReady")}}, errors=(404,),
    ),
    Operation(
        method="post", paths=_model("/infer"), tag="KServe", summary="Run a graph with tensors",
        takes={JSON: ref("InferRequest"), BYTES: _BINARY}, gives={200: {JSON: ref("InferResponse"), BYTES: _BINARY}},
        errors=_RUNS, headers=(TIMEOUT_HEADER, HEADER_LENGTH),
    ),
    Operation(
        method="post", paths=("/v2/repository/index",), tag="KServe", summary="All models and their states, as Triton words them",
        gives={200: {JSON: ref("RepositoryIndex")}},
    ),
    Operation(
        method="get", paths=("/v2/health/live",), tag="Operation", summary="Is the server there?",
        gives={200: {JSON: ref("Live")}}, open=True,
    ),
    Operation(
        method="get", paths=("/v2/health/ready",), tag="Operation", summary="Can every model be used?",
        gives={200: {JSON: ref("Ready")}, 503: {JSON: ref("Ready")}}, open=True,
    ),
    Operation(
        method="get", paths=("/v1/config",), tag="Operation", summary="What is served, what failed, what was served once",
        gives={200: {JSON: ref("Config")}},
    ),
    Operation(
        method="post", paths=("/v1/config/reload",), tag="Operation", summary="Take up what has changed on the disk",
        gives={200: {JSON: ref("Config")}, 201: {JSON: ref("Config")}, 500: {JSON: ref("ReloadFailure")}},
    ),
    Operation(
        method="get", paths=("/metrics",), tag="Operation", summary="Numbers for Prometheus", gives={200: {"text/plain": _TEXT}},
        errors=(404,),
    ),
    Operation(
        method="get", paths=("/graphs/{model}/snapshot",), tag="Graphs", summary="What a graph does now, and its last runs",
        gives={200: {JSON: ref("GraphSnapshot")}}, errors=(400, 404, 503), headers=("after",),
    ),
    Operation(
        method="get", paths=("/graphs/{model}/trace",), tag="Graphs", summary="Its last runs as a trace, for Perfetto",
        gives={200: {JSON: ref("Trace")}}, errors=(404, 503),
    ),
    Operation(
        method="get", paths=("/graphs/{model}/graph.json",), tag="Graphs", summary="What a graph is made of",
        gives={200: {JSON: ref("GraphStructure")}}, errors=(404, 503),
    ),
    Operation(
        method="get", paths=("/graphs/{model}/graph.svg",), tag="Graphs", summary="A graph, drawn",
        gives={200: {"image/svg+xml": _TEXT}}, errors=(404, 422, 503),
    ),
    Operation(
        method="get", paths=("/graphs/{model}",), tag="Graphs", summary="The page of a graph", gives={200: {"text/html": _TEXT}},
        errors=(404, 503), open=True,
    ),
    Operation(
        method="get", paths=("/graphs",), tag="Graphs", summary="The page with all graphs", gives={200: {"text/html": _TEXT}},
        open=True,
    ),
    Operation(
        method="get", paths=("/",), tag="Operation", summary="A page that says what is served", gives={200: {"text/html": _TEXT}},
        open=True,
    ),
    Operation(
        method="get", paths=("/web/{file}",), tag="Operation", summary="A file of the pages",
        gives={200: dict.fromkeys(("text/css", "text/javascript", "image/svg+xml"), _TEXT)}, errors=(404,), open=True,
    ),
    Operation(method="get", paths=(PATH,), tag="Operation", summary="This document", gives={200: {JSON: _ANY}}, open=True),
)  # fmt: skip
"""What the server can be asked for."""


def openapi_document(*, key_needed: bool, url: str = "/") -> dict[str, Any]:
    """The document, as JSON values.

    Args:
        key_needed: whether the server asks for an API key.
        url: where the application is, as the client reaches it.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        for path in operation.paths:
            paths.setdefault(path, {})[operation.method] = _operation(operation, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": SERVER_NAME,
            "version": importlib.metadata.version(SERVER_NAME),
            "summary": "MediaPipe graphs and image models, for clients of OpenAI and of KServe",
        },
        "servers": [{"url": url}],
        "security": [{"key": []}] if key_needed else [],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {
                f"{form}{status}": {"description": meaning, "content": {JSON: {"schema": ref(form)}}}
                for form in ("Error", "KServeError")
                for status, meaning in ERRORS.items()
            },
            "parameters": {
                name: {"name": name, "required": True, "schema": _TEXT, **about} for name, about in PARAMETERS.items()
            },
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, path: str) -> dict[str, Any]:
    form = "KServeError" if path == "/v2" or path.startswith("/v2/") else "Error"
    answers: dict[str, Any] = {
        str(status): {"$ref": f"#/components/responses/{form}{status}"} for status in (*_EVERYWHERE, *operation.errors)
    }
    for status, bodies in operation.gives.items():
        content = {kind: {"schema": schema} for kind, schema in bodies.items()}
        if str(status) in answers:  # one status, two kinds of bodies
            content[JSON] = {"schema": {"anyOf": [ref(form), bodies[JSON]]}}
        answers[str(status)] = {"description": ERRORS.get(status, "It went well."), "content": content}
    in_path = [name for name, about in PARAMETERS.items() if f"{{{name}}}" in path and about["in"] == "path"]
    told: dict[str, Any] = {
        "operationId": "_".join([operation.method, *(part.strip("{}") for part in path.split("/") if part)]),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in (*in_path, *operation.headers)],
        "responses": dict(sorted(answers.items())),
    }
    if operation.takes:
        bodies = {kind: {"schema": schema} for kind, schema in operation.takes.items()}
        told["requestBody"] = {"required": True, "content": bodies}
    return told | ({"security": []} if operation.open else {})


async def show_openapi(request: web.Request) -> web.StreamResponse:
    """GET /openapi.json: the document; it tells of no model, so that it can be read without an API key."""
    url = request.path.removesuffix(PATH) or "/"
    return json_response(openapi_document(key_needed=request.app[ACCESS].key_needed, url=url))
