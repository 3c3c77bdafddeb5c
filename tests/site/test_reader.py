"""A reader can do what the pages say, from the first block to the last."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Final

import pytest

from server.discovery import bundled_models_dir
from tests.docs.blocks import PAGES, PRINTED, ROOT, blocks
from tests.site.reader import Reader, Serving


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers keep compiled models for each other."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, compiled: Path) -> Iterator[tuple[Path, Serving]]:
    """A model folder with the model that comes with the package, and a server for all pages that start none."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "models").mkdir()
    (folder / "models" / "shapes").symlink_to(bundled_models_dir() / "shapes")
    server = Serving("exec graph-runtime serve --models models", folder, compiled)
    yield folder / "models", server
    server.end()


DRAWN: Final = ROOT / "docs" / "pictures" / "drawn"
"""Pictures that pages show where the reader makes them."""

DONE: Final = [page for page in PAGES if any(each.language in ("python", "bash") for each in blocks(page))]


@pytest.mark.parametrize("page", DONE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_can_do_what_a_page_says(
    page: Path, tmp_path: Path, compiled: Path, request: pytest.FixtureRequest
) -> None:
    to_do = [each for each in blocks(page) if not each.not_run]
    text = "".join(each.text for each in to_do)
    server = None
    if "localhost:8000" in text and "graph-runtime serve" not in text:
        models, server = request.getfixturevalue("served")
        (tmp_path / "models").symlink_to(models)
    elif "models/OpenVINO/sd15" in text:
        shapes = bundled_models_dir() / "shapes"
        copytree(shapes, tmp_path / "models/OpenVINO/sd15", ignore=ignore_patterns("graph.pbtxt"))
    reader = Reader(tmp_path, server, compiled)
    try:
        for block in to_do:
            if block.file or block.language in ("python", "bash"):
                reader.do(block)
            elif block.language == PRINTED:
                assert matches(block.text, reader.printed), f"{block.place}: it prints\n{reader.printed}"
        for drawn in tmp_path.glob("*.svg"):
            assert drawn.read_text() == (DRAWN / drawn.name).read_text(), f"{page.name} shows another {drawn.name}"
    finally:
        reader.close()


def matches(told: str, printed: str) -> bool:
    """Whether a page tells what is printed; ``...`` stands for anything."""
    pattern = ".*".join(map(re.escape, told.strip().split("...")))
    return re.fullmatch(pattern, printed.strip(), re.S) is not None
