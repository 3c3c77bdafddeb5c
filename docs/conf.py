"""How Sphinx makes the site of this folder: ``nox -s docs``, or ``sphinx-build -W docs docs/_build``.

The pages are plain Markdown that reads well on a code host too. What the site has beyond them is made by ``docs.extensions``.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for docs.extensions, and the examples

project = "graph-runtime"
author = "the graph-runtime authors"
release = version = importlib.metadata.version(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docs.extensions.contents",
    "docs.extensions.generated",
]
exclude_patterns = ["_build", "_templates"]
root_doc = "index"
nitpicky = True
# Types in signatures may be internal, or of other packages; methods, functions and the like that a docstring names have to be here.
nitpick_ignore_regex = [("py:class", ".*"), ("py:obj", r".*\.[A-Z]")]

myst_heading_anchors = 4
smartquotes = False  # code, and flags with two dashes, stay what they are
suppress_warnings = ["misc.highlighting_failure"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "graph-runtime"
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False  # the pages are in the repository
html_theme_options: dict[str, object] = {"top_of_page_buttons": []}
