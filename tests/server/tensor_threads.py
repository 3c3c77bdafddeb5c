"""Where the work with tensors is done: on the event loop's thread, or on another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from calculators import kserve_tensors
from server import kserve_values


def threads_of_tensors(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, threading.Thread]]:
    """The threads on which tensors are ``read`` and ``written`` from now on; filled as they are."""
    found: list[tuple[str, threading.Thread]] = []

    def noting(what: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any) -> Any:
            found.append((what, threading.current_thread()))
            return work(*arguments)

        return noted

    monkeypatch.setattr(kserve_values, "array_of", noting("read", kserve_tensors.array_of))
    monkeypatch.setattr(kserve_tensors, "tensor_of", noting("written", kserve_tensors.tensor_of))
    return found
