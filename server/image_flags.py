"""The flags that set the options of an image model's graph, for every command that writes such a graph.

Source: OVMS's command line for the task image_generation.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from server import setting_values as read
from server.flags import add_flag, typed
from server.lora_sources import LoraSource, parse_loras, set_adapters

if TYPE_CHECKING:  # the flags are made for --help too, which has to be quick
    from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions


@dataclass(frozen=True, slots=True)
class ImageFlag:
    """A flag.

    Attributes:
        name: without the dashes; the attribute of the parsed arguments.
        parse: text -> value; raises ValueError.
        metavar: how help writes the value.
        help: what it does.
        option: the option of the node that it sets; "" where it is not as simple as that.
    """

    name: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    option: str = ""


def _size(text: str) -> str:
    from calculators.image_gen.resolution import parse_resolution

    try:
        size = parse_resolution(text)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}; an example: 512x512") from None
    if size is None:
        raise ValueError(f"{text!r} is no size here; an example: 512x512")
    return text


def _plugin_config(text: str) -> str:
    from calculators.image_gen.plugin_config import parse_plugin_config

    parse_plugin_config(text)  # its ValueError says what is wrong
    return text


def _same(name: str, parse: Callable[[str], Any], metavar: str, help_text: str) -> ImageFlag:
    return ImageFlag(name, parse, metavar, help_text, option=name)


IMAGE_FLAGS: Final = (
    ImageFlag(
        "target_device", str, "DEVICE",
        "device for the model, or three for text encoders, denoiser and VAE: GPU, AUTO, 'CPU GPU CPU' (default: CPU)",
        option="device",
    ),
    ImageFlag("plugin_config", _plugin_config, "JSON", """OpenVINO properties, such as '{"PERFORMANCE_HINT": "LATENCY"}'"""),
    ImageFlag("num_streams", read.positive_uint32, "N", "NUM_STREAMS of plugin_config"),
    ImageFlag("cache_dir", str, "DIR", "CACHE_DIR of plugin_config: where OpenVINO keeps compiled models"),
    _same("resolution", str, "'WxH ...'", "the only sizes that requests may ask for; the model is compiled for a single one"),
    _same("num_images_per_prompt", read.positive_uint32, "N", "pictures at a time that a model of one size is compiled for"),
    _same("guidance_scale", read.finite, "X", "guidance that a model of one size is compiled for"),
    _same("max_resolution", _size, "WxH", "the largest size that requests may ask for (default: 4096x4096)"),
    _same("default_resolution", _size, "WxH", "the size of requests that name none (default: the model's)"),
    _same("max_num_images_per_prompt", read.positive_uint32, "N", "the most pictures of one request (default: 10)"),
    _same("default_num_inference_steps", read.positive_uint32, "N", "the steps of requests that name none (default: 50)"),
    _same("max_num_inference_steps", read.positive_uint32, "N", "the most steps of one request (default: 100)"),
    ImageFlag(
        "source_loras", parse_loras, "ALIAS=SOURCE[:ALPHA],...",
        "LoRA adapters: alias=org/repo[@file.safetensors], alias=https://.../file.safetensors, alias=./file.safetensors, and "
        "blends of them: mix=@a:0.7+@b:0.5",
    ),
)  # fmt: skip
"""All of them, in the order of the options that they set."""


def add_image_flags(parser: argparse.ArgumentParser, *, without: Sequence[str] = ()) -> None:
    """Give a command the flags.

    Args:
        parser: of the command.
        without: names of flags that it has already.
    """
    group = parser.add_argument_group("Options of the graph")
    for flag in IMAGE_FLAGS:
        if flag.name not in without:
            add_flag(
                group, f"--{flag.name}", dest=flag.name, metavar=flag.metavar, type=typed(flag.parse), default=None,
                help=flag.help,
            )  # fmt: skip


def given_flags(arguments: argparse.Namespace) -> list[str]:
    """The names of the flags that were given."""
    return [flag.name for flag in IMAGE_FLAGS if getattr(arguments, flag.name, None) is not None]


def options_from(
    arguments: argparse.Namespace,
    start: ImageGenCalculatorOptions,
    loras: Sequence[LoraSource] | None = None,
) -> ImageGenCalculatorOptions:
    """The options of a node: those of ``start``, and what the flags ask for in their place.

    Args:
        arguments: the parsed flags.
        start: options that are there already, with ``models_path`` at least.
        loras: the adapters of ``--source_loras`` where the files of repositories have been looked up; else as parsed.

    Raises:
        ValueError: flags that do not go together, or an adapter whose file is not known; the text names the flags.
    """
    options = type(start)()
    options.CopyFrom(start)
    for flag in IMAGE_FLAGS:
        value = getattr(arguments, flag.name, None)
        if flag.option and value is not None:
            setattr(options, flag.option, value)
    merged = _plugin_config_of(arguments, start.plugin_config)
    if merged:
        options.plugin_config = merged
    elif getattr(arguments, "plugin_config", None) is not None:
        options.ClearField("plugin_config")
    loras = getattr(arguments, "source_loras", None) if loras is None else loras
    if loras is not None:
        try:
            set_adapters(options, loras)
        except ValueError as error:
            raise ValueError(f"--source_loras: {error}") from None
    return options


def _plugin_config_of(arguments: argparse.Namespace, before: str) -> str:
    """The option with the properties that have flags of their own; "" if nothing is to be changed."""
    from calculators.image_gen.plugin_config import parse_plugin_config

    given: str | None = getattr(arguments, "plugin_config", None)
    properties: dict[str, Any] = {}
    if getattr(arguments, "num_streams", None) is not None:
        properties["NUM_STREAMS"] = str(arguments.num_streams)
    if getattr(arguments, "cache_dir", None) is not None:
        properties["CACHE_DIR"] = str(arguments.cache_dir)
    if not properties:
        return given or ""
    for name in parse_plugin_config(given or ""):
        if name in properties:
            # OVMS's PLUGIN_CONFIG_CONFLICTING_PARAMETERS.
            raise ValueError(
                f"--{name.lower()} and {name} in --plugin_config say the same thing twice; leave one of them out"
            )
    try:
        text = before if given is None else given
        # Its old names give way too: CPU_THROUGHPUT_STREAMS is NUM_STREAMS.
        kept = {name: value for name, value in json.loads(text or "{}").items() if not _names(name) & properties.keys()}
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"plugin_config of the graph is no JSON object, so that nothing can be added to it: {error}"
        ) from None
    return json.dumps({**kept, **properties}, ensure_ascii=False, separators=(",", ":"))


def _names(name: str) -> set[str]:
    return {name, "NUM_STREAMS"} if re.fullmatch("(CPU|GPU)_THROUGHPUT_STREAMS", name) else {name}
