"""Calculators of another distribution, really installed: found by entry point, without a word in the program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "nodes-of-a-test"
version = "1.0"

[project.entry-points."graph_runtime.calculators"]
InstalledShout = "nodes_of_a_test.nodes:Shout"
InstalledBroken = "nodes_of_a_test.broken:Broken"
InstalledNothing = "nodes_of_a_test.nodes:NOTHING"
"""
NODES = """
from graph_runtime import Calculator

class Shout(Calculator):
    @classmethod
    def get_contract(cls, cc):
        cc.inputs[0].set(str)
        cc.outputs[0].set(str)

    def process(self, cc):
        cc.outputs[0].add(cc.inputs[0].value.upper())

NOTHING = None
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the distribution."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "nodes_of_a_test").mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    for name, text in (("__init__", ""), ("nodes", NODES), ("broken", "\n\nimport not_there_at_all\n")):
        (source / "nodes_of_a_test" / f"{name}.py").write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(target), str(source)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return target


def check(installed: Path, folder: Path, calculator: str) -> list[str]:
    """What ``graph-runtime check`` prints of a graph with one node, without the folder."""
    graph = folder / "graph.pbtxt"
    graph.write_text(
        f'input_stream: "in" output_stream: "out"\nnode {{ calculator: "{calculator}" input_stream: "in" output_stream: "out" }}'
    )
    done = subprocess.run(
        [sys.executable, "-m", "server.cli", "check", graph],
        capture_output=True, text=True, timeout=100, env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.replace(f"{folder}/", "").replace(str(installed), "INSTALLED").splitlines()


def test_an_installed_calculator_needs_nothing_but_its_name(installed: Path, tmp_path: Path) -> None:
    (line,) = check(installed, tmp_path, "InstalledShout")
    assert line.startswith("graph.pbtxt: ok")
    (line,) = check(installed, tmp_path, "InstalledShuot")
    assert 'did you mean "InstalledShout"?' in line


def test_one_that_cannot_be_imported_shows_its_own_lines(installed: Path, tmp_path: Path) -> None:
    assert check(installed, tmp_path, "InstalledBroken") == [
        'graph.pbtxt:2:20: node "InstalledBroken": Calculator "InstalledBroken" comes from the plug-in '
        "nodes_of_a_test.broken:Broken, which cannot be imported:",
        "    Traceback (most recent call last):",
        '      File "INSTALLED/nodes_of_a_test/broken.py", line 3, in <module>',
        "        import not_there_at_all",
        "    ModuleNotFoundError: No module named 'not_there_at_all'",
    ]


def test_one_that_is_no_calculator_is_told(installed: Path, tmp_path: Path) -> None:
    (line,) = check(installed, tmp_path, "InstalledNothing")
    assert line.endswith("nodes_of_a_test.nodes:NOTHING is not a subclass of Calculator")
