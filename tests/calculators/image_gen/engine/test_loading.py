"""Loading real models: devices, properties, fixed shapes, and folders that OpenVINO GenAI refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.errors import EngineSpoiltError
from calculators.image_gen.options import LoadSettings, StaticShape
from calculators.image_gen.resolution import Resolution
from calculators.load_error import LoadError
from tests.calculators.image_gen.engine.drawings import (
    EditJson,
    draw,
    is_red_circle_on_blue,
    load,
    load_with,
    model_of,
    pixels,
    request,
    scheduler,
)

pytest.importorskip("openvino_genai")
pytestmark = pytest.mark.model


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


def test_broken_weights(copy_of_shapes: Path) -> None:
    path = copy_of_shapes / "unet" / "openvino_model.bin"
    length = path.stat().st_size
    path.unlink()
    path.write_bytes(b"\xff" * length)
    with pytest.raises(LoadError) as caught:
        load_with(LoadSettings(str(copy_of_shapes), ("CPU",)))
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


@pytest.mark.parametrize("devices", [("CPU",), ("CPU", "CPU", "CPU")])
def test_a_model_compiled_for_one_size_draws_everything_at_that_size(devices: tuple[str, ...], shapes: Path) -> None:
    static = StaticShape(Resolution(72, 64), guidance_scale=3.5)
    engine = load_with(LoadSettings(str(shapes), devices, static=static))
    asked = request(width=72, num_inference_steps=6)
    image = draw(engine, asked).images[0]
    assert np.abs(pixels(image) - pixels(draw(load(shapes), asked).images[0])).max() <= 10
    uploads: list[dict[str, Any]] = [{"image": image}, {"image": image, "mask": image}]
    for changes in uploads:
        edited = draw(engine, request(width=72, num_inference_steps=6, partial_images=1, **changes))
        assert (edited.width, edited.height) == (72, 64)


def test_a_model_compiled_for_several_pictures_draws_that_many_from_texts_alone(shapes: Path) -> None:
    static = StaticShape(Resolution(64, 64), num_images=2, guidance_scale=1.0)
    engine = load_with(LoadSettings(str(shapes), ("CPU",), static=static))
    assert engine.about()["kinds"] == ["text to image"]
    asked = request(num_images=2, guidance_scale=1.0, num_inference_steps=6, partial_images=2)
    assert len(set(draw(engine, asked).images)) == 2


def test_a_device_that_is_chosen_automatically_is_named(shapes: Path) -> None:
    (device,) = load(shapes, ("AUTO",)).about()["devices"]
    assert device != "AUTO"


def test_a_client_is_not_told_where_a_model_lies_that_fails_when_it_is_loaded_anew(copy_of_shapes: Path) -> None:
    from calculators.image_gen.engine import Engine

    model = replace(model_of(copy_of_shapes), has_t5=True)
    engine = Engine(LoadSettings(str(copy_of_shapes), ("CPU",)), model)
    (copy_of_shapes / "unet" / "openvino_model.xml").unlink()
    with pytest.raises(EngineSpoiltError, match="could not be loaded for texts of 40 tokens") as caught:
        draw(engine, request(max_sequence_length=40))
    assert str(copy_of_shapes) not in caught.value.message
