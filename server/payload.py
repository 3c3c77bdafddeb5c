"""An aiohttp request -> the HttpPayload packet that graphs take; every refusal says what was expected."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web

from calculators.http_payload import Headers, HttpPayload, Part, RequestError
from server.compression import coding_of, decompress
from server.multipart import parse_multipart
from server.settings import Settings

MAX_DEPTH: Final = 100  # as OVMS
MULTIPART: Final = "multipart/form-data"
JSON: Final = "application/json"
_LARGE_BYTES: Final = 32 * 1024  # from this size on parsing may hold up the event loop for some milliseconds
_OPENING: Final = (b"[", b"{")
_HOST: Final = re.compile(r"[A-Za-z0-9._~-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")

T = TypeVar("T")


async def read_payload(
    request: web.Request, uri: str, settings: Settings, addressed: str | None
) -> tuple[str, HttpPayload]:
    """Read and parse a request for a graph.

    Args:
        request: the request.
        uri: the path without any mount prefix, such as ``/v3/images/generations``.
        settings: how large the body may be after decompression and how long it may take, and whether there is a proxy.
        addressed: the model that the path names, if it names one: it counts where the body does not choose, that is where
            ``model`` is empty, a multipart body has none, or the body is something else. JSON and multipart bodies then look as
            if they had named it. Source: OVMS, routing of /v3.

    Returns:
        The name of the model, and the packet.

    Raises:
        RequestError: 415 for a body that is neither JSON nor multipart by its Content-Type where the path names no model, 413 or
            408 by :func:`read_body`, 400 for one that is not a JSON object without duplicate keys, at most 100 levels deep, or no
            multipart body that is whole; 400 for one that names no model, or whose ``stream`` is not a boolean.
    """
    content_type = _content_type(request, any_type=addressed is not None)
    body = await read_body(request, settings)
    query = request.rel_url.raw_query_string
    address = f"{uri}?{query}" if query else uri
    headers, base = Headers(request.headers.items()), base_url(request, uri, settings.trust_forwarded_headers)
    if content_type == MULTIPART:
        parts = await _off_loop(body, lambda: parse_multipart(body, headers["Content-Type"]))
        models = [_text(part) for part in parts if part.name == "model"]
        if len(models) > 1:
            _refuse("model field is given twice; give it once.", "invalid_value", "model")
        given = models[0] if models else ""
        if not given:
            given = _addressed(addressed, "multipart", is_empty=bool(models))
            parts = (*(part for part in parts if part.name != "model"), Part("model", given.encode()))
        return given, HttpPayload(address, headers, parts=parts, base_url=base)  # the body lives on in its parts alone
    if content_type != JSON:
        assert addressed is not None, "another type is refused without it"
        return addressed, HttpPayload(address, headers, body, base_url=base)
    parsed = await _off_loop(body, lambda: parse_object(body))
    stream = parsed.get("stream")
    if stream is not None and not isinstance(stream, bool):
        _refuse(f"stream field is not a boolean: it is {_kind(stream)}.", "invalid_type", "stream")
    model = parsed.get("model", "")
    if not isinstance(model, str):
        _refuse(f"model field is not a string: it is {_kind(model)}.", "invalid_type", "model")
    if not model:
        model = _addressed(addressed if "model" in parsed else None, "JSON", is_empty="model" in parsed)
        parsed["model"] = model
        body = json.dumps(parsed, ensure_ascii=False).encode()
    return model, HttpPayload(address, headers, body, parsed, base_url=base)


def _addressed(addressed: str | None, where: str, *, is_empty: bool) -> str:
    """The model of a body that names none."""
    if addressed is None:
        if is_empty:
            what, code = "model is empty, and the address names none: give", "invalid_value"
        else:
            what, code = f'model field is missing in {where} body: give "model" with', "missing_required_parameter"
        _refuse(f"{what} the name of one; GET /v3/models lists them.", code, "model")
    return addressed


def base_url(request: web.Request, uri: str, trust_forwarded_headers: bool) -> str:
    """How the client reaches this server: scheme, host and mount prefix, without a slash at the end.

    The host is that of the Host header. What a proxy says in X-Forwarded-Proto and X-Forwarded-Host counts only where the
    operator has said that there is a proxy: any client can write these headers.

    Args:
        request: the request.
        uri: its path without any mount prefix.
        trust_forwarded_headers: whether a proxy in front sets them.
    """
    scheme, host = request.scheme, request.host
    if trust_forwarded_headers:  # of several proxies the first in the list is the one that the client spoke to
        scheme = request.headers.get("X-Forwarded-Proto", scheme).partition(",")[0].strip().lower()
        host = request.headers.get("X-Forwarded-Host", host).partition(",")[0].strip()
    if not _HOST.fullmatch(host):
        host = "localhost"
    return f"{'https' if scheme == 'https' else 'http'}://{host}{request.path.removesuffix(uri)}"


async def _off_loop(body: bytes, parse: Callable[[], T]) -> T:
    """Parse, on a thread if that would hold up the event loop."""
    return parse() if len(body) < _LARGE_BYTES else await asyncio.to_thread(parse)


def wants_stream(payload: HttpPayload) -> bool:
    """Whether a request asks for a stream of events, in the way of the OpenAI API."""
    if payload.parts:
        return any(part.name == "stream" and part.data == b"true" for part in payload.parts)
    return isinstance(payload.parsed_json, dict) and payload.parsed_json.get("stream") is True


def _text(part: Part) -> str:
    try:
        return part.data.decode()
    except UnicodeDecodeError:
        _refuse(f"{part.name} field is not UTF-8 text.", "invalid_value", part.name)


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
        _refuse(f"Failed to parse JSON: {error.msg} at line {error.lineno}, column {error.colno}.", "invalid_json")
    except RecursionError:
        too_deep = True
    except ValueError as error:  # a whole number with thousands of digits
        _refuse(f"Failed to parse JSON: {error}.", "invalid_json")
    if too_deep:
        _refuse(f"JSON body exceeds maximum nesting depth: it has more than {MAX_DEPTH} levels.", "invalid_json")
    if too_large:
        _refuse(f"The number {too_large[0][:40]} is too large.", "invalid_json", _field_with_infinity(parsed))
    if not isinstance(parsed, dict):
        _refuse(f'JSON body must be an object, such as {{"model": "..."}}, not {_kind(parsed)}.', "invalid_json")
    if b"\\u" in body and not _is_unicode(parsed):
        _refuse(
            "The JSON body has a text with half of a surrogate pair (\\ud800 to \\udfff alone).",
            "invalid_json",
            next((name[:100] for name, value in parsed.items() if _is_unicode(name) and not _is_unicode(value)), None),
        )
    return parsed


def _is_unicode(value: Any) -> bool:
    """Whether all texts in a JSON value are Unicode: half of a surrogate pair is none."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _content_type(request: web.Request, *, any_type: bool) -> str:
    accepted = "send the body as application/json, or as multipart/form-data where it has uploads"
    given = request.headers.get("Content-Type")
    if any_type and request.content_type not in (MULTIPART, JSON):
        return request.content_type
    if given is None:
        raise RequestError(
            f"The Content-Type header is missing; {accepted}.", status=415, code="unsupported_media_type"
        )
    if request.content_type == MULTIPART:
        return MULTIPART
    if request.content_type != JSON:
        raise RequestError(
            f"Content-Type {given[:100]!r} is not accepted; {accepted}.", status=415, code="unsupported_media_type"
        )
    if (request.charset or "utf-8").lower().replace("_", "-") not in ("utf-8", "utf8", "us-ascii"):
        raise RequestError(
            f"JSON is UTF-8; charset {request.charset!r} is not accepted.", status=415, code="unsupported_media_type"
        )
    return request.content_type


async def read_body(request: web.Request, settings: Settings) -> bytes:
    """The body of a request, decompressed.

    Raises:
        RequestError: 413; it is larger than ``max_body_bytes``. 408; it took longer than ``body_timeout_s`` to arrive. 415 or 400;
            it is compressed in a way that is not known, or damaged.
    """
    limit, coding = settings.max_body_bytes, coding_of(request)
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = body_at_hand(request, settings)
    if body is None and coding is None and _was_read(request):
        body = await request.read()  # as the host application has kept it
        if len(body) > limit:
            raise _too_large(limit)
    if body is not None:
        return body
    chunks, size = [], 0
    try:
        async with asyncio.timeout(settings.body_timeout_s or None):
            async for chunk in request.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise RequestError(
            f"The body took longer than {settings.body_timeout_s:g} seconds to arrive; {size} bytes of it came.",
            status=408,
            code="body_timeout",
        ) from None
    whole = b"".join(chunks)
    if coding is None:
        return whole
    opened = await asyncio.to_thread(decompress, whole, coding, limit)
    if opened is None:
        raise _too_large(limit)
    return opened


def body_at_hand(request: web.Request, settings: Settings) -> bytes | None:
    """The body of a request if all of it has arrived already, as most have; else None, and nothing is read.

    None too for one that is to be decompressed, or that a host application has read.

    Raises:
        RequestError: 413; it is larger than ``max_body_bytes``. 415; it is compressed in a way that is not known.
    """
    # Not request.read(): its limit is that of the application at the root, and we may be mounted in another one's.
    if not request.content.is_eof() or coding_of(request) is not None or _was_read(request):
        return None
    body = request.content.read_nowait()
    if len(body) > settings.max_body_bytes:
        raise _too_large(settings.max_body_bytes)
    return body


def _was_read(request: web.Request) -> bool:
    """Whether somebody, such as a middleware of a host application, has read the body of a request before us."""
    return request.body_exists and request.content.at_eof()


def _too_large(limit: int) -> RequestError:
    return RequestError(
        f"The body is larger than {limit} bytes, the most that this server reads.", status=413, code="request_too_large"
    )


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
