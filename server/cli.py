"""The command ``graph-runtime``: serve, generate, check, draw, trace, pull, export, configure.

Each command imports what it needs when it runs: ``--help`` and ``check`` load neither aiohttp nor openvino nor numpy.
Exit codes: 0 all is well; 1 it failed, or a problem was found; 2 the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from server import setting_values as read
from server.configure_flags import CONFIGURE_HELP, add_configure_flags
from server.draw_flags import DRAW_HELP, add_draw_flags
from server.export_flags import EXPORT_HELP, add_export_flags
from server.flags import add_flag, add_python_nodes_flag, allows_python_nodes, typed
from server.foreign_flags import FOREIGN_FLAGS
from server.pull_flags import PULL_HELP, SERVE_ALONE, add_pull_flags, add_serve_flags
from server.settings import ENVIRONMENT_PREFIX, GROUPS, Settings, SettingsError
from server.terminal import complain
from server.trace_flags import TRACE_HELP, add_trace_flags

_OF_THE_SERVE_EXTRA = ("PIL", "aiohttp", "huggingface_hub", "numpy", "openvino", "openvino_genai", "tqdm", "watchfiles")

SERVE_HELP = """\
Serve every graph in a model folder over HTTP (OpenAI images API under /v3 and /v1; a page at /).

A model folder looks like this; each graph is served under the path of its folder:

    models/
      shapes/graph.pbtxt             model name "shapes"
      OpenVINO/sd15/graph.pbtxt      model name "OpenVINO/sd15"
      OpenVINO/flux/model_index.json an image model; a graph is made for it
      config.json                    more models and settings, if you like (docs/serving.md)
"""

GENERATE_HELP = """\
Make a picture from a text, without a server: the model's graph runs once in this process.

    graph-runtime generate "a red circle on a blue background" -o circle.png
    graph-runtime generate "a small pink star on a black background" -o star.png -n 4 --seed 7
    graph-runtime generate "a green circle" --image circle.png --strength 0.7 -o green.webp
"""

CHECK_HELP = """\
Check graphs without running them: the text, the wiring, the options.

Each PATH is a graph file, a model folder, a folder of model folders (with its config.json), or a config.json.
Every problem is printed as
    file:line:column: node "name": what is wrong; what to do
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        arguments = _parser().parse_args(_with_joined_sizes(sys.argv[1:] if argv is None else argv))
        command: Callable[[argparse.Namespace], int] = arguments.command
        try:
            return command(arguments)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _OF_THE_SERVE_EXTRA:
                raise
            needed = f"the module {error.name} is not installed; this command needs: pip install 'graph-runtime[serve]'"
            complain(arguments.command_name, needed)
            return 1
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a usage error
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        return 130


def _with_joined_sizes(argv: Sequence[str]) -> list[str]:
    """``--size -1x5`` as ``--size=-1x5``: argparse would take the value for a flag, and complain of the wrong thing."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--size" and re.match(r"-\d", argument):
            joined[-1] = f"--size={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graph-runtime", description="Run and serve MediaPipe graphs with OpenVINO models.", allow_abbrev=False
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_generate(commands)
    _add_check(commands)
    add_draw_flags(_add_command(commands, "draw", "draw a graph as SVG, Mermaid or DOT", DRAW_HELP, _draw))
    brief = "write what nodes did when, for Perfetto"
    add_trace_flags(_add_command(commands, "trace", brief, TRACE_HELP, _trace))
    add_pull_flags(_add_command(commands, "pull", "fetch an image model from the Hugging Face hub", PULL_HELP, _pull))
    brief = "turn a diffusers pipeline into a model in OpenVINO format"
    add_export_flags(_add_command(commands, "export", brief, EXPORT_HELP, _export))
    brief = "write the graph.pbtxt of a model, or list it in a config.json"
    add_configure_flags(_add_command(commands, "configure", brief, CONFIGURE_HELP, _configure))
    return parser


def _add_command(
    commands: Any, name: str, brief: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=brief, description=text, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=run, command_name=name)
    return parser


def _seed(text: str) -> int:
    number = read.from_zero(text)
    if number >= 2**64:
        raise ValueError(f"{text!r} is too large; seeds are below 2**64")
    return number


def _size(text: str) -> str:
    from calculators.image_gen.resolution import parse_resolution

    try:
        parse_resolution(text)
    except ValueError as error:
        raise ValueError(f"{text!r} {error}; an example: 64x64") from None
    return text


def _add_serve(commands: Any) -> None:
    parser = _add_command(commands, "serve", "serve the graphs of a model folder over HTTP", SERVE_HELP, _serve)
    parser.usage = "graph-runtime serve [--models DIR] [--rest_port PORT] [FLAGS]"
    groups = {name: parser.add_argument_group(name) for name in GROUPS}
    for setting in fields(Settings):
        about = setting.metadata
        if not about["flag"]:
            continue
        add_flag(
            groups.get(about["group"], parser),
            *(f"--{name}" for name in (setting.name, *about["aliases"], *about["flags"])),
            dest=setting.name,
            metavar=about["metavar"],
            type=typed(about["parse"]),
            default=None,
            help=about["help"] + _shown_default(setting.default),
            **({"action": "extend"} if isinstance(setting.default, tuple) else {}),  # given twice, both count
            **({"nargs": "?", "const": True} if isinstance(setting.default, bool) else {}),  # OVMS's have no value
        )
    add_serve_flags(parser)
    for name, reason in FOREIGN_FLAGS.items():
        add_flag(
            parser,
            f"--{name}",
            dest=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
            nargs="?",
            action=_Foreign,
            const=reason,
        )
    parser.epilog = (
        f"Each flag can be an environment variable too: {ENVIRONMENT_PREFIX}REST_PORT=9000 and so on. A flag wins."
    )


def _shown_default(default: Any) -> str:
    if default in (None, ()):
        return ""
    if isinstance(default, tuple):
        return f" (default: {', '.join(default)})"
    if isinstance(default, bool):
        return f" (default: {str(default).lower()})"
    return f" (default: {default:g})" if isinstance(default, float) else f" (default: {default})"


class _Foreign(argparse.Action):
    """A flag that is refused, with the reason as ``const``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> NoReturn:
        parser.error(f"{option_string} is not a flag of this server: {self.const}")


def _add_generate(commands: Any) -> None:
    parser = _add_command(commands, "generate", "make a picture from a text", GENERATE_HELP, _generate)
    parser.add_argument("prompt", metavar="PROMPT", help="what the picture shall show")
    add_flag(
        parser, "-o", "--output", dest="output", metavar="FILE.png", type=Path, required=True,
        help="where the picture goes, as PNG, JPEG or WebP by its ending; with -n, FILE-1.png, FILE-2.png, ...",
    )  # fmt: skip
    add_flag(
        parser, "--model", dest="model", metavar="NAME",
        help="a model of the model folder, or the path of a folder with a graph.pbtxt (default: the only one there is)",
    )  # fmt: skip
    add_flag(
        parser, "--models", dest="models", metavar="DIR", type=Path,
        help="model folder (default: ./models if there is one, else the model that comes with graph-runtime)",
    )  # fmt: skip
    add_flag(
        parser, "--size", dest="size", metavar="WxH", type=typed(_size),
        help="size in pixels, such as 64x64 (default: the model's)",
    )  # fmt: skip
    add_flag(
        parser, "--steps", dest="steps", metavar="N", type=typed(read.positive),
        help="inference steps (default: the graph's)",
    )  # fmt: skip
    add_flag(
        parser, "--seed", dest="seed", metavar="N", type=typed(_seed),
        help="same seed, same picture (default: a random one, which is printed)",
    )  # fmt: skip
    add_flag(
        parser,
        "-n",
        dest="count",
        metavar="N",
        type=typed(read.positive),
        default=1,
        help="how many pictures (default: 1)",
    )
    add_flag(
        parser,
        "--guidance",
        dest="guidance",
        metavar="X",
        type=typed(read.finite),
        help="how closely to follow the text (default: the model's)",
    )
    add_flag(
        parser, "--negative-prompt", dest="negative_prompt", metavar="TEXT", help="what the picture shall not show"
    )
    add_flag(
        parser, "--image", dest="image", metavar="FILE", type=Path, help="a picture to start from, instead of nothing"
    )
    add_flag(
        parser,
        "--mask",
        dest="mask",
        metavar="FILE",
        type=Path,
        help="what of the picture to draw anew: the transparent parts, or the white ones of a mask without transparency",
    )
    add_flag(
        parser,
        "--strength",
        dest="strength",
        metavar="X",
        type=typed(read.finite),
        help="how far to go from the picture, from 0 to 1 (default: the model's)",
    )
    add_flag(
        parser, "--lora", dest="lora", metavar="ALIAS", help="draw with this adapter of the graph, or blend of adapters"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_python_nodes_flag(parser)


def _add_check(commands: Any) -> None:
    parser = _add_command(commands, "check", "check graphs without running them", CHECK_HELP, _check)
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", type=Path, help="a graph file, a model folder, or a folder of them"
    )
    options_proto = next(setting.metadata for setting in fields(Settings) if setting.name == "options_proto")
    add_flag(
        parser, "--options_proto", dest="options_proto", metavar=options_proto["metavar"],
        type=typed(options_proto["parse"]), action="extend", default=None, help=options_proto["help"],
    )  # fmt: skip
    add_python_nodes_flag(parser)


def _serve(arguments: argparse.Namespace) -> int:
    try:
        settings = Settings.resolve(vars(arguments), os.environ)
    except SettingsError as error:
        complain("serve", str(error))
        return 2
    if arguments.source_model is None and arguments.pull:
        arguments.source_model = settings.model_name  # as OVMS has it
    if arguments.source_model is not None:
        from server.pull import pull_and_serve

        return pull_and_serve(arguments, settings)
    alone = [f"--{name}" for name in SERVE_ALONE if getattr(arguments, name) is not None]
    if alone:
        complain(
            "serve",
            f"{', '.join(alone)}: this is for a model that is pulled, by --source_model; for others, graph-runtime configure "
            "writes it into the options of graph.pbtxt",
        )
        return 2
    from server.serve import serve

    return serve(settings)


def _generate(arguments: argparse.Namespace) -> int:
    from server.generate import generate

    return generate(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from server.check import check

    try:
        allowed = allows_python_nodes(arguments)
    except SettingsError as error:
        complain("check", str(error))
        return 2
    return check(arguments.paths, arguments.options_proto or (), allow_python_nodes=allowed)


def _draw(arguments: argparse.Namespace) -> int:
    from server.draw import draw

    return draw(arguments)


def _trace(arguments: argparse.Namespace) -> int:
    from server.trace import trace

    return trace(arguments)


def _pull(arguments: argparse.Namespace) -> int:
    from server.pull import pull

    return pull(arguments)


def _export(arguments: argparse.Namespace) -> int:
    from server.export import export

    return export(arguments)


def _configure(arguments: argparse.Namespace) -> int:
    from server.configure import configure

    return configure(arguments)


if __name__ == "__main__":
    sys.exit(main())
