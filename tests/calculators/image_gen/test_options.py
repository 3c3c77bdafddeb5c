"""A node's options: what is accepted, what is refused, and that everything is told at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calculators.image_gen.adapters import Adapter
from calculators.image_gen.options import (
    CheckedOptions,
    LoadSettings,
    StaticShape,
    check_options,
    read_options,
)
from calculators.image_gen.resolution import Resolution
from graph_runtime import StatusCode
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions


def options(folder: Path | str, **fields: Any) -> ImageGenCalculatorOptions:
    return ImageGenCalculatorOptions(models_path=str(folder), **fields)


def read(folder: Path | str, base_dir: Path = Path("/"), **fields: Any) -> CheckedOptions:
    return read_options(options(folder, **fields), base_dir)


def messages(folder: Path | str, base_dir: Path = Path("/"), **fields: Any) -> list[str]:
    return [str(problem) for problem in read(folder, base_dir, **fields).problems]


def test_defaults_are_those_of_the_documentation(shapes: Path) -> None:
    settings = read(shapes).settings
    assert settings is not None
    assert settings.load == LoadSettings(str(shapes), ("CPU",), "{}")
    assert settings.max_resolution == Resolution(4096, 4096)
    assert settings.default_resolution is None
    assert settings.max_num_images_per_prompt == 10
    assert settings.default_num_inference_steps == 50
    assert settings.max_num_inference_steps == 100


def test_every_option_is_taken_over(shapes: Path) -> None:
    settings = read(
        "./",
        shapes,
        device="CPU",
        plugin_config='{"NUM_STREAMS": 1}',
        max_resolution="512x256",
        default_resolution="128x64",
        max_num_images_per_prompt=3,
        default_num_inference_steps=7,
        max_num_inference_steps=9,
    ).settings
    assert settings is not None
    assert settings.load == LoadSettings(str(shapes), ("CPU",), '{"NUM_STREAMS": "1"}')
    assert (settings.max_resolution, settings.default_resolution) == (Resolution(512, 256), Resolution(128, 64))
    assert settings.max_num_images_per_prompt == 3
    assert (settings.default_num_inference_steps, settings.max_num_inference_steps) == (7, 9)


def test_settings_that_decide_a_load_survive_the_way_to_another_process() -> None:
    load = LoadSettings(
        "/m",
        ("CPU", "GPU", "CPU"),
        '{"A": 1}',
        adapters=(Adapter("green", "/green.safetensors", 0.5), Adapter("fixed", "/fixed.safetensors", mode="FUSE")),
        static=StaticShape(Resolution(512, 256), 2, 1.5),
    )
    assert LoadSettings.from_json(json.loads(json.dumps(load.to_json()))) == load


@pytest.mark.parametrize(
    "path", ["./", ".", "", "sub", "./sub/", "sub/../", "../", "/absolute/../x", "nowhere", "/nowhere"]
)
def test_model_paths(path: str, shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").symlink_to(shapes)
    found = read(path, tmp_path)
    if path in ("sub", "./sub/"):
        assert found.settings is not None
        assert found.settings.load.models_path == str(tmp_path / "sub")
        return
    (problem,) = found.problems
    if path == "":
        assert "models_path is missing or empty" in str(problem)
    elif ".." in path:
        assert 'must not contain ".."' in str(problem)
    elif "nowhere" in path:
        assert problem.code is StatusCode.NOT_FOUND
        assert "is not a folder: there is none at " in str(problem)
    else:
        assert "model_index.json is missing" in str(problem)


def test_a_file_is_no_model_folder(shapes: Path) -> None:
    assert "is not a folder" in messages(shapes / "model_index.json")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CPU", ("CPU",)),
        ("  GPU.0   MULTI:GPU.0,GPU.1   AUTO  ", ("GPU.0", "MULTI:GPU.0,GPU.1", "AUTO")),
        ("CPU GPU CPU", ("CPU", "GPU", "CPU")),
        ("AUTO:GPU,CPU", ("AUTO:GPU,CPU",)),
    ],
)
def test_devices(text: str, expected: tuple[str, ...], shapes: Path) -> None:
    settings = read(shapes, device=text).settings
    assert settings is not None
    assert settings.load.devices == expected


@pytest.mark.parametrize(("text", "count"), [("", 0), ("   ", 0), ("CPU GPU", 2), ("CPU CPU CPU CPU", 4)])
def test_there_must_be_one_device_or_three(text: str, count: int, shapes: Path) -> None:
    (message,) = messages(shapes, device=text)
    assert f"names {count} devices" in message


@pytest.mark.parametrize("device", ["NPU", "NPU.0", "CPU NPU CPU", "HETERO:NPU,CPU"])
def test_an_npu_needs_a_fixed_size(device: str, shapes: Path) -> None:
    (message,) = messages(shapes, device=device)
    assert "needs the option resolution with exactly one size" in message
    (message,) = messages(shapes, device=device, resolution="64x64 128x128")
    assert "exactly one size" in message
    assert read(shapes, device=device, resolution="64x64").settings is not None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"plugin_config": "{"}, "plugin_config is in wrong format: it is not JSON"),
        ({"plugin_config": "[]"}, "must be a JSON object"),
        ({"max_resolution": "auto"}, 'max_resolution cannot be "auto"'),
        ({"max_resolution": "(4096x4096)"}, 'max_resolution "(4096x4096)" is not in correct format - WxH'),
        ({"max_resolution": "large"}, 'max_resolution "large" is not in correct format'),
        ({"max_resolution": ""}, 'max_resolution "" is not in correct format'),
        ({"max_resolution": "0x64"}, 'max_resolution "0x64" values must be greater than 0'),
        ({"default_resolution": "auto"}, 'default_resolution cannot be "auto"'),
        ({"default_resolution": "64"}, 'default_resolution "64" is not in correct format'),
        ({"default_resolution": "128x128", "max_resolution": "64x128"}, "default_resolution 128x128 exceeds max_resolution 64x128"),
        ({"default_resolution": "4104x64"}, "default_resolution 4104x64 exceeds max_resolution 4096x4096"),
        ({"default_resolution": "60x64"}, "default_resolution 60x64 does not fit this model: .* multiples of 8"),
        ({"default_resolution": "16x64"}, "default_resolution 16x64 is too small"),
        ({"max_num_images_per_prompt": 0}, "max_num_images_per_prompt is 0; it must be at least 1"),
        ({"default_num_inference_steps": 0}, "default_num_inference_steps is 0"),
        ({"max_num_inference_steps": 0}, "max_num_inference_steps is 0"),
        ({"default_num_inference_steps": 101}, "default_num_inference_steps 101 is greater than max_num_inference_steps 100"),
        ({"default_num_inference_steps": 9, "max_num_inference_steps": 8}, "9 is greater than max_num_inference_steps 8"),
        ({"resolution": ""}, "resolution is empty"),
        ({"resolution": "auto"}, 'resolution cannot be "auto"'),
        ({"resolution": "64x64 64"}, 'resolution "64" is not in correct format'),
        ({"resolution": "64x64  64x64"}, "resolution 64x64 is given twice"),
        ({"resolution": "64x64 60x64"}, "resolution 60x64 does not fit this model"),
        ({"resolution": "64x64", "max_resolution": "64x64"}, "max_resolution and resolution exclude each other"),
        ({"resolution": "64x64 96x96", "max_resolution": "512x512"}, "max_resolution and resolution exclude each other"),
        ({"resolution": "64x64", "max_num_images_per_prompt": 7}, "give num_images_per_prompt instead"),
        ({"resolution": "64x64 96x96", "default_resolution": "128x128"}, "128x128 is not one of resolution: 64x64, 96x96"),
        ({"resolution": "64x64", "num_images_per_prompt": 0}, "num_images_per_prompt is 0; it must be at least 1"),
        ({"resolution": "64x64", "num_images_per_prompt": -1}, "num_images_per_prompt is -1"),
        ({"resolution": "64x64", "guidance_scale": float("nan")}, "guidance_scale is nan; it must be a finite number"),
        ({"resolution": "64x64 96x96", "num_images_per_prompt": 2}, "needs the option resolution with exactly one size"),
        ({"num_images_per_prompt": 2}, "num_images_per_prompt fixes the shape .* needs the option resolution"),
        ({"guidance_scale": 7.2}, "guidance_scale fixes the shape .* needs the option resolution"),
        ({"guidance_scale": -1.0}, "guidance_scale fixes the shape"),
    ],
)  # fmt: skip
def test_wrong_options(fields: dict[str, Any], expected: str, shapes: Path) -> None:
    (message,) = messages(shapes, **fields)
    with pytest.raises(ValueError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        raise ValueError(message)


def test_one_resolution_is_what_the_model_is_compiled_for(shapes: Path) -> None:
    settings = read(shapes, resolution="128x64").settings
    assert settings is not None
    assert settings.load.static == StaticShape(Resolution(128, 64), 1, 7.5)
    assert settings.resolutions == (Resolution(128, 64),)
    assert settings.default_resolution == settings.max_resolution == Resolution(128, 64)
    assert settings.max_num_images_per_prompt == 1
    settings = read(shapes, resolution="128x64", num_images_per_prompt=12, guidance_scale=1.0).settings
    assert settings is not None
    assert settings.load.static == StaticShape(Resolution(128, 64), 12, 1.0)
    assert settings.max_num_images_per_prompt == 12


def test_several_resolutions_are_what_requests_may_ask_for(shapes: Path) -> None:
    settings = read(shapes, resolution="  128x64   64x96 ", max_num_images_per_prompt=3).settings
    assert settings is not None
    assert settings.load.static is None
    assert settings.resolutions == (Resolution(128, 64), Resolution(64, 96))
    assert settings.default_resolution == Resolution(128, 64)
    assert settings.max_num_images_per_prompt == 3
    settings = read(shapes, resolution="128x64 64x96", default_resolution="64x96").settings
    assert settings is not None
    assert settings.default_resolution == Resolution(64, 96)


@pytest.mark.parametrize(
    ("plugin_config", "expected"),
    [(None, '{"CACHE_DIR": "/cache"}'), ('{"CACHE_DIR": "/own"}', '{"CACHE_DIR": "/own"}')],
)
def test_the_cache_of_the_node_wins_over_that_of_the_server(
    plugin_config: str | None, expected: str, shapes: Path
) -> None:
    given = options(shapes) if plugin_config is None else options(shapes, plugin_config=plugin_config)
    settings = read_options(given, Path("/"), cache_dir="/cache").settings
    assert settings is not None
    assert settings.load.plugin_config == expected


def test_adapters_are_part_of_what_a_model_is_loaded_with(shapes: Path, phosphor: Path, tmp_path: Path) -> None:
    (tmp_path / "green.safetensors").symlink_to(phosphor)
    settings = read(
        shapes,
        tmp_path,
        lora_adapters=[{"alias": "green", "path": "green.safetensors", "alpha": 0.5}],
        composite_lora_adapters=[{"alias": "blend", "components": [{"adapter_alias": "green"}]}],
    ).settings
    assert settings is not None
    assert settings.load.adapters == (Adapter("green", str(tmp_path / "green.safetensors"), 0.5, "DYNAMIC"),)
    assert settings.composites == {"blend": (("green", None),)}


def test_a_default_that_nobody_wrote_gives_way_to_a_smaller_maximum(shapes: Path) -> None:
    settings = read(shapes, max_num_inference_steps=30).settings
    assert settings is not None
    assert (settings.default_num_inference_steps, settings.max_num_inference_steps) == (30, 30)


def test_counts_may_be_as_large_as_their_type(shapes: Path) -> None:
    settings = read(shapes, max_num_images_per_prompt=2**64 - 1, max_num_inference_steps=2**64 - 1).settings
    assert settings is not None
    assert settings.max_num_inference_steps == 2**64 - 1


def test_all_problems_come_at_once_with_their_places_and_the_node(shapes: Path) -> None:
    wrong = options(
        shapes / "unet", device="CPU GPU", plugin_config="[", max_resolution="x", default_resolution="y",
        max_num_images_per_prompt=0, default_num_inference_steps=0, resolution="auto", guidance_scale=1.0,
        lora_adapters=[{"alias": "a", "path": "a.pt"}],
    )  # fmt: skip
    found = check_options(wrong, Path("/"), node="gen", place=lambda field: f"graph.pbtxt:{len(field)}:1")
    assert {problem.node for problem in found} == {"gen"}
    fields = [problem.message.split(" ", 1)[0] for problem in found]
    assert fields == [
        "resolution", "device", "plugin_config", "max_resolution", "max_resolution", "default_resolution", "guidance_scale",
        "max_num_images_per_prompt", "default_num_inference_steps", "lora_adapters:", str(shapes / "unet" / "model_index.json"),
    ]  # fmt: skip
    assert found[1].place == "graph.pbtxt:6:1"
    assert found[-1].place == f"graph.pbtxt:{len('models_path')}:1"


def test_adapters_that_do_not_fit_the_model_are_found_before_it_is_loaded(shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "green.safetensors").write_bytes(b"hello")
    found = read(shapes, tmp_path, lora_adapters=[{"alias": "green", "path": "green.safetensors"}])
    (problem,) = found.problems
    assert f'"green" ({tmp_path / "green.safetensors"}): it is no safetensors file' in str(problem)


def test_a_model_compiled_for_several_pictures_at_a_time_makes_no_edits(shapes: Path, tmp_path: Path) -> None:
    found = read(shapes, tmp_path, resolution="64x64", num_images_per_prompt=2, guidance_scale=1.0)
    assert found.model is not None
    assert found.model.kinds == {"text to image"}
    assert "compiled for 2 pictures at a time" in found.model.kinds_reason
    assert (found.model.fixed_size, found.model.fixed_images, found.model.fixed_guidance) == ((64, 64), 2, False)


def test_a_model_for_edits_alone_cannot_be_compiled_for_several_pictures(
    copy_of_shapes: Path, edit_json: Callable[..., None], tmp_path: Path
) -> None:
    edit_json(copy_of_shapes / "unet" / "config.json", in_channels=9)
    found = read(copy_of_shapes, tmp_path, resolution="64x64", num_images_per_prompt=2)
    (problem,) = found.problems
    assert "edits are drawn one by one" in str(problem)
