"""Connections whose clients send slowly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from aiohttp import web

from server import protocol
from server.protocol import Connections, Protocol

HEAD = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def _serving(connections: Connections) -> AsyncIterator[int]:
    """A server that says 200 to everything; gives its port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response()

    loop = asyncio.get_running_loop()
    server = web.Server(answer)
    made = partial(Protocol, server, loop=loop, connections=connections, access_log=None)
    async with await loop.create_server(made, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]
        await server.shutdown(0)
    await connections.wait_none_left(20)
    assert len(connections) == 0


@pytest.mark.parametrize("sent", [b"", HEAD, b"GE"], ids=["nothing", "half a head", "half a word"])
async def test_a_client_that_does_not_send_its_head_in_time_is_dropped_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    async with _serving(Connections()) as port:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        idle_writer.write(HEAD + b"\r\n")
        assert await idle_reader.readline() == b"HTTP/1.1 200 OK\r\n"
        slow_reader, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        slow_writer.write(sent)
        assert await asyncio.wait_for(slow_reader.read(), 20) == b""  # later than HEAD_S after the other's last request
        await idle_reader.readuntil(b"\r\n\r\n")
        idle_writer.write(HEAD + b"\r\n")
        assert await idle_reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for writer in (idle_writer, slow_writer):
            writer.close()
    assert caplog.text.count("took more than 0.05 s to send the head of a request") == 1


async def test_a_head_that_comes_in_pieces_but_in_time_is_answered() -> None:
    async with _serving(Connections()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in HEAD + b"\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_when_the_server_leaves_a_body_on_its_way_is_read_to_its_end_and_idle_connections_are_closed_at_once() -> (
    None
):
    entered = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        entered.set()
        response = web.Response(body=await request.read())
        response.force_close()  # as every answer of a server that leaves
        return response

    server, connections = web.Server(answer), Connections()
    made = partial(Protocol, server, loop=asyncio.get_running_loop(), connections=connections, access_log=None)
    async with await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nfir")
        await entered.wait()
        server.pre_shutdown()
        assert await asyncio.wait_for(idle_reader.read(), 20) == b""
        writer.write(b"st")
        await writer.drain()
        writer.write(b"!")
        assert (await asyncio.wait_for(reader.read(), 20)).endswith(b"\r\n\r\nfirst!")
        for each in (idle_writer, writer):
            each.close()
        await server.shutdown(0)
