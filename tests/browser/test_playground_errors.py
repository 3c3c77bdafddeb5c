"""What goes wrong on the playground, and how its users learn of it; each error comes from a real server."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest_asyncio
from PIL import Image
from playwright.async_api import expect

from tests.browser.chromium import Visit, serving
from tests.browser.playground import RED_ON_BLUE, Playground

if TYPE_CHECKING:
    from tests.browser.chromium import Server
    from tests.browser.conftest import Open


@pytest_asyncio.fixture(loop_scope="session")
async def playground(visit: Visit) -> Playground:
    return await Playground(visit.context.pages[0]).ready()


async def test_a_size_that_cannot_be_drawn_is_refused_where_it_was_given(playground: Playground, visit: Visit) -> None:
    visit.expect_trouble("status of 400")
    await playground.own_size(68, 64)
    await playground.fill(prompt=RED_ON_BLUE)
    await playground.generate.click()
    await expect(playground.problem).to_contain_text("must be multiples of 8")
    width = playground.field("Width")
    await expect(width).to_be_focused()
    await expect(width).to_have_attribute("aria-invalid", "true")
    await expect(width).to_have_accessible_description(re.compile("must be multiples of 8"))
    await playground.fill(width="64")
    await playground.draw(steps=2)
    await expect(playground.problem).to_be_hidden()
    await expect(width).not_to_have_attribute("aria-invalid", "true")


async def test_too_many_steps_are_refused_in_the_words_of_the_server(playground: Playground, visit: Visit) -> None:
    visit.expect_trouble("status of 400")
    await playground.fill(prompt=RED_ON_BLUE, steps="1000")
    await playground.generate.click()
    await expect(playground.problem).to_contain_text("100")
    await expect(playground.field("Steps")).to_be_focused()


async def test_without_a_prompt_nothing_is_sent(playground: Playground) -> None:
    await playground.fill(prompt="  ")
    await playground.generate.click()
    await expect(playground.page.get_by_text("Say what the picture is to show.")).to_be_visible()
    await expect(playground.prompt).to_be_focused()
    await expect(playground.pictures()).to_have_count(0)


async def test_a_file_that_is_no_picture_is_refused_before_it_is_sent(playground: Playground) -> None:
    await playground.drop(b"%PDF-1.7 no picture", "letter.pdf", "application/pdf")
    await expect(playground.page.get_by_text("letter.pdf cannot be read as a picture.")).to_be_visible()
    await expect(playground.source).to_be_hidden()


async def test_when_too_many_wait_the_page_says_when_there_is_room(
    playground: Playground, visit: Visit, server: Server
) -> None:
    visit.expect_trouble("status of 429")
    body = {"model": "shapes", "prompt": RED_ON_BLUE, "num_inference_steps": 100, "n": 10, "size": "128x128"}
    async with aiohttp.ClientSession(server.url) as others, asyncio.TaskGroup() as asked:
        tasks = [asked.create_task(_status(others, body)) for _ in range(17)]  # one is drawn, 16 may wait
        async with asyncio.timeout(30):
            while "1 running, 16 waiting" not in await (await others.get("/")).text():
                pass
        await playground.fill(prompt=RED_ON_BLUE)
        await playground.generate.click()
        await expect(playground.problem).to_contain_text("The model 'shapes' is busy")
        await expect(playground.problem).to_contain_text("There should be room in")
        for task in tasks:
            task.cancel()
    await playground.page.get_by_role("button", name="Try again").click()
    await playground.said_done()
    await expect(playground.problem).to_be_hidden()


async def _status(session: aiohttp.ClientSession, body: dict[str, object]) -> int:
    async with session.post("/v3/images/generations", json=body) as answer:
        return answer.status


async def test_one_that_waits_sees_its_place_in_the_line(playground: Playground, server: Server) -> None:
    body = {"model": "shapes", "prompt": RED_ON_BLUE, "num_inference_steps": 100, "n": 10, "size": "128x128"}
    async with aiohttp.ClientSession(server.url) as others, asyncio.TaskGroup() as asked:
        tasks = [asked.create_task(_status(others, body)) for _ in range(3)]
        async with asyncio.timeout(30):
            while "1 running, 2 waiting" not in await (await others.get("/")).text():
                pass
        await playground.fill(prompt=RED_ON_BLUE, steps="2")
        await playground.generate.click()
        await expect(playground.page.get_by_text("Waiting in line. 2 before it.")).to_be_visible()
        for task in tasks:
            task.cancel()
    await playground.said_done()


async def test_a_server_that_goes_while_it_draws_is_told_and_asked_again_when_it_is_back(
    tmp_path: Path, models: Path, open_page: Open
) -> None:
    with serving(models, tmp_path / "log") as server:
        page, visit = await open_page(f"{server.url}/")
        visit.expect_trouble("ERR_")  # of the connection
        playground = await Playground(page).ready()
        again = page.get_by_role("button", name="Try again")
        await playground.fill(prompt=RED_ON_BLUE, steps="100", pictures="2")
        await playground.generate.click()
        await expect(playground.pictures().first).to_be_visible()
        server.process.kill()
        await expect(playground.problem).to_contain_text("broke off")
        await expect(playground.result.get_by_text("Not finished").first).to_be_visible()
    await again.click()
    await expect(playground.problem).to_contain_text("The server does not answer. Is it still running?")
    await expect(playground.generate).to_be_enabled()
    with serving(models, tmp_path / "log", "--rest_port", server.url.rpartition(":")[2]):
        await playground.fill(steps="2")
        await again.click()
        await playground.said_done()


async def test_a_picture_too_large_for_the_server_is_refused_beside_the_picture(
    playground: Playground, visit: Visit
) -> None:
    visit.expect_trouble("status of 4")
    await playground.drop(Image.new("1", (9000, 9000)), "large.png")
    await expect(playground.source).to_be_visible()
    await playground.fill(prompt=RED_ON_BLUE)
    await playground.generate.click()
    await expect(playground.problem).to_contain_text("pixels")
    await expect(playground.generate).to_be_enabled()


async def test_in_a_low_window_the_error_is_in_sight_and_the_button_has_the_focus_again(
    playground: Playground, visit: Visit
) -> None:
    visit.expect_trouble("ERR_FAILED")
    page = playground.page
    await page.set_viewport_size({"width": 1280, "height": 500})
    await page.route("**/v3/images/generations", lambda route: route.abort())
    await playground.fill(prompt=RED_ON_BLUE, pictures="4")
    await playground.generate.click()
    await expect(playground.problem.get_by_role("button", name="Try again")).to_be_in_viewport()
    await expect(playground.generate).to_be_focused()
