"""The reference of the settings: each as a flag, an environment variable, and a keyword of ``Settings``."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from docs.extensions.markdown import code, join, prose, table
from server.settings import GROUPS, Settings


def markdown(words: list[str]) -> str:
    """A table for each group."""
    found = fields(Settings)
    groups = [*GROUPS, *dict.fromkeys(each.metadata["group"] for each in found if each.metadata["group"] not in GROUPS)]
    return join(
        join([
            f"## {group or 'Without a flag'}",
            table(
                ("setting", "default", "what it is"),
                (_row(each) for each in found if each.metadata["group"] == group),
            ),
        ])
        for group in groups
    )  # fmt: skip


def _row(setting: Field[Any]) -> list[str]:
    about = setting.metadata
    names = [*about["aliases"], *(f"--{name}" for name in about["flags"]), *about["variables"]]
    others = f". Other names: {', '.join(map(code, names))}" if names else ""
    default = "" if setting.default in (None, ()) else code(setting.default)
    return [code(setting.name), default, f"{code(about['metavar'])}: {prose(about['help'])}{others}"]
