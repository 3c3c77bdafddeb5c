"""Daemon threads that drain graphs nobody waits for; shared by all graphs of the process and kept for reuse."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

IDLE_LIMIT_S: Final = 60.0
"""A thread without work for this long ends."""

_idle: deque[_Worker] = deque()


class _Worker(threading.Thread):
    def __init__(self, task: Callable[[], None]) -> None:
        super().__init__(name="graph_runtime worker", daemon=True)
        self.task: Callable[[], None] | None = task
        self.gate = threading.Lock()  # a bare lock: half the price of a semaphore, and waking happens for every run
        self.gate.acquire()

    def run(self) -> None:
        while self.task is not None:
            self.task()
            self.task = None  # do not keep a finished graph alive while waiting
            _idle.append(self)
            if not self.gate.acquire(timeout=IDLE_LIMIT_S):
                try:
                    _idle.remove(self)
                except ValueError:
                    self.gate.acquire()  # somebody took this worker in the same instant: its task is on the way


def submit(task: Callable[[], None]) -> None:
    """Run ``task()`` soon on one of the threads; it must not raise. Never blocks."""
    try:
        worker = _idle.pop()
    except IndexError:
        _Worker(task).start()
    else:
        worker.task = task
        worker.gate.release()


_loop: asyncio.AbstractEventLoop | None = None
_loop_lock = threading.Lock()


def background_loop() -> asyncio.AbstractEventLoop:
    """The event loop for coroutines of graphs that were not started from one; on a daemon thread of its own."""
    global _loop
    with _loop_lock:
        if _loop is None:
            import asyncio  # graphs without coroutines do not pay for it

            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="graph_runtime event loop", daemon=True).start()
        return _loop
