"""The JSON text of an answer, and the pictures in it."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from calculators.image_gen.generation import GenerationRequest, GenerationResult
from calculators.image_gen.images import encode_image
from calculators.image_gen.response import response_text


def test_answer_has_openais_shape_and_the_seed_of_each_picture() -> None:
    request = GenerationRequest("a", 64, 32, 2, 12, rng_seed=5)
    result = GenerationResult((b"\x89PNG 1", b"\x89PNG 2"), (5, 6), 64, 32, "png", 10)
    answer = json.loads(response_text(request, result, created=1_790_000_000))
    assert [base64.b64decode(item.pop("b64_json")) for item in answer["data"]] == [b"\x89PNG 1", b"\x89PNG 2"]
    assert answer == {
        "created": 1_790_000_000,
        "data": [{"seed": 5}, {"seed": 6}],
        "output_format": "png",
        "size": "64x32",
        "seed": 5,
        "num_inference_steps": 10,
    }


def test_fields_without_effect_are_named() -> None:
    request = GenerationRequest("a", 64, 64, 1, 1, rng_seed=5, ignored=("user", "image"))
    result = GenerationResult((b"x",), (5,), 64, 64, "png", 1)
    assert json.loads(response_text(request, result, created=0))["ignored_parameters"] == ["user", "image"]


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 7, 3), (5, 2, 3)])
def test_png_keeps_every_pixel(shape: tuple[int, int, int]) -> None:
    index = np.arange(np.prod(shape), dtype=np.uint32)
    factor = np.array([2, 3, 5], dtype=np.uint32)[index % 3]
    pixels = ((index // 3 + 1) * factor % 256).astype(np.uint8).reshape(shape)
    image = Image.open(io.BytesIO(encode_image(pixels)))
    assert image.format == "PNG"
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), pixels)
