"""HttpPayload, its headers, and the error that a client sees."""

from __future__ import annotations

import pickle

import pytest

from calculators import HttpPayload, RequestError
from calculators.http_payload import Headers, Part, parse_json


def test_json_makes_a_post_request_as_a_client_would_send_it() -> None:
    payload = HttpPayload.json("/v3/images/generations", {"prompt": "a cat", "n": 2})
    assert payload.uri == "/v3/images/generations"
    assert payload.headers["content-type"] == "application/json"
    assert payload.body == b'{"prompt": "a cat", "n": 2}'
    assert payload.parsed_json == {"prompt": "a cat", "n": 2}
    assert payload.parts == ()


def test_json_keeps_no_reference_to_the_callers_object() -> None:
    body = {"prompt": "a cat"}
    payload = HttpPayload.json("/x", body)
    body["prompt"] = "a dog"
    assert payload.parsed_json == {"prompt": "a cat"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_numbers_that_json_does_not_have(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        HttpPayload.json("/x", {"guidance_scale": value})


def test_header_names_compare_without_case_and_keep_their_spelling() -> None:
    headers = Headers({"X-Request-ID": "7", "Accept": "image/png"})
    assert headers["x-request-id"] == headers["X-REQUEST-ID"] == "7"
    assert "accept" in headers
    assert list(headers) == ["X-Request-ID", "Accept"]
    assert len(headers) == 2
    with pytest.raises(KeyError):
        headers["authorization"]


def test_values_of_a_repeated_header_are_joined() -> None:
    assert Headers([("Accept", "a"), ("accept", "b")])["ACCEPT"] == "a, b"


def test_any_mapping_of_headers_becomes_one_without_case() -> None:
    assert HttpPayload("/x", {"Content-Type": "text/plain"}).headers["content-type"] == "text/plain"


def test_payload_and_error_survive_pickling() -> None:
    payload = HttpPayload("/x", {"A": "b"}, b"body", {"k": [1]}, (Part("image", b"png", "cat.png", "image/png"),))
    assert pickle.loads(pickle.dumps(payload)) == payload
    error = RequestError("no", status=429, type="server_error", param="n", code="c", headers=[("retry-after", "1")])
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.details()) == (error.message, error.details())
    assert again.headers == (("retry-after", "1"),)


def test_payload_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        HttpPayload("/x").uri = "/y"  # type: ignore[misc]  # that is the point


def test_repr_shows_neither_prompts_nor_secrets() -> None:
    payload = HttpPayload(
        "/x",
        {"Authorization": "Bearer hush"},
        b'{"prompt": "private"}',
        {"prompt": "private"},
        (Part("image", b"private"),),
    )
    assert "private" not in repr(payload)
    assert "hush" not in repr(payload)
    assert "private" not in repr(payload.parts[0])


def test_json_object_reads_the_body_when_nobody_has_parsed_it() -> None:
    assert HttpPayload("/x", body=b'{"prompt": "a"}').json_object() == {"prompt": "a"}


@pytest.mark.parametrize("body", [b"[1]", b"3", b'"text"', b"null", b"true"])
def test_json_object_refuses_other_json_values(body: bytes) -> None:
    with pytest.raises(RequestError, match="JSON body must be an object") as caught:
        HttpPayload("/x", body=body).json_object()
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"\xff\xfe\xfa",
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "cut", "quotes", "nan", "infinity", "bytes", "deep", "digits"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="Failed to parse JSON") as caught:
        parse_json(body)
    assert (caught.value.status, caught.value.code) == (400, "invalid_json")


def test_error_body_has_the_form_of_the_openai_api() -> None:
    error = RequestError("too many", param="n", code="integer_above_max_value")
    assert error.body() == {
        "error": {
            "message": "too many", "type": "invalid_request_error", "param": "n", "code": "integer_above_max_value"
        }
    }  # fmt: skip
    assert str(error) == "too many"
