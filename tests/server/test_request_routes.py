"""How far a request is, by its id: while it arrives, waits and runs, and once it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from server.app import build_app
from server.keys import BACKEND, SERVABLES
from server.settings import Settings

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

    from tests.server.conftest import Client, Gate, Models, Serve

PATH = "/v3/images/generations"


async def _ask(client: Client, request_id: str, model: str = "steps", **fields: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(client.post(PATH, json={"model": model, **fields}, headers={"x-request-id": request_id}))


async def _progress(client: Client, request_id: str, version: str = "v3") -> dict[str, Any]:
    response = await client.get(f"/{version}/requests/{request_id}")
    assert response.status == 200, await response.text()
    told: dict[str, Any] = await response.json()
    assert (told.pop("id"), told.pop("object")) == (request_id, "request")
    return told


async def _until(client: Client, request_id: str, state: str) -> None:
    async with asyncio.timeout(20):
        while (await client.get(f"/v3/requests/{request_id}")).status == 404:
            pass
        while (await _progress(client, request_id))["state"] != state:
            pass


@pytest.mark.parametrize("version", ["v1", "v3"])
async def test_a_request_that_runs_tells_its_steps_and_is_unknown_once_it_is_over(
    serve: Serve, models: Models, gate: Gate, version: str
) -> None:
    models.add("steps", "HttpSteps")
    client = await serve()
    asked = await _ask(client, "one", steps=[[3, 20]], prompt="nobody else reads this")
    await gate.wait_entered()
    assert await _progress(client, "one", version) == {"state": "running", "model": "steps", "step": 3, "steps": 20}
    gate.released.set()
    assert (await asked).status == 200
    response = await client.get(f"/{version}/requests/one")
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "request_not_found"


async def test_a_request_whose_graph_tells_no_steps_just_runs(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve()
    asked = await _ask(client, "one", "block")
    await gate.wait_entered()
    assert await _progress(client, "one") == {"state": "running", "model": "block", "step": 0, "steps": None}
    gate.released.set()
    assert (await asked).status == 200


async def test_those_that_wait_are_told_their_place_in_the_line_and_move_up(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1)
    asked = []
    for position, name in enumerate(("first", "second", "third")):
        asked.append(await _ask(client, name, "block"))
        await _until(client, name, "waiting" if position else "running")
    assert await _progress(client, "second") == {"state": "waiting", "model": "block", "position": 1}
    assert await _progress(client, "third") == {"state": "waiting", "model": "block", "position": 2}
    assert (await client.post("/v3/requests/second/cancel")).status == 200
    assert (await asked[1]).status == 499
    assert (await client.get("/v3/requests/second")).status == 404
    assert (await _progress(client, "third"))["position"] == 1
    gate.released.set()
    assert [(await each).status for each in asked] == [200, 499, 200]


async def test_one_that_was_cancelled_and_has_not_ended_is_over_for_whoever_asks(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("stubborn", "HttpStubborn")
    client = await serve()
    asked = await _ask(client, "one", "stubborn")
    await gate.wait_entered()
    await client.post("/v3/requests/one/cancel")
    assert (await asked).status == 499
    handle = client.app[SERVABLES].find("stubborn").handle
    assert handle is not None
    assert client.app[BACKEND].occupancy(handle).running == 1  # its calculator has not come back
    assert (await client.get("/v3/requests/one")).status == 404


async def test_a_request_whose_model_loads_arrives(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False)
    asked = await _ask(client, "one", "slow")
    await _until(client, "one", "arriving")
    assert await _progress(client, "one") == {"state": "arriving"}
    gate.released.set()
    assert (await asked).status == 200


async def test_of_requests_that_share_an_id_the_first_is_told(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1)
    asked = [await _ask(client, "same", "block")]
    await gate.wait_entered()
    asked.append(await _ask(client, "same", "block"))
    handle = client.app[SERVABLES].find("block").handle
    assert handle is not None
    async with asyncio.timeout(20):
        while client.app[BACKEND].occupancy(handle).waiting == 0:
            await client.get("/v2/health/live")
    assert (await _progress(client, "same"))["state"] == "running"
    gate.released.set()
    assert [(await each).status for each in asked] == [200, 200]


async def test_a_kserve_request_is_found_by_its_id_too(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("steps", "HttpSteps")
    client = await serve()
    call = {"name": "input", "shape": [1], "datatype": "BYTES", "data": ['{"steps": [[1, 4], [2, 4]]}']}
    asked = asyncio.create_task(
        client.post("/v2/models/steps/infer", json={"inputs": [call]}, headers={"x-request-id": "tensors"})
    )
    await gate.wait_entered()
    assert await _progress(client, "tensors") == {"state": "running", "model": "steps", "step": 2, "steps": 4}
    gate.released.set()
    assert (await asked).status == 200


async def test_progress_needs_the_api_key_as_all_else_does(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve(api_key="secret")
    key = {"Authorization": "Bearer secret"}
    asked = asyncio.create_task(client.post(PATH, json={"model": "block"}, headers={"x-request-id": "one", **key}))
    await gate.wait_entered()
    assert (await client.get("/v3/requests/one")).status == 401
    assert (await client.get("/v3/requests/one", headers=key)).status == 200
    gate.released.set()
    assert (await asked).status == 200


async def test_below_a_prefix_who_asks_again_and_again_does_not_fill_the_log_either(
    aiohttp_client: AiohttpClient, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("echo", "HttpEcho")
    host, server = web.Application(), build_app(Settings(models=models.folder, file_system_poll_wait_seconds=0.0))
    host.add_subapp("/ai", server)
    client = await aiohttp_client(host)
    await server[SERVABLES].settled.wait()
    caplog.set_level("INFO", logger="graph_runtime.access")
    for path in ("/v2/health/live", "/v3/requests/one", "/graphs/echo/snapshot", "/v3/models"):
        await client.get(f"/ai{path}")
    lines = [record.getMessage() for record in caplog.records if record.name == "graph_runtime.access"]
    assert [line.split()[1] for line in lines] == ["/ai/v3/models"]


async def test_who_asks_again_and_again_does_not_fill_the_log(
    serve: Serve, models: Models, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("block", "HttpBlock")
    client = await serve()
    asked = await _ask(client, "one", "block")
    await gate.wait_entered()
    caplog.set_level("INFO", logger="graph_runtime.access")
    await client.get("/v3/requests/one")
    await client.post("/v3/requests/nobody/cancel")
    gate.released.set()
    await asked
    lines = [record.getMessage() for record in caplog.records if record.name == "graph_runtime.access"]
    assert [line.split()[:2] for line in lines] == [["POST", "/v3/requests/nobody/cancel"], ["POST", PATH]]
