"""The tables of docs/serving.md say what the server does."""

from __future__ import annotations

import re
from pathlib import Path

from server.metric_families import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


def test_the_table_of_metrics_has_every_family_with_its_type_labels_and_meaning() -> None:
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in PAGE.partition("### Metrics")[2].partition("Beside these")[0].splitlines()
        if line.startswith("| `")
    ]
    told = [
        (name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, labels, meaning in rows
    ]
    assert told == [tuple(family) for family in FAMILIES.values()]


def test_queries_ask_for_metrics_that_there_are() -> None:
    asked = set(re.findall(r"(?:graph_runtime|ovms)_\w+", PAGE.partition("What to look at:")[2]))
    known = {f"{name}{end}" for name in FAMILIES for end in ("", "_bucket", "_sum", "_count")}
    assert len(asked) > 5
    assert asked <= known
