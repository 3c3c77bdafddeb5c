"""An aiohttp request -> the HttpPayload packet that graphs take; every refusal says what was expected."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from aiohttp import web

from calculators.http_payload import Headers, HttpPayload, RequestError

MAX_DEPTH: Final = 100  # as OVMS
_LARGE_BYTES: Final = 32 * 1024  # from this size on parsing may hold up the event loop for some milliseconds
_OPENING: Final = (b"[", b"{")


async def read_payload(request: web.Request, uri: str, max_body_bytes: int) -> HttpPayload:
    """Read and parse a request for a graph.

    Args:
        request: the request; its body has not been read.
        uri: the path without any mount prefix, such as ``/v3/images/generations``.
        max_body_bytes: the largest body, after decompression.

    Raises:
        RequestError: 415 for a body that is not JSON by its Content-Type, 413 for one that is too large, 400 for one that
            is not a JSON object without duplicate keys, at most 100 levels deep.
    """
    _check_content_type(request)
    body = await _read_body(request, max_body_bytes)
    if len(body) < _LARGE_BYTES:
        parsed = parse_object(body)
    else:
        parsed = await asyncio.to_thread(parse_object, body)
    query = request.rel_url.raw_query_string
    return HttpPayload(f"{uri}?{query}" if query else uri, Headers(request.headers.items()), body, parsed)


def model_of(payload: HttpPayload) -> str:
    """The model that a request names.

    Raises:
        RequestError: 400; there is none, or it is not a string.
    """
    parsed: Any = payload.parsed_json
    if "model" not in parsed:
        _refuse(
            'The model is missing: give "model" with the name of one; GET /v3/models lists them.',
            "missing_required_parameter",
            "model",
        )
    model = parsed["model"]
    if not isinstance(model, str):
        _refuse(f"model has to be a string, not {_kind(model)}.", "invalid_type", "model")
    if not model:
        _refuse("model is empty: give the name of one; GET /v3/models lists them.", "invalid_value", "model")
    return model


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, checked as :func:`read_payload` says."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(f"The body is not UTF-8: byte {error.start + 1} is 0x{body[error.start]:02x}.", "invalid_json")
    too_large: list[str] = []

    def number(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            too_large.append(digits)
        return value

    try:
        parsed = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=number
        )
        too_deep = sum(map(body.count, _OPENING)) > MAX_DEPTH and _depth(parsed) > MAX_DEPTH
    except RequestError:
        raise
    except json.JSONDecodeError as error:
        _refuse(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.", "invalid_json"
        )
    except RecursionError:
        too_deep = True
    except ValueError as error:  # a whole number with thousands of digits
        _refuse(f"The body is not valid JSON: {error}.", "invalid_json")
    if too_deep:
        _refuse(f"The JSON body is more than {MAX_DEPTH} levels deep.", "invalid_json")
    if too_large:
        _refuse(f"The number {too_large[0][:40]} is too large.", "invalid_json", _field_with_infinity(parsed))
    if not isinstance(parsed, dict):
        _refuse(f'The JSON body has to be an object, such as {{"model": "..."}}, not {_kind(parsed)}.', "invalid_json")
    if b"\\u" in body:
        try:
            json.dumps(parsed, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            _refuse(
                "The JSON body has a text with half of a surrogate pair (\\ud800 to \\udfff alone).", "invalid_json"
            )
    return parsed


def _check_content_type(request: web.Request) -> None:
    accepted = "send the body as application/json"
    given = request.headers.get("Content-Type")
    if given is None:
        raise RequestError(
            f"The Content-Type header is missing; {accepted}.", status=415, code="unsupported_media_type"
        )
    if request.content_type == "multipart/form-data":
        raise RequestError(
            f"This server does not read multipart/form-data yet, so it cannot take uploaded pictures; {accepted}.",
            status=415,
            code="unsupported_media_type",
        )
    if request.content_type != "application/json":
        raise RequestError(
            f"Content-Type {given[:100]!r} is not accepted; {accepted}.", status=415, code="unsupported_media_type"
        )
    if (request.charset or "utf-8").lower().replace("_", "-") not in ("utf-8", "utf8", "us-ascii"):
        raise RequestError(
            f"JSON is UTF-8; charset {request.charset!r} is not accepted.", status=415, code="unsupported_media_type"
        )


async def _read_body(request: web.Request, limit: int) -> bytes:
    # Not request.read(): its limit is that of the application at the root, and we may be mounted in another one's.
    too_large = RequestError(
        f"The body is larger than {limit} bytes, the most that this server reads.", status=413, code="request_too_large"
    )
    if (request.content_length or 0) > limit:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise too_large
    return b"".join(chunks)


def _refuse(message: str, code: str, param: str | None = None) -> NoReturn:
    raise RequestError(message, status=400, param=param, code=code)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        _refuse(f"The key {twice[:100]!r} stands twice in one JSON object; give it once.", "invalid_json", twice[:100])
    return made


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a JSON number.", "invalid_json")


def _field_with_infinity(parsed: Any) -> str | None:
    """The field of the body that holds a number which is too large, however deep inside."""
    pending: list[tuple[str, Any]] = list(parsed.items()) if isinstance(parsed, dict) else []
    for name, value in pending:
        if isinstance(value, float) and math.isinf(value):
            return name[:100]
        if isinstance(value, (dict, list)):
            pending += [(name, inner) for inner in _inside(value)]
    return None


def _depth(parsed: Any) -> int:
    """How many containers are inside one another; without recursion."""
    depth, level = 0, [parsed]
    while level := [each for each in level if isinstance(each, (dict, list))]:
        depth += 1
        level = [inner for each in level for inner in _inside(each)]
    return depth


def _inside(container: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _kind(value: object) -> str:
    """The JSON name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {str: "a string", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return kinds[type(value)]
