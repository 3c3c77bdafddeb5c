"""The reference of the settings: each as a flag, an environment variable, and a keyword of ``Settings``."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

from docs.extensions.markdown import code, join, prose, table
from server.settings import GROUPS, Settings, variables_of


def markdown(words: list[str]) -> str:
    """A table for each group."""
    found = fields(Settings)
    groups = [*GROUPS, *dict.fromkeys(each.metadata["group"] for each in found if each.metadata["group"] not in GROUPS)]
    return join(
        join([
            f"## {group or 'Without a flag'}",
            table(
                ("setting", "flags", "variables", "default", "what it is"),
                (_row(each) for each in found if each.metadata["group"] == group),
            ),
        ])
        for group in groups
    )  # fmt: skip


def _row(setting: Field[Any]) -> list[str]:
    about = setting.metadata
    flags = [f"--{name}" for name in (setting.name, *about["aliases"], *about["flags"])] if about["flag"] else []
    return [
        code(setting.name),
        ", ".join(map(code, flags)),
        ", ".join(map(code, variables_of(setting))),
        code(setting.default) if setting.default not in (None, ()) else "",
        f"{code(about['metavar'])}: {prose(about['help'])}",
    ]
