"""Compressed bodies of requests (Content-Encoding; RFC 9110 §8.4).

Ours and not aiohttp's: that decompresses on the event loop, also what nobody reads, and a megabyte can become a gigabyte.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Final

from aiohttp import web

from calculators.http_payload import RequestError
from server.protocol import Protocol

_SAME: Final = {"": None, "identity": None, "gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


def coding_of(request: web.Request) -> str | None:
    """How the body of a request is compressed, as it comes from its connection: ``gzip``, ``deflate`` or None.

    None too where a host application's connection has decompressed it already.

    Raises:
        RequestError: 415; it is something else, or several codings.
    """
    if "Content-Encoding" not in request.headers or not isinstance(request.protocol, Protocol):
        return None
    given = ", ".join(request.headers.getall("Content-Encoding")).strip().lower()
    if given not in _SAME:
        raise RequestError(
            f"Content-Encoding {given[:100]!r} is not accepted; compress the body with gzip or deflate, once, or not at all.",
            status=415,
            code="unsupported_media_type",
        )
    return _SAME[given]


def decompress(body: bytes, coding: str, limit: int) -> bytes | None:
    """What is in a compressed body; None if it is more than so many bytes.

    Raises:
        RequestError: 400; it is damaged, or breaks off.
    """
    try:
        opened = _gunzip(body, limit) if coding == "gzip" else _inflate(body, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise RequestError(f"The body is not {coding}: {error}.", code="invalid_body") from None
    return None if len(opened) > limit else opened


def _gunzip(body: bytes, limit: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
        return file.read(limit + 1)


def _inflate(body: bytes, limit: int) -> bytes:
    # "deflate" is the zlib format; some clients send the bare one, which cannot begin like that.
    bare = bool(body) and body[0] & 0x0F != 8
    inflater = zlib.decompressobj(-zlib.MAX_WBITS if bare else zlib.MAX_WBITS)
    opened = inflater.decompress(body, limit + 1)
    if len(opened) <= limit and not inflater.eof:
        raise EOFError("it breaks off")
    if inflater.unused_data:
        raise EOFError("more bytes follow its end")
    return opened
