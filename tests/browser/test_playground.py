"""The playground as a newcomer uses it: a prompt, a picture, a mask; what is seen meanwhile, and what stays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from PIL import Image, ImageChops, ImageDraw
from playwright.async_api import Page, expect

from tests.browser.playground import RED_ON_BLUE, Playground, is_red_on_blue, share, upload

if TYPE_CHECKING:
    from tests.browser.chromium import Server
    from tests.browser.conftest import Open


@pytest_asyncio.fixture(loop_scope="session")
async def playground(page: Page) -> Playground:
    return await Playground(page).ready()


@pytest.fixture
def yellow() -> Image.Image:
    """A picture of one's own: yellow, with a black square in the middle."""
    picture = Image.new("RGB", (64, 64), (230, 220, 40))
    ImageDraw.Draw(picture).rectangle((20, 20, 43, 43), fill=(10, 10, 10))
    return picture


def difference(one: Image.Image, other: Image.Image, box: tuple[int, int, int, int]) -> float:
    """How far apart two pictures are in a box: the mean over all its values, from 0 to 255."""
    values = ImageChops.difference(one.crop(box), other.crop(box)).tobytes()
    return sum(values) / len(values)


async def test_a_prompt_becomes_a_picture_of_what_was_asked_for(playground: Playground) -> None:
    await playground.draw(RED_ON_BLUE)
    picture = await playground.picture()
    assert picture.size == (64, 64)
    assert is_red_on_blue(picture)
    await expect(
        playground.result.get_by_text(re.compile(r"Seed 7 · 64\s×\s64 · 10 steps · [0-9.]+ s"))
    ).to_be_visible()
    await expect(playground.generate).to_be_enabled()
    await expect(playground.progress).to_be_hidden()


async def test_one_press_shows_what_it_is_about(playground: Playground) -> None:
    await playground.page.get_by_role("button", name="Try “a red circle on a blue background”").click()
    await playground.said_done()
    await expect(playground.prompt).to_have_value(RED_ON_BLUE)
    await expect(playground.pictures()).to_have_count(1)


async def test_steps_and_unfinished_pictures_are_seen_while_it_draws(playground: Playground) -> None:
    page = playground.page
    # Written down by the page itself, so that nothing hangs on how quick this test is.
    await page.evaluate(
        """() => {
            const seen = window.seen = { steps: [], pictures: [] };
            const note = () => {
                const bar = document.querySelector("progress");
                if (bar.checkVisibility() && bar.hasAttribute("value")) seen.steps.push([bar.value, bar.max]);
                for (const image of document.querySelectorAll("[aria-busy=true] img")) {
                    if (image.src && seen.pictures.at(-1) !== image.src) seen.pictures.push(image.src);
                }
            };
            const all = { subtree: true, childList: true, attributes: true };
            new MutationObserver(note).observe(document.querySelector("main"), all);
        }"""
    )
    await playground.draw(steps=60)
    seen: dict[str, Any] = await page.evaluate("window.seen")
    assert len(seen["pictures"]) == 4  # three on the way, and the picture
    done = [step for step, total in seen["steps"]]
    assert {total for step, total in seen["steps"]} == {60}
    assert done == sorted(done)
    assert any(0 < step < 60 for step in done)


async def test_cancel_stops_the_server_too_and_the_next_picture_is_drawn_at_once(
    playground: Playground, server: Server
) -> None:
    await playground.own_size(128, 128)
    await playground.fill(prompt=RED_ON_BLUE, steps="100", pictures="4")
    await playground.generate.click()
    await expect(playground.page.get_by_text(re.compile("Step [0-9]+ of 100"))).to_be_visible()
    await playground.cancel.click()
    await playground.said("Cancelled.")
    await expect(playground.generate).to_be_enabled()
    await expect(playground.result.get_by_text("Cancelled.")).to_be_visible()

    await playground.field("Size").select_option("64 × 64")
    await playground.fill(pictures="")
    await playground.draw(steps=4)  # the server has room: it would wait for minutes behind the other one
    metrics = await (await playground.page.request.get(f"{server.url}/metrics")).text()
    ended = [line for line in metrics.splitlines() if 'outcome="cancelled"' in line]
    assert any(line.startswith("graph_runtime_image_requests_total") and not line.endswith(" 0.0") for line in ended)


async def test_a_picture_that_is_dropped_is_edited(playground: Playground, yellow: Image.Image) -> None:
    await playground.drop(yellow)
    await expect(playground.source.get_by_text(re.compile(r"own.png, 64\s×\s64"))).to_be_visible()
    await playground.strength.fill("0.4")
    await playground.draw("a black square on a yellow background", seed=3)
    picture = await playground.picture()
    assert picture.size == (64, 64)
    assert 0 < difference(picture, yellow, (0, 0, 64, 64)) < 60  # drawn anew, from it
    await playground.page.get_by_role("button", name="Remove the picture").click()
    await expect(playground.source).to_be_hidden()


async def test_a_picture_can_be_chosen_from_a_dialog_too(
    playground: Playground, yellow: Image.Image, tmp_path: Path
) -> None:
    await playground.field("Choose a file").set_input_files(upload(tmp_path, yellow))
    await expect(playground.source.get_by_role("img", name="The picture to start from: own.png")).to_be_visible()


async def test_what_is_painted_is_drawn_anew_and_nothing_else(playground: Playground, yellow: Image.Image) -> None:
    await playground.drop(yellow)
    await playground.field("Size of the brush").fill("40")
    await playground.paint((0.5, 0.4), (0.5, 0.6))
    await playground.strength.fill("1")
    await playground.draw("a blue circle on a yellow background", seed=5)
    picture = await playground.picture()
    for kept in ((0, 0, 64, 10), (0, 54, 64, 64), (0, 0, 14, 64), (50, 0, 64, 64)):
        assert difference(picture, yellow, kept) == 0
    assert difference(picture, yellow, (26, 26, 38, 38)) > 10
    assert (await playground.download(playground.result))[1].tobytes() == picture.tobytes()


async def test_a_mask_can_be_painted_with_the_keyboard_taken_back_and_given_in_numbers(
    playground: Playground, yellow: Image.Image
) -> None:
    page, undo = playground.page, playground.page.get_by_role("button", name="Undo")
    await playground.drop(yellow)
    await expect(undo).to_be_disabled()
    await playground.mask.focus()
    await page.keyboard.press("Space")
    await page.keyboard.press("Shift+ArrowRight")
    await expect(undo).to_be_enabled()
    await undo.click()
    await undo.click()
    await expect(undo).to_be_disabled()
    await page.get_by_text("Add a rectangle by numbers").click()
    await page.get_by_role("button", name="Add the rectangle").click()
    await playground.said("A rectangle was painted.")
    await playground.draw("a blue circle on a yellow background", steps=4)
    picture = await playground.picture()
    assert difference(picture, yellow, (0, 0, 64, 15)) == 0
    assert difference(picture, yellow, (16, 16, 48, 48)) > 0


async def test_several_pictures_have_seeds_one_after_the_other(playground: Playground) -> None:
    await playground.draw(seed=40, pictures="4", steps=4)
    await expect(playground.pictures()).to_have_count(4)
    for seed in (40, 41, 42, 43):
        await expect(playground.result.get_by_text(f"Seed {seed} ·")).to_be_visible()
    drawn = [(await playground.picture(each)).tobytes() for each in await playground.pictures().all()]
    assert len(set(drawn)) == 4


async def test_the_history_keeps_pictures_with_seed_and_settings_and_makes_them_again(playground: Playground) -> None:
    page = playground.page
    await playground.draw(seed=11, steps=6)
    first = (await playground.picture()).tobytes()
    await playground.draw("a green star on a white background", seed=12, steps=4)
    await page.reload()
    await playground.ready()
    kept = playground.history.get_by_role("button", name=re.compile("seed"))
    await expect(kept).to_have_count(2)
    await kept.nth(1).click()  # the newest stands first

    viewer = page.get_by_role("dialog", name="Picture")
    for name, value in (("Prompt", RED_ON_BLUE), ("Seed", "11"), ("Steps", "6"), ("Model", "shapes")):
        await expect(viewer.get_by_text(name, exact=True)).to_be_visible()
        await expect(viewer.get_by_text(value, exact=True)).to_be_visible()
    name, file = await playground.download(viewer)
    assert (name, file.tobytes()) == ("a-red-circle-on-a-blue-background_11.png", first)
    await viewer.get_by_role("button", name="Use its settings").click()
    await expect(viewer).to_be_hidden()
    await expect(playground.prompt).to_have_value(RED_ON_BLUE)
    await expect(playground.field("Seed")).to_have_value("11")
    await playground.generate.click()
    await playground.said_done()
    assert (await playground.picture()).tobytes() == first

    await playground.history.get_by_role("button", name="Clear").click()
    await playground.history.get_by_role("button", name="Clear all pictures?").click()
    await expect(playground.history).to_be_hidden()


async def test_arrow_keys_go_through_the_sizes_that_the_model_draws(playground: Playground) -> None:
    await playground.own_size(64, 64)
    await playground.field("Width").press("ArrowUp")
    await expect(playground.field("Width")).to_have_value("72")
    await playground.fill(height="40")
    for _ in range(3):
        await playground.field("Height").press("ArrowDown")
    await expect(playground.field("Height")).to_have_value("32")  # no less


async def test_a_result_is_the_start_of_the_next_picture(playground: Playground) -> None:
    await playground.draw()
    before = await playground.picture()
    await playground.result.get_by_role("button", name="Start from it").click()
    await expect(playground.source).to_be_visible()
    shown = await playground.picture(playground.source.get_by_role("img"))
    assert shown.tobytes() == before.tobytes()


async def test_a_model_that_cannot_be_used_is_shown_with_the_reason_and_one_without_pictures_is_not(
    playground: Playground, server: Server
) -> None:
    choices = playground.field("Model").get_by_role("option")
    await expect(choices).to_have_text(["broken: failed", "shapes"])
    await expect(choices.nth(0)).to_be_disabled()
    await expect(playground.field("Model")).to_have_value("shapes")
    reason = (await (await playground.page.request.get(f"{server.url}/v3/models/broken")).json())["reason"]
    assert "broken/graph.pbtxt:3:" in reason
    await expect(playground.page.get_by_text(f"broken cannot be used: {reason}")).to_be_visible()


async def test_without_javascript_the_page_tells_what_is_served_and_how_to_ask(server: Server, open_page: Open) -> None:
    page, _ = await open_page(f"{server.url}/", java_script_enabled=False)
    await expect(page.get_by_role("row", name="shapes available")).to_be_visible()
    await expect(page.get_by_text(f"curl {server.url}/v3/images/generations")).to_be_visible()
    await expect(page.get_by_role("button", name="Generate")).to_be_hidden()


async def test_the_colours_of_a_picture_are_judged_rightly() -> None:
    picture = Image.new("RGB", (40, 40), (20, 30, 200))
    assert (share(picture, "blue"), share(picture, "red")) == (1, 0)
    assert not is_red_on_blue(picture)
    ImageDraw.Draw(picture).ellipse((8, 8, 31, 31), fill=(220, 30, 20))
    assert is_red_on_blue(picture)
