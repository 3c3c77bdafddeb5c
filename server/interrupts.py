"""Ctrl-C while a command runs a graph."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from graph_runtime import CalculatorGraph


@contextmanager
def ctrl_c(graph: CalculatorGraph) -> Iterator[threading.Event]:
    """While this lasts Ctrl-C cancels the graph, which ends at its next step; a second one breaks in at once."""
    interrupted = threading.Event()

    def cancel(number: int, frame: FrameType | None) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        # On a thread: a signal handler runs in the middle of whatever the main thread does, locks included.
        threading.Thread(target=graph.cancel, daemon=True).start()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
