"""docs/getting-models.md has every flag that sets an option of a graph, in the words of ``--help``."""

from __future__ import annotations

from pathlib import Path

from server.image_flags import IMAGE_FLAGS

PAGE = (Path(__file__).parents[2] / "docs" / "getting-models.md").read_text(encoding="utf-8")


def test_the_table_of_options_is_that_of_the_flags() -> None:
    table = PAGE.partition("| flag | what it sets |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [f"| `--{flag.name}` | {flag.help} |" for flag in IMAGE_FLAGS]
