"""The real engine with the model that comes with the project: pictures are judged, GenAI's sharp edges pinned."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calculators.http_payload import RequestError
from calculators.image_gen.errors import EngineSpoiltError, GenerationCancelledError, LoadError
from calculators.image_gen.generation import GenerationRequest, GenerationResult, OnPartial, OnStep
from calculators.image_gen.model_folder import ModelInfo, read_model_folder
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.plugin_config import as_text

engine_module = pytest.importorskip("calculators.image_gen.engine", reason="needs openvino-genai")
Engine = engine_module.Engine

pytestmark = pytest.mark.model

EditJson = Callable[..., None]

RED_ON_BLUE = "a red circle on a blue background"


def load(folder: Path, devices: tuple[str, ...] = ("CPU",), **properties: Any) -> Any:
    return Engine(LoadSettings(str(folder), devices, as_text(properties)), model_of(folder))


def model_of(folder: Path) -> ModelInfo:
    reports: list[str] = []
    model = read_model_folder(folder, reports.append)
    assert model is not None, reports
    return model


def request(prompt: str = RED_ON_BLUE, **changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "width": 64, "height": 64, "num_images": 1, "num_inference_steps": 20, "rng_seed": 7, "guidance_scale": 3.5
    }  # fmt: skip
    return GenerationRequest(prompt=prompt, **{**values, **changes})


def draw(
    engine: Any,
    asked: GenerationRequest | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_step: OnStep = lambda done, total: None,
    on_partial: OnPartial = lambda partial: None,
) -> GenerationResult:
    result: GenerationResult = engine.generate(
        asked or request(), cancelled=cancelled, on_step=on_step, on_partial=on_partial
    )
    return result


def pixels(image: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(image))).astype(np.int16)


def is_red_circle_on_blue(image: bytes) -> bool:
    """Red where the circle must be, blue in the four corners; noise and flat pictures are neither."""
    picture = pixels(image)
    height, width, _ = picture.shape
    middle = picture[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4].reshape(-1, 3)
    corners = np.concatenate(
        [picture[y : y + 6, x : x + 6].reshape(-1, 3) for y in (0, height - 6) for x in (0, width - 6)]
    )
    red, green, blue = middle.mean(axis=0)
    return bool(
        red > 100 and red > green + 60 and red > blue + 60
        and corners[:, 2].mean() > 120 and (corners[:, 2] > corners[:, 0] + 60).mean() > 0.9
    )  # fmt: skip


@pytest.fixture(scope="module")
def engine(shapes: Path) -> Any:
    return load(shapes)


def scheduler(folder: Path, edit_json: EditJson, **changes: Any) -> Path:
    edit_json(folder / "scheduler" / "scheduler_config.json", **changes)
    return folder


# ---- pictures


def test_a_picture_shows_what_was_asked_for(engine: Any) -> None:
    result = draw(engine)
    assert (result.width, result.height, result.output_format, result.seeds) == (64, 64, "png", (7,))
    assert result.num_inference_steps == 20
    assert result.generate_s > 0
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


# ---- loading


def test_the_first_picture_may_be_tiny(shapes: Path) -> None:
    engine = load(shapes)
    draw(engine, request(width=16, height=16, num_inference_steps=1))
    assert is_red_circle_on_blue(draw(engine).images[0])


def test_three_devices_and_properties(shapes: Path) -> None:
    engine = load(shapes, ("CPU", "CPU", "CPU"), NUM_STREAMS="1", DEVICE_PROPERTIES={"CPU": {"PERF_COUNT": False}})
    assert is_red_circle_on_blue(draw(engine).images[0])


@pytest.mark.parametrize("device", ["AUTO", "HETERO:CPU"])
def test_virtual_devices(device: str, shapes: Path) -> None:
    assert len(draw(load(shapes, (device,)), request(num_inference_steps=1)).images) == 1


def test_a_device_that_is_not_there(shapes: Path) -> None:
    with pytest.raises(LoadError, match='device "GPU.7": there is no GPU.7 on this machine; it has: .*CPU') as caught:
        load(shapes, ("GPU.7",))
    assert caught.value.field == "device"


@pytest.mark.parametrize(
    "properties",
    [{"NO_SUCH_PROPERTY": 1}, {"INFERENCE_NUM_THREADS": "x"}, {"NUM_STREAMS": "many", "PERF_COUNT": False}],
)
def test_properties_that_openvino_refuses(properties: dict[str, Any], shapes: Path) -> None:
    with pytest.raises(LoadError) as caught:
        load(shapes, **properties)
    assert caught.value.field == "plugin_config"
    assert caught.value.message.startswith(f'OpenVINO refuses "{next(iter(properties))}" of plugin_config: ')


def test_a_key_at_fault_is_found_by_its_name_or_by_its_value() -> None:
    properties = {"CACHE_DIR": "/models", "PERF_COUNT": True, "DEVICE_PROPERTIES": {"CPU": {"NUM_STREAMS": "many"}}}
    assert engine_module.keys_at_fault(properties, "cannot read str: many; stoi") == [
        "DEVICE_PROPERTIES.CPU.NUM_STREAMS"
    ]
    assert engine_module.keys_at_fault(properties, "no PERF_COUNT, many") == ["PERF_COUNT"]
    assert engine_module.keys_at_fault(properties, "/models/cat/unet is broken") == []


def test_broken_weights(copy_of_shapes: Path) -> None:
    name = "unet"
    model = model_of(copy_of_shapes)
    path = copy_of_shapes / name / "openvino_model.bin"
    length = path.stat().st_size
    path.unlink()
    path.write_bytes(b"\xff" * length)
    with pytest.raises(LoadError) as caught:
        Engine(LoadSettings(str(copy_of_shapes), ("CPU",)), model)
    assert caught.value.field == "models_path"


def test_what_only_fails_when_drawing_is_found_at_load(copy_of_shapes: Path, edit_json: EditJson) -> None:
    folder = scheduler(copy_of_shapes, edit_json, use_karras_sigmas=True)
    with pytest.raises(LoadError, match="drawing a first picture failed: .*use_karras_sigmas"):
        load(folder)


def test_a_model_with_fixed_shapes(copy_of_shapes: Path, shapes: Path) -> None:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    for name, shape in (("unet", {"sample": [2, 4, 8, 12], "timestep": [1], "encoder_hidden_states": [2, 77, -1]}),
                        ("vae_decoder", {"latent_sample": [1, 4, 8, 12]})):  # fmt: skip
        model = core.read_model(shapes / name / "openvino_model.xml")
        model.reshape({key: openvino.PartialShape(dims) for key, dims in shape.items()})
        for suffix in ("xml", "bin"):
            (copy_of_shapes / name / f"openvino_model.{suffix}").unlink()
        openvino.save_model(model, copy_of_shapes / name / "openvino_model.xml")
    found = model_of(copy_of_shapes)
    assert (str(found.fixed_size), found.fixed_images, found.fixed_guidance) == ("96x64", 1, True)
    engine = load(copy_of_shapes)
    assert draw(engine, request(width=96)).width == 96
    with pytest.raises(RequestError):
        draw(engine, request(width=64))


def test_a_unet_that_doubles_draws_only_what_the_size_rule_allows(copy_of_shapes: Path, shapes: Path) -> None:
    openvino = pytest.importorskip("openvino")
    model = openvino.Core().read_model(shapes / "unet" / "openvino_model.xml")
    operations = openvino.opset11
    for found in [each for each in model.get_ops() if each.get_type_name() == "Interpolate"]:
        doubling = operations.interpolate(
            found.input_value(0),
            operations.constant(np.array([2, 2], np.float32)),
            "nearest",
            "scales",
            axes=operations.constant(np.array([2, 3], np.int32)),
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        found.output(0).replace(doubling.output(0))
    for suffix in ("xml", "bin"):
        (copy_of_shapes / "unet" / f"openvino_model.{suffix}").unlink()
    openvino.save_model(model, copy_of_shapes / "unet" / "openvino_model.xml")
    assert model_of(copy_of_shapes).size_multiple == 16
    engine = load(copy_of_shapes)
    assert draw(engine, request(width=80, num_inference_steps=1)).width == 80
    with pytest.raises(RequestError):  # in other models this is a crash
        draw(engine, request(width=72, num_inference_steps=1))


# ---- devices, without loading


@pytest.mark.parametrize(
    ("device", "available"),
    [
        ("CPU", ["CPU"]),
        ("AUTO", ["CPU"]),
        ("GPU", ["CPU", "GPU.0", "GPU.1"]),
        ("GPU.1", ["CPU", "GPU.0", "GPU.1"]),
        ("GPU.0", ["CPU", "GPU"]),
        ("AUTO:GPU,CPU", ["CPU", "GPU"]),
        ("AUTO:-GPU", ["CPU"]),
        ("AUTO:CPU,-GPU", ["CPU"]),
        ("MULTI:GPU.0,CPU", ["CPU", "GPU"]),
        ("BATCH:GPU(4)", ["CPU", "GPU"]),
        ("HETERO:CPU", ["CPU"]),
    ],
)
def test_devices_that_are_there(device: str, available: list[str]) -> None:
    engine_module.check_devices([device], available)


@pytest.mark.parametrize(
    ("device", "missing"),
    [
        ("GPU", "GPU"), ("cpu", "cpu"), ("CPU.0", "CPU.0"), ("CPU.1", "CPU.1"), ("GPU.0", "GPU.0"), ("NPU", "NPU"),
        ("AUTO:GPU,CPU", "GPU"), ("MULTI:CPU,GPU.0", "GPU.0"), ("HETERO:NPU,CPU", "NPU"), ("BATCH:GPU(4)", "GPU"),
        ("CUDA", "CUDA"), ("AUTO:CPU,,TPU", "TPU"),
    ],
)  # fmt: skip
def test_devices_that_are_not(device: str, missing: str) -> None:
    with pytest.raises(LoadError, match=f"there is no {missing} on this machine; it has: CPU$") as caught:
        engine_module.check_devices(["CPU", device], ["CPU"])
    assert caught.value.field == "device"


def test_second_gpu_on_a_machine_with_one() -> None:
    with pytest.raises(LoadError, match=r"there is no GPU\.1"):
        engine_module.check_devices(["GPU.1"], ["CPU", "GPU"])


def test_errors_are_told_without_the_places_in_openvinos_source() -> None:
    text = (
        "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/inference/src/dev/plugin.cpp:54:\n"
        "Check 'device_id.empty()' failed at src/plugins/intel_cpu/src/config.cpp:247:\n"
        "CPU plugin supports only '' as device id\n\n\n"
    )
    assert engine_module.readable(RuntimeError(text)) == "CPU plugin supports only '' as device id"
    text = (
        "Exception from src/inference/src/cpp/infer_request.cpp:224:\n[CPU] Reorder node with name "
        "'Multiply_35511_abcd___module.m/aten::_convolution/Convolution' Check 'ptr' failed at "
        "src/plugins/intel_cpu/src/cpu_memory.cpp:257: Failed to allocate 671088640 bytes of memory"
    )
    assert engine_module.readable(RuntimeError(text)) == "Failed to allocate 671088640 bytes of memory"
    assert engine_module.readable(RuntimeError("wrong at src/a/b.hpp:12: no")) == "wrong no"
    assert engine_module.readable(RuntimeError("")) == "RuntimeError"
    assert engine_module.readable(RuntimeError("x" * 10_000)) == "x" * 600 + " ..."


def test_a_failure_inside_genai_is_told_apart_from_one_that_leaves_the_engine_well(shapes: Path) -> None:
    engine = load(shapes)
    with pytest.raises(EngineSpoiltError):
        draw(engine, request(num_images=0))


# ---- what OpenVINO GenAI itself does: these tests tell when a new release makes a precaution needless


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
