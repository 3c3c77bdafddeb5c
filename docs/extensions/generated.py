"""References made from the code while the site is built: ``<!-- made of the code: NAME ... -->`` in a page becomes Markdown.

A comment, because the pages are read on code hosts too, which show nothing in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sphinx.application import Sphinx

from docs.extensions import calculators, commands, http, python, settings

MAKERS: Final[dict[str, Callable[[list[str]], str]]] = {
    "calculators": calculators.markdown,
    "commands": commands.markdown,
    "given": python.given,
    "http": http.markdown,
    "python": python.markdown,
    "settings": settings.markdown,
}
"""NAME -> what makes the Markdown of the words behind it."""

_COMMENT: Final = re.compile(r"^<!-- made of the code: (\w+)\s*(.*?)\s*-->$", re.M | re.S)


def fill(text: str) -> str:
    """A page with what its comments stand for.

    Raises:
        KeyError: a comment asks for what nobody makes.
    """
    return _COMMENT.sub(lambda found: MAKERS[found[1]](found[2].split()), text)


def fill_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Called by Sphinx for each page that it has read."""
    source[0] = fill(source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", fill_page)
    app.connect("autodoc-process-docstring", python.read_property, priority=400)
    app.connect("autodoc-process-signature", python.hide_constructor)
    app.connect("missing-reference", python.find_public_name)
    return {"parallel_read_safe": True}
