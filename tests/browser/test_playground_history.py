"""The history of the playground where browsers are full, closed to pages, or have two tabs of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest_asyncio
from playwright.async_api import Page, expect

from tests.browser.playground import RED_ON_BLUE, Playground

if TYPE_CHECKING:
    from tests.browser.chromium import Server
    from tests.browser.conftest import Open

LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
FULL = """() => {
    // As browsers do it: each request goes well, and the transaction fails when it is to be written.
    const add = IDBObjectStore.prototype.add;
    IDBObjectStore.prototype.add = function (value) {
        const request = add.call(this, value);
        request.addEventListener("success", () => this.transaction.abort());
        return request;
    };
}"""
CLOSED = """for (const name of ["sessionStorage", "localStorage", "indexedDB"]) {
    Object.defineProperty(window, name, { get() { throw new DOMException("Access is denied.", "SecurityError"); } });
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def playground(page: Page) -> Playground:
    return await Playground(page).ready()


async def test_a_picture_that_the_full_disk_does_not_take_is_there_until_the_page_is_left_and_clear_clears_all(
    playground: Playground,
) -> None:
    page, kept = playground.page, playground.history.get_by_role("button", name=re.compile("seed"))
    await playground.draw(steps=1, seed=1)
    await expect(kept).to_have_count(1)
    await page.evaluate(FULL)
    await playground.draw(steps=1, seed=2)
    await expect(kept).to_have_count(2)
    await playground.result.get_by_role("button", name=RED_ON_BLUE).click()
    viewer = page.get_by_role("dialog", name="Picture")
    await expect(viewer.get_by_text("2", exact=True)).to_be_visible()
    await viewer.get_by_role("button", name="Close").click()
    await playground.history.get_by_role("button", name="Clear").click()
    await playground.history.get_by_role("button", name="Clear all pictures?").click()
    await playground.said("The history is empty.")
    await page.reload()
    await playground.ready()
    await playground.draw(steps=1, seed=3)
    await expect(kept).to_have_count(1)  # what was written before it was full is gone too


async def test_a_browser_that_keeps_nothing_draws_and_has_a_history_until_the_page_is_left(
    server: Server, open_page: Open
) -> None:
    page, _ = await open_page("about:blank")
    await page.add_init_script(CLOSED)
    await page.goto(f"{server.url}/")
    playground = await Playground(page).ready()
    await playground.draw(steps=1)
    await expect(playground.history.get_by_role("button", name=re.compile("seed"))).to_have_count(1)


async def test_the_large_view_goes_on_from_its_picture_when_new_ones_come_meanwhile(playground: Playground) -> None:
    page, kept = playground.page, playground.history.get_by_role("button", name=re.compile("seed"))
    await playground.draw(steps=1, seed=1)
    await playground.fill(seed="2")
    await kept.click()
    viewer = page.get_by_role("dialog", name="Picture")
    newer = viewer.get_by_role("button", name="Newer")
    await expect(newer).to_be_disabled()
    await page.evaluate("document.getElementById('form').requestSubmit()")
    await expect(page.locator("#history-list li")).to_have_count(2)
    await newer.click()
    await expect(viewer.get_by_text("2", exact=True)).to_be_visible()
    await expect(newer).to_be_disabled()


async def test_a_tab_that_is_come_back_to_has_the_pictures_of_another_one(
    playground: Playground, server: Server
) -> None:
    other = await playground.page.context.new_page()
    await other.goto(f"{server.url}/")
    seen = await Playground(other).ready()
    await expect(seen.history).to_be_hidden()
    await playground.draw(steps=1)
    await expect(playground.history).to_be_visible()
    await other.evaluate(LOOK_AGAIN)
    await expect(seen.history.get_by_role("button", name=re.compile("seed"))).to_have_count(1)
