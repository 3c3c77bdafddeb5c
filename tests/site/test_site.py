"""The site: builds without a warning, is complete, asks no outside address for anything, and has no dead ends."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

DOCS = Path(__file__).parents[2] / "docs"


class Page(HTMLParser):
    """A page of the site: its links, what it loads, and the ids that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a":
            self.links.append(given.get("href", ""))
        else:
            self.loaded += [given[name] for name in ("href", "src", "srcset", "data", "action") if name in given]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_folder_is_in_the_site(pages: dict[str, Page]) -> None:
    names = {str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert {f"{name}.html" for name in names} <= set(pages)


def test_no_page_loads_anything_from_elsewhere_or_leads_there(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert [each for each in page.loaded + page.links if re.match(r"\w+:|//", each)] == [], name
    for path in [*site.rglob("*.css"), *site.rglob("*.html")]:
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"""(?:@import\s+|url\(\s*)["']?(?:\w+:)?//[^)"']+""", text) == [], path


def test_every_link_leads_to_a_place_that_there_is(site: Path, pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        for link in page.links:
            target, _, place = link.partition("#")
            path = (site / name).parent / unquote(target) if target else site / name
            assert path.exists(), f"{name} links to {link}"
            if place:
                there = pages[str(path.resolve().relative_to(site.resolve()))]
                assert unquote(place) in there.ids, f"{name} links to {link}"


def test_programs_find_every_page_as_markdown_by_llms_txt(site: Path) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert re.match(r"# graph-runtime\n\n> \S.*\n\n## ", text)
    links = re.findall(r"^- \[[^]]+\]\((.+?)\): \S", text, re.M)
    assert len(links) == len(list(DOCS.rglob("*.md"))) - len(list(DOCS.glob("_build/**/*.md"))) - 1
    for link in links:
        page = (site / link).read_text(encoding="utf-8")
        assert page.startswith("# ")
        assert "made of the code" not in page
    assert "Add to a counter of the run" in (site / "reference" / "calculator-api.md").read_text(encoding="utf-8")
    assert "--rest_port" in (site / "reference" / "commands.md").read_text(encoding="utf-8")
