"""Some thousand mutated graph files; ``python -m tests.stress.graph_files`` tries as many as one likes."""

from __future__ import annotations

from pathlib import Path

from tests.stress.graph_files import Cases


def test_a_mutated_graph_file_gives_a_plan_or_a_graph_error(tmp_path: Path) -> None:
    cases = Cases(tmp_path)
    for seed in range(1500):
        cases.check(seed)
