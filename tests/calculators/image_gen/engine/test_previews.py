"""Partial images: which steps they show, that they never delay, harm or outlive a drawing."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calculators.image_gen.errors import GenerationCancelledError
from calculators.image_gen.generation import PartialImage
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.resolution import Resolution
from tests.calculators.image_gen.engine.drawings import draw, is_red_circle_on_blue, load, model_of, pixels, request

pytest.importorskip("openvino_genai")
previews = pytest.importorskip("calculators.image_gen.engine.previews")

SIZE = Resolution(2, 2)
WAIT_S = 60


@pytest.mark.parametrize(
    ("total", "count", "steps"),
    [
        (20, 0, []), (20, 1, [10]), (20, 2, [6, 13]), (20, 3, [5, 10, 15]), (50, 3, [12, 25, 37]),
        (4, 3, [1, 2, 3]), (3, 3, [1, 2]), (2, 3, [1]), (1, 3, []), (4, 1, [2]),
    ],
)  # fmt: skip
def test_partial_images_are_evenly_spaced_and_never_the_last_step(total: int, count: int, steps: list[int]) -> None:
    assert previews.preview_steps(total, count) == steps


class Later(Executor):
    """Runs what it was given when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Future[Any], Any]] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run_next(self) -> None:
        future, job = self.jobs.pop(0)
        if future.set_running_or_notify_cancel():
            future.set_result(job())


class Latent:
    def __init__(self, value: float, count: int = 1) -> None:
        self.data = np.full((count, 4, 1, 1), value, np.float32)


class Scene:
    """A drawing's partial images with everything around them scripted."""

    def __init__(self, count: int = 3, first_picture: int = 0) -> None:
        self.shown: list[PartialImage] = []
        self.executor = Later()
        self.previews = previews.Previews(
            count, SIZE, first_picture, decode=self.decode, finish=bytes, on_partial=self.shown.append,
            executor=self.executor,
        )  # fmt: skip

    def decode(self, latents: np.ndarray[Any, Any], size: Resolution) -> np.ndarray[Any, Any]:
        assert size == SIZE
        return latents[:, 0].astype(np.uint8)


def test_steps_become_partial_images_of_each_picture() -> None:
    scene = Scene(count=1, first_picture=2)
    latent = Latent(7, count=2)
    for done in range(1, 5):
        scene.previews.step(done, 4, latent)
    latent.data[:] = 9  # the next step of the pipeline overwrites it
    scene.executor.run_next()
    assert scene.shown == [PartialImage(2, 0, bytes([7])), PartialImage(3, 0, bytes([7]))]
    assert scene.executor.jobs == []


def test_what_has_not_begun_when_the_drawing_ends_is_left_out() -> None:
    scene = Scene()
    for done in range(1, 5):
        scene.previews.step(done, 4, Latent(done))
    scene.executor.run_next()
    scene.previews.end()
    while scene.executor.jobs:
        scene.executor.run_next()
    assert [partial.index for partial in scene.shown] == [0]


def test_what_is_being_decoded_when_the_drawing_ends_is_not_shown() -> None:
    scene = Scene()
    decode = scene.previews._decode

    def ends_meanwhile(latents: Any, size: Resolution) -> Any:
        scene.previews.end()
        return decode(latents, size)

    scene.previews._decode = ends_meanwhile
    scene.previews.step(1, 4, Latent(1))
    scene.executor.run_next()
    assert scene.shown == []


def test_a_partial_image_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    decode = scene.previews._decode

    def fails_at_first(latents: Any, size: Resolution) -> Any:
        if latents[0, 0, 0, 0] == 1:
            raise RuntimeError("no memory")
        return decode(latents, size)

    scene.previews._decode = fails_at_first
    for done in (1, 2):
        scene.previews.step(done, 4, Latent(done))
        scene.executor.run_next()
    assert [partial.index for partial in scene.shown] == [1]
    assert "a partial image could not be made: no memory" in caplog.text


def test_packed_latents_are_laid_out_again() -> None:
    """FLUX: each row of the packed form holds a block of 2x2, channel by channel."""
    picture = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    blocks = picture.reshape(2, 3, 2, 2, 3, 2).transpose(0, 2, 4, 1, 3, 5).reshape(2, 6, 12)
    assert np.array_equal(previews.unpacked(blocks, 4, 6), picture)


# ---- the real engine


@pytest.fixture(scope="module")
def engine(shapes: Path) -> Any:
    return load(shapes)


@pytest.mark.model
@pytest.mark.parametrize("images", [1, 3])
def test_partial_images_show_the_picture_on_its_way_and_leave_it_as_it_is(images: int, engine: Any) -> None:
    shown: list[PartialImage] = []
    asked = request(num_images=images, num_inference_steps=60)
    plain = draw(engine, asked)
    result = draw(engine, request(num_images=images, num_inference_steps=60, partial_images=3), on_partial=shown.append)
    assert result.images == plain.images
    assert shown
    assert {partial.picture for partial in shown} == set(range(images))
    for picture in range(images):
        indexes = [partial.index for partial in shown if partial.picture == picture]
        assert indexes == sorted(set(indexes))
        assert set(indexes) <= {0, 1, 2}
    last = shown[-1]
    assert is_red_circle_on_blue(last.image)
    assert np.abs(pixels(last.image) - pixels(result.images[last.picture])).mean() < 20


@pytest.mark.model
def test_partial_images_of_edits_leave_what_the_mask_leaves(engine: Any) -> None:
    circle = draw(engine).images[0]
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    shown: list[PartialImage] = []
    asked = request(
        "a green square on a black background", image=circle, mask=file.getvalue(), strength=1.0, num_images=2,
        num_inference_steps=40, partial_images=3, output_format="webp", output_compression=100,
    )  # fmt: skip
    asked_for_png = request(
        "a green square on a black background", image=circle, mask=file.getvalue(), strength=1.0, num_images=2,
        num_inference_steps=40, partial_images=3,
    )  # fmt: skip
    draw(engine, asked, on_partial=shown.append)
    assert {Image.open(io.BytesIO(partial.image)).format for partial in shown} == {"WEBP"}
    shown.clear()
    draw(engine, asked_for_png, on_partial=shown.append)
    assert shown
    for partial in shown:
        assert np.array_equal(pixels(partial.image)[:, :32], pixels(circle)[:, :32])


@pytest.fixture
def stuck(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Partial images that do not get ready before the end of the test; the event tells that one is being made."""
    held, go_on = threading.Event(), threading.Event()

    def decode(latents: Any, size: Resolution) -> Any:
        held.set()
        assert go_on.wait(WAIT_S)
        return np.zeros((1, 64, 64, 3), np.uint8)

    monkeypatch.setattr(engine, "_decode", decode)
    yield held
    go_on.set()


@pytest.mark.model
def test_cancelling_is_seen_while_a_partial_image_is_being_made(engine: Any, stuck: threading.Event) -> None:
    steps: list[int] = []
    with pytest.raises(GenerationCancelledError):
        draw(
            engine,
            request(num_inference_steps=1000, partial_images=3),
            cancelled=stuck.is_set,
            on_step=lambda done, total: steps.append(done),
        )
    assert len(steps) < 500  # the first partial image is one of step 250


@pytest.mark.model
def test_the_end_does_not_wait_for_a_partial_image(engine: Any, stuck: threading.Event) -> None:
    shown: list[PartialImage] = []
    result = draw(engine, request(partial_images=3), on_partial=shown.append)
    assert is_red_circle_on_blue(result.images[0])
    assert stuck.is_set()
    assert shown == []


@pytest.mark.model
def test_prompts_are_counted_in_the_models_own_tokens(engine: Any) -> None:
    def count(prompt: str, **changes: Any) -> int | None:
        return draw(engine, request(prompt, num_inference_steps=1, **changes)).prompt_tokens

    assert count("") == 0
    assert count("a red circle on a blue background") == 7
    assert count("a red circle", negative_prompt="blue") == 4
    assert count("red " * 300) == 300


@pytest.mark.model
@pytest.mark.parametrize("name", ["sd", "sdxl", "sd3", "flux_dev", "z_image"])
def test_the_decoder_of_partial_images_gives_the_finished_picture_of_the_last_latents(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    genai = pytest.importorskip("openvino_genai")
    from tests.models.families import make

    folder = make(name, tmp_path_factory.mktemp("family") / name)
    size = Resolution(64, 48)
    decode = previews.load_decoder(LoadSettings(str(folder), ("CPU",)), model_of(folder), "CPU")
    latents: dict[int, Any] = {}
    finished = genai.Text2ImagePipeline(folder, "CPU").generate(
        "a red circle", width=64, height=48, num_inference_steps=3, num_images_per_prompt=2, rng_seed=7,
        callback=lambda step, steps, latent: latents.update({step + 1 - steps: np.array(latent.data)}),
    )  # fmt: skip
    assert decode(latents[min(latents)], size).shape == (2, 48, 64, 3)
    if 0 in latents:  # GenAI may leave the last call out
        assert np.array_equal(decode(latents[0], size), finished.data)
