"""What the runs of a loaded graph did: the last ones call by call, and how long the calls of each node took."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from calculators.http_payload import refusal_in
from graph_runtime import CalculatorGraph, GraphError, Plan, StatusCode
from graph_runtime.inspect import NodeSnapshot
from graph_runtime.plan import UNLIMITED
from graph_runtime.trace import Totals, Tracer
from server.backend import RunRequest
from server.clock import Clock
from server.graph_report import GraphReport, NodeReport, Outcome, QueueReport, RunReport

KEPT_RUNS: Final = 20
KEPT_CALLS: Final = 1000
"""Of each run, so that a long one does not fill the memory."""
KEPT_REASONS: Final = 5
"""For which a node waits, where many runs of it wait for different things."""
WATCHED_S: Final = 10.0
"""How long after a look quick runs are recorded."""


class Recorder:
    """Of one loaded graph. Runs end on any thread; everything else is called on the event loop.

    Runs on threads are all recorded: beside the thread it costs little. Those of a graph that runs at once (``Plan.nonblocking``)
    are for as long as somebody looks.

    Args:
        plan: the graph.
        clock: says how long ago somebody looked.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._runs: deque[_Ended] = deque(maxlen=KEPT_RUNS)
        self._totals: dict[str, Totals] = {}
        self._live: dict[Recording, None] = {}
        self._recorded = 0
        self._lock = threading.Lock()
        self._watched_until: float | None = None

    @property
    def is_watched(self) -> bool:
        """Whether somebody has looked lately."""
        if self._watched_until is None:
            return False
        if self._clock.monotonic() > self._watched_until:
            self._watched_until = None
            return False
        return True

    def begin(self, graph: CalculatorGraph, request: RunRequest) -> Recording:
        """Record the run that a graph is about to begin; whoever asks calls ``end`` when it is over."""
        # A tracer that the graph's own text asks for may keep any number of calls, and nobody can ask for it here.
        recording = Recording(graph, graph.enable_tracing(KEPT_CALLS), request, time.perf_counter_ns())
        with self._lock:
            self._live[recording] = None
        return recording

    def end(self, recording: Recording, error: BaseException | None) -> None:
        """Keep what a run did that has just ended."""
        tracer = recording.tracer
        duration_ns = time.perf_counter_ns() - recording.start_ns
        began_s = self._clock.time() - duration_ns / 1e9
        totals = tracer.totals
        with self._lock:
            del self._live[recording]
            self._recorded += 1
            for node, each in totals.items():
                self._totals.setdefault(node, Totals()).add(each)
            api = recording.request.origin.api
            self._runs.append(
                _Ended(self._recorded, api, _outcome(error), began_s, recording.start_ns, duration_ns, tracer)
            )

    def report(self) -> GraphReport:
        """What there is to see now; and for a while the next runs are recorded, whatever they are."""
        self._watched_until = self._clock.monotonic() + WATCHED_S
        nodes = {node.name: _Node(node.name) for node in self._plan.nodes}
        with self._lock:
            for name, totals in self._totals.items():
                nodes[name].totals.add(totals)
            ended, recorded, live = tuple(self._runs), self._recorded, tuple(self._live)
            calls = [(each.tracer.totals, each.tracer.steps) for each in live]
        for (totals_of, steps), recording in zip(calls, live, strict=True):
            for name, totals in totals_of.items():
                nodes[name].totals.add(totals)
            for name, step in steps.items():
                if name in nodes:  # calculators tell of steps under any name
                    nodes[name].progress = step
            for seen in recording.graph.snapshot().nodes:
                nodes[seen.name].see(seen)
        now = time.perf_counter_ns()
        limit = self._plan.max_queue_size
        return GraphReport(
            nodes=tuple(node.report() for node in nodes.values()),
            ages_s=tuple((now - recording.start_ns) / 1e9 for recording in live),
            runs=tuple(run.report for run in ended),
            recorded=recorded,
            always_recorded=not self._plan.nonblocking,
            max_queue_size=None if limit == UNLIMITED else limit,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """A run that goes on, and what is written down of it."""

    graph: CalculatorGraph
    tracer: Tracer
    request: RunRequest
    start_ns: int


@dataclass(eq=False)
class _Ended:
    """A run that has ended, as it is kept: what a report says of it is worked out when somebody first looks."""

    number: int
    api: str
    outcome: Outcome
    began_s: float
    start_ns: int
    duration_ns: int
    tracer: Tracer

    @cached_property
    def report(self) -> RunReport:
        calls = self.tracer.last_calls
        return RunReport(
            number=self.number,
            api=self.api,
            outcome=self.outcome,
            began_s=self.began_s,
            start_ns=self.start_ns,
            duration_ns=self.duration_ns,
            calls=calls,
            left_out=max(0, self.tracer.noted - len(calls)),
            threads=self.tracer.threads,
        )


class _Node:
    """A report that is being added up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.totals = Totals()
        self.running = 0
        self.progress: str | None = None
        self.queues: dict[str, tuple[int, int]] = {}
        self.waits_for: dict[str, None] = {}

    def see(self, node: NodeSnapshot) -> None:
        """Add what the node is doing in one run."""
        self.running += node.state == "running"
        if node.waits_for is not None and node.state != "running" and len(self.waits_for) < KEPT_REASONS:
            self.waits_for.setdefault(node.waits_for)
        for queue in node.inputs:
            packets, most = self.queues.get(queue.stream, (0, 0))
            self.queues[queue.stream] = packets + queue.queue_size, max(most, queue.queue_size)

    def report(self) -> NodeReport:
        totals = self.totals
        return NodeReport(
            name=self.name,
            calls=totals.calls,
            mean_ms=totals.total_ns / totals.calls / 1e6 if totals.calls else None,
            last_ms=totals.last_ns / 1e6 if totals.calls else None,
            longest_ms=totals.longest_ns / 1e6 if totals.calls else None,
            running=self.running,
            progress=self.progress if self.running else None,
            queues=tuple(QueueReport(stream, *sizes) for stream, sizes in self.queues.items()),
            waits_for=tuple(self.waits_for),
        )


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return "done"
    if isinstance(error, GraphError) and error.code is StatusCode.CANCELLED:
        return "cancelled"
    refusal = refusal_in(error)
    return "refused" if refusal is not None and refusal.status < 500 else "failed"
