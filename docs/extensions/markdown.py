"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_FLAG = re.compile(r"(?<![\w`-])--?[a-z]\w*(?:[-_]\w+)*")


def code(text: object) -> str:
    """Literal text; nothing for an empty one."""
    return f"`{text}`" if str(text) else ""


def prose(text: str) -> str:
    """A sentence of ``--help`` and its like, whose flags become literal text, and which is no HTML."""
    return _FLAG.sub(lambda found: code(found[0]), text.replace("<", "\\<").replace("*", "\\*"))


def paragraphs(text: str) -> str:
    """Text for terminals: what is indented stays as it is, the rest is prose."""
    blocks: list[tuple[bool, list[str]]] = []
    for line in text.strip().splitlines():
        is_code = line.startswith("    ") or (not line.strip() and bool(blocks) and blocks[-1][0])
        if not blocks or blocks[-1][0] != is_code:
            blocks.append((is_code, []))
        blocks[-1][1].append(line.removeprefix("    ") if is_code else line)
    return "\n\n".join(
        "```text\n{}\n```".format("\n".join(lines).strip("\n")) if is_code else prose("\n".join(lines))
        for is_code, lines in blocks
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; nothing where there are no rows."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *lines]) if lines else ""


def join(parts: Iterable[str]) -> str:
    """Blocks, each apart from the next one; without those that are empty."""
    return "\n\n".join(part for part in parts if part)
