"""The page at /."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from server.page import curl_line

if TYPE_CHECKING:
    from tests.server.conftest import Models, Serve


class _Page(HTMLParser):
    """Notes the texts of table cells and code, and every address."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.language: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "html":
            self.language = dict(attrs)["lang"]
        found = [value or "" for name, value in attrs if name in ("href", "src", "action")]
        self.addresses += [address for address in found if not address.startswith("#")]
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and not found) else []

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.texts[self.tags[-1]][-1] += data


async def test_the_page_tells_what_is_served_and_its_state(serve: Serve, models: Models) -> None:
    models.add("a/good", "HttpEcho")
    models.add_text("broken", "node {")
    client = await serve()
    response = await client.get("/")
    assert (response.status, response.content_type) == (200, "text/html")
    text = await response.text()
    page = _Page(text)
    assert page.language == "en"
    assert "1 of 2 models can be used." in text
    assert [name for name in page.texts["a"] if name in ("a/good", "broken")] == ["a/good", "broken"]
    assert [text.strip() for text in page.texts["td"]] == [
        "available",
        "0 running, 0 waiting",
        "failed",
        "0 running, 0 waiting",
    ]
    assert page.texts["pre"][0].startswith("broken/graph.pbtxt:1:")


async def test_the_page_needs_nothing_from_elsewhere(serve: Serve) -> None:
    client = await serve()
    response = await client.get("/")
    page = _Page(await response.text())
    assert page.addresses[0] == "data:,"
    assert page.addresses[1:] == [
        "web/style.css",
        "web/playground.css",
        "web/playground.js",
        "graphs",
        "openapi.json",
        "openapi.json",
        "v3/models",
        "v2",
        "v1/config",
        "metrics",
        "v2/health/live",
        "v2/health/ready",
    ]
    assert page.inline == []
    assert response.headers["Content-Security-Policy"].startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; "
    )
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    for address in page.addresses[1:]:
        assert (await client.get("/" + address)).status == 200


async def test_the_files_of_the_pages_ask_for_files_that_are_there(serve: Serve) -> None:
    client = await serve()
    waiting, seen = ["playground.js"], set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        response = await client.get(f"/web/{name}")
        assert response.status == 200, name
        imported = re.findall(r'^import [^;]*?"\./([^"]+)";$', await response.text(), re.M)
        waiting += [each for each in imported if each not in seen]
    assert {"server.js", "request.js", "mask.js"} <= seen


async def test_without_scripts_the_page_shows_nothing_that_cannot_work(serve: Serve) -> None:
    client = await serve()
    text = await (await client.get("/")).text()
    assert '<div id="playground" hidden>' in text
    assert "The playground needs JavaScript." in text


async def test_a_folder_name_cannot_put_markup_on_the_page(serve: Serve, models: Models) -> None:
    models.add("<img src=x onerror=alert(1)>", "HttpEcho")
    client = await serve()
    text = await (await client.get("/")).text()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


async def test_without_an_image_model_the_first_call_lists_the_models(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    assert f"curl {client.make_url('/v3/models')}" in await (await client.get("/")).text()


async def test_without_any_model_the_page_says_so(serve: Serve) -> None:
    client = await serve()
    assert "No model is served" in await (await client.get("/")).text()


def test_the_curl_line_is_safe_in_a_shell_whatever_the_model_is_called() -> None:
    assert curl_line("http://h:1", "it's; rm -rf $HOME") == (
        "curl http://h:1/v3/images/generations -H 'Content-Type: application/json' -d "
        """'{"model": "it'"'"'s; rm -rf $HOME", "prompt": "a red circle on a blue background"}'"""
    )
