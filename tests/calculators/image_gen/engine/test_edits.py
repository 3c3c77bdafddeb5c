"""Pictures from pictures, and into masks, with the model that comes with the project."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calculators.http_payload import RequestError
from calculators.image_gen.errors import GenerationCancelledError
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

GREEN_ON_BLACK = "a green square on a black background"
STEPS = 8


@pytest.fixture(scope="module")
def engine(shapes: Path) -> Any:
    return load(shapes)


@pytest.fixture(scope="module")
def circle(engine: Any) -> bytes:
    """A red circle on blue, drawn by the model."""
    return draw(engine).images[0]


def mask_file(mask: np.ndarray[Any, Any]) -> bytes:
    """White where something is to be drawn anew."""
    file = io.BytesIO()
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def right_half() -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros((64, 64), np.bool_)
    mask[:, 32:] = True
    return mask


def difference(one: bytes, other: bytes) -> float:
    return float(np.abs(pixels(one) - pixels(other)).mean())


def test_strength_says_how_far_an_edit_goes(engine: Any, circle: bytes) -> None:
    edits = [
        draw(engine, request(GREEN_ON_BLACK, image=circle, strength=strength, num_inference_steps=20)).images[0]
        for strength in (0.1, 0.2, 1.0)
    ]
    differences = [difference(edit, circle) for edit in edits]
    assert differences == sorted(differences)
    assert is_red_circle_on_blue(edits[0])
    middle, corner = pixels(edits[2])[28:36, 28:36], pixels(edits[2])[:6, :6]
    assert middle[..., 1].mean() > middle[..., 0].mean() + 60
    assert corner.mean() < 60


def test_without_a_strength_the_family_has_its_own(engine: Any, circle: bytes) -> None:
    own, named, other = (
        draw(engine, request(GREEN_ON_BLACK, image=circle, strength=strength, num_inference_steps=STEPS)).images
        for strength in (None, 0.8, 0.5)
    )
    assert own == named != other


@pytest.mark.parametrize("masked", [False, True])
def test_each_picture_of_an_edit_is_the_one_of_its_own_seed(
    masked: bool, engine: Any, circle: bytes, right_half: np.ndarray[Any, Any]
) -> None:
    changes = {"image": circle, "strength": 0.8, "num_inference_steps": STEPS, "mask": None}
    if masked:
        changes["mask"] = mask_file(right_half)
    batch = draw(engine, request(GREEN_ON_BLACK, num_images=3, rng_seed=50, **changes))
    assert batch.seeds == (50, 51, 52)
    assert len(set(batch.images)) == 3
    for image, seed in zip(batch.images, batch.seeds, strict=True):
        assert draw(engine, request(GREEN_ON_BLACK, rng_seed=seed, **changes)).images[0] == image


def test_what_the_mask_leaves_is_the_upload_to_the_byte(
    engine: Any, circle: bytes, right_half: np.ndarray[Any, Any]
) -> None:
    asked = request(GREEN_ON_BLACK, image=circle, mask=mask_file(right_half), strength=1.0, num_images=2)
    for image in draw(engine, asked).images:
        drawn, given = pixels(image), pixels(circle)
        assert np.array_equal(drawn[~right_half], given[~right_half])
        assert np.abs(drawn - given)[right_half].mean() > 5


def test_a_mask_that_frees_nothing_gives_the_upload_and_one_that_frees_all_draws_all(
    engine: Any, circle: bytes, right_half: np.ndarray[Any, Any]
) -> None:
    nothing, everything = (
        draw(
            engine, request(GREEN_ON_BLACK, image=circle, mask=mask_file(mask), strength=1.0, num_inference_steps=STEPS)
        )
        for mask in (right_half & ~right_half, right_half | ~right_half)
    )
    assert difference(nothing.images[0], circle) == 0
    assert difference(everything.images[0], circle) > 20


def test_openais_masks_free_what_is_transparent(engine: Any, circle: bytes, right_half: np.ndarray[Any, Any]) -> None:
    layers = np.full((64, 64, 4), 255, np.uint8)
    layers[right_half, 3] = 0
    file = io.BytesIO()
    Image.fromarray(layers).save(file, "PNG")
    changes: dict[str, Any] = {"image": circle, "num_inference_steps": STEPS}
    by_alpha = draw(engine, request(mask=file.getvalue(), **changes))
    by_white = draw(engine, request(mask=mask_file(right_half), **changes))
    assert by_alpha.images == by_white.images


def test_uploads_of_other_sizes_are_scaled_to_what_is_drawn(engine: Any) -> None:
    given = np.zeros((30, 90, 3), np.uint8)
    given[:, 45:] = 255
    file = io.BytesIO()
    Image.fromarray(given).save(file, "PNG")
    mask = np.zeros((3, 9), np.bool_)
    mask[:, :3] = True
    result = draw(
        engine,
        request(image=file.getvalue(), mask=mask_file(mask), width=72, height=40, num_inference_steps=STEPS),
    )
    drawn = pixels(result.images[0])
    assert drawn.shape == (40, 72, 3)
    assert (drawn[:, 26:34] < 10).all()
    assert (drawn[:, 40:] > 245).all()


def test_steps_of_several_edits_are_counted_through(engine: Any, circle: bytes) -> None:
    seen: list[tuple[int, int]] = []
    asked = request(image=circle, strength=0.5, num_images=3, num_inference_steps=8)
    draw(engine, asked, on_step=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {12}
    assert seen[-1] == (12, 12)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_cancelling_in_the_second_of_several_edits(engine: Any, circle: bytes) -> None:
    seen: list[int] = []
    asked = request(image=circle, strength=1.0, num_images=3, num_inference_steps=5)
    with pytest.raises(GenerationCancelledError):
        draw(
            engine,
            asked,
            cancelled=lambda: bool(seen) and seen[-1] >= 7,
            on_step=lambda done, total: seen.append(done),
        )
    assert seen[-1] < 10
    assert is_red_circle_on_blue(draw(engine).images[0])


@pytest.mark.parametrize(("strength", "steps"), [(0.0, 20), (0.05, 10), (0.01, 99)])
def test_a_strength_that_leaves_no_step_never_reaches_genai(
    strength: float, steps: int, engine: Any, circle: bytes
) -> None:
    with pytest.raises(RequestError, match=f"strength {strength:g} leaves nothing of {steps} ") as caught:
        draw(engine, request(image=circle, strength=strength, num_inference_steps=steps))
    assert (caught.value.status, caught.value.param) == (400, "strength")


def test_broken_uploads_are_refused_and_leave_the_engine_well(engine: Any, circle: bytes) -> None:
    before = draw(engine, request(num_inference_steps=2)).images
    uploads: list[tuple[dict[str, Any], str]] = [
        ({"image": circle[:200]}, "image"),
        ({"image": circle, "mask": b"no"}, "mask"),
    ]
    for changes, param in uploads:
        with pytest.raises(RequestError, match=f"{param} cannot be read") as caught:
            draw(engine, request(**changes))
        assert (caught.value.status, caught.value.param) == (400, param)
    assert draw(engine, request(num_inference_steps=2)).images == before


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_other_formats(output_format: str, engine: Any) -> None:
    sizes = []
    for quality in (None, 5, 95):
        result = draw(engine, request(output_format=output_format, output_compression=quality))
        assert result.output_format == output_format
        assert Image.open(io.BytesIO(result.images[0])).format == output_format.upper()
        sizes.append(len(result.images[0]))
        assert is_red_circle_on_blue(result.images[0])
    assert sizes[1] < sizes[0] < sizes[2]


def test_shortened_schedules_that_genai_miscounts_never_give_noise(
    circle: bytes, copy_of_shapes: Path, edit_json: EditJson
) -> None:
    engine = load(scheduler(copy_of_shapes, edit_json, timestep_spacing="trailing"))
    for steps, strength in ((22, 0.5), (9, 0.8)):
        asked = request(image=circle, num_inference_steps=steps, strength=strength)
        result = draw(engine, asked)
        assert steps - 3 < result.num_inference_steps < steps
        assert is_red_circle_on_blue(result.images[0])
        assert draw(engine, asked).images == result.images


def test_a_distilled_model_edits_in_few_steps(circle: bytes, copy_of_shapes: Path, edit_json: EditJson) -> None:
    changes = {"_class_name": "LCMScheduler", "prediction_type": "epsilon", "original_inference_steps": 50}
    engine = load(scheduler(copy_of_shapes, edit_json, **changes))
    assert draw(engine, request(image=circle, num_inference_steps=1)).num_inference_steps == 1
    with pytest.raises(RequestError, match="leaves nothing"):  # GenAI crashes
        draw(engine, request(image=circle, num_inference_steps=100, strength=0.01))


# ---- models that cannot do everything


def test_a_model_without_an_encoder_draws_from_texts_alone(copy_of_shapes: Path, circle: bytes) -> None:
    (copy_of_shapes / "vae_encoder" / "openvino_model.bin").unlink()
    engine = load(copy_of_shapes)
    assert set(engine.about()["kinds"]) == {"text to image"}
    assert is_red_circle_on_blue(draw(engine).images[0])
    with pytest.raises(RequestError, match="image to image is not possible with this model; possible: text") as caught:
        draw(engine, request(image=circle))
    assert (caught.value.status, caught.value.param) == (412, "image")


def test_an_encoder_that_genai_refuses_leaves_text_to_image(copy_of_shapes: Path) -> None:
    path = copy_of_shapes / "vae_encoder" / "openvino_model.bin"
    length = path.stat().st_size
    path.unlink()
    path.write_bytes(b"\xff" * length)
    xml = copy_of_shapes / "vae_encoder" / "openvino_model.xml"
    text = xml.read_text()
    xml.unlink()
    xml.write_text(text.replace('type="Convolution"', 'type="Convoluted"'))
    engine = load(copy_of_shapes)
    assert set(engine.about()["kinds"]) == {"text to image"}
    assert [note.partition(":")[0] for note in engine.about()["notes"]] == ["inpainting", "image to image"]
    assert is_red_circle_on_blue(draw(engine).images[0])


def make_inpainting_unet(folder: Path, shapes: Path, edit_json: EditJson) -> None:
    """The UNet with five channels more, as dedicated inpainting models have them; it takes no notice of these."""
    openvino = pytest.importorskip("openvino")
    operations = openvino.opset13
    model = openvino.Core().read_model(shapes / "unet" / "openvino_model.xml")
    old = next(each for each in model.get_parameters() if "sample" in each.output(0).get_names())
    new = operations.parameter(openvino.PartialShape([-1, 9, -1, -1]), openvino.Type.f32, name="sample")
    new.output(0).set_names({"sample"})
    ends = [operations.constant([value]) for value in (0, 4, 1, 1)]
    four = operations.slice(new, *ends)
    for target in list(old.output(0).get_target_inputs()):
        target.replace_source_output(four.output(0))
    inputs = [new if each.get_friendly_name() == old.get_friendly_name() else each for each in model.get_parameters()]
    for suffix in ("xml", "bin"):
        (folder / "unet" / f"openvino_model.{suffix}").unlink()
    openvino.save_model(openvino.Model(model.get_results(), inputs, "unet"), folder / "unet" / "openvino_model.xml")
    edit_json(folder / "unet" / "config.json", in_channels=9)


@pytest.mark.parametrize("class_name", ["StableDiffusionPipeline", "StableDiffusionInpaintPipeline"])
def test_a_dedicated_inpainting_model_draws_into_masks_alone(
    class_name: str,
    copy_of_shapes: Path,
    shapes: Path,
    edit_json: EditJson,
    circle: bytes,
    right_half: np.ndarray[Any, Any],
) -> None:
    make_inpainting_unet(copy_of_shapes, shapes, edit_json)
    edit_json(copy_of_shapes / "model_index.json", _class_name=class_name)
    engine = load(copy_of_shapes)
    assert set(engine.about()["kinds"]) == {"inpainting"}
    result = draw(engine, request(GREEN_ON_BLACK, image=circle, mask=mask_file(right_half)))
    drawn = pixels(result.images[0])
    assert np.array_equal(drawn[~right_half], pixels(circle)[~right_half])
    assert drawn[:6, 40:].mean() < 60  # black, where the circle's picture is blue
    others: list[tuple[dict[str, Any], str]] = [({}, "text to image"), ({"image": circle}, "image to image")]
    for changes, kind in others:
        with pytest.raises(RequestError, match=f"{kind} is not possible with this model; possible: inpainting"):
            draw(engine, request(**changes))


def test_an_inpainting_class_with_an_ordinary_unet_draws_everything(
    copy_of_shapes: Path, edit_json: EditJson, engine: Any
) -> None:
    edit_json(copy_of_shapes / "model_index.json", _class_name="StableDiffusionInpaintPipeline")
    other = load(copy_of_shapes)
    assert set(other.about()["kinds"]) == {"text to image", "image to image", "inpainting"}
    assert draw(other).images == draw(engine).images
