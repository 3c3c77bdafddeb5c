"""The files behind the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from server.app import build_app
from server.settings import Settings

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

    from tests.server.conftest import Models, Serve


@pytest.mark.parametrize(("name", "kind"), [("style.css", "text/css"), ("server.js", "text/javascript")])
async def test_a_file_of_the_pages_is_sent_and_allowed_nothing_from_elsewhere(
    serve: Serve, name: str, kind: str
) -> None:
    client = await serve()
    response = await client.get(f"/web/{name}")
    assert (response.status, response.content_type, response.charset) == (200, kind, "utf-8")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_browser_that_has_the_newest_file_is_not_sent_it_again(serve: Serve) -> None:
    client = await serve()
    first = await client.get("/web/style.css")
    assert first.headers["Cache-Control"] == "no-cache"  # it asks each time: a new release brings new files
    again = await client.get("/web/style.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize("name", ["none.css", "index.html", "..%2Fpage.py", "%2E%2E%2Fapp.py", "%2Fetc%2Fpasswd"])
async def test_nothing_else_is_sent(serve: Serve, name: str) -> None:
    client = await serve()
    response = await client.get(f"/web/{name}")
    assert response.status == 404
    assert (await response.json())["error"]["code"] == "file_not_found"


async def test_the_page_and_its_files_need_no_api_key(serve: Serve) -> None:
    client = await serve(api_key="secret")
    for path in ("/", "/web/style.css", "/web/server.js"):
        assert (await client.get(path)).status == 200
    assert (await client.get("/v3/models")).status == 401


async def test_the_files_are_there_below_a_prefix_too(aiohttp_client: AiohttpClient, models: Models) -> None:
    host = web.Application()
    host.add_subapp("/images", build_app(Settings(models=models.folder, file_system_poll_wait_seconds=0.0)))
    client = await aiohttp_client(host)
    assert 'href="web/style.css"' in await (await client.get("/images/")).text()
    assert (await client.get("/images/web/style.css")).status == 200
