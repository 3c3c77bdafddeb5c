"""How long a request may take, by the server and by its own header, wherever it is when its time is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.server.conftest import FakeClock, Gate, Models, Serve

PATH = "/v3/images/generations"
BLOCK = {"model": "block"}


@pytest.mark.parametrize(
    ("allowed_s", "asked", "limit_s"),
    [(30.0, "2.5", 2.5), (30.0, "300", 30.0), (0.0, "7", 7.0)],
    ids=["shorter", "longer than the server allows", "of a server without a limit"],
)
async def test_a_request_can_ask_for_less_time_than_the_server_allows(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate, allowed_s: float, asked: str, limit_s: float
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(clock=clock, request_timeout_s=allowed_s)
    asking = asyncio.create_task(client.post(PATH, json=BLOCK, headers={"x-request-timeout-s": asked}))
    await gate.wait_entered()
    clock.advance(limit_s)
    response = await asking
    assert response.status == 504
    assert f"longer than {limit_s:g} seconds" in (await response.json())["error"]["message"]
    await gate.wait_cancelled()


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan", "5s", ""])
async def test_a_time_that_is_none_is_refused(serve: Serve, models: Models, text: str) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.post(PATH, json={"model": "echo"}, headers={"x-request-timeout-s": text})
    assert response.status == 400
    error = (await response.json())["error"]
    assert error["param"] == "x-request-timeout-s"
    assert repr(text) in error["message"]


async def test_the_time_that_a_body_takes_to_arrive_counts(serve: Serve, models: Models, clock: FakeClock) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(clock=clock, request_timeout_s=30.0)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode()
    )
    await clock.wait_for_sleep(30.0)
    clock.advance(30.0)
    assert (await reader.readline()).split()[1] == b"504"
    writer.close()


async def test_a_body_that_does_not_come_is_given_up(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(body_timeout_s=0.05)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"408"
    assert b"took longer than 0.05 seconds to arrive; 1 bytes of it came." in await reader.readuntil(b"}}")
    writer.close()


async def test_the_time_that_a_model_takes_to_load_counts(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate
) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False, clock=clock, request_timeout_s=30.0)
    await gate.wait_entered()
    asked = asyncio.create_task(client.post(PATH, json={"model": "slow"}))
    await clock.wait_for_sleep(30.0)
    clock.advance(30.0)
    assert (await asked).status == 504


async def test_a_run_gets_what_its_body_left_of_the_time(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(clock=clock, request_timeout_s=30.0)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    body = b'{"model":"block"}'
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:5])
    await clock.wait_for_sleep(30.0)
    clock.advance(10.0)
    writer.write(body[5:])
    await gate.wait_entered()
    await clock.wait_for_sleep(20.0)
    clock.advance(20.0)
    assert (await reader.readline()).split()[1] == b"504"
    writer.close()


async def test_a_model_has_a_time_of_its_own_in_the_config_file(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    (models.folder / "config.json").write_text('{"graph_runtime": {"models": {"block": {"request_timeout_s": 4}}}}')
    client = await serve(clock=clock)
    asked = asyncio.create_task(client.post(PATH, json=BLOCK))
    await gate.wait_entered()
    await clock.wait_for_sleep(4.0)
    clock.advance(4.0)
    assert (await asked).status == 504
