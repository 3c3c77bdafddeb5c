"""Every Python block of the README and of docs/ runs, and every graph in them is valid."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from graph_runtime import known_calculators

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "examples" / "graphs" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for match in re.finditer(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
            line = page.read_text(encoding="utf-8")[: match.start()].count("\n") + 1
            found.append((f"{page.relative_to(ROOT)}:{line}", match[1]))
    return found


@pytest.mark.parametrize(("place", "code"), [pytest.param(*each, id=each[0]) for each in blocks("python")])
def test_a_python_block_runs(place: str, code: str) -> None:
    if "OpenAI(" in code:
        compile(code, place, "exec")  # needs a server; tests/server drives the same client against one
        return
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, f"{place}:\n{done.stderr}"


@pytest.mark.parametrize(("place", "text"), [pytest.param(*each, id=each[0]) for each in blocks("protobuf")])
def test_a_graph_parses(place: str, text: str) -> None:
    from graph_runtime import parse_graph_config

    parse_graph_config(text, file=place)


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_calculators_that_a_page_lists_exist() -> None:
    page = (ROOT / "docs" / "from-mediapipe.md").read_text(encoding="utf-8")
    listed = re.findall(r"`(\w+Calculator)`", page.partition("## Which calculators exist")[2])
    assert len(listed) > 30
    assert set(listed) <= set(known_calculators())


def test_headings_that_pages_link_to_exist() -> None:
    for page in PAGES:
        for target, heading in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            text = (page.parent / target if target else page).read_text(encoding="utf-8")
            headings = [
                re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in re.findall("^#+ (.*)$", text, re.M)
            ]
            assert heading in headings, f"{page.name} links to {target}#{heading}"
