"""Who may end a run before its time: a client that leaves, an operator, a shutdown."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from server.keys import BACKEND, SERVABLES

if TYPE_CHECKING:
    from tests.server.conftest import Client, Gate, Models, Serve

PATH = "/v3/images/generations"
BLOCK = {"model": "block"}


async def _until_busy(client: Client, running: int, waiting: int, name: str = "block") -> None:
    """Return when the servable is as busy as that; each look lets the event loop go round."""
    handle = client.app[SERVABLES].find(name).handle
    assert handle is not None
    async with asyncio.timeout(20):
        while client.app[BACKEND].occupancy(handle) != (running, waiting):
            await client.get("/v2/health/live")


async def test_a_client_that_leaves_cancels_its_run(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve()
    asked = asyncio.create_task(client.post(PATH, json=BLOCK))
    await gate.wait_entered()
    asked.cancel()
    await gate.wait_cancelled()
    await _until_busy(client, 0, 0)


async def test_a_client_that_breaks_the_connection_cancels_its_run(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve()
    _, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        b"POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b'Content-Length: 17\r\n\r\n{"model":"block"}'
    )
    await writer.drain()
    await gate.wait_entered()
    writer.transport.abort()
    await gate.wait_cancelled()


async def test_a_client_that_leaves_while_it_waits_never_starts_a_run(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1)
    first = asyncio.create_task(client.post(PATH, json=BLOCK))
    await gate.wait_entered()
    second = asyncio.create_task(client.post(PATH, json=BLOCK))
    await _until_busy(client, 1, 1)
    second.cancel()
    await _until_busy(client, 1, 0)
    gate.released.set()
    assert (await first).status == 200
    assert gate.entries == 1
    assert (await client.post(PATH, json=BLOCK)).status == 200  # its slot was not lost


@pytest.mark.parametrize("waiting", [False, True], ids=["running", "waiting"])
async def test_a_run_can_be_cancelled_by_its_request_id(
    serve: Serve, models: Models, gate: Gate, waiting: bool
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1)
    asked = [asyncio.create_task(client.post(PATH, json=BLOCK, headers={"x-request-id": "first"}))]
    await gate.wait_entered()
    asked.append(asyncio.create_task(client.post(PATH, json=BLOCK, headers={"x-request-id": "second"})))
    await _until_busy(client, 1, 1)
    cancelled = await client.post(f"/v1/requests/{'second' if waiting else 'first'}/cancel")
    assert cancelled.status == 200
    assert await cancelled.json() == {
        "id": "second" if waiting else "first",
        "object": "request",
        "status": "cancelled",
    }
    response = await asked[waiting]
    assert response.status == 499
    assert (await response.json())["error"] == {
        "message": "The request was cancelled: this was asked for by its id.",
        "type": "request_cancelled",
        "param": None,
        "code": "request_cancelled",
    }
    gate.released.set()
    assert (await asked[not waiting]).status == 200


async def test_cancelling_a_request_that_nobody_knows_is_404(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    done = await client.post(PATH, json={"model": "echo"})
    response = await client.post(f"/v3/requests/{done.headers['x-request-id']}/cancel")
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "request_not_found"


async def test_a_request_can_be_cancelled_by_its_id_while_its_model_loads(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False)
    await gate.wait_entered()
    asked = asyncio.create_task(client.post(PATH, json={"model": "slow"}, headers={"x-request-id": "mine"}))
    async with asyncio.timeout(20):
        while (await client.post("/v3/requests/mine/cancel")).status == 404:
            pass  # it is still on its way
    response = await asked
    assert response.status == 499
    assert (await response.json())["error"]["code"] == "request_cancelled"


async def test_ids_that_the_server_makes_do_not_tell_those_of_others(serve: Serve) -> None:
    client = await serve()
    ids = [(await client.get("/v2/health/live")).headers["x-request-id"] for _ in range(20)]
    assert len(set(ids)) == 20
    digits = [each.removeprefix("req_") for each in ids]
    # Two ids of a counter would share nearly all digits; those of unrelated ones agree in one of sixteen.
    alike = [sum(a == b for a, b in zip(one, other, strict=True)) for one, other in itertools.pairwise(digits)]
    assert max(alike) < len(digits[0]) / 2


async def test_a_shutdown_cancels_what_runs_and_what_waits_and_tells_the_clients(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1)
    asked = [asyncio.create_task(client.post(PATH, json=BLOCK)) for _ in range(2)]
    await gate.wait_entered()
    await _until_busy(client, 1, 1)
    await client.server.close()
    await gate.wait_cancelled()
    for response in await asyncio.gather(*asked):
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
        assert (await response.json())["error"] == {
            "message": "The request was cancelled: the server is shutting down.",
            "type": "server_error",
            "param": None,
            "code": "shutting_down",
        }


async def test_a_run_that_ignores_its_cancellation_does_not_hold_up_a_shutdown(
    serve: Serve, models: Models, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("stubborn", "HttpStubborn")
    client = await serve(cancel_grace_s=0.01)
    asked = asyncio.create_task(client.post(PATH, json={"model": "stubborn"}))
    await gate.wait_entered()
    await client.server.close()
    assert (await asked).status == 503
    assert "stubborn: 1 run(s) did not end in time" in caplog.text


async def test_a_shutdown_does_not_wait_for_a_model_that_is_loading(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False)
    await gate.wait_entered()
    await client.server.close()  # the test's time limit is the assertion: the gate is still closed
    assert client.app[SERVABLES].find("slow").handle is None
