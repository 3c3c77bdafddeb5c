"""What becomes of request bodies: every refusal, and the packet of a good one."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientResponse, FormData

from calculators.http_payload import HttpPayload, RequestError
from server.payload import parse_object, wants_stream

if TYPE_CHECKING:
    from tests.server.conftest import Models, Serve

PATH = "/v3/images/generations"
JSON = {"Content-Type": "application/json"}
ACCEPTED = "send the body as application/json, or as multipart/form-data where it has uploads."


async def _error(response: ClientResponse) -> dict[str, Any]:
    error: dict[str, Any] = (await response.json())["error"]
    return error


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Failed to parse JSON: Expecting value at line 1, column 1."),
        (b'{"a": 1', "Failed to parse JSON: Expecting ',' delimiter at line 1, column 8."),
        (b'{"a": 1,\n "b" 2}', "Failed to parse JSON: Expecting ':' delimiter at line 2, column 6."),
        (b'{"a": 1} x', "Failed to parse JSON: Extra data at line 1, column 10."),
        (b'{"a": NaN}', "NaN is not a JSON number."),
        (b'{"a": [-Infinity]}', "-Infinity is not a JSON number."),
        (b'{"a": 1e999}', "The number 1e999 is too large."),
        (b'{"a": "\xff"}', "The body is not UTF-8: byte 8 is 0xff."),
        (b'{"a": "\\ud800"}', "The JSON body has a text with half of a surrogate pair (\\ud800 to \\udfff alone)."),
        (b'{"\\udfff": 1}', "The JSON body has a text with half of a surrogate pair (\\ud800 to \\udfff alone)."),
        (b"[1]", 'JSON body must be an object, such as {"model": "..."}, not an array.'),
        (b"null", 'JSON body must be an object, such as {"model": "..."}, not null.'),
        (b'"text"', 'JSON body must be an object, such as {"model": "..."}, not a string.'),
        (
            b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
            "JSON body exceeds maximum nesting depth: it has more than 100 levels.",
        ),
        (b'{"a": ' + b"[" * 200_000, "JSON body exceeds maximum nesting depth: it has more than 100 levels."),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_the_place(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert (caught.value.message, caught.value.status, caught.value.code) == (message, 400, "invalid_json")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"a": 1, "guidance_scale": 1e400}', "guidance_scale"),
        (b'{"a": [{"b": [-1e400]}], "c": 1}', "a"),
        (b"[1e400]", None),
    ],
)
def test_a_number_that_is_too_large_is_refused_and_its_field_named(body: bytes, param: str | None) -> None:
    with pytest.raises(RequestError, match="1e400 is too large") as caught:
        parse_object(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [(b'{"a": "b", "prompt": "\\ud800"}', "prompt"), (b'{"a": [{"b": "\\udfff"}]}', "a"), (b'{"\\udfff": 1}', None)],
)
def test_half_of_a_surrogate_pair_is_refused_and_its_field_named(body: bytes, param: str | None) -> None:
    with pytest.raises(RequestError, match="half of a surrogate pair") as caught:
        parse_object(body)
    assert caught.value.param == param


def test_a_whole_number_with_thousands_of_digits_is_refused() -> None:
    with pytest.raises(RequestError, match="^Failed to parse JSON: Exceeds the limit") as caught:
        parse_object(b'{"a": ' + b"9" * 5000 + b"}")
    assert caught.value.status == 400


def test_a_key_that_stands_twice_is_refused_and_named() -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(b'{"prompt": "a", "n": 1, "prompt": "b"}')
    assert caught.value.message == "The key 'prompt' stands twice in one JSON object; give it once."
    assert (caught.value.param, caught.value.code) == ("prompt", "invalid_json")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ' + b"[" * 99 + b"]" * 99 + b"}",
        json.dumps({"brackets in a text": "[" * 500}).encode(),
        b"\xef\xbb\xbf" + b'{"with a byte order mark": 1}',
        '{"emoji": "\U0001f600", "pair": "\\ud83d\\ude00"}'.encode(),
        b'{"a": {"x": 1}, "b": {"x": 1}}',
    ],
)
def test_a_good_body_is_taken_as_it_is(body: bytes) -> None:
    assert parse_object(body) == json.loads(body.decode("utf-8-sig"))


async def test_a_graph_gets_uri_headers_and_parsed_body(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.post(
        "/v1/some/call%20here?api-version=2&x=%20", json={"model": "echo", "n": 2}, headers={"User-Agent": "me"}
    )
    assert await response.json() == {
        "uri": "/v1/some/call here?api-version=2&x=%20",
        "json": {"model": "echo", "n": 2},
        "agent": "me",
    }


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=utf8"]
)
async def test_json_is_known_by_its_content_type(serve: Serve, models: Models, content_type: str) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.post(PATH, data=b'{"model":"echo"}', headers={"Content-Type": content_type})
    assert response.status == 200


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("text/plain", "Content-Type 'text/plain' is not accepted; " + ACCEPTED),
        (
            "application/x-www-form-urlencoded",
            "Content-Type 'application/x-www-form-urlencoded' is not accepted; " + ACCEPTED,
        ),
        ("application/json; charset=latin-1", "JSON is UTF-8; charset 'latin-1' is not accepted."),
    ],
)
async def test_another_content_type_is_refused_and_the_accepted_one_named(
    serve: Serve, models: Models, content_type: str, message: str
) -> None:
    client = await serve()
    response = await client.post("/v3/images/edits", data=b"{}", headers={"Content-Type": content_type})
    assert response.status == 415
    assert await _error(response) == {
        "message": message,
        "type": "invalid_request_error",
        "param": None,
        "code": "unsupported_media_type",
    }


async def test_a_request_without_content_type_is_refused(serve: Serve) -> None:
    client = await serve()
    response = await client.post(PATH, data=b"{}", skip_auto_headers=["Content-Type"])
    assert response.status == 415
    assert (await _error(response))["message"] == "The Content-Type header is missing; " + ACCEPTED


async def test_broken_json_is_refused_in_openais_form_with_its_place(serve: Serve) -> None:
    client = await serve()
    response = await client.post(PATH, data=b'{"model": "shapes", "prompt": }', headers=JSON)
    assert response.status == 400
    assert await _error(response) == {
        "message": "Failed to parse JSON: Expecting value at line 1, column 31.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_json",
    }


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (
            {"prompt": "x"},
            'model field is missing in JSON body: give "model" with the name of one; GET /v3/models lists them.',
            "missing_required_parameter",
        ),
        ({"model": 7}, "model field is not a string: it is a number.", "invalid_type"),
        ({"model": None}, "model field is not a string: it is null.", "invalid_type"),
        ({"model": True}, "model field is not a string: it is a boolean.", "invalid_type"),
        ({"model": ["echo"]}, "model field is not a string: it is an array.", "invalid_type"),
        (
            {"model": ""},
            "model is empty, and the address names none: give the name of one; GET /v3/models lists them.",
            "invalid_value",
        ),
    ],
)
async def test_a_request_has_to_name_its_model(serve: Serve, body: dict[str, Any], message: str, code: str) -> None:
    client = await serve()
    response = await client.post(PATH, json=body)
    assert response.status == 400
    assert await _error(response) == {
        "message": message,
        "type": "invalid_request_error",
        "param": "model",
        "code": code,
    }


@pytest.mark.parametrize("value", ["true", 1, {}])
async def test_a_stream_that_is_no_boolean_is_refused_for_every_graph(serve: Serve, models: Models, value: Any) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.post("/v3/chat/completions", json={"model": "echo", "stream": value})
    assert response.status == 400
    error = await _error(response)
    assert (error["param"], error["code"]) == ("stream", "invalid_type")
    assert error["message"].startswith("stream field is not a boolean: it is ")


async def test_a_stream_that_is_null_is_none(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.post("/v3/chat/completions", json={"model": "echo", "stream": None})
    assert (response.status, response.content_type) == (200, "application/json")


async def test_a_body_at_the_limit_is_read_and_one_byte_more_is_refused(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(max_body_bytes=1000)
    body = b'{"model":"echo","x":"' + b"y" * 977 + b'"}'
    assert len(body) == 1000
    assert (await client.post(PATH, data=body, headers=JSON)).status == 200
    response = await client.post(PATH, data=body + b" ", headers=JSON)
    assert response.status == 413
    assert await _error(response) == {
        "message": "The body is larger than 1000 bytes, the most that this server reads.",
        "type": "invalid_request_error",
        "param": None,
        "code": "request_too_large",
    }


async def test_a_body_of_unknown_length_is_held_to_the_limit_too(serve: Serve) -> None:
    client = await serve(max_body_bytes=1000)

    async def chunks() -> Any:
        for _ in range(20):
            yield b" " * 100

    assert (await client.post(PATH, data=chunks(), headers=JSON)).status == 413


async def test_the_limit_counts_what_comes_out_of_a_compressed_body(serve: Serve) -> None:
    client = await serve(max_body_bytes=10_000)
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 10_000
    response = await client.post(PATH, data=bomb, headers=JSON | {"Content-Encoding": "gzip"})
    assert response.status == 413


async def test_a_compressed_body_is_read(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    body = gzip.compress(b'{"model":"echo"}')
    assert (await client.post(PATH, data=body, headers=JSON | {"Content-Encoding": "gzip"})).status == 200


async def test_a_body_with_damaged_compression_is_refused(serve: Serve) -> None:
    client = await serve()
    response = await client.post(PATH, data=b"this is no gzip", headers=JSON | {"Content-Encoding": "gzip"})
    assert response.status == 400
    assert (await _error(response))["code"] == "invalid_body"


async def test_a_large_body_is_parsed_like_a_small_one(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    body = {"model": "echo", "text": "y" * 600_000}
    response = await client.post(PATH, json=body)
    assert (await response.json())["json"] == body
    refused = await client.post(PATH, data=b"[" + b"1," * 200_000 + b"1]", headers=JSON)
    assert (refused.status, (await _error(refused))["code"]) == (400, "invalid_json")


# ---- uploads


async def test_a_multipart_body_arrives_as_parts(serve: Serve, models: Models) -> None:
    models.add("parts", "HttpParts")
    client = await serve()
    for size in (10, 3_000_000):
        form = FormData()
        form.add_field("model", "parts")
        form.add_field("image[]", io.BytesIO(bytes(size)), filename="a.png", content_type="image/png")
        response = await client.post("/v1/images/edits", data=form)
        told = await response.json()
        assert told["parts"][0][::3] == ["model", 5]
        assert told["parts"][1] == ["image[]", "a.png", "image/png", size]
        assert (told["body"], told["json"]) == (0, None)


@pytest.mark.parametrize(
    ("model", "param", "code"),
    [
        (None, "model", "missing_required_parameter"),
        ("", "model", "invalid_value"),
        ("nobody", "model", "model_not_found"),
    ],
)
async def test_a_multipart_body_names_its_model_too(serve: Serve, model: str | None, param: str, code: str) -> None:
    client = await serve()
    form = FormData({"prompt": "x"}, default_to_multipart=True)
    if model is not None:
        form.add_field("model", model)
    error = await _error(await client.post("/v1/images/edits", data=form))
    assert (error["param"], error["code"]) == (param, code)


async def test_a_broken_multipart_body_is_refused_in_openais_form(serve: Serve) -> None:
    client = await serve()
    response = await client.post(
        "/v1/images/edits", data=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert response.status == 400
    assert await _error(response) == {
        "message": "Failed to parse multipart data: part 1 does not end: the body broke off, or lacks its closing boundary.",
        "type": "invalid_request_error",
        "param": None,
        "code": "invalid_multipart",
    }


async def test_a_multipart_body_is_held_to_the_limit(serve: Serve) -> None:
    client = await serve(max_body_bytes=1000)
    form = FormData()
    form.add_field("image", io.BytesIO(bytes(2000)), filename="a.png")
    assert (await client.post("/v1/images/edits", data=form)).status == 413


@pytest.mark.parametrize(("text", "streams"), [("true", True), ("false", False), ("True", False), ("", False)])
def test_a_multipart_body_asks_for_a_stream_in_a_part(text: str, streams: bool) -> None:
    assert wants_stream(HttpPayload.multipart("/v3/images/edits", {"stream": text}, [])) is streams
