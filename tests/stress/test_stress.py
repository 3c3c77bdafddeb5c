"""A short stress run: some scenarios of each kind; ``python -m tests.stress`` plays them for as long as one likes."""

from __future__ import annotations

import pytest

from tests.stress.__main__ import main


def test_random_graphs_under_random_use(capfd: pytest.CaptureFixture[str]) -> None:
    # Without a watchdog of its own: the time limit of the test shows all threads too.
    found = main(["--seed", "1", "--scenarios", "60", "--deadline", "0"])
    assert found == 0, capfd.readouterr().out
