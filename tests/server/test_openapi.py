"""/openapi.json: every route is in it, what is in it is there, and its schemas say what the server takes and gives."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from calculators.http_payload import RequestError
from calculators.image_gen.request_fields import FIELDS
from calculators.image_gen.request_schema import edits_schema, generations_schema
from server.app import build_app
from server.config_routes import refuse_method
from server.graph_routes import lead_to_graphs
from server.openai_routes import refuse_empty_id
from server.openapi import ERRORS, OPERATIONS, PARAMETERS, openapi_document
from server.page import lead_to_page
from server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import Client, Models, Serve

DOCUMENT = openapi_document(key_needed=True)
ONLY_REFUSE = (refuse_empty_id, refuse_method, lead_to_page, lead_to_graphs)
"""Handlers of routes that nobody can use, or that only lead to a page."""
ONE_OF_EACH_TYPE = list({id(kind): name for name, kind in FIELDS.items()}.values())


def documented() -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods]


async def route_of(app: web.Application, method: str, path: str) -> web.UrlMappingMatchInfo:
    sample = re.sub(r"\{(\w+)\}", lambda name: "1" if name[1] == "version" else "sample", path)
    found = await app.router.resolve(make_mocked_request(method, sample))
    assert found.http_exception is None, f"{method} {path} is in the document, and the application has no such route"
    return found


async def test_every_route_is_in_the_document_and_what_is_in_it_is_a_route() -> None:
    """A route that is missing there: add its row to ``server.openapi.OPERATIONS``."""
    app = build_app(Settings())
    found = {(await route_of(app, method, path)).route for method, path in documented()}
    usable = {route for route in app.router.routes() if route.method != "HEAD" and route.handler not in ONLY_REFUSE}
    missing = [f"{route.method} {route.resource and route.resource.canonical}" for route in usable - found]
    assert missing == [], "these routes have no row in server.openapi.OPERATIONS"


def test_every_row_names_parameters_and_errors_that_are_described() -> None:
    for operation in OPERATIONS:
        assert set(operation.headers) <= PARAMETERS.keys()
        assert set(operation.errors) <= ERRORS.keys()
        for path in operation.paths:
            assert set(re.findall(r"\{(\w+)\}", path)) <= PARAMETERS.keys()


def test_references_lead_somewhere_and_ids_differ() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [each for inside in value.values() for each in references(inside)]
        return [each for inside in value for each in references(inside)] if isinstance(value, list) else []

    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids)) == len(documented())
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", ONE_OF_EACH_TYPE)
@given(
    value=st.one_of(
        st.text(max_size=3),
        st.booleans(),
        st.integers(-(2**66), 2**66),
        st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()),
        st.dictionaries(st.text(max_size=2), st.one_of(st.floats(-1e39, 1e39), st.text(max_size=1)), max_size=2),
        st.lists(st.integers(), max_size=1),
    )
)
def test_the_schema_of_a_field_takes_what_its_reader_takes(name: str, value: Any) -> None:
    try:
        FIELDS[name].json(name, value)
        read = True
    except RequestError:
        read = False
    assert jsonschema.Draft202012Validator(dict(FIELDS[name].schema)).is_valid(value) is read


def test_requests_have_every_field_that_the_parser_knows_and_no_other() -> None:
    assert generations_schema()["properties"].keys() == {*FIELDS, "image"}
    assert edits_schema()["properties"].keys() == {*FIELDS, "image", "image[]", "mask"}
    assert generations_schema()["additionalProperties"] is edits_schema()["additionalProperties"] is False


async def told(client: Client, method: str, path: str, **request: Any) -> tuple[int, Any]:
    async with client.request(method, path, **request) as answer:
        return answer.status, await answer.json()


async def test_answers_are_as_the_document_says(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    models.add_text("bad", "nonsense")
    models.add_text(
        "pass",
        'input_stream: "a" output_stream: "b" '
        'node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b" }',
    )
    client = await serve()
    tensor = {"name": "a", "shape": [1], "datatype": "FP32", "data": [1.5]}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("get", "/v1/models", {}), ("get", "/v3/models/{model:bad}", {}), ("get", "/v3/models/{model:nobody}", {}),
        ("get", "/v2", {}), ("get", "/v2/models/{model:pass}", {}), ("get", "/v2/models/{model:nobody}", {}),
        ("get", "/v2/models/{model:bad}/ready", {}), ("get", "/v2/models/{model:pass}/versions/{version:1}/ready", {}),
        ("post", "/v2/models/{model:pass}/infer", {"json": {"inputs": [tensor]}}),
        ("post", "/v2/models/{model:pass}/infer", {"json": {}}),
        ("post", "/v2/repository/index", {}), ("get", "/v2/health/live", {}), ("get", "/v2/health/ready", {}),
        ("get", "/v1/config", {}), ("post", "/v1/config/reload", {}), ("post", "/v3/{call:x}", {"json": {"model": "echo"}}),
        ("post", "/v3/{call:x}", {"json": {"model": "nobody"}}), ("post", "/v3/requests/{id:nobody}/cancel", {}),
        ("get", "/v3/requests/{id:nobody}", {}),
        ("get", "/graphs/{model:pass}/snapshot", {}), ("get", "/graphs/{model:bad}/snapshot", {}),
        ("get", "/graphs/{model:pass}/graph.json", {}), ("get", "/graphs/{model:bad}/graph.json", {}),
        ("get", "/graphs/{model:pass}/trace", {}), ("get", "/graphs/{model:nobody}/trace", {}),
        ("get", "/openapi.json", {}),
    ]  # fmt: skip
    statuses = set()
    for method, path, request in asked:
        status, body = await told(client, method, re.sub(r"\{\w+:(\w+)\}", r"\1", path), **request)
        answer = DOCUMENT["paths"][re.sub(r":\w+\}", "}", path)][method]["responses"][str(status)]
        if "$ref" in answer:
            answer = DOCUMENT["components"]["responses"][answer["$ref"].rpartition("/")[2]]
        schema = {**answer["content"]["application/json"]["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(body)
        statuses.add(status)
    assert statuses == {200, 400, 404, 500, 503}  # 500: a reload with a broken graph


async def test_what_is_told_of_graphs_is_in_the_document(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    assert (await told(client, "post", "/v3/x", json={"model": "echo"}))[0] == 200
    schemas = DOCUMENT["components"]["schemas"]
    for path, schema in (("snapshot", "GraphSnapshot"), ("graph.json", "GraphStructure")):
        _, body = await told(client, "get", f"/graphs/echo/{path}")
        assert keys(body) - properties(schemas[schema]) == set()


def keys(value: Any, place: str = "") -> set[str]:
    """Where there is something in a JSON value: ``.nodes[].name``."""
    if isinstance(value, dict):
        return {f"{place}.{key}" for key in value}.union(*(keys(each, f"{place}.{key}") for key, each in value.items()))
    return set().union(*(keys(each, f"{place}[]") for each in value)) if isinstance(value, list) else set()


def properties(schema: Any, place: str = "") -> set[str]:
    """Where a schema describes something, as ``keys`` writes it."""
    described = schema.get("properties", {})
    found = {f"{place}.{key}" for key in described}
    found.update(*(properties(each, f"{place}.{key}") for key, each in described.items()))
    return found | (properties(schema["items"], f"{place}[]") if "items" in schema else set())


async def test_the_document_is_read_without_a_key_and_says_that_others_need_one(serve: Serve) -> None:
    client = await serve(api_key="s3cret")
    status, document = await told(client, "get", "/openapi.json")
    assert (status, document["openapi"], document["security"]) == (200, "3.1.0", [{"key": []}])
    open_to_all = {path for path, methods in document["paths"].items() if methods.get("get", {}).get("security") == []}
    pages = {"/", "/web/{file}", "/graphs", "/graphs/{model}"}
    assert open_to_all == {*pages, "/openapi.json", "/v2/health/live", "/v2/health/ready"}
    for method, path in documented():
        sample = re.sub(r"\{(\w+)\}", "1", path)
        async with client.request(method, sample) as answer:
            assert (answer.status == 401) is (path not in open_to_all), f"{method} {path} gave {answer.status}"
    client = await serve()
    assert (await told(client, "get", "/openapi.json"))[1]["security"] == []
