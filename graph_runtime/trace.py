"""What ran when: calls of nodes as events that chrome://tracing and Perfetto open. Costs nothing where it is off."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from inspect import iscoroutinefunction
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

from graph_runtime.timestamp import debug_string

DEFAULT_CAPACITY: Final = 20_000
"""Events that are kept; older ones are forgotten. MediaPipe's default (``profiler_config.trace_log_capacity``)."""

_Event = tuple[str, str, int, int, int, int, int]


class Tracer:
    """A ring of the last events: (node, phase, start, duration, input timestamp, thread, number of the coroutine or 0)."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self._events: deque[_Event] = deque(maxlen=capacity)
        self._calls: Counter[str] = Counter()
        self._threads: dict[int, str] = {}
        self._coroutines = count(1)

    def wrap(self, node: str, phase: str, method: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The method, with an event for each call."""
        if iscoroutinefunction(method):

            async def traced_coroutine(context: Any) -> Any:
                start = perf_counter_ns()
                try:
                    return await method(context)
                finally:
                    self._note(node, phase, start, context._timestamp, next(self._coroutines))

            return traced_coroutine

        def traced(context: Any) -> Any:
            start = perf_counter_ns()
            try:
                return method(context)
            finally:
                self._note(node, phase, start, context._timestamp)

        return traced

    def _note(self, node: str, phase: str, start: int, timestamp: int, coroutine: int = 0) -> None:
        thread = threading.get_native_id()  # the small number that other tools show, and that fits their tables
        if thread not in self._threads:
            self._threads[thread] = threading.current_thread().name
        self._events.append((node, phase, start, perf_counter_ns() - start, timestamp, thread, coroutine))
        if phase == "process":
            self._calls[node] += 1

    def calls(self, node: str) -> int:
        """How often ``process`` of a node was called."""
        return self._calls[node]

    def chrome_trace(self) -> dict[str, Any]:
        """The events in the Trace Event Format; times in microseconds.

        A call is a complete event ("X") of its thread. Coroutines overlap on the thread of their event loop, so each is a pair of
        async events ("b", "e") with a number of its own.
        """
        process = os.getpid()
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": "graph_runtime"}}
        ]
        for thread, name in list(self._threads.items()):
            events.append({"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": name}})
        for node, phase, start, duration, timestamp, thread, coroutine in list(self._events):
            event = {
                "ph": "X",
                "name": node,
                "cat": phase,
                "ts": start / 1000,
                "pid": process,
                "tid": thread,
                # As text where a reader in JavaScript would round it.
                "args": {
                    "phase": phase,
                    "input_timestamp": timestamp if abs(timestamp) < 2**53 else debug_string(timestamp),
                },
            }
            if coroutine:
                events.append({**event, "ph": "b", "id": coroutine})
                events.append({**event, "ph": "e", "id": coroutine, "ts": (start + duration) / 1000})
            else:
                events.append({**event, "dur": duration / 1000})
        return {"traceEvents": events, "displayTimeUnit": "ms"}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the events as JSON."""
        Path(path).write_text(json.dumps(self.chrome_trace()), encoding="utf-8")
