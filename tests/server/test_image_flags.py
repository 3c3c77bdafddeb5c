"""The flags of image models: what they take, and what becomes of them."""

from __future__ import annotations

import argparse
import json

import pytest

from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from server.image_flags import IMAGE_FLAGS, add_image_flags, given_flags, options_from

EVERY = [
    "--target_device", "GPU", "--resolution", "512x512 768x512", "--num_images_per_prompt", "2", "--guidance_scale", "7.5",
    "--max_resolution", "1024x1024", "--default_resolution", "512x512", "--max_num_images_per_prompt", "3",
    "--default_num_inference_steps", "4", "--max_num_inference_steps", "8",
]  # fmt: skip


def parse(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_image_flags(parser)
    return parser.parse_args(argv)


def options(*argv: str, before: str = "") -> ImageGenCalculatorOptions:
    start = ImageGenCalculatorOptions(models_path="./")
    if before:
        start.plugin_config = before
    return options_from(parse(*argv), start)


def test_each_flag_sets_its_option() -> None:
    assert options(*EVERY) == ImageGenCalculatorOptions(
        models_path="./", device="GPU", resolution="512x512 768x512", num_images_per_prompt=2, guidance_scale=7.5,
        max_resolution="1024x1024", default_resolution="512x512", max_num_images_per_prompt=3, default_num_inference_steps=4,
        max_num_inference_steps=8,
    )  # fmt: skip


def test_every_option_of_the_node_has_a_flag() -> None:
    set_by_name = {flag.option for flag in IMAGE_FLAGS}
    by_other_means = {"models_path", "plugin_config", "lora_adapters", "composite_lora_adapters"}
    assert {field.name for field in ImageGenCalculatorOptions.DESCRIPTOR.fields} == set_by_name - {""} | by_other_means


def test_flags_that_are_not_given_change_nothing() -> None:
    start = ImageGenCalculatorOptions(models_path="m", device="GPU", max_num_inference_steps=3, plugin_config="{}")
    start.lora_adapters.add(alias="a", path="b")
    assert options_from(parse(), start) == start
    assert given_flags(parse()) == []
    assert given_flags(parse("--num-streams", "2", "--source_loras", "")) == ["num_streams", "source_loras"]


def test_streams_and_cache_join_the_plugin_config_as_ovms_writes_it() -> None:
    both = options("--num_streams", "14", "--cache_dir", "/cache")
    assert both.plugin_config == '{"NUM_STREAMS":"14","CACHE_DIR":"/cache"}'
    more = options("--cache_dir", "/ç", "--plugin_config", '{"PERFORMANCE_HINT": "LATENCY"}')
    assert more.plugin_config == '{"PERFORMANCE_HINT":"LATENCY","CACHE_DIR":"/ç"}'


def test_a_plugin_config_alone_stays_as_it_was_written() -> None:
    assert options("--plugin_config", '{ "A":  1 }').plugin_config == '{ "A":  1 }'


def test_an_option_that_is_there_already_is_changed_key_by_key() -> None:
    before = '{"A": 1, "NUM_STREAMS": "2"}'
    changed = options("--num_streams", "4", before=before).plugin_config
    assert json.loads(changed) == {"A": 1, "NUM_STREAMS": "4"}
    assert options("--plugin_config", "{}", before=before).plugin_config == "{}"
    assert (
        options("--num_streams", "4", before='{"CPU_THROUGHPUT_STREAMS": "2"}').plugin_config == '{"NUM_STREAMS":"4"}'
    )
    with pytest.raises(ValueError, match="plugin_config of the graph is no JSON object"):
        options("--num_streams", "4", before="[1]")


@pytest.mark.parametrize(
    ("flags", "key"),
    [
        (["--num_streams", "1", "--plugin_config", '{"NUM_STREAMS": "1"}'], "NUM_STREAMS"),
        (["--num_streams", "1", "--plugin_config", '{"CPU_THROUGHPUT_STREAMS": "1"}'], "NUM_STREAMS"),
        (["--cache_dir", "/c", "--plugin_config", '{"CACHE_DIR": "/c"}'], "CACHE_DIR"),
    ],
)
def test_the_same_property_by_flag_and_in_the_plugin_config_is_refused(flags: list[str], key: str) -> None:
    with pytest.raises(ValueError, match=f"--{key.lower()} and {key} in --plugin_config say the same thing twice"):
        options(*flags)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--max_resolution", "10x", "'10x' is not in correct format - WxH; an example: 512x512"),
        ("--default_resolution", "auto", "'auto' is no size here"),
        ("--num_streams", "0", "'0' is too small; give 1 or more"),
        ("--max_num_images_per_prompt", "4294967296", "'4294967296' is too large; give a number below 2**32"),
        ("--max_num_inference_steps", "x", "'x' is not a whole number"),
        ("--guidance_scale", "inf", "'inf' is not a finite number"),
        ("--guidance_scale", "x", "'x' is not a number"),
        ("--plugin_config", "[]", "it must be a JSON object, not a list"),
        ("--source_loras", "a", '"a" has no alias'),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_the_reason(flag: str, value: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentError) as caught:
        parse(flag, value)
    assert f"argument {flag}: {message}" in str(caught.value)


def test_an_adapter_whose_file_nobody_has_looked_up_is_refused_with_the_flag() -> None:
    with pytest.raises(ValueError, match='--source_loras: the adapter "a": it is not known which file of o/r it is'):
        options("--source_loras", "a=o/r")
