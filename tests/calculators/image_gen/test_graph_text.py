"""The text of graphs that are made."""

from __future__ import annotations

import re

import pytest

from calculators.image_gen.graph_text import graph_text
from graph_runtime import parse_graph_config
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.config import find_options


def full() -> ImageGenCalculatorOptions:
    options = ImageGenCalculatorOptions(
        models_path="./", device="GPU", plugin_config='{"CACHE_DIR":"/c \\"é\\""}', max_resolution="1x2",
        default_resolution="3x4", max_num_images_per_prompt=5, default_num_inference_steps=6, max_num_inference_steps=7,
        resolution="8x9 1x1", num_images_per_prompt=2, guidance_scale=7.1,
    )  # fmt: skip
    options.lora_adapters.add(alias="x", path="loras/ü.safetensors", alpha=0.5)
    options.lora_adapters.add(alias="y", path="b", mode="FUSE")
    options.composite_lora_adapters.add(alias="c").components.add(adapter_alias="x", alpha=1.0)
    return options


def test_what_is_written_is_what_is_read() -> None:
    (node,) = parse_graph_config(graph_text(full())).node
    assert find_options(node, ImageGenCalculatorOptions) == full()


def test_every_option_can_be_written_in_the_order_of_ovms() -> None:
    written = re.findall(r"^ {10}(\w+):", graph_text(full()), re.MULTILINE)
    assert list(dict.fromkeys(written)) == [
        "models_path", "device", "plugin_config", "resolution", "num_images_per_prompt", "guidance_scale", "max_resolution",
        "default_resolution", "max_num_images_per_prompt", "default_num_inference_steps", "max_num_inference_steps",
        "lora_adapters", "composite_lora_adapters",
    ]  # fmt: skip
    assert set(written) == {field.name for field in ImageGenCalculatorOptions.DESCRIPTOR.fields}


def test_a_graph_without_a_model_is_not_written() -> None:
    with pytest.raises(ValueError, match='models_path is not set; "./" is the folder of the graph'):
        graph_text(ImageGenCalculatorOptions(device="CPU"))
