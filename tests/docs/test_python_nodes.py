"""A calculator of one's own, from nothing to a served graph: how little docs/python-nodes.md takes for it.

That it works is held by ``tests/site``, which does what the page says.
"""

from __future__ import annotations

import pytest

from tests.docs.blocks import ROOT, blocks

PAGE = blocks(ROOT / "docs" / "python-nodes.md")


@pytest.mark.parametrize("name", ["shout", "greet"])
def test_a_recipe_is_under_twenty_lines(name: str) -> None:
    files = [each for each in PAGE if each.file in (f"nodes/{name}/graph.pbtxt", f"nodes/{name}/calculators.py")]
    assert len(files) == 2
    assert len([line for each in files for line in each.text.splitlines() if line.strip()]) < 20


def test_it_takes_one_command() -> None:
    (serve,) = [each.text for each in PAGE if "graph-runtime serve" in each.text]
    assert serve == "cd nodes\ngraph-runtime serve --models . --allow_python_nodes\n"
