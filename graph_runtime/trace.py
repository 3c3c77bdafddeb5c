"""What ran when: calls of nodes as events that chrome://tracing and Perfetto open. Costs nothing where it is off."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from threading import current_thread, get_native_id
from time import perf_counter_ns
from typing import Any, Final, NamedTuple

from graph_runtime.timestamp import UNSET, debug_string

DEFAULT_CAPACITY: Final = 20_000
"""Events that are kept; older ones are forgotten. MediaPipe's default (``profiler_config.trace_log_capacity``)."""
_MOMENT: Final = -1


class Call(NamedTuple):
    """One call of a node, or a moment in one.

    Attributes:
        phase: ``"open"``, ``"process"`` or ``"close"``; of a moment, what happened.
        start_ns, duration_ns: of ``time.perf_counter_ns``; a moment has the duration 0.
        timestamp: of the packets that the node was called with; UNSET for a moment.
        thread: the native id.
        coroutine: the number of the coroutine; 0 for a function, -1 for a moment.
    """

    node: str
    phase: str
    start_ns: int
    duration_ns: int
    timestamp: int
    thread: int
    coroutine: int = 0

    @property
    def is_moment(self) -> bool:
        """Whether it is a moment in a call, not a call."""
        return self.coroutine == _MOMENT


class Totals:
    """What the calls of ``process`` of one node add up to; times in nanoseconds."""

    __slots__ = ("calls", "last_ns", "longest_ns", "total_ns")

    def __init__(self) -> None:
        self.calls = self.total_ns = self.last_ns = self.longest_ns = 0

    def add(self, other: Totals) -> None:
        """Add later calls."""
        if other.calls:
            self.calls += other.calls
            self.total_ns += other.total_ns
            self.last_ns = other.last_ns
            self.longest_ns = max(self.longest_ns, other.longest_ns)


class Tracer:
    """The last calls of a graph's nodes, in the order in which they ended, and the totals of all."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        # Tuples with the fields of a Call, which take a fraction of its time to make: most are never looked at.
        self._calls: deque[tuple[str, str, int, int, int, int, int]] = deque(maxlen=capacity)
        self._totals: dict[str, Totals] = {}
        self._threads: dict[int, str] = {}
        self._coroutines = count(1)
        self._noted = 0

    def wrap(
        self, node: str, phase: str, method: Callable[[Any], Any], *, is_async: bool = False
    ) -> Callable[[Any], Any]:
        """The method, which is a coroutine function if ``is_async``, with an event for each call."""
        totals = self._totals.setdefault(node, Totals()) if phase == "process" else None
        if is_async:

            async def traced_coroutine(context: Any) -> Any:
                start = perf_counter_ns()
                try:
                    return await method(context)
                finally:
                    self._note(node, phase, start, context._timestamp, totals, next(self._coroutines))

            return traced_coroutine

        def traced(context: Any) -> Any:
            start = perf_counter_ns()
            try:
                return method(context)
            finally:
                self._note(node, phase, start, context._timestamp, totals, 0)

        return traced

    def _note(self, node: str, phase: str, start: int, timestamp: int, totals: Totals | None, coroutine: int) -> None:
        duration = perf_counter_ns() - start
        self._append(node, phase, start, duration, timestamp, coroutine)
        if totals is not None:
            totals.calls += 1
            totals.total_ns += duration
            totals.last_ns = duration
            if duration > totals.longest_ns:
                totals.longest_ns = duration

    def note_step(self, node: str, done: int, total: int) -> None:
        """Add a moment of a call that goes on: a step of its work is done; from any thread."""
        self._append(node, f"{done} of {total}", perf_counter_ns(), 0, UNSET, _MOMENT)

    def _append(self, node: str, phase: str, start: int, duration: int, timestamp: int, coroutine: int) -> None:
        thread = get_native_id()  # the small number that other tools show, and that fits their tables
        if thread not in self._threads:
            self._threads[thread] = current_thread().name
        self._calls.append((node, phase, start, duration, timestamp, thread, coroutine))
        self._noted += 1

    def calls(self, node: str) -> int:
        """How often ``process`` of a node was called."""
        totals = self._totals.get(node)
        return 0 if totals is None else totals.calls

    @property
    def last_calls(self) -> tuple[Call, ...]:
        """The calls that are kept; from any thread, at any time."""
        return tuple(map(Call._make, self._kept()))

    @property
    def steps(self) -> Mapping[str, str]:
        """Node -> the last step that a call of it has told of, such as ``"3 of 20"``, and that no end of a call came after."""
        last = {call[0]: call for call in self._kept()}
        return {node: call[1] for node, call in last.items() if call[-1] == _MOMENT}

    def _kept(self) -> tuple[tuple[str, str, int, int, int, int, int], ...]:
        while True:
            try:
                return tuple(self._calls)
            except RuntimeError:  # a call ended meanwhile
                continue

    @property
    def noted(self) -> int:
        """How many calls and moments there were in all, about."""
        return self._noted

    @property
    def totals(self) -> Mapping[str, Totals]:
        """Node -> what all its calls add up to; nodes that were called."""
        return {node: totals for node, totals in self._totals.copy().items() if totals.calls}

    @property
    def threads(self) -> Mapping[int, str]:
        """The native ids of the threads that made calls, and their names."""
        return self._threads.copy()

    def chrome_trace(self) -> dict[str, Any]:
        """The calls in the Trace Event Format; times in microseconds. See ``chrome_events``."""
        return chrome_trace(chrome_events(self.last_calls), self.threads)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the events as JSON."""
        Path(path).write_text(json.dumps(self.chrome_trace()), encoding="utf-8")


def chrome_trace(events: Iterable[Mapping[str, Any]], threads: Mapping[int, str]) -> dict[str, Any]:
    """A file of the Trace Event Format, with the names of this process and of threads in front of the events."""
    process = os.getpid()
    names = [{"ph": "M", "name": "process_name", "pid": process, "tid": 0, "args": {"name": "graph_runtime"}}]
    for thread, name in threads.items():
        names.append({"ph": "M", "name": "thread_name", "pid": process, "tid": thread, "args": {"name": name}})
    return {"traceEvents": [*names, *events], "displayTimeUnit": "ms"}


def chrome_events(calls: Iterable[Call], run: int = 0) -> Iterator[dict[str, Any]]:
    """Calls as events of the Trace Event Format.

    A call is a complete event ("X") of its thread. Coroutines overlap on the thread of their event loop, so each is a pair of
    async events ("b", "e") with a number of its own. A moment is an instant event ("i").

    Args:
        calls: what to write.
        run: which run they are of, where a file has several: numbers of coroutines are unique in one run alone.
    """
    process = os.getpid()
    for call in calls:
        event: dict[str, Any] = {
            "ph": "X",
            "name": call.node,
            "cat": call.phase,
            "ts": call.start_ns / 1000,
            "pid": process,
            "tid": call.thread,
            # As text where a reader in JavaScript would round it.
            "args": {
                "phase": call.phase,
                "input_timestamp": call.timestamp if abs(call.timestamp) < 2**53 else debug_string(call.timestamp),
            },
        }
        if call.is_moment:
            yield {**event, "ph": "i", "s": "t", "name": f"{call.node}: {call.phase}", "cat": "moment", "args": {}}
        elif call.coroutine:
            number = f"{run}.{call.coroutine}" if run else call.coroutine
            yield {**event, "ph": "b", "id": number}
            yield {**event, "ph": "e", "id": number, "ts": (call.start_ns + call.duration_ns) / 1000}
        else:
            yield {**event, "dur": call.duration_ns / 1000}
