"""The examples of embedding, as their texts say to use them: over real sockets, and with clients that leave."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "embedding"
PNG = b"\x89PNG"


async def _until(condition: Callable[[], bool]) -> None:
    """Return when something has come true."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.to_thread(bool)  # a round of the loop


# In the environment of the oldest protobuf there is the mediapipe wheel, and nothing that serves.
serves = pytest.mark.skipif(
    importlib.util.find_spec("openvino_genai") is None, reason="openvino-genai is not installed here"
)


def run_example(name: str, *arguments: str) -> list[str]:
    """The lines that an example prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.model
@serves
def test_the_script_draws_a_picture_and_one_that_comes_in_steps(tmp_path: Path) -> None:
    printed = run_example("script.py", str(tmp_path / "circle.png"))
    assert printed == [
        "a picture, of seed 7",
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert (tmp_path / "circle.png").read_bytes().startswith(PNG)


@pytest.mark.model
@serves
def test_the_async_script_draws_two_pictures_and_stops_when_the_time_is_over() -> None:
    printed = run_example("async_script.py", "60")
    for prompt in ("a red circle", "a blue star"):
        assert [line for line in printed if line.startswith(prompt)][-1] == f"{prompt} - image_generation.completed"
    assert run_example("async_script.py", "0") == ["too slow"]


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="the mediapipe wheel is not installed here")
def test_a_graph_of_the_mediapipe_wheel_feeds_one_of_ours() -> None:
    assert run_example("beside_mediapipe.py") == ["at 0: 0", "at 2: 4", "at 4: 16"]


@pytest.mark.model
@serves
class TestAiohttp:
    """examples/embedding/aiohttp_app.py as an application that listens."""

    @pytest.fixture
    async def url(self) -> AsyncIterator[str]:
        from aiohttp import web

        from examples.embedding.aiohttp_app import build

        runner = web.AppRunner(build(), handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()

    async def test_its_own_route_and_the_server_below_its_prefix(self, url: str) -> None:
        from aiohttp import ClientSession

        async with ClientSession() as client:
            async with client.get(f"{url}/count?text=one+two+three") as answer:
                assert await answer.json() == {"words": 3}
            body = {"model": "shapes", "prompt": "a red circle", "num_inference_steps": 2}
            async with client.post(f"{url}/ai/v3/images/generations", json=body) as answer:  # waits until it is loaded
                assert answer.status == 200
                assert (await answer.json())["data"][0]["b64_json"]
            # What the page loads is where it looks for it.
            async with client.get(f"{url}/ai/") as answer:
                page = await answer.text()
            assert 'href="web/style.css"' in page
            async with client.get(f"{url}/ai/web/style.css") as answer:
                assert answer.status == 200


@pytest.mark.model
@serves
class TestFastApi:
    """examples/embedding/fastapi_app.py, served by uvicorn."""

    @pytest.fixture
    async def url(self) -> AsyncIterator[str]:
        import uvicorn

        from examples.embedding.fastapi_app import app

        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
            serving = asyncio.create_task(server.serve([listening]))
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"  # the system lets clients wait until it serves
            server.should_exit = True
            await serving

    async def test_it_draws_refuses_and_stops_when_its_client_leaves(self, url: str) -> None:
        from aiohttp import ClientSession

        from examples.embedding.fastapi_app import app

        async with ClientSession(url) as client:
            async with client.get("/picture?prompt=a+red+circle&steps=2") as answer:
                assert (answer.status, answer.content_type) == (200, "image/png")
                assert (await answer.read()).startswith(PNG)
            async with client.get("/picture?prompt=x&steps=100000") as answer:
                assert answer.status == 400
                assert "num_inference_steps" in (await answer.json())["detail"]

            resources = app.state.resources
            leaving = asyncio.create_task(client.get("/picture?prompt=x&steps=100"))
            await _until(lambda: resources.describe()["ImageGenExecutor"]["lane"]["state"] == "busy")
            leaving.cancel()
            await _until(lambda: resources.describe()["ImageGenExecutor"]["lane"]["state"] == "idle")
            assert resources.statistics()["ImageGenExecutor"].requests.get("cancelled") == 1

    async def test_it_sends_pictures_as_they_come_and_stops_when_the_client_of_a_stream_leaves(self, url: str) -> None:
        from aiohttp import ClientSession

        from examples.embedding.fastapi_app import app

        async with ClientSession(url) as client:
            async with client.get("/picture/events?prompt=a+red+circle&steps=3") as answer:
                assert answer.content_type == "text/event-stream"
                events = [json.loads(line[6:])["type"] async for line in answer.content if line.startswith(b"data: ")]
            assert events == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
            async with client.get("/picture/events?prompt=x&steps=100000") as answer:
                assert "num_inference_steps" in (await answer.text())

            resources = app.state.resources
            async with client.get("/picture/events?prompt=x&steps=100") as answer:
                assert (await answer.content.readline()).startswith(b"data: ")
            await _until(lambda: resources.statistics()["ImageGenExecutor"].requests.get("cancelled") == 1)
