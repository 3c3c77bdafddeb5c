"""Pictures of one's own on the playground: turned ones, files that change, what programs copy; and what is typed meanwhile."""

from __future__ import annotations

import io
from pathlib import Path

import pytest_asyncio
from PIL import Image, ImageChops
from playwright.async_api import Page, expect

from tests.browser.playground import RED_ON_BLUE, Playground, upload

PASTE = """(field) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(8)], "image.png", { type: "image/png" }));
    data.setData("text/plain", "a red circle");
    const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
    return field.dispatchEvent(event);
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def playground(page: Page) -> Playground:
    return await Playground(page).ready()


async def test_on_a_photo_that_the_camera_held_sideways_what_is_painted_is_what_is_drawn_anew(
    playground: Playground,
) -> None:
    page, file, turned = playground.page, io.BytesIO(), Image.Exif()
    turned[0x112] = 6  # Orientation: a quarter turn clockwise makes it upright
    sideways = Image.effect_noise((64, 96), 50).convert("RGB")
    sideways.save(file, "JPEG", exif=turned)
    await playground.drop(file.getvalue(), "photo.jpg", "image/jpeg")
    await expect(playground.source.get_by_text("photo.jpg, 96\u00a0×\u00a064")).to_be_visible()
    await page.get_by_text("Add a rectangle by numbers").click()
    for label, percent in (("Left %", 50), ("Top %", 0), ("Right %", 100), ("Bottom %", 25)):
        await playground.field(label).fill(str(percent))
    await page.get_by_role("button", name="Add the rectangle").click()
    await playground.strength.fill("1")
    await playground.draw(steps=2)
    with Image.open(file) as saved:
        upright = saved.transpose(Image.Transpose.ROTATE_270)
    assert ImageChops.difference(await playground.picture(), upright).getbbox() == (48, 0, 96, 16)


async def test_a_file_that_is_saved_anew_after_it_was_chosen_is_sent_as_it_was_seen(
    playground: Playground, tmp_path: Path
) -> None:
    path = upload(tmp_path, Image.new("RGB", (64, 64), "green"))
    await playground.field("Choose a file").set_input_files(path)
    await expect(playground.source).to_be_visible()
    path.write_bytes(b"something else by now")
    await playground.draw(steps=2)


async def test_a_drawing_without_a_size_is_refused_like_any_file_that_is_no_picture(playground: Playground) -> None:
    await playground.drop(
        b'<svg xmlns="http://www.w3.org/2000/svg" width="90000" height="90000"/>', "a.svg", "image/svg+xml"
    )
    await expect(playground.page.get_by_text("a.svg cannot be read as a picture.")).to_be_visible()
    await expect(playground.source).to_be_hidden()


async def test_text_from_a_program_that_copies_a_picture_of_it_too_is_pasted_as_text(playground: Playground) -> None:
    assert await playground.prompt.evaluate(PASTE)  # left to the browser
    await expect(playground.source).to_be_hidden()
    assert not await playground.generate.evaluate(PASTE)  # taken as a picture, where no text can go


async def test_a_size_that_is_half_typed_is_still_there_after_a_look_at_another_tab(playground: Playground) -> None:
    await playground.field("Size").select_option("Another…")
    await playground.fill(width="96")
    async with playground.page.expect_response("**/v3/models"):
        await playground.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await playground.page.evaluate("new Promise(requestAnimationFrame)")
    await expect(playground.field("Width")).to_be_visible()
    await playground.fill(height="64")
    await expect(playground.field("Size")).to_have_value("own")


async def test_escape_in_an_input_method_ends_the_word_and_not_the_request(playground: Playground) -> None:
    await playground.fill(prompt=RED_ON_BLUE, steps="40")
    await playground.generate.click()
    await expect(playground.progress).to_be_visible()
    await playground.prompt.dispatch_event("keydown", {"key": "Escape", "isComposing": True})
    await playground.said_done()


async def test_the_chosen_tool_can_be_told_in_forced_colours(playground: Playground) -> None:
    await playground.page.emulate_media(forced_colors="active")
    await playground.drop(Image.new("RGB", (64, 64), "green"))
    colours = [
        await playground.page.get_by_role("button", name=name).evaluate(
            "each => getComputedStyle(each).backgroundColor"
        )
        for name in ("Brush", "Eraser")
    ]
    assert colours[0] != colours[1]
