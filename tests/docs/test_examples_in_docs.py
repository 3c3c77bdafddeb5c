"""Every code block of the pages is what it says; ``tests/site`` runs them. And links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from graph_runtime import CalculatorGraphConfig, Plan, known_calculators, parse_graph_config
from server.config_file import read_config_file
from tests.docs.blocks import PAGES, PRINTED, ROOT, Block, blocks

SHOWN: Final = ("", "text", "cpp")
"""Languages of what is only looked at: trees and drawings, and C++ to compare with."""


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


def look_at_toml(block: Block, folder: Path) -> None:
    tomllib.loads(block.text)


def look_at_output(block: Block, folder: Path) -> None:
    assert block.text.strip()


LOOKS: Final = {
    "python": look_at_python,
    "bash": look_at_bash,
    "json": look_at_json,
    "protobuf": look_at_graph,
    "yaml": look_at_yaml,
    "toml": look_at_toml,
    PRINTED: look_at_output,
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
