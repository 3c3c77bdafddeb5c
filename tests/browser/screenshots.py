"""Makes the pictures of docs/playground.md: ``python -m tests.browser.screenshots``.

They show the page as it is, on the model that comes with the project. Seeds are given, so that only the times differ.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

from server.discovery import bundled_models_dir
from tests.browser.chromium import NARROW, WIDE, serving

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
COLOURS = 255
expect.set_options(timeout=30_000)
HISTORY = (
    ("a white heart on a red background", 3),
    ("a cyan ring on a black background", 4),
    ("a green diamond on a yellow background", 5),
    ("a pink square on a green background", 6),
    ("a yellow star on a purple background", 7),
)


async def draw(page: Page, prompt: str, seed: int) -> None:
    await page.get_by_label("Prompt", exact=True).fill(prompt)
    await page.get_by_label("Seed", exact=True).fill(str(seed))
    await page.get_by_label("Steps", exact=True).fill("20")
    await page.get_by_role("button", name="Generate").click()
    await expect(page.get_by_text(f"Seed {seed} ·")).to_be_visible()


async def keep(page: Page, name: str) -> None:
    """As a file with a palette: the page has few colours, and docs should be light."""
    await page.mouse.move(0, 0)
    await page.evaluate("document.activeElement.blur()")
    with Image.open(io.BytesIO(await page.screenshot())) as picture:
        whole = picture.convert("RGB")
        whole.quantize(palette=whole.quantize(COLOURS, kmeans=1)).save(PICTURES / f"{name}.png", optimize=True)


async def paint(page: Page) -> None:
    """A stroke to and fro over all that is in the middle, as with a mouse."""
    await page.get_by_label("Size of the brush").fill("40")
    box = await page.get_by_role("application", name="Mask").bounding_box()
    assert box is not None
    corners = ((0.28, 0.32), (0.72, 0.34), (0.7, 0.52), (0.3, 0.5), (0.3, 0.68), (0.7, 0.7))
    place = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    await page.mouse.move(*place[0])
    await page.mouse.down()
    for x, y in place[1:]:
        await page.mouse.move(x, y, steps=4)
    await page.mouse.up()


async def visit(browser: Browser, url: str) -> None:
    page = await (await browser.new_context(viewport={"width": WIDE, "height": 960})).new_page()
    await page.goto(url)
    for prompt, seed in HISTORY:
        await draw(page, prompt, seed)
    await keep(page, "playground")

    await page.emulate_media(color_scheme="dark")
    await page.get_by_role("button", name="Start from it").click()
    await paint(page)
    await draw(page, "a red heart on a purple background", 11)
    await page.evaluate("scrollTo(0, 0)")
    await keep(page, "playground-mask")
    await page.get_by_role("button", name="Remove the picture").click()

    await page.emulate_media(color_scheme="light")
    await page.get_by_label("Steps", exact=True).fill("1000")
    await page.get_by_role("button", name="Generate").click()
    await expect(page.get_by_role("alert").first).to_be_visible()
    await page.evaluate("scrollTo(0, 0)")
    await keep(page, "playground-error")

    page = await (await browser.new_context(viewport={"width": NARROW, "height": 780})).new_page()
    await page.goto(url)
    await page.get_by_label("Prompt", exact=True).fill("a yellow star on a purple background")
    await page.get_by_label("Seed", exact=True).fill("7")
    await page.get_by_label("Size", exact=True).select_option("96x96")
    await page.get_by_label("Steps", exact=True).fill("100")
    await page.get_by_label("Pictures", exact=True).fill("2")
    await page.get_by_role("button", name="Generate").click()
    await expect(page.locator(".waiting img").first).to_be_visible()
    await keep(page, "playground-narrow")


async def main(url: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        await visit(browser, f"{url}/")
        await browser.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, serving(bundled_models_dir(), Path(folder) / "log") as server:
        asyncio.run(main(server.url))
