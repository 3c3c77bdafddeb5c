"""What OpenVINO GenAI itself does: these tests tell when a new release makes a precaution needless, or another one needed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino_genai")
pytestmark = pytest.mark.model


def test_genai_still_has_one_seed_for_all_pictures_of_a_batch(shapes: Path) -> None:
    genai = pytest.importorskip("openvino_genai")
    pipeline = genai.Text2ImagePipeline(shapes, "CPU")
    arguments = {"width": 64, "height": 64, "num_inference_steps": 2}
    pipeline.generate("a", rng_seed=0, **arguments)
    batch = pipeline.generate("a", rng_seed=5, num_images_per_prompt=2, **arguments).data.copy()
    alone = [pipeline.generate("a", rng_seed=seed, **arguments).data[0].copy() for seed in (5, 6)]
    assert np.array_equal(batch[0], alone[0])
    assert not np.array_equal(batch[1], alone[1])


def test_genai_still_draws_the_same_picture_for_everyone_without_a_seed(shapes: Path) -> None:
    genai = pytest.importorskip("openvino_genai")
    pipeline = genai.Text2ImagePipeline(shapes, "CPU")
    arguments = {"width": 64, "height": 64, "num_inference_steps": 2}
    first, second = (pipeline.generate("a", **arguments).data.copy() for _ in range(2))
    named = pipeline.generate("a", rng_seed=42, **arguments).data.copy()
    assert all(np.array_equal(a, b) for a, b in itertools.pairwise([first, second, named]))


def test_genai_still_overwrites_its_last_result(shapes: Path) -> None:
    genai = pytest.importorskip("openvino_genai")
    pipeline = genai.Text2ImagePipeline(shapes, "CPU")
    arguments = {"width": 64, "height": 64, "num_inference_steps": 2}
    first = pipeline.generate("a", rng_seed=1, **arguments)
    before = first.data.copy()
    pipeline.generate("a", rng_seed=2, **arguments)
    assert not np.array_equal(first.data, before)
