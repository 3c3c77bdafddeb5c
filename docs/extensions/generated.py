"""References made from the code while the site is built: ``<!-- made of the code: NAME ... -->`` in a page becomes Markdown.

A comment, because the pages are read on code hosts too, which show nothing in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from sphinx.application import Sphinx

from docs.extensions import calculators, commands, http, python, settings

MAKERS: Final[Mapping[str, Callable[[list[str]], str]]] = {
    "calculators": calculators.markdown,
    "commands": commands.markdown,
    "given": python.given,
    "http": http.markdown,
    "python": python.markdown,
    "settings": settings.markdown,
}
"""NAME -> what makes the Markdown of the words behind it."""

_COMMENT: Final = re.compile(r"^<!-- made of the code: (\w+)\s*(.*?)\s*-->$", re.M | re.S)


_WITHOUT_SPHINX: Final = {**MAKERS, "python": python.plain, "given": python.plain}


def fill(text: str, makers: Mapping[str, Callable[[list[str]], str]] = MAKERS) -> str:
    """A page with what its comments stand for.

    Raises:
        KeyError: a comment asks for what nobody makes.
    """
    return _COMMENT.sub(lambda found: makers[found[1]](found[2].split()), text)


def fill_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Called by Sphinx for each page that it has read."""
    source[0] = fill(source[0])


def write_pages(app: Sphinx, error: Exception | None) -> None:
    """Put each page beside its HTML as Markdown, for programs that read ``llms.txt``."""
    if error is None:
        for name in app.env.found_docs:
            text = Path(app.env.doc2path(name)).read_text(encoding="utf-8")
            (app.outdir / f"{name}.md").write_text(fill(text, _WITHOUT_SPHINX), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", fill_page)
    app.connect("build-finished", write_pages)
    app.connect("autodoc-process-docstring", python.read_property, priority=400)
    app.connect("autodoc-process-signature", python.hide_constructor)
    app.connect("missing-reference", python.find_public_name)
    return {"parallel_read_safe": True}
