"""The JSON text of an answer, and the pictures in it."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calculators.image_gen.generation import GenerationRequest, GenerationResult, PartialImage
from calculators.image_gen.images import encode_image
from calculators.image_gen.request import AnswerForm, ImagesRequest
from calculators.image_gen.response import completed_events, partial_event, response_text

CREATED = 1_790_000_000
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"text_tokens": 9, "image_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 9,
}


def request(num_images: int = 1, ignored: tuple[str, ...] = (), **answer: Any) -> ImagesRequest:
    generation = GenerationRequest("a", 64, 32, num_images, 12, rng_seed=5, ignored=ignored)
    return ImagesRequest(generation, AnswerForm(**{"endpoint": "generations", **answer}))


def result(num_images: int = 1, prompt_tokens: int | None = 9, form: str = "png") -> GenerationResult:
    images = tuple(b"picture %d" % number for number in range(num_images))
    return GenerationResult(images, tuple(range(5, 5 + num_images)), 64, 32, form, 10, prompt_tokens)


class Store:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, image: bytes, output_format: str) -> str:
        name = f"{len(self.kept)}.{output_format}"
        self.kept[name] = image
        return name


def test_answer_has_openais_shape_and_the_seed_of_each_picture() -> None:
    answer = json.loads(response_text(request(2), result(2), created=CREATED))
    assert [base64.b64decode(item.pop("b64_json")) for item in answer["data"]] == [b"picture 0", b"picture 1"]
    assert answer == {
        "created": CREATED,
        "data": [{"seed": 5}, {"seed": 6}],
        "output_format": "png",
        "size": "64x32",
        "usage": USAGE,
        "seed": 5,
        "num_inference_steps": 10,
    }


def test_what_was_asked_is_told_where_it_was_asked() -> None:
    asked = request(quality="low", background="opaque", safety_identifier="u1", ignored=("user", "image"))
    answer = json.loads(response_text(asked, result(), created=0))
    assert (answer["quality"], answer["background"], answer["safety_identifier"]) == ("low", "opaque", "u1")
    assert answer["ignored_parameters"] == ["user", "image"]


def test_tokens_that_nobody_counted_are_not_made_up() -> None:
    assert "usage" not in json.loads(response_text(request(), result(prompt_tokens=None), created=0))
    (event,) = completed_events(request(stream=True), result(prompt_tokens=None), created=0)
    assert json.loads(event)["usage"] is None


def test_urls_stand_in_the_place_of_pictures() -> None:
    store = Store()
    text = response_text(request(2, urls=True), result(2, form="webp"), created=0, store=store, base_url="http://h/p")
    assert json.loads(text)["data"] == [
        {"url": "http://h/p/v1/images/files/0.webp", "seed": 5},
        {"url": "http://h/p/v1/images/files/1.webp", "seed": 6},
    ]
    assert store.kept == {"0.webp": b"picture 0", "1.webp": b"picture 1"}


@pytest.mark.parametrize(("endpoint", "kind"), [("generations", "image_generation"), ("edits", "image_edit")])
def test_events_have_openais_fields(endpoint: str, kind: str) -> None:
    asked = request(endpoint=endpoint, stream=True)
    text = partial_event(asked, PartialImage(0, 2, b"early"), created=CREATED)
    assert text.startswith(f'{{"type": "{kind}.partial_image"')
    assert json.loads(text) == {
        "type": f"{kind}.partial_image",
        "b64_json": base64.b64encode(b"early").decode(),
        "partial_image_index": 2,
        "created_at": CREATED,
        "size": "64x32",
        "quality": "auto",
        "background": "opaque",
        "output_format": "png",
    }
    (event,) = completed_events(asked, result(), created=CREATED)
    assert json.loads(event) == {
        "type": f"{kind}.completed",
        "b64_json": base64.b64encode(b"picture 0").decode(),
        "created_at": CREATED,
        "size": "64x32",
        "quality": "auto",
        "background": "opaque",
        "output_format": "png",
        "usage": USAGE,
        "seed": 5,
        "num_inference_steps": 10,
    }


def test_of_several_pictures_each_has_an_event_and_the_tokens_are_counted_once() -> None:
    asked = request(3, stream=True, quality="low", safety_identifier="u", ignored=("user",))
    events = [json.loads(event) for event in completed_events(asked, result(3), created=0)]
    assert [(event["image_index"], event["seed"]) for event in events] == [(0, 5), (1, 6), (2, 7)]
    assert [event["usage"]["total_tokens"] for event in events] == [9, 0, 0]
    assert {event["quality"] for event in events} == {"low"}
    assert {event["safety_identifier"] for event in events} == {"u"}
    early = json.loads(partial_event(asked, PartialImage(1, 0, b"x"), created=0))
    assert (early["image_index"], early["ignored_parameters"]) == (1, ["user"])
    assert "safety_identifier" not in early


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 7, 3), (5, 2, 3)])
def test_png_keeps_every_pixel(shape: tuple[int, int, int]) -> None:
    index = np.arange(np.prod(shape), dtype=np.uint32)
    factor = np.array([2, 3, 5], dtype=np.uint32)[index % 3]
    pixels = ((index // 3 + 1) * factor % 256).astype(np.uint8).reshape(shape)
    image = Image.open(io.BytesIO(encode_image(pixels)))
    assert image.format == "PNG"
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels)
