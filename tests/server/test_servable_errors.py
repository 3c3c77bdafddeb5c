"""What is said of servables that cannot be used."""

from __future__ import annotations

import tracemalloc

from server.servable_errors import unknown


def test_a_wrong_name_of_megabytes_costs_no_more_than_a_short_one() -> None:
    """Similar names are looked for: with all of a long one that took a hundred times its size, and the event loop seconds."""
    name = "ab" * 5_000_000
    tracemalloc.start()
    try:
        error = unknown(name, ["shapes"])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(error.message) < 300
    assert peak < 1_000_000
