"""The table of settings in docs/serving.md says what ``--help`` says."""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from server.foreign_flags import FOREIGN_FLAGS
from server.settings import GROUPS, Settings

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
DIFFERENCES = PAGE.with_name("differences.md")


def row(setting: Field[Any]) -> str:
    about, default = setting.metadata, setting.default
    names = ", ".join(f"`--{name}`" for name in (setting.name, *about["aliases"], *about["flags"]))
    if default in (None, ()):
        shown = ""
    elif isinstance(default, bool):
        shown = f"`{str(default).lower()}`"
    elif isinstance(default, tuple):
        shown = f"`{','.join(default)}`"
    else:
        shown = f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
    return f"| {names} | {shown} | {about['help'].replace('|', chr(92) + '|')} |"


@pytest.mark.parametrize("group", GROUPS)
def test_the_table_has_every_flag_of_a_group_in_the_order_of_help(group: str) -> None:
    wanted = [row(each) for each in fields(Settings) if each.metadata["group"] == group and each.metadata["flag"]]
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition(f"\n**{group}**\n\n| flag | default | what it is |\n|---|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == wanted, "the table has to be:\n" + "\n".join(wanted)


def test_the_flags_of_ovms_that_are_refused_are_listed_as_a_difference() -> None:
    line = next(each for each in DIFFERENCES.read_text(encoding="utf-8").splitlines() if "`--nireq`" in each)
    assert [name for name in FOREIGN_FLAGS if name != "api_key" and f"`--{name}`" not in line] == []
