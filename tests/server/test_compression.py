"""Compressed bodies at the real server's own connections."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import zlib
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from calculators.http_payload import RequestError
from server.compression import decompress
from server.protocol import Connections, Protocol

if TYPE_CHECKING:
    from tests.server.conftest import Models, StartServer
    from tests.server.serving import Server

ECHO = b'{"model":"echo"}'


def bare(body: bytes) -> bytes:
    """Without the head and the sum of the zlib format, as some clients send what they call deflate."""
    return zlib.compress(body)[2:-4]


def _post(server: Server, body: bytes, *codings: str) -> tuple[int, dict[str, Any]]:
    with closing(http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)) as connection:
        connection.putrequest("POST", "/v3/call")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        for coding in codings:
            connection.putheader("Content-Encoding", coding)
        connection.endheaders(body)
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())


def test_a_real_server_reads_compressed_bodies_and_says_what_is_wrong_with_others(
    start_server: StartServer, models: Models
) -> None:
    models.add("echo", "Echo")
    server = start_server("--models", str(models.folder), "--max_body_bytes", "100000")
    server.first_lines()
    for coding, body in (
        ("gzip", gzip.compress(ECHO)),
        ("GZip", gzip.compress(ECHO[:5]) + gzip.compress(ECHO[5:])),  # RFC 1952 §2.2: members, one after the other
        ("deflate", zlib.compress(ECHO)),
        ("deflate", bare(ECHO)),
        ("identity", ECHO),
    ):
        assert _post(server, body, coding) == (200, {"echo": True})
    for coding, body, status, code in (
        ("gzip", ECHO, 400, "invalid_body"),
        ("gzip", gzip.compress(ECHO)[:-1], 400, "invalid_body"),
        ("gzip", gzip.compress(ECHO) + b"more", 400, "invalid_body"),
        ("deflate", zlib.compress(ECHO)[:-5], 400, "invalid_body"),
        ("deflate", zlib.compress(ECHO) + b"more", 400, "invalid_body"),
        ("gzip", gzip.compress(b" " * 100_001), 413, "request_too_large"),
        ("deflate", zlib.compress(b" " * 100_001), 413, "request_too_large"),
        ("br", ECHO, 415, "unsupported_media_type"),
        ("gzip, gzip", gzip.compress(gzip.compress(ECHO)), 415, "unsupported_media_type"),
    ):
        found, answer = _post(server, body, coding)
        assert (found, answer["error"]["code"]) == (status, code), (coding, body)
    assert _post(server, gzip.compress(gzip.compress(ECHO)), "gzip", "gzip")[0] == 415
    assert "Traceback" not in server.errors()


async def test_a_body_that_nobody_reads_is_not_decompressed() -> None:
    """Whatever is refused before, for want of a key for example, must not cost the event loop a gigabyte."""
    left: list[bytes] = []

    async def refuse(request: web.BaseRequest) -> web.Response:
        left.append(await request.content.readany())  # what the connection throws away after the answer
        return web.Response(status=401)

    server, connections = web.Server(refuse), Connections()
    made = partial(Protocol, server, loop=asyncio.get_running_loop(), connections=connections, access_log=None)
    bomb = gzip.compress(b" " * 1_000_000)
    async with await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        writer.write(head.encode() + bomb)
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()
        await server.shutdown(0)
    assert bomb.startswith(left[0])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_no_more_comes_out_of_a_body_than_the_limit_allows(coding: str) -> None:
    pack = gzip.compress if coding == "gzip" else zlib.compress
    assert decompress(pack(b"x" * 10), coding, 10) == b"x" * 10
    assert decompress(pack(b"x" * 11), coding, 10) is None
    assert decompress(pack(b"x" * 10_000_000), coding, 10) is None
    with pytest.raises(RequestError, match=f"is not {coding}"):
        decompress(b"nothing of the kind", coding, 10)
