"""The index lists every page, and the reference every public name."""

from __future__ import annotations

import re
from pathlib import Path

from docs.extensions.contents import sections
from docs.extensions.python import PACKAGES, public_names

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md") if "_build" not in path.parts}


def test_the_lists_of_the_index_have_every_page_once() -> None:
    listed = [
        entry.page for part in sections((DOCS / "index.md").read_text(encoding="utf-8")).values() for entry in part
    ]
    assert sorted(listed) == sorted(PAGES - {"index"})


def test_the_pages_of_the_reference_name_every_public_name() -> None:
    named = {
        word for path in (DOCS / "reference").glob("*.md") for word in re.findall(r"[\w.]+", path.read_text("utf-8"))
    }
    for package in PACKAGES:
        missing = set(public_names(package)) - named if package not in named else set()
        assert not missing, "a page of docs/reference has to name them"
