"""Every code block of the pages does what it is there for: programs and commands run, files are those that their readers take."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any, Final

import pytest
import yaml

from graph_runtime import CalculatorGraphConfig, Plan, known_calculators, parse_graph_config
from server.config_file import read_config_file
from server.discovery import bundled_models_dir
from tests.docs.blocks import PAGES, ROOT, Block, blocks
from tests.docs.reader import Reader, Serving

SHOWN: Final = ("", "text", "cpp")
"""Languages of what is only looked at: trees and drawings, and C++ to compare with."""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Serving]]:
    """A model folder with the model that comes with the package, and a server for all pages that start none."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "models").mkdir()
    (folder / "models" / "shapes").symlink_to(bundled_models_dir() / "shapes")
    server = Serving("exec graph-runtime serve --models models", folder)
    yield folder / "models", server
    server.end()


DONE: Final = [page for page in PAGES if any(each.language in ("python", "bash") for each in blocks(page))]


@pytest.mark.parametrize("page", DONE, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_reader_can_do_what_a_page_says(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    to_do = [each for each in blocks(page) if not each.not_run]
    text = "".join(each.text for each in to_do)
    server = None
    if "localhost:8000" in text and "graph-runtime serve" not in text:
        models, server = request.getfixturevalue("served")
        (tmp_path / "models").symlink_to(models)
    elif "models/OpenVINO/sd15" in text:
        shapes = bundled_models_dir() / "shapes"
        copytree(shapes, tmp_path / "models/OpenVINO/sd15", ignore=ignore_patterns("graph.pbtxt"))
    reader = Reader(tmp_path, server)
    try:
        for block in to_do:
            if block.file or block.language in ("python", "bash"):
                reader.do(block)
            elif block.language in PRINTED:
                assert matches(block.text, reader.printed), f"{block.place}: it prints\n{reader.printed}"
    finally:
        reader.close()


def matches(told: str, printed: str) -> bool:
    """Whether a page tells what is printed; ``...`` stands for anything."""
    pattern = ".*".join(map(re.escape, told.strip().split("...")))
    return re.fullmatch(pattern, printed.strip(), re.S) is not None


EVERY_BLOCK: Final = [pytest.param(each, id=each.place) for page in PAGES for each in blocks(page)]


@pytest.mark.parametrize("block", EVERY_BLOCK)
def test_a_block_is_well_formed(block: Block, tmp_path: Path) -> None:
    look = LOOKS.get(block.language)
    assert look is not None or block.language in SHOWN, f"{block.place}: {block.language} is none of {[*LOOKS, *SHOWN]}"
    if look is not None:
        look(block, tmp_path)


def look_at_python(block: Block, folder: Path) -> None:
    compile(block.text, block.place, "exec")


def look_at_bash(block: Block, folder: Path) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr


def look_at_json(block: Block, folder: Path) -> None:
    value: Any = json.loads(block.text, strict=False)
    is_answer = "object" in value  # models have a graph_runtime too
    if {"graph_runtime", "model_config_list", "mediapipe_config_list"} & set(value) and not is_answer:
        (folder / "config.json").write_text(block.text, encoding="utf-8")
        assert read_config_file(folder / "config.json").warnings == ()


def look_at_graph(block: Block, folder: Path) -> None:
    config = parse_graph_config(block.text, file=block.place)
    written = {name for page in PAGES for each in blocks(page) for name in re.findall(r"^class (\w+)", each.text, re.M)}
    used = calculators(config)
    assert used <= {*known_calculators(), *written}, "a graph has calculators that nobody has"
    if used <= set(known_calculators()):
        Plan(config)


def calculators(config: CalculatorGraphConfig) -> set[str]:
    return {node.calculator for node in config.node}


def look_at_yaml(block: Block, folder: Path) -> None:
    yaml.safe_load(block.text)


def look_at_output(block: Block, folder: Path) -> None:
    assert block.text.strip()


PRINTED: Final = ("output", "mermaid")
"""Languages of what the block before prints."""

LOOKS: Final = {
    "python": look_at_python,
    "bash": look_at_bash,
    "json": look_at_json,
    "protobuf": look_at_graph,
    "yaml": look_at_yaml,
    **dict.fromkeys(PRINTED, look_at_output),
}
"""Language -> what is looked at in each block, whether it is run or not."""


def test_no_page_has_a_block_that_is_not_found() -> None:
    for page in PAGES:
        fences = re.findall(r"^\s*(?:>\s*)?(?:```|~~~)", page.read_text(encoding="utf-8"), re.M)
        assert len(fences) == 2 * len(blocks(page)), page


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
