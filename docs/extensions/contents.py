"""The contents of the site: the lists of links in ``index.md`` are its navigation, and its ``llms.txt``.

So the index is plain Markdown, a page is added in one place, and a page that no list names is a warning of Sphinx.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sphinx.application import Sphinx

_ENTRY = re.compile(r"^- \[(?P<title>[^]]+)\]\((?P<page>[\w./-]+)\.md\): (?P<note>.*(?:\n  .*)*)", re.M)


@dataclass(frozen=True, slots=True)
class Entry:
    """A page that the index lists: its name without ``.md``, and what the index says of it, on one line."""

    title: str
    page: str
    note: str


def sections(index: str) -> dict[str, list[Entry]]:
    """Heading -> the pages that its list names, for each heading of the second level with such a list."""
    found = {}
    for part in re.split(r"^## ", index, flags=re.M)[1:]:
        heading, _, text = part.partition("\n")
        entries = [Entry(each["title"], each["page"], " ".join(each["note"].split())) for each in _ENTRY.finditer(text)]
        if entries:
            found[heading] = entries
    return found


def llms_text(index: str) -> str:
    """``llms.txt``, as llmstxt.org has it: title, summary, and the lists of the index with a line for each page."""
    title, summary = index.removeprefix("# ").split("\n\n")[:2]
    lists = [
        "\n".join([f"## {heading}", "", *(f"- [{each.title}]({each.page}.md): {each.note}" for each in entries)])
        for heading, entries in sections(index).items()
    ]
    return "\n\n".join([f"# {title}", f"> {' '.join(summary.split())}", *lists]) + "\n"


def write_llms_text(app: Sphinx, error: Exception | None) -> None:
    """Put it at the root of the site."""
    if error is None:
        index = (app.srcdir / "index.md").read_text(encoding="utf-8")
        (app.outdir / "llms.txt").write_text(llms_text(index), encoding="utf-8")


def add_navigation(app: Sphinx, name: str, source: list[str]) -> None:
    """Put a hidden toctree behind the index for each of its lists."""
    if name != "index":
        return
    for heading, entries in sections(source[0]).items():
        pages = "\n".join(entry.page for entry in entries)
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", write_llms_text)
    return {"parallel_read_safe": True}
