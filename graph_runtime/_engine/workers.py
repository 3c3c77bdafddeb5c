"""Daemon threads that drain graphs nobody waits for; shared by all graphs of the process and kept for reuse."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final

IDLE_LIMIT_S: Final = 60.0
"""A thread without work for this long ends."""

_tasks: deque[Callable[[], None]] = deque()
_wanted = threading.Semaphore(0)
_lock = threading.Lock()
_free = 0


def submit(task: Callable[[], None]) -> None:
    """Run ``task()`` soon on one of the threads; it must not raise. Never blocks."""
    global _free
    _tasks.append(task)
    with _lock:
        start = _free <= 0
        if not start:
            _free -= 1
    if start:
        threading.Thread(target=_work, name="graph_runtime worker", daemon=True).start()
    else:
        _wanted.release()


def _work() -> None:
    global _free
    while True:
        task = _tasks.popleft()
        task()
        del task  # do not keep a finished graph alive while waiting
        with _lock:
            _free += 1
        if not _wanted.acquire(timeout=IDLE_LIMIT_S):
            with _lock:
                if _free > 0:
                    _free -= 1
                    return
            # Somebody claimed this thread in the same instant: its release is on the way.
            _wanted.acquire()
