"""The server inside another aiohttp application: below a prefix, twice, behind middlewares, whatever the host's settings."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler, Middleware

from server import departures
from server.app import build_app
from server.keys import DRAIN, SERVABLES
from server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import Gate, Models

PATH = "/v3/images/generations"
BLOCK = {"model": "block"}
PASS = """input_stream: "in" output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""
NUMBERS = {"inputs": [{"name": "in", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}


@asynccontextmanager
async def hosted(host: web.Application, *, handler_cancellation: bool = False) -> AsyncIterator[ClientSession]:
    """A client of an application that listens; the block ends with it, in the way that web.run_app does."""
    runner, url = await listening(host, handler_cancellation=handler_cancellation)
    async with ClientSession(url) as client:
        try:
            yield client
        finally:
            await runner.cleanup()


async def listening(host: web.Application, *, handler_cancellation: bool = False) -> tuple[web.AppRunner, str]:
    """An application that listens, and where."""
    runner = web.AppRunner(host, handler_cancellation=handler_cancellation)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


def our_app(models: Models, shutdown_grace_s: float = 0.0) -> web.Application:
    return build_app(Settings(models=models.folder, shutdown_grace_s=shutdown_grace_s))


def host_of(*middlewares: Middleware, **ours: web.Application) -> web.Application:
    """An application with ours below its prefixes, which knows nothing of them: it takes no body of more than ten bytes."""
    host = web.Application(client_max_size=10, middlewares=middlewares)
    for prefix, app in ours.items():
        host.add_subapp(f"/{prefix}", app)
    return host


async def _until(condition: Callable[[], bool]) -> None:
    """Return when something has come true on the event loop."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.to_thread(bool)  # a round of the loop


async def test_every_kind_of_route_works_below_prefixes_of_applications_in_applications(models: Models) -> None:
    models.add("echo", "HttpEcho")
    models.add_text("m", PASS)
    ours = our_app(models)
    async with hosted(host_of(api=host_of(v1=ours))) as client:
        await ours[SERVABLES].settled.wait()
        base = "/api/v1"
        async with client.post(
            f"{base}{PATH}", json={"model": "echo", "prompt": "longer than the host allows"}
        ) as answer:
            assert answer.status == 200
            assert answer.headers["x-request-id"].startswith("req_")
            assert (await answer.json())["uri"] == PATH, "graphs see the same paths wherever we are mounted"
        async with client.post(f"{base}/v2/models/m/infer", json=NUMBERS) as answer:
            assert (await answer.json())["outputs"][0]["data"] == [1, 2]
        async with client.get(f"{base}/v2/nothing") as answer:
            assert "There is nothing under this path" in (await answer.json())["error"]
        async with client.get(f"{base}/v3/models/nope", headers={"x-request-id": "mine"}) as answer:
            assert (await answer.json())["error"]["code"] == "model_not_found"
            assert answer.headers["x-request-id"] == "mine"
        async with client.get(f"{base}/openapi.json") as answer:
            assert (await answer.json())["servers"] == [{"url": base}]
        async with client.get(f"{base}/metrics") as answer:
            assert "ovms_requests_accepted{" in await answer.text()
        for path in ("/v2/health/ready", "/v2/models/m/ready", "/v2/models/m", "/v2", "/v1/models", "/v1/config"):
            async with client.get(base + path) as answer:
                assert answer.status == 200, path
        async with client.get("/v3/models") as answer:
            assert answer.status == 404, "what is the host's stays the host's"


async def test_the_page_is_at_the_prefix_with_or_without_its_slash(models: Models) -> None:
    async with hosted(host_of(api=host_of(ai=our_app(models)))) as client:
        async with client.get("/api/ai", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "./ai/")
        async with client.get("/api/ai?from=here") as answer:
            assert answer.url.path == "/api/ai/"
            page = await answer.text()
        assert f"{answer.url.origin()}/api/ai/v3/models" in page


async def test_a_body_that_the_host_decompresses_is_not_decompressed_again(models: Models) -> None:
    models.add_text("m", PASS)
    ours = our_app(models)
    async with hosted(host_of(ai=ours)) as client:
        await ours[SERVABLES].settled.wait()
        async with client.post(
            "/ai/v2/models/m/infer",
            data=gzip.compress(json.dumps(NUMBERS).encode()),
            headers={"Content-Encoding": "gzip"},
        ) as answer:
            assert answer.status == 200


async def test_a_body_that_a_middleware_of_the_host_has_read_is_not_lost(models: Models) -> None:
    seen: list[bytes] = []

    @web.middleware
    async def sign(request: web.Request, handler: Handler) -> web.StreamResponse:
        seen.append(await request.read())
        return await handler(request)

    models.add("echo", "HttpEcho")
    models.add_text("m", PASS)
    ours = our_app(models)
    host = web.Application(middlewares=[sign])
    host.add_subapp("/ai", ours)
    async with hosted(host) as client:
        await ours[SERVABLES].settled.wait()
        async with client.post("/ai/v2/models/m/infer", json=NUMBERS) as answer:
            assert (await answer.json())["outputs"][0]["data"] == [1, 2]
        async with client.post(f"/ai{PATH}", json={"model": "echo", "prompt": "a star"}) as answer:
            assert answer.status == 200
        async with client.post("/ai/v2/models/m/infer", data=b"") as answer:
            assert answer.status == 400
        with aiohttp.MultipartWriter("form-data") as form:
            form.append("echo").set_content_disposition("form-data", name="model")
        async with client.post("/ai/v3/images/edits", data=form) as answer:
            assert answer.status == 200
    assert [len(body) > 0 for body in seen] == [True, True, False, True]


@pytest.mark.parametrize("handler_cancellation", [False, True])
async def test_a_client_that_leaves_cancels_its_run_whatever_the_hosts_settings(
    models: Models, gate: Gate, monkeypatch: pytest.MonkeyPatch, handler_cancellation: bool
) -> None:
    monkeypatch.setattr(departures, "LOOK_EVERY_S", 0.001)
    models.add("block", "HttpBlock")
    ours = our_app(models)
    async with hosted(host_of(ai=ours), handler_cancellation=handler_cancellation) as client:
        asked = asyncio.create_task(client.post(f"/ai{PATH}", json=BLOCK))
        await gate.wait_entered()
        asked.cancel()
        await gate.wait_cancelled()
        await _until(lambda: ours[DRAIN].inside == 0)


async def test_a_client_that_leaves_is_noticed_behind_a_middleware_that_runs_handlers_in_tasks_of_its_own(
    models: Models, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "LOOK_EVERY_S", 0.001)

    @web.middleware
    async def in_a_task(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await asyncio.create_task(handler(request))  # type: ignore[arg-type]

    models.add("block", "HttpBlock")
    ours = our_app(models)
    async with hosted(host_of(in_a_task, ai=ours)) as client:
        asked = asyncio.create_task(client.post(f"/ai{PATH}", json=BLOCK))
        await gate.wait_entered()
        asked.cancel()
        await gate.wait_cancelled()
        await _until(lambda: ours[DRAIN].inside == 0)


async def test_who_has_left_is_cancelled_once_so_that_the_handler_can_put_things_in_order() -> None:
    class Gone:
        transport = None

    cleaned, go_on = asyncio.Event(), asyncio.Event()

    async def handle() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await go_on.wait()
            cleaned.set()

    task: asyncio.Task[object] = asyncio.create_task(handle())
    await asyncio.to_thread(bool)
    for _ in range(3):
        departures.cancel_departed({task: Gone()})  # type: ignore[dict-item]
        await asyncio.to_thread(bool)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()


async def test_a_request_is_cancelled_by_its_id_below_the_prefix(models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    async with hosted(host_of(ai=our_app(models))) as client:
        asked = asyncio.create_task(client.post(f"/ai{PATH}", json=BLOCK, headers={"x-request-id": "mine"}))
        await gate.wait_entered()
        async with client.post("/ai/v3/requests/mine/cancel") as answer:
            assert await answer.json() == {"id": "mine", "object": "request", "status": "cancelled"}
        await gate.wait_cancelled()
        assert (await asked).status != 200


async def test_two_in_one_host_share_nothing(models: Models, tmp_path: Path) -> None:
    models.add("echo", "HttpEcho")
    (tmp_path / "other").mkdir()
    one, two = our_app(models), build_app(Settings(models=tmp_path / "other", api_key="key"))
    async with hosted(host_of(one=one, two=two)) as client:
        await one[SERVABLES].settled.wait()
        async with client.get("/one/v3/models") as answer:
            assert [model["id"] for model in (await answer.json())["data"]] == ["echo"]
        async with client.get("/two/v3/models") as answer:
            assert answer.status == 401
        async with client.get("/two/v3/models", headers={"Authorization": "Bearer key"}) as answer:
            assert (await answer.json())["data"] == []
        async with client.post(f"/one{PATH}", json={"model": "echo"}) as answer:
            assert answer.status == 200
        async with client.get("/one/metrics") as answer:
            assert 'name="echo"' in await answer.text()
        async with client.get("/two/metrics", headers={"Authorization": "Bearer key"}) as answer:
            assert 'name="echo"' not in await answer.text()


async def test_the_hosts_middlewares_see_our_answers_and_refuse_before_us(models: Models) -> None:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if "X-User" not in request.headers:
            raise web.HTTPForbidden(text="who are you?")
        answer = await handler(request)
        answer.headers["X-Host"] = str(answer.status)
        return answer

    async with hosted(host_of(guard, ai=our_app(models))) as client:
        async with client.get("/ai/v3/models") as answer:
            assert (answer.status, await answer.text()) == (403, "who are you?")
        async with client.get("/ai/v3/models/nope", headers={"X-User": "me"}) as answer:
            assert (answer.status, answer.headers["X-Host"]) == (404, "404")


async def test_a_host_that_ends_waits_for_the_requests_of_all_of_ours(models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    one, two = our_app(models, shutdown_grace_s=60.0), our_app(models, shutdown_grace_s=60.0)
    runner, url = await listening(host_of(one=one, two=two))
    async with ClientSession(url) as client:
        asked = [asyncio.create_task(client.post(f"/{prefix}{PATH}", json=BLOCK)) for prefix in ("one", "two")]
        await _until(lambda: gate.entries == 2)
        ending = asyncio.create_task(runner.cleanup())
        await _until(lambda: one[DRAIN].begun)
        gate.released.set()
        assert [answer.status for answer in await asyncio.gather(*asked)] == [200, 200]
        await ending


async def test_a_host_that_ends_cancels_what_does_not_end_in_time_and_says_so(models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    runner, url = await listening(host_of(ai=our_app(models)))
    async with ClientSession(url) as client:
        asked = asyncio.create_task(client.post(f"/ai{PATH}", json=BLOCK))
        await gate.wait_entered()
        await runner.cleanup()
        answer = await asked
        assert answer.status == 503
        assert (await answer.json())["error"]["code"] == "shutting_down"
