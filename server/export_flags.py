"""The flags of ``graph-runtime export``."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Final

from server import setting_values as read
from server.flags import add_flag, typed
from server.image_flags import add_image_flags

EXPORT_HELP: Final = """\
Turn a diffusers pipeline into a model in OpenVINO format, with its graph.pbtxt: a repository of the Hugging Face hub, or a folder.

    graph-runtime export stable-diffusion-v1-5/stable-diffusion-v1-5 --weight-format int8
    graph-runtime export ./my-pipeline --weight-format fp16 --models models

optimum-intel does the work: pip install 'graph-runtime[export]'. The model's folder appears when all of it is there.
"""
WEIGHT_FORMATS: Final = ("fp16", "int8", "int4")
DEFAULT_WEIGHT_FORMAT: Final = "int8"


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """Give ``export`` its flags."""
    parser.add_argument(
        "source_model", metavar="SOURCE", help="a repository of the hub (org/name), or the folder of a pipeline"
    )
    add_weight_flags(parser, DEFAULT_WEIGHT_FORMAT)
    add_flag(
        parser, "--models", "--model_repository_path", dest="models", metavar="DIR", type=Path,
        help="model folder; the model's own is SOURCE in it, or the name of the folder (default: ./models)",
    )  # fmt: skip
    add_flag(
        parser, "--model_name", dest="model_name", metavar="NAME", type=typed(read.name),
        help="another name for the model's own folder, such as OpenVINO/sd15-int8-ov",
    )  # fmt: skip
    add_flag(
        parser, "--revision", dest="revision", metavar="REV",
        help="a branch, a tag or a commit of the repository (default: the main branch)",
    )  # fmt: skip
    add_flag(
        parser, "--overwrite_models", dest="overwrite_models", action="store_true", default=False,
        help="put it in the place of the model that is there",
    )  # fmt: skip
    add_image_flags(parser)


def add_weight_flags(parser: argparse._ActionsContainer, default: str | None) -> None:
    """The flags that say how weights are written."""
    add_flag(
        parser, "--weight-format", dest="weight_format", choices=WEIGHT_FORMATS, default=default,
        help=f"how precise the weights are (default: {DEFAULT_WEIGHT_FORMAT})",
    )  # fmt: skip
    add_flag(
        parser, "--extra_quantization_params", dest="extra_quantization_params", metavar="'FLAGS'", type=typed(shlex.split),
        default=None, help="further flags of optimum-cli export openvino, such as '--group-size 64 --sym'",
    )  # fmt: skip
