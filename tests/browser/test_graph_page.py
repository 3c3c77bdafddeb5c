"""The pages of graphs, in a browser: the picture, what nodes do now, and what the last runs did."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestServer
from playwright.async_api import Page, Route, expect

from server.app import build_app
from server.settings import Settings
from tests.browser.chromium import Server, assert_accessible
from tests.browser.conftest import Open
from tests.graph_runtime.test_inspect import check_trace

LOOP = "flows/loop"


async def infer(page: Page, server: Server, model: str = LOOP) -> None:
    tensor = {"name": "in", "shape": [1], "datatype": "INT64", "data": [1]}
    answer = await page.request.post(f"{server.url}/v2/models/{model}/infer", data={"inputs": [tensor]})
    assert answer.ok, await answer.text()


def cells(page: Page, node: str) -> Any:
    """The cells of a node's row: calls, mean, last, longest, queued, now."""
    return page.locator("#nodes tbody tr", has=page.get_by_role("button", name=node, exact=True)).get_by_role("cell")


async def test_a_graph_is_drawn_and_its_nodes_tell_of_themselves(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(LOOP)
    picture = page.locator("#picture svg")
    await expect(picture.locator("g.box")).to_have_count(1)
    await expect(picture.locator("g.edge.back-edge")).to_have_count(1)
    await expect(picture.locator("g.edge.side-packet")).to_have_count(1)
    gate = page.get_by_role("button", name=re.compile("^Node way__gate"))
    await gate.click()
    panel = page.get_by_role("region", name="way__gate")
    await expect(panel).to_contain_text("GateCalculator")
    await expect(panel).to_contain_text(f"{LOOP}/inner.pbtxt:3:1")
    await expect(panel).to_contain_text("ALLOW:open")
    await expect(panel).to_contain_text("empty_packets_as_allow: true")


async def test_nodes_are_reached_by_keyboard(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")
    nodes = page.locator("#picture g.node")
    await expect(nodes).to_have_count(4)
    first = page.locator('#picture g.node[tabindex="0"]')
    await expect(first).to_have_count(1)  # one stop for Tab, whatever the size of the graph
    await first.focus()
    title = page.locator("#node-title")
    before = await title.text_content()
    await page.keyboard.press("ArrowDown")
    await expect(title).not_to_have_text(before or "")
    await expect(page.locator("#picture g.node:focus")).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("End")
    await expect(nodes.last).to_be_focused()
    await page.keyboard.press("Home")
    await expect(title).to_have_text(before or "")


async def test_runs_appear_as_they_end_and_can_be_looked_at(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")
    await expect(page.locator("#state")).to_contain_text("available")
    await infer(page, server)
    await expect(cells(page, "way__gate").first).not_to_have_text(re.compile("^[–0]$"))
    await expect(page.locator("#picture .badge.mean").first).to_be_visible()
    await infer(page, server)
    runs = page.locator("#runs tbody tr")
    await expect(runs).not_to_have_count(1)
    await runs.last.get_by_role("button").click()
    await expect(page.locator("#run-caption")).to_contain_text("Run 1:")
    await infer(page, server)  # what somebody looks at stays, whatever comes
    await expect(runs).not_to_have_count(2)
    await expect(page.locator("#run-caption")).to_contain_text("Run 1:")
    await expect(page.locator("#run tbody tr", has_text="way__gate").locator("rect.process")).to_have_count(1)


async def test_the_picture_can_be_downloaded(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")
    async with page.expect_download() as started:
        await page.get_by_role("button", name="Download the picture").click()
    download = await started.value
    assert download.suggested_filename == "flows-loop.svg"
    text = await asyncio.to_thread(Path(await download.path()).read_text)
    assert "prefers-color-scheme: dark" in text  # the whole file, which goes on without the page


async def test_the_trace_can_be_downloaded(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")
    await expect(page.locator("#state")).to_contain_text("available")
    await infer(page, server)
    async with page.expect_download() as started:
        await page.get_by_role("button", name="Download the trace").click()
    download = await started.value
    assert download.suggested_filename == "flows-loop.trace.json"
    events = check_trace(await asyncio.to_thread(Path(await download.path()).read_text))
    assert any(event["name"] == "way__gate" for event in events)


async def test_a_generation_shows_how_far_it_is(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/shapes")
    await expect(page.locator("#picture g.node")).to_have_count(1)
    body = {"model": "shapes", "prompt": "a red circle", "size": "128x128", "num_inference_steps": 100}
    drawing = asyncio.ensure_future(
        page.request.post(f"{server.url}/v3/images/generations", data=body, headers={"x-request-id": "watched"})
    )
    await expect(page.locator("#state")).to_contain_text("1 running")
    await expect(cells(page, "ImageGenExecutor").last).to_have_text(re.compile(r"^running: \d+ of 100$"))
    await expect(page.locator("#picture .badge.running")).to_have_text(re.compile(r"^\d+ of 100$"))
    await page.request.post(f"{server.url}/v3/requests/watched/cancel")
    assert (await drawing).status == 499
    await expect(page.locator("#runs tbody tr").first.get_by_role("cell").nth(2)).to_have_text("cancelled")
    await expect(page.locator("#picture .badge.running")).to_have_count(0)
    await expect(page.locator("#run .moment").first).to_be_attached()


async def test_a_node_that_works_in_several_runs_says_in_how_many(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")

    async def three_runs(route: Route) -> None:
        told = await (await route.fetch()).json()
        told["nodes"][0].update(running=3, progress="1 of 2")
        await route.fulfill(json=told)

    await page.route("**/snapshot?*", three_runs)
    await expect(page.locator("#picture .badge.running")).to_have_text("3 running")
    await expect(page.get_by_role("cell", name="running in 3 runs")).to_be_visible()
    await page.unroute_all(behavior="wait")


async def test_a_graph_that_failed_shows_why_and_where(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/broken")
    await expect(page.get_by_role("alert")).to_contain_text('broken/graph.pbtxt:3:20: node "NoSuchCalculator"')
    await expect(page.locator("#picture g.node")).to_have_count(1)
    await expect(page.get_by_role("region", name="NoSuchCalculator")).to_contain_text("No registered object")
    await expect(page.locator("#state")).to_contain_text("failed")


async def test_all_graphs_are_listed(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs")
    await expect(page.get_by_role("row")).to_have_count(5)
    await expect(page.get_by_role("row", name=re.compile("^broken failed"))).to_contain_text("No registered object")
    await page.get_by_role("link", name=LOOP).click()
    await expect(page.locator("#picture g.node")).to_have_count(4)


async def test_everybody_can_use_the_pages(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/graphs/{LOOP}")
    await infer(page, server)
    await expect(page.locator("#run tbody tr").first).to_be_visible()
    await assert_accessible(page)
    await page.goto(f"{server.url}/graphs/broken")
    await expect(page.locator("#picture g.node")).to_have_count(1)
    await assert_accessible(page)
    await page.goto(f"{server.url}/graphs")
    await expect(page.get_by_role("row").nth(1)).to_be_visible()
    await assert_accessible(page)


async def test_the_key_is_asked_for_and_a_server_that_has_gone_is_told(models: Path, open_page: Open) -> None:
    app = build_app(Settings(models=models / "flows", api_key="secret", shutdown_grace_s=0.0))
    async with TestServer(app) as server:
        page, visit = await open_page(str(server.make_url("/graphs/loop")))
        visit.expect_trouble("401")
        await page.get_by_role("textbox", name="API key").fill("secret")
        await page.get_by_role("button", name="Use this key").click()
        await expect(page.locator("#picture g.node")).to_have_count(4)
        visit.expect_trouble("ERR_CONNECTION_REFUSED")
        visit.expect_trouble("ERR_EMPTY_RESPONSE")
        visit.expect_trouble("ERR_CONNECTION_RESET")
    await expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
