"""The playground for everybody and everywhere: by keyboard, in the dark, on narrow screens, with a key, below a prefix."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiohttp import web
from PIL import Image
from playwright.async_api import Page, expect

from server.app import build_app
from server.keys import SERVABLES
from server.settings import Settings
from tests.browser.chromium import NARROW, Visit, assert_accessible
from tests.browser.playground import RED_ON_BLUE, Playground, is_red_on_blue

if TYPE_CHECKING:
    from tests.browser.chromium import Server
    from tests.browser.conftest import Open

KEY = "a key of printable ASCII: ~!"


@pytest_asyncio.fixture(loop_scope="session")
async def playground(page: Page) -> Playground:
    return await Playground(page).ready()


async def test_a_picture_is_made_with_the_keyboard_alone(playground: Playground) -> None:
    keyboard = playground.page.keyboard
    await expect(playground.prompt).to_be_focused()  # as the page opens
    await keyboard.type("a red circle")
    await keyboard.press("Shift+Enter")
    await keyboard.type("on a blue background")
    await expect(playground.prompt).to_have_value("a red circle\non a blue background")
    names: list[str] = []
    while not names or names[-1] != "Generate":
        await keyboard.press("Tab")
        names.append(await playground.focused())
        assert len(names) < 20, names
        if names[-1] == "Steps":
            await keyboard.type("4")
    assert names == ["Choose a file", "Size", "Pictures", "Steps", "Seed", "More settings", "Generate"]
    await keyboard.press("Enter")
    await playground.said_done()
    await expect(playground.generate).to_be_focused()  # whoever was there goes on there

    await playground.prompt.focus()
    await playground.fill(steps="100", pictures="4")
    await playground.prompt.press("Enter")
    await expect(playground.progress).to_be_visible()
    await keyboard.press("Escape")
    await playground.said("Cancelled.")
    await expect(playground.progress).to_be_hidden()


async def test_what_has_the_focus_has_a_ring(playground: Playground) -> None:
    await playground.page.keyboard.press("Shift+Tab")
    outline = await playground.page.evaluate(
        "(({ outlineStyle, outlineWidth }) => [outlineStyle, parseFloat(outlineWidth)])(getComputedStyle(document.activeElement))"
    )
    assert outline == ["solid", 3]


async def test_everybody_can_use_the_page_with_all_that_can_be_on_it(playground: Playground, visit: Visit) -> None:
    visit.expect_trouble("status of 400")
    page = playground.page
    await playground.draw(steps=2, pictures="2")
    await playground.drop(Image.new("RGB", (64, 64), "green"))
    await playground.paint((0.3, 0.5), (0.6, 0.5))
    await page.get_by_text("More settings").click()
    await page.get_by_text("Add a rectangle by numbers").click()
    await playground.fill(steps="1000")
    await playground.generate.click()
    await expect(playground.problem).to_be_visible()
    await assert_accessible(page)

    await playground.history.get_by_role("button", name=re.compile("seed")).first.click()
    await expect(page.get_by_role("dialog", name="Picture")).to_be_visible()
    await assert_accessible(page)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
async def test_the_page_is_as_light_or_dark_as_the_system(
    server: Server, open_page: Open, scheme: str, dark: bool
) -> None:
    page, _ = await open_page(f"{server.url}/", color_scheme=scheme)
    paper: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert (light < 60) is dark
    assert (light > 200) is not dark


async def test_all_of_it_fits_on_a_narrow_screen_and_the_button_is_in_reach(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/", width=NARROW, height=640, has_touch=True, is_mobile=True)
    playground = await Playground(page).ready()
    await expect(playground.generate).to_be_in_viewport()
    await playground.draw("a red circle on a blue background with a long-word-that-nobody-would-break" * 2, steps=2)
    await expect(playground.pictures()).to_be_in_viewport()
    await playground.drop(Image.new("RGB", (64, 64), "green"))
    await expect(playground.mask).to_be_in_viewport(ratio=0.99)
    assert await page.evaluate("document.documentElement.scrollWidth") <= NARROW


async def test_nothing_moves_for_those_who_do_not_want_it(server: Server, open_page: Open) -> None:
    moving = "document.getAnimations().filter((each) => each.playState === 'running').length"
    for wish, moves in (("no-preference", True), ("reduce", False)):
        page, _ = await open_page(f"{server.url}/", reduced_motion=wish)
        playground = await Playground(page).ready()
        await playground.fill(prompt=RED_ON_BLUE, steps="100", pictures="4")
        await playground.generate.click()
        await expect(playground.progress).to_be_visible()
        assert (await page.evaluate(moving) > 0) is moves
        await playground.cancel.click()
        await playground.said("Cancelled.")


@pytest_asyncio.fixture(loop_scope="session")
async def mounted(models: Path) -> AsyncIterator[str]:
    """The address of a server with an API key that another application has below a prefix."""
    server = build_app(Settings(models=models, api_key=KEY, shutdown_grace_s=0.0))
    host = web.Application()
    host.add_subapp("/ai/pictures", server)
    runner = web.AppRunner(host, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with asyncio.timeout(60):
        await server[SERVABLES].settled.wait()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/ai/pictures"
    await runner.cleanup()


async def test_below_a_prefix_with_an_api_key_the_page_asks_for_it_once(mounted: str, open_page: Open) -> None:
    page, visit = await open_page(f"{mounted}/")
    visit.expect_trouble("status of 401")
    playground = Playground(page)
    dialog = page.get_by_role("dialog", name="API key")
    key = dialog.get_by_label("API key", exact=True)
    await expect(key).to_be_focused()
    await assert_accessible(page)
    await expect(page.get_by_text("This server asks for an API key; its models are shown")).to_be_visible()

    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(playground.problem).to_contain_text("This server asks for an API key")
    await page.get_by_role("button", name="Try again").click()

    await key.fill("another one")
    await key.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("The key is wrong.")
    await expect(key).to_have_value("")
    await key.fill(KEY)
    await dialog.get_by_role("button", name="Use this key").click()
    await playground.ready()
    await expect(playground.problem).to_be_hidden()

    await playground.draw()
    assert is_red_on_blue(await playground.picture())
    await page.reload()
    await playground.ready()
    await expect(dialog).to_be_hidden()
    assert KEY not in await page.content()
