"""The playground as its users see it: what they fill in, press and get, by roles and labels."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from PIL import Image
from playwright.async_api import Locator, Page, expect

RED_ON_BLUE = "a red circle on a blue background"


class Playground:
    """What people do on the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.prompt = page.get_by_role("textbox", name="Prompt", exact=True)
        self.generate = page.get_by_role("button", name="Generate", exact=True)
        self.cancel = page.get_by_role("button", name="Cancel", exact=True)
        self.strength = page.get_by_role("slider", name=re.compile("Strength"))
        self.mask = page.get_by_role("application", name="Mask")
        self.progress = page.get_by_role("progressbar")
        self.spoken = page.get_by_role("status").first
        """What is read aloud; the first of its kind, as values beside sliders are others."""
        self.problem = page.get_by_role("alert")
        self.result = page.get_by_role("region", name="Result")
        self.history = page.get_by_role("region", name="History")
        self.source = page.get_by_role("region", name="Picture to start from")

    async def ready(self) -> Playground:
        """Wait until there is a model to ask."""
        await expect(self.generate).to_be_enabled()
        return self

    def field(self, label: str) -> Locator:
        return self.page.get_by_label(label, exact=True)

    async def fill(self, **fields: str) -> None:
        """Fill fields by their labels: ``steps="10"``."""
        for label, value in fields.items():
            await self.field(label.capitalize().replace("_", " ")).fill(value)

    async def own_size(self, width: int, height: int) -> None:
        await self.field("Size").select_option("Another…")
        await self.fill(width=str(width), height=str(height))

    async def draw(self, prompt: str = RED_ON_BLUE, *, seed: int = 7, steps: int = 10, **fields: str) -> None:
        """Ask for pictures and wait until they are there."""
        await self.fill(prompt=prompt, seed=str(seed), steps=str(steps), **fields)
        await self.generate.click()
        await self.said_done()

    async def said_done(self) -> None:
        """What is read aloud at the end."""
        await expect(self.spoken).to_have_text(re.compile("(is|are) there"))

    async def said(self, text: str) -> None:
        await expect(self.spoken).to_have_text(text)

    def pictures(self) -> Locator:
        return self.result.get_by_role("img")

    async def picture(self, place: Locator | None = None) -> Image.Image:
        """The pixels that the browser shows."""
        shown = self.pictures() if place is None else place
        url: str = await shown.evaluate(
            """async (image) => {
                await image.decode();
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
                canvas.getContext("2d").drawImage(image, 0, 0);
                return canvas.toDataURL();
            }"""
        )
        return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB")

    async def download(self, place: Locator) -> tuple[str, Image.Image]:
        """Press Download in a place; the file's name and its picture."""
        async with self.page.expect_download() as waiting:
            await place.get_by_role("link", name="Download").click()
        download = await waiting.value
        data = (await download.path()).read_bytes()
        return download.suggested_filename, Image.open(io.BytesIO(data)).convert("RGB")

    async def drop(self, picture: Image.Image | bytes, name: str = "own.png", kind: str = "image/png") -> None:
        """Drop a file on the page."""
        data = picture if isinstance(picture, bytes) else png(picture)
        transfer = await self.page.evaluate_handle(
            """([text, name, type]) => {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], name, { type }));
                return transfer;
            }""",
            [base64.b64encode(data).decode(), name, kind],
        )
        for event in ("dragenter", "dragover", "drop"):
            await self.page.dispatch_event("main", event, {"dataTransfer": transfer})

    async def paint(self, *points: tuple[float, float]) -> None:
        """A stroke with the mouse through points of the picture, from 0 to 1."""
        await self.mask.scroll_into_view_if_needed()
        box = await self.mask.bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        await self.page.mouse.move(*places[0])
        await self.page.mouse.down()
        for x, y in places[1:]:
            await self.page.mouse.move(x, y, steps=4)
        await self.page.mouse.up()

    async def focused(self) -> str:
        """What a screen reader calls the element with the focus."""
        name: str = await self.page.evaluate(
            """() => {
                const element = document.activeElement;
                const label = element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
                return label.trim().split("\\n")[0].trim();
            }"""
        )
        return name


def png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def share(picture: Image.Image, colour: str) -> float:
    """Which part of the pixels has more of a colour (``red``, ``green`` or ``blue``) than of the others together."""
    at = ("red", "green", "blue").index(colour)
    values = picture.tobytes()
    pixels = [values[start : start + 3] for start in range(0, len(values), 3)]
    return sum(2 * pixel[at] > sum(pixel) and pixel[at] > 80 for pixel in pixels) / len(pixels)


def is_red_on_blue(picture: Image.Image) -> bool:
    """Red in the middle, blue around it: what was asked for, however roundly it was drawn."""
    width, height = picture.size
    middle = picture.crop((width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    rim = picture.crop((0, 0, width, height // 10))
    return share(middle, "red") > 0.3 and share(rim, "blue") > 0.8


def upload(folder: Path, picture: Image.Image) -> Path:
    """A picture as a file on the user's disk."""
    path = folder / "own.png"
    picture.save(path)
    return path
