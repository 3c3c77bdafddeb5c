"""The way out: readiness first, then the doors, and whoever was let in gets an answer."""

from __future__ import annotations

import asyncio
import signal
import socket
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING

from server.keys import DRAIN
from server.serve import let_out
from tests.load.drain import end_under_load
from tests.server.serving import Asker

if TYPE_CHECKING:
    from tests.server.conftest import FakeClock, Gate, Models, Serve, StartServer
    from tests.server.serving import Server

PATH = "/v3/images/generations"
BLOCK = {"model": "block"}


async def _until(condition: Callable[[], bool]) -> None:
    """Return when something has come true on the event loop."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.to_thread(bool)  # a round of the loop


async def test_readiness_goes_first_and_requests_are_taken_until_the_doors_close(
    serve: Serve, models: Models, clock: FakeClock
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(clock=clock, drain_delay_s=5.0)
    closed = asyncio.Event()

    async def door() -> None:
        closed.set()

    client.app[DRAIN].doors.append(door)
    before = await client.get("/v2/health/ready")
    assert (before.status, before.headers.get("Connection")) == (200, None)
    leaving = asyncio.create_task(let_out(client.app))
    await clock.wait_for_sleep(5.0)
    ready = await client.get("/v2/health/ready")
    assert ready.status == 503
    assert (await ready.json())["error"] == "Not ready: the server is shutting down"
    assert (await client.get("/v2/health/live")).status == 200
    answered = await client.post(PATH, json={"model": "echo"})
    assert (answered.status, answered.headers["Connection"]) == (200, "close")
    assert not closed.is_set()
    clock.advance(5.0)
    await leaving
    assert closed.is_set()


async def test_a_shutdown_waits_for_what_runs_and_what_waits(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1, shutdown_grace_s=60.0)
    asked = [asyncio.create_task(client.post(PATH, json=BLOCK)) for _ in range(3)]
    await _until(lambda: client.app[DRAIN].inside == 3)
    await gate.wait_entered()
    closing = asyncio.create_task(client.server.close())
    await _until(lambda: client.app[DRAIN].begun)
    gate.released.set()
    assert [response.status for response in await asyncio.gather(*asked)] == [200, 200, 200]
    await closing


async def test_a_request_whose_body_never_comes_is_told_when_the_grace_is_over(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode()
    )
    await _until(lambda: client.app[DRAIN].inside == 1)
    await client.server.close()
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"shutting_down"' in answer
    writer.close()


def _is_refused(server: Server) -> bool:
    """Whether the server takes no new connection any more."""
    host, port = server.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=30).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_signal_closes_the_port_and_lets_the_running_and_the_waiting_request_end(
    start_server: StartServer, models: Models
) -> None:
    models.add("hold", "Hold")
    server = start_server("--models", str(models.folder), "--runs_per_servable", "1")
    server.first_lines()
    running = Asker(server, {"model": "hold"})
    assert server.line() == "holding"
    waiting = Asker(server, {"model": "hold"})
    while not _waits(server, running=1, waiting=1):
        pass
    server.process.send_signal(signal.SIGTERM)
    while not _is_refused(server):
        pass
    assert server.process.poll() is None
    server.release()
    assert (running.status(), waiting.status()) == (200, 200)
    assert server.process.wait(30) == 0


def _waits(server: Server, running: int, waiting: int) -> bool:
    with urllib.request.urlopen(f"{server.url}/", timeout=30) as page:
        return f"{running} running, {waiting} waiting" in page.read().decode()


def test_a_second_signal_ends_the_server_at_once(start_server: StartServer, models: Models) -> None:
    models.add("hold", "Hold")
    server = start_server("--models", str(models.folder))
    server.first_lines()
    asker = Asker(server, {"model": "hold"})
    assert server.line() == "holding"
    server.process.send_signal(signal.SIGINT)
    while not _is_refused(server):
        pass
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 1
    assert asker.status() == 0


async def test_a_signal_under_load_loses_no_request_that_was_accepted(
    start_server: StartServer, models: Models
) -> None:
    models.add("nap", "Nap")
    server = start_server("--models", str(models.folder))
    await asyncio.to_thread(server.first_lines)
    told = await end_under_load(server, clients=16)
    assert await asyncio.to_thread(server.process.wait, 30) == 0
    assert told.keys() == {"200"}
