"""The flags of ``graph-runtime configure``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from server import setting_values as read
from server.flags import add_flag, add_python_nodes_flag, typed
from server.image_flags import add_image_flags

CONFIGURE_HELP: Final = """\
Write the graph.pbtxt of a folder with an image model in OpenVINO format, or change the options of the one that is there:

    graph-runtime configure models/OpenVINO/sd15 --target_device GPU --default_num_inference_steps 20
    graph-runtime configure models/OpenVINO/sd15 --max_resolution 1024x1024

What is not asked to change stays as it was written, comments included. The graph is checked before it takes its place.

Edit the list of models in a config.json, which a running server takes up; or see which models a folder has:

    graph-runtime configure models/OpenVINO/sd15 --add_to_config config.json [--model_name NAME]
    graph-runtime configure --remove_from_config config.json --model_name NAME
    graph-runtime configure --list_models --models models
"""


def add_configure_flags(parser: argparse.ArgumentParser) -> None:
    """Give ``configure`` its flags."""
    parser.usage = "graph-runtime configure PATH [FLAGS]"
    parser.add_argument("path", metavar="PATH", nargs="?", type=Path, help="the folder of the model")
    parser.add_argument("--overwrite", action="store_true", help="make a new graph.pbtxt, whatever the old one says")
    add_python_nodes_flag(parser)
    lists = parser.add_argument_group("Lists")
    for name, what in (("add_to_config", "add the model to"), ("remove_from_config", "remove the model from")):
        add_flag(
            lists, f"--{name}", dest=name, metavar="CONFIG", nargs="?", type=typed(Path), const=True, default=None,
            help=f"{what} the list in this config.json (default: that of --config_path or --models)",
        )  # fmt: skip
    add_flag(
        lists,
        "--list_models",
        dest="list_models",
        action="store_true",
        default=False,
        help="list the models of a folder",
    )
    add_flag(
        lists,
        "--model_name",
        dest="model_name",
        metavar="NAME",
        type=typed(read.name),
        help="the name of the model (default: its path below the list)",
    )
    add_flag(lists, "--model_path", dest="model_path", metavar="DIR", type=Path, help="the same as PATH")
    add_flag(lists, "--config_path", dest="config_path", metavar="FILE", type=Path, help="the config.json")
    add_flag(
        lists, "--models", "--model_repository_path", dest="models", metavar="DIR", type=Path,
        help="the model folder; its config.json is meant (default: ./models)",
    )  # fmt: skip
    add_image_flags(parser)
