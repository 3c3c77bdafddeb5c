"""How flags are added to a command: both spellings, and errors that say what is wrong with a value."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from server.settings import Settings


def add_flag(parser: argparse._ActionsContainer, *names: str, dest: str, **details: Any) -> None:
    """Add a flag that may be written with ``-`` and with ``_`` between its words; help shows it as given here."""
    parser.add_argument(*names, dest=dest, **details)
    spellings = {"--" + separator.join(_words(name)) for name in names if name.startswith("--") for separator in "-_"}
    others = sorted(spellings - set(names))
    if others:
        hidden = {key: value for key, value in details.items() if key not in ("help", "default", "required")}
        parser.add_argument(*others, dest=dest, help=argparse.SUPPRESS, default=argparse.SUPPRESS, **hidden)


def add_python_nodes_flag(parser: argparse._ActionsContainer) -> None:
    """Add ``--allow_python_nodes`` to a command that reads graphs as the server does; a switch, as paths may follow it."""
    about = next(each.metadata for each in fields(Settings) if each.name == "allow_python_nodes")
    add_flag(
        parser, "--allow_python_nodes", dest="allow_python_nodes", action="store_const", const=True, default=None,
        help=about["help"],
    )  # fmt: skip


def allows_python_nodes(arguments: argparse.Namespace) -> bool:
    """Whether that flag, or the variable of the server's setting, is given.

    Raises:
        SettingsError: an environment variable has a value that cannot be used.
    """
    return Settings.resolve({"allow_python_nodes": arguments.allow_python_nodes}, os.environ).allow_python_nodes


def _words(flag: str) -> list[str]:
    return flag.removeprefix("--").replace("_", "-").split("-")


def typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser of values for argparse, which shows the text of this exception alone."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed
