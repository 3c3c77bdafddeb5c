"""The code blocks of the pages, and what the comment before a block says of it.

``<!-- not run: REASON -->``: it is looked at, and not run. ``<!-- fails: REASON -->``: it is run, and has to fail.
``<!-- file: NAME -->``: it is a file, which the reader writes.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    ROOT / "README.md",
    *sorted((ROOT / "examples").rglob("README.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]

PRINTED: Final = "output"
"""The language of what the block before prints."""

_BLOCK: Final = re.compile(
    r"^(?:[ ]*<!-- (?P<word>not run|fails|file): (?P<about>[^\n]+?) -->\n\n?)?"
    r"^(?P<indent>[ ]*)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.M | re.S,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block: its language ("" where none is given), the text, and where it stands.

    Attributes:
        not_run: why it is not run; "" where it is.
        fails: why it fails; "" where it does not.
        file: the name of the file that it is; "" where it is none.
    """

    language: str
    text: str
    place: str
    not_run: str = ""
    fails: str = ""
    file: str = ""


def blocks(page: Path) -> list[Block]:
    """Those of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text[: match.start("language")].count("\n") + 1
        about = {match["word"]: match["about"]} if match["word"] else {}
        found.append(
            Block(
                match["language"],
                textwrap.dedent(match["text"]),
                f"{page.relative_to(ROOT)}:{line}",
                about.get("not run", ""),
                about.get("fails", ""),
                about.get("file", ""),
            )
        )
    return found
