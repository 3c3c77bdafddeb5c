"""How far the nodes of a run are."""

from __future__ import annotations

from calculators.progress import Progress


def test_nobody_has_told_anything_at_first() -> None:
    assert Progress().steps is None


def test_the_newest_steps_of_each_node_count_together() -> None:
    progress = Progress()
    progress.tell("draft", 1, 4)
    progress.tell("draft", 4, 4)
    progress.tell("refine", 2, 10)
    assert progress.steps == (6, 14)
