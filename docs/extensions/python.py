"""The Python reference: each name of a list, described by autodoc in the way that fits what it is."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util.nodes import make_refnode

from docs.extensions.markdown import join

PACKAGES: Final = ("graph_runtime", "graph_runtime.aio", "graph_runtime.testing", "calculators")
"""Whose ``__all__``, or else whose own public classes and functions, users may import."""


_given: Final[set[str]] = set()  # classes that users do not make: how they are made is nobody's business


def markdown(words: list[str]) -> str:
    """The descriptions of names, given with their modules, as ``graph_runtime.Plan``; ``-put`` leaves out a member."""
    left_out: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("-"):
            left_out[next(reversed(left_out))].append(word[1:])
        else:
            left_out[word] = []
    directives = "\n".join(_directive(name, without) for name, without in left_out.items())
    return f"```{{eval-rst}}\n{directives}\n```"


def given(words: list[str]) -> str:
    """The same for classes whose objects users are given: without what makes one."""
    _given.update(words)
    return markdown(words)


def plain(words: list[str]) -> str:
    """The docstrings of the names and of what is public in them, for readers of Markdown."""
    left_out = {word[1:] for word in words if word.startswith("-")}
    return join(_plain(word, find(word), left_out) for word in words if not word.startswith("-"))


def _plain(name: str, value: Any, left_out: set[str]) -> str:
    members = []
    if isinstance(value, type) or inspect.ismodule(value):
        for each, member in vars(value).items():
            is_own = not inspect.ismodule(value) or getattr(member, "__module__", "") == value.__name__
            is_code = inspect.isroutine(member) or isinstance(member, property | type)
            if is_own and is_code and not each.startswith("_") and each not in left_out:
                members.append(f"#### {each}{_signature(member)}\n\n{inspect.getdoc(member) or ''}")
    return join([f"### {name}{_signature(value)}", inspect.getdoc(value) or "", *members])


def _signature(value: Any) -> str:
    if isinstance(value, property) or not callable(value):
        return ""
    try:
        return str(inspect.signature(value))
    except ValueError:  # of some enums and messages
        return ""


def find(name: str) -> Any:
    """What a name with its module stands for."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


def public_names(package: str) -> list[str]:
    """What a package offers, each with the package's name in front."""
    module = importlib.import_module(package)
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == package and callable(value)
    ]
    return [f"{package}.{name}" for name in getattr(module, "__all__", own)]


def _directive(name: str, left_out: list[str]) -> str:
    value = find(name)
    if inspect.ismodule(value):
        return f".. automodule:: {name}\n   :members:\n"
    if isinstance(value, type):
        members = "" if hasattr(value, "DESCRIPTOR") else "   :members:\n"
        if issubclass(value, int) and hasattr(value, "__members__"):
            members += "   :undoc-members:\n"
        if left_out:
            members += f"   :exclude-members: {', '.join(left_out)}\n"
        return f".. autoclass:: {name}\n{members}"
    return f".. autofunction:: {name}\n" if inspect.isroutine(value) else f".. autodata:: {name}\n"


def hide_constructor(app: Sphinx, what: str, name: str, *told: object) -> tuple[None, None] | None:
    """Called by autodoc for each signature."""
    return (None, None) if what == "class" and name in _given else None


def read_property(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Called by autodoc for each docstring: reads those of properties as those of methods.

    Napoleon, which comes after it, would take what is before a colon in the first line for a type; the empty comment keeps it off.
    """
    if what in ("attribute", "data", "property"):
        lines[:] = ["..", "", *GoogleDocstring(lines, app.config, app, "method", name, value).lines()]


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """A link to where a name is described, under whichever module: ``graph_runtime.plan.Plan`` is ``graph_runtime.Plan``."""
    asked = str(node.get("reftarget", ""))
    described = env.domains.python_domain.objects
    for name, entry in described.items():
        if name.rpartition(".")[2] == asked.rpartition(".")[2] and _same(name, asked):
            return make_refnode(app.builder, str(node["refdoc"]), entry.docname, entry.node_id, text, name)
    return None


def _same(described: str, asked: str) -> bool:
    """Whether two names stand for one thing."""
    if described.endswith(f".{asked}"):  # in a docstring, as its readers call it
        return True
    try:
        return find(described) is find(asked)
    except (ImportError, AttributeError, ValueError):
        return False
