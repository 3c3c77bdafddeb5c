"""A contact sheet of what the images API does, drawn by a running server with OpenAI's client: ``docs/pictures/images.png``.

The server needs the model ``shapes`` with its LoRA adapter::

    mkdir models && cp -r examples/models/shapes models/ && mv models/shapes/lora.pbtxt models/shapes/graph.pbtxt
    graph-runtime serve --models models
    python examples/contact_sheet.py docs/pictures/images.png
"""

from __future__ import annotations

import argparse
import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import openai
from PIL import Image, ImageDraw, ImageFont

MODEL: Final = "shapes"
ADAPTER: Final = "phosphor"
CIRCLE: Final = "a red circle on a blue background"
STEADY: Final = {"rng_seed": 7, "num_inference_steps": 20, "guidance_scale": 3.5}
SIDE: Final = 160
TEXT: Final = 24
"""Height of the line under a picture, in pixels."""

Row = Sequence[tuple[str, bytes]]
"""Text and file of each picture."""


def decoded(b64: str | None) -> bytes:
    """The file in an answer."""
    assert b64 is not None
    return base64.b64decode(b64)


def masks() -> tuple[bytes, bytes]:
    """The right half to be drawn anew: by transparency, and by white on black."""
    right = (32, 0, 64, 64)
    transparent = Image.new("RGBA", (64, 64), (90, 90, 90, 255))
    transparent.paste((0, 0, 0, 0), right)
    white = Image.new("L", (64, 64), 0)
    white.paste(255, right)
    return as_png(transparent), as_png(white)


def as_png(image: Image.Image) -> bytes:
    """A picture as a file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def drawn(client: openai.OpenAI, prompt: str, *, model: str = MODEL, n: int = 1, **fields: Any) -> list[bytes]:
    """Pictures of a text."""
    answer = client.images.generate(model=model, prompt=prompt, n=n, extra_body={**STEADY, **fields})
    return [decoded(each.b64_json) for each in answer.data or ()]


def edited(client: openai.OpenAI, prompt: str, picture: bytes, mask: bytes | None, **fields: Any) -> bytes:
    """A picture drawn anew, or what a mask frees of it."""
    answer = client.images.edit(
        model=MODEL,
        prompt=prompt,
        image=("image.png", picture),
        mask=openai.omit if mask is None else ("mask.png", mask),
        extra_body={**STEADY, **fields},
    )
    assert answer.data is not None
    return decoded(answer.data[0].b64_json)


def streamed(client: openai.OpenAI, prompt: str) -> list[bytes]:
    """Three partial images and the finished one."""
    events = client.images.generate(model=MODEL, prompt=prompt, stream=True, partial_images=3, extra_body=STEADY)
    return [decoded(event.b64_json) for event in events]


def all_rows(client: openai.OpenAI) -> Mapping[str, Row]:
    """Title -> pictures."""
    circle = drawn(client, CIRCLE)[0]
    square = "a green square on a yellow background"
    transparent, white = masks()
    parts = streamed(client, "a white ring on a red background")
    names = [f"partial {number}" for number in range(len(parts) - 1)]
    return {
        "generations, and edits of the picture": [
            (CIRCLE, circle),
            ("a green circle, strength 0.6", edited(client, "a green circle on a blue background", circle, None, strength=0.6)),
            (f"{square}, 0.9", edited(client, square, circle, None, strength=0.9)),
        ],
        "edits with a mask: what is transparent, or white, is drawn anew": [
            ("transparent", transparent),
            (square, edited(client, square, circle, transparent)),
            ("white", white),
            (square, edited(client, square, circle, white)),
        ],
        "a stream with three partial images": list(zip([*names, "completed"], parts, strict=True)),
        "n = 4": [(f"seed {7 + k}", each) for k, each in enumerate(drawn(client, "a blue heart on a white background", n=4))],
        "a LoRA adapter": [
            (f"alpha {alpha:g}", drawn(client, CIRCLE, model=ADAPTER, lora_alphas={ADAPTER: alpha})[0])
            for alpha in (0, 0.5, 1)
        ],
    }  # fmt: skip


def sheet(rows: Mapping[str, Row]) -> Image.Image:
    """All pictures, a row for each title."""
    gap, height = 12, TEXT + SIDE + TEXT
    width = max(map(len, rows.values())) * (SIDE + 6 * gap) + gap
    page = Image.new("RGB", (width, len(rows) * (height + gap) + gap), "white")
    pen, font, small = ImageDraw.Draw(page), ImageFont.load_default(15), ImageFont.load_default(11)
    for at, (title, row) in enumerate(rows.items()):
        top = gap + at * (height + gap)
        pen.text((gap, top), title, "black", font)
        for column, (text, file) in enumerate(row):
            left = gap + column * (SIDE + 6 * gap)
            image = Image.open(io.BytesIO(file)).convert("RGBA").resize((SIDE, SIDE), Image.Resampling.NEAREST)
            page.paste(image, (left, top + TEXT), image)
            pen.rectangle((left - 1, top + TEXT - 1, left + SIDE, top + TEXT + SIDE), outline="grey")
            pen.text((left, top + TEXT + SIDE + 4), text, "black", small)
    return page


def main() -> None:
    """Draw, and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--url", default="http://localhost:8000/v1")
    arguments = parser.parse_args()
    with openai.OpenAI(base_url=arguments.url, api_key="unused", max_retries=0) as client:
        sheet(all_rows(client)).save(arguments.file, optimize=True)


if __name__ == "__main__":
    main()
