"""The benchmarks are programs that start; how quick things are is no matter of tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("program", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_a_benchmark_starts_and_says_how_it_is_used(program: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(program), "--help"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {program.name}")


@pytest.mark.parametrize("program", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_no_benchmark_hides_a_module_of_the_standard_library(program: Path, tmp_path: Path) -> None:
    look = f"import sys, runpy; sys.argv = [{str(program)!r}]; sys.path.insert(0, {str(program.parent)!r})\n"
    look += f"runpy.run_path({str(program)!r}); import http.client"
    done = subprocess.run([sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
