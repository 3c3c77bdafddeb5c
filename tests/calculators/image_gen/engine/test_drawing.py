"""The real engine with the model that comes with the project: pictures from texts, steps, cancellation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.errors import EngineSpoiltError, GenerationCancelledError
from tests.calculators.image_gen.engine.drawings import (
    EditJson,
    draw,
    is_red_circle_on_blue,
    load,
    pixels,
    request,
    scheduler,
)

pytest.importorskip("openvino_genai")
pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def engine(shapes: Path) -> Any:
    return load(shapes)


# ---- pictures


def test_a_picture_shows_what_was_asked_for(engine: Any) -> None:
    result = draw(engine)
    assert (result.width, result.height, result.output_format, result.seeds) == (64, 64, "png", (7,))
    assert result.num_inference_steps == 20
    assert {"text_encode", "denoise", "vae_decode", "write"} == set(result.stage_s)
    assert result.stage_s["denoise"] > 0
    assert is_red_circle_on_blue(result.images[0])
    other = draw(engine, request("a green square on a black background"))
    assert not is_red_circle_on_blue(other.images[0])


def test_a_seed_gives_the_same_bytes_and_another_seed_others(engine: Any) -> None:
    first = draw(engine).images[0]
    assert draw(engine, request(rng_seed=8)).images[0] != first
    assert draw(engine).images[0] == first


def test_only_32_bits_of_a_seed_count(engine: Any) -> None:
    low = draw(engine, request(num_inference_steps=4))
    high = draw(engine, request(num_inference_steps=4, rng_seed=2**40 + 7))
    assert high.images == low.images
    assert high.seeds == (2**40 + 7,)


def test_every_picture_of_a_batch_is_the_one_of_its_own_seed(engine: Any) -> None:
    batch = draw(engine, request(num_images=3, rng_seed=100))
    assert batch.seeds == (100, 101, 102)
    assert len(set(batch.images)) == 3
    for image, seed in zip(batch.images, batch.seeds, strict=True):
        assert draw(engine, request(rng_seed=seed)).images[0] == image


def test_that_holds_for_schedulers_that_add_noise_at_each_step(copy_of_shapes: Path, edit_json: EditJson) -> None:
    engine = load(scheduler(copy_of_shapes, edit_json, _class_name="EulerAncestralDiscreteScheduler"))
    batch = draw(engine, request(num_images=2, rng_seed=100))
    assert [draw(engine, request(rng_seed=seed)).images[0] for seed in (100, 101)] == list(batch.images)
    assert all(map(is_red_circle_on_blue, batch.images))


@pytest.mark.parametrize(("width", "height"), [(96, 64), (72, 88), (32, 32), (64, 40)])
def test_sizes_that_fit_the_rule_are_drawn(width: int, height: int, engine: Any) -> None:
    result = draw(engine, request(width=width, height=height, num_inference_steps=2))
    assert (result.width, result.height) == (width, height)
    assert pixels(result.images[0]).shape == (height, width, 3)


@pytest.mark.parametrize("prompt", ["", "ein Käse 🧀", "a\0b", "long " * 20_000])
def test_unusual_prompts(prompt: str, engine: Any) -> None:
    assert len(draw(engine, request(prompt, num_inference_steps=1)).images) == 1


def test_a_negative_prompt_changes_the_picture(engine: Any) -> None:
    with_it = draw(engine, request(negative_prompt="a red circle", num_inference_steps=4))
    assert with_it.images != draw(engine, request(num_inference_steps=4)).images


def test_an_image_stays_what_it_is_when_the_next_one_is_drawn(engine: Any) -> None:
    first = draw(engine, request(num_inference_steps=2)).images[0]
    kept = bytes(first)
    draw(engine, request(num_inference_steps=2, rng_seed=9))
    assert first == kept


# ---- steps and cancellation


@pytest.mark.parametrize("steps", [1, 2, 13])
def test_steps_are_reported_up_to_the_last(steps: int, engine: Any) -> None:
    seen: list[tuple[int, int]] = []
    draw(engine, request(num_inference_steps=steps), on_step=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (steps, steps)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_cancelling_ends_at_the_next_step_and_leaves_the_engine_well(engine: Any) -> None:
    seen: list[int] = []
    with pytest.raises(GenerationCancelledError):
        draw(
            engine,
            request(num_inference_steps=1000),
            cancelled=lambda: len(seen) >= 3,
            on_step=lambda done, total: seen.append(done),
        )
    assert seen == [1, 2, 3]
    assert is_red_circle_on_blue(draw(engine).images[0])


def test_a_callback_that_raises_does_not_end_the_process(engine: Any) -> None:
    def broken(done: int, total: int) -> None:
        raise ValueError("no")

    with pytest.raises(RequestError, match="the progress callback failed") as caught:
        draw(engine, on_step=broken)
    assert isinstance(caught.value.__cause__, ValueError)
    assert is_red_circle_on_blue(draw(engine).images[0])


def test_what_genai_refuses_is_an_error_with_its_reason(engine: Any) -> None:
    with pytest.raises(RequestError, match="divisible by 8") as caught:
        draw(engine, request(width=63))
    error = caught.value
    assert (error.status, error.code) == (500, "generation_failed")
    assert "core.cpp" not in error.message
    assert is_red_circle_on_blue(draw(engine).images[0])


@pytest.mark.parametrize(
    ("class_name", "extra"),
    [("EulerDiscreteScheduler", {}), ("DDIMScheduler", {}), ("PNDMScheduler", {"skip_prk_steps": True})],
)
def test_step_counts_that_genai_miscounts_never_give_noise(
    class_name: str, extra: dict[str, Any], copy_of_shapes: Path, edit_json: EditJson
) -> None:
    folder = scheduler(copy_of_shapes, edit_json, _class_name=class_name, timestep_spacing="trailing", **extra)
    engine = load(folder)
    for steps in (20, 22):
        seen: list[tuple[int, int]] = []
        result = draw(
            engine,
            request(num_inference_steps=steps),
            on_step=lambda done, total, seen=seen: seen.append((done, total)),  # type: ignore[misc]  # a default to bind it
        )
        assert is_red_circle_on_blue(result.images[0]), (class_name, steps)
        assert steps - 3 < result.num_inference_steps <= steps
        done = [step for step, _ in seen]
        assert done == sorted(set(done))
        again = draw(engine, request(num_inference_steps=steps))
        assert (again.images, again.num_inference_steps) == (result.images, result.num_inference_steps)


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "DDIMScheduler"},
        {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
        {"_class_name": "LMSDiscreteScheduler"},
    ],
)
def test_schedulers_that_pass_the_check_draw(
    changes: dict[str, Any], copy_of_shapes: Path, edit_json: EditJson
) -> None:
    engine = load(scheduler(copy_of_shapes, edit_json, **changes))
    assert is_red_circle_on_blue(draw(engine).images[0])


def test_a_latent_consistency_scheduler_runs_with_epsilon(copy_of_shapes: Path, edit_json: EditJson) -> None:
    changes = {"_class_name": "LCMScheduler", "prediction_type": "epsilon", "original_inference_steps": 50}
    engine = load(scheduler(copy_of_shapes, edit_json, **changes))
    assert len(draw(engine, request(num_inference_steps=4)).images) == 1  # this model was not trained for it


def test_a_failure_inside_genai_is_told_apart_from_one_that_leaves_the_engine_well(shapes: Path) -> None:
    engine = load(shapes)
    with pytest.raises(EngineSpoiltError):
        draw(engine, request(num_images=0))


@pytest.mark.parametrize("steps", [0, -1])
def test_step_counts_that_crash_genai_never_reach_it(steps: int, engine: Any) -> None:
    with pytest.raises(RequestError, match="num_inference_steps must be higher than 0") as caught:
        draw(engine, request(num_inference_steps=steps))
    assert (caught.value.status, caught.value.param) == (400, "num_inference_steps")
