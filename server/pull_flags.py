"""The flags of ``graph-runtime pull``, and those of ``serve`` that pull a model first."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from server.export_flags import add_weight_flags
from server.flags import add_flag, typed
from server.image_flags import IMAGE_FLAGS, add_image_flags

PULL_HELP: Final = """\
Fetch an image model from the Hugging Face hub, and write its graph.pbtxt.

    graph-runtime pull OpenVINO/FLUX.1-schnell-int4-ov
    graph-runtime serve

One that is not in OpenVINO format is exported (graph-runtime export; pip install 'graph-runtime[export]').
The model's folder appears when all of it is there. What was interrupted goes on with the same command.
Environment: HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY (docs/getting-models.md).
"""
_TASK: Final = "image_generation"
_OTHER_TASKS: Final = ("embeddings", "rerank", "speech2text", "text2speech", "text_generation")  # of OVMS
SERVE_ALONE: Final = (
    "pull",
    "revision",
    "overwrite_models",
    "weight_format",
    "extra_quantization_params",
    *(flag.name for flag in IMAGE_FLAGS if flag.name != "cache_dir"),
)
"""What ``serve`` takes together with ``--source_model`` alone."""


def add_pull_flags(parser: argparse.ArgumentParser) -> None:
    """Give ``pull`` its flags."""
    parser.add_argument(
        "source_model",
        metavar="SOURCE",
        help="a repository of the Hugging Face hub, such as OpenVINO/FLUX.1-schnell-int4-ov",
    )
    add_flag(
        parser, "--models", "--model_repository_path", dest="models", metavar="DIR", type=Path,
        help="model folder; the model's own is SOURCE in it (default: ./models)",
    )  # fmt: skip
    _add_shared(parser)
    add_image_flags(parser)


def add_serve_flags(parser: argparse.ArgumentParser) -> None:
    """Give ``serve`` the flags that pull a model first."""
    group = parser.add_argument_group("Models of the Hugging Face hub")
    add_flag(
        group, "--source_model", dest="source_model", metavar="SOURCE",
        help="serve this repository of the hub; fetched into the model folder, unless it is there (see graph-runtime pull)",
    )  # fmt: skip
    add_flag(
        group,
        "--pull",
        dest="pull",
        nargs="?",
        const=True,
        type=_switch,
        metavar="true|false",
        help="fetch it, and end",
    )
    _add_shared(group)
    add_image_flags(parser, without=("cache_dir",))  # the server's own is for all models


def _add_shared(parser: argparse._ActionsContainer) -> None:
    add_flag(
        parser,
        "--revision",
        dest="revision",
        metavar="REV",
        help="a branch, a tag or a commit (default: the main branch)",
    )
    add_flag(
        parser, "--overwrite_models", dest="overwrite_models", nargs="?", const=True, type=_switch, metavar="true|false",
        help="compare all that is there with the hub, and write graph.pbtxt anew, even if it was edited",
    )  # fmt: skip
    add_weight_flags(parser, None)
    add_flag(parser, "--task", dest="task", metavar=_TASK, type=typed(_task), help=f"what the model is for: {_TASK}")


def _task(text: str) -> str:
    if text != _TASK:
        known = "is not served here" if text in _OTHER_TASKS else "is not known"
        raise ValueError(f"{text!r} {known}; there is one task: {_TASK}")
    return text


@typed
def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"
