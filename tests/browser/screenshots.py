"""Makes the pictures of docs/playground.md and docs/graph-page.md: ``python -m tests.browser.screenshots [playground|graphs]``.

They show the pages as they are, on the model that comes with the project and on an example graph. Seeds are given, so that only
the times differ.
"""

from __future__ import annotations

import asyncio
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright, expect

from server.discovery import bundled_models_dir
from tests.browser.chromium import NARROW, WIDE, serving

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
GRAPHS = Path(__file__).parents[2] / "examples" / "graphs"
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


async def visit_playground(browser: Browser, url: str) -> None:
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


async def visit_graphs(browser: Browser, url: str) -> None:
    page = await (await browser.new_context(viewport={"width": WIDE, "height": 1000})).new_page()
    await page.goto(f"{url}graphs/tracking")
    for frames in range(4):
        frame = [0, 0, 200, 0, 0] if frames else [0, 0, 0, 0, 0]
        tensor = {"name": "frame", "shape": [len(frame)], "datatype": "INT64", "data": frame}
        await page.request.post(f"{url}v2/models/tracking/infer", data={"inputs": [tensor]})
    await expect(page.locator("#runs tbody tr")).to_have_count(4)
    await page.get_by_role("button", name=re.compile("^Node brightspotdetection__ClipVector")).click()
    await keep(page, "graph-page")
    await page.emulate_media(color_scheme="dark")
    await page.locator("#runs-title").scroll_into_view_if_needed()
    await page.locator("#trace").scroll_into_view_if_needed()
    await keep(page, "graph-page-runs")

    page = await (await browser.new_context(viewport={"width": NARROW, "height": 780})).new_page()
    await page.goto(f"{url}graphs/shapes")
    body = {"model": "shapes", "prompt": "a red circle", "num_inference_steps": 100, "rng_seed": 3}
    drawing = asyncio.ensure_future(page.request.post(f"{url}v3/images/generations", data=body))
    await expect(page.locator("#nodes td").last).to_have_text(re.compile(r"[3-9]\d of 100"))
    await page.locator("#picture").evaluate("place => { place.scrollLeft = place.scrollWidth; }")
    await keep(page, "graph-page-narrow")
    await drawing


async def main(url: str, visit: Callable[[Browser, str], Awaitable[None]]) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        await visit(browser, f"{url}/")
        await browser.close()


def models_with_tracking(folder: Path) -> Path:
    """The model that comes with the project, and the example that follows a spot."""
    (folder / "tracking").mkdir(parents=True)
    (folder / "shapes").symlink_to(bundled_models_dir() / "shapes")
    shutil.copy(GRAPHS / "tracking.pbtxt", folder / "tracking" / "graph.pbtxt")
    for file in (GRAPHS / "calculators.py", GRAPHS / "subgraphs" / "bright_spot_detection.pbtxt"):
        shutil.copy(file, folder / "tracking")
    return folder


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["playground", "graphs"]
    with tempfile.TemporaryDirectory() as name:
        if "playground" in wanted:
            with serving(bundled_models_dir(), Path(name) / "log") as server:
                asyncio.run(main(server.url, visit_playground))
        if "graphs" in wanted:
            models = models_with_tracking(Path(name) / "models")
            with serving(models, Path(name) / "log", "--allow_python_nodes", "true") as server:
                asyncio.run(main(server.url, visit_graphs))
