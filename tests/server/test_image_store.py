"""Pictures behind URLs: names, time, room, and the addresses in answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from server.app import build_app
from server.image_store import ImageStore
from server.keys import IMAGE_STORE, SERVABLES
from server.settings import Settings

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

    from tests.server.conftest import FakeClock, Models, Serve


def make(folder: Path, clock: FakeClock, ttl_s: float = 60.0, max_bytes: int = 1000) -> ImageStore:
    return ImageStore(folder / "pictures", ttl_s, max_bytes, clock)


def files(folder: Path) -> set[str]:
    return {file.name for file in (folder / "pictures").iterdir()}


async def test_a_picture_is_there_until_its_time_is_over(tmp_path: Path, clock: FakeClock) -> None:
    store = make(tmp_path, clock)
    name = store.put(b"picture", "webp")
    clock.advance(59)
    found = store.find(name)
    assert found is not None
    assert (found.path.read_bytes(), found.content_type, found.left_s) == (b"picture", "image/webp", 1.0)
    clock.advance(1)
    assert store.find(name) is None
    store.sweep()
    assert files(tmp_path) == set()


async def test_names_cannot_be_guessed(tmp_path: Path, clock: FakeClock) -> None:
    store = make(tmp_path, clock)
    names = {store.put(b"", "png") for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}\.png", name) for name in names)
    for name in ("", ".", "..", "../x.png", "x.png", "/etc/passwd"):
        assert store.find(name) is None


async def test_the_oldest_make_room(tmp_path: Path, clock: FakeClock) -> None:
    store = make(tmp_path, clock, max_bytes=100)
    names = [store.put(b"x" * 40, "png") for _ in range(4)]
    assert [store.find(name) is not None for name in names] == [False, False, True, True]
    assert files(tmp_path) == set(names[2:])
    huge = store.put(b"x" * 500, "png")  # one that is too large alone is given out all the same
    assert files(tmp_path) == {huge}


async def test_what_an_earlier_server_left_goes_and_nothing_else(tmp_path: Path, clock: FakeClock) -> None:
    left = make(tmp_path, clock).put(b"x", "png")
    for name in (f"{left}.part", "notes.txt", "short.png"):
        (tmp_path / "pictures" / name).touch()
    assert make(tmp_path, clock).find(left) is None
    assert files(tmp_path) == {"notes.txt", "short.png"}


async def test_old_pictures_go_although_nobody_asks_for_new_ones(
    tmp_path: Path, serve: Serve, clock: FakeClock
) -> None:
    client = await serve(clock=clock, image_store=tmp_path / "pictures", image_url_ttl_s=30.0)
    store = client.app[IMAGE_STORE]
    assert store is not None
    store.put(b"x", "png")
    await clock.wait_for_sleep(60.0)
    clock.advance(60.0)
    await clock.wait_for_sleep(60.0)  # it has swept, and sleeps again
    while files(tmp_path):
        await client.get("/v2/health/live")


async def test_pictures_are_sent_with_their_type_and_not_for_ever(
    tmp_path: Path, serve: Serve, clock: FakeClock
) -> None:
    client = await serve(clock=clock, image_store=tmp_path / "pictures", image_url_ttl_s=90.0)
    store = client.app[IMAGE_STORE]
    assert store is not None
    for output_format in ("png", "jpeg", "webp"):
        name = store.put(b"picture", output_format)
        for version in ("v1", "v3"):
            response = await client.get(f"/{version}/images/files/{name}")
            assert (response.status, await response.read()) == (200, b"picture")
            assert response.headers["Content-Type"] == f"image/{output_format}"
            assert response.headers["Cache-Control"] == "private, max-age=90"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
    clock.advance(90)
    response = await client.get(f"/v1/images/files/{name}")
    assert (response.status, (await response.json())["error"]["code"]) == (404, "image_not_found")


async def test_without_a_store_there_are_no_pictures(serve: Serve) -> None:
    client = await serve()
    response = await client.get("/v1/images/files/x.png")
    assert (response.status, (await response.json())["error"]["code"]) == (404, "image_not_found")


# ---- the address of the server, as answers give it


FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "images.example.org"}


@pytest.mark.parametrize(
    ("trusted", "headers", "expected"),
    [
        (False, {"Host": "my.host:8000"}, "http://my.host:8000"),
        (False, {"Host": "[::1]:8000"}, "http://[::1]:8000"),
        (False, {"Host": "my.host", **FORWARDED}, "http://my.host"),
        (True, {"Host": "my.host", **FORWARDED}, "https://images.example.org"),
        (True, {"Host": "my.host"}, "http://my.host"),
        (True, {"Host": "my.host", "X-Forwarded-Proto": "https, http"}, "https://my.host"),
        (True, {"Host": "my.host", "X-Forwarded-Proto": "javascript"}, "http://my.host"),
        (True, {"Host": "my.host", "X-Forwarded-Host": "<script>"}, "http://localhost"),
    ],
)
async def test_addresses_begin_with_what_the_client_called(
    serve: Serve, models: Models, trusted: bool, headers: dict[str, str], expected: str
) -> None:
    models.add("parts", "HttpParts")
    client = await serve(trust_forwarded_headers=trusted)
    response = await client.post("/v3/images/generations", json={"model": "parts"}, headers=headers)
    assert (await response.json())["base_url"] == expected


async def test_addresses_hold_below_a_mount_prefix(aiohttp_client: AiohttpClient, models: Models) -> None:
    models.add("parts", "HttpParts")
    host = web.Application()
    app = build_app(Settings(models=models.folder))
    host.add_subapp("/ai/", app)
    client = await aiohttp_client(host)
    await app[SERVABLES].settled.wait()
    response = await client.post("/ai/v1/images/generations", json={"model": "parts"}, headers={"Host": "h"})
    assert (await response.json())["base_url"] == "http://h/ai"
