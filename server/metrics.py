"""GET /metrics: what the server and its models do, in the text format of Prometheus.

Requests are counted as they come and go: :class:`Metrics` is the observer of ``server.admission``, and is told of HTTP answers.
What models do is counted where they are, and read when somebody asks. Labels are names of servables and of nodes, and words of
ours, never anything that a client sends.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from calculators.http_payload import RequestError
from calculators.statistics import SECONDS, Distribution, ImageStatistics
from server.admission import Outcome
from server.backend import Backend, Occupancy, Origin
from server.metric_families import FAMILIES
from server.servables import Servables, State

MICROSECONDS: Final = tuple(float(int(10 * 1.8**i)) for i in range(33))
"""The reference's buckets."""

_LANE_STATES: Final = ("busy", "idle", "unloaded", "broken")
_IMAGE_OUTCOMES: Final = ("done", "refused", "failed", "cancelled")

Labels = tuple[str, ...]


class _Histogram:
    """Values in buckets, as :class:`calculators.statistics.Distribution`, that grows in place."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class _Calls:
    """The requests of one servable that came one way."""

    __slots__ = ("accepted", "outcomes", "rejected", "responses")

    def __init__(self) -> None:
        self.accepted = self.rejected = self.responses = 0
        self.outcomes = dict.fromkeys(Outcome, 0)


class _Times:
    """How long the requests of one servable took."""

    __slots__ = ("seconds", "waited")

    def __init__(self) -> None:
        self.seconds = _Histogram(SECONDS)
        self.waited = _Histogram(SECONDS)


class Metrics(Collector):
    """Counts, and tells; see the module. Everything is called on the event loop.

    Args:
        only: the families to tell; all of them where there are none.
    """

    def __init__(self, only: Collection[str] = ()) -> None:
        self._only = frozenset(only) or FAMILIES.keys()
        self._calls: dict[tuple[str, Origin], _Calls] = {}
        self._times: dict[str, _Times] = {}
        self._processing_us: dict[tuple[str, str], _Histogram] = {}
        self._questions: Counter[tuple[str, Origin, bool]] = Counter()
        self._http: Counter[Labels] = Counter()
        self._servables: Servables | None = None
        self._backend: Backend | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        if not only:
            ProcessCollector(registry=self.registry)

    def watch(self, backend: Backend, servables: Servables) -> None:
        """Ask these for what they do, when somebody asks us."""
        self._backend, self._servables = backend, servables

    # ---- what happens

    def full(self, servable: str, origin: Origin) -> None:
        """A request was refused, since too many wait."""
        self.rejected(servable, origin)

    def rejected(self, servable: str, origin: Origin) -> None:
        """A request was refused before it was let in."""
        self._calls_of(servable, origin).rejected += 1

    def started(self, servable: str, origin: Origin) -> None:
        """A request was let in."""
        self._calls_of(servable, origin).accepted += 1

    def responded(self, servable: str, origin: Origin) -> None:
        """A packet came out of its run."""
        self._calls_of(servable, origin).responses += 1

    def ended(self, servable: str, origin: Origin, outcome: Outcome, seconds: float, waited_s: float) -> None:
        """It ended, so many seconds after it came, of which it waited some for its turn."""
        self._add(self._calls_of(servable, origin), servable, origin, outcome, seconds, waited_s)

    def ran(self, servable: str, origin: Origin, outcome: Outcome, responses: int, seconds: float) -> None:
        """A request was let in, gave so many packets and ended, all at once."""
        calls = self._calls_of(servable, origin)
        calls.accepted += 1
        calls.responses += responses
        self._add(calls, servable, origin, outcome, seconds, 0.0)

    def _add(
        self, calls: _Calls, servable: str, origin: Origin, outcome: Outcome, seconds: float, waited_s: float
    ) -> None:
        calls.outcomes[outcome] += 1
        times = self._times.get(servable)
        if times is None:
            times = self._times[servable] = _Times()
        times.seconds.add(seconds)
        times.waited.add(waited_s)
        processing = self._processing_us.get((servable, origin.method))
        if processing is None:
            processing = self._processing_us[servable, origin.method] = _Histogram(MICROSECONDS)
        processing.add((seconds - waited_s) * 1e6)

    def asked(self, servable: str, origin: Origin, good: bool) -> None:
        """A KServe client has asked for the metadata of a servable, or whether it is ready."""
        self._questions[servable, origin, good] += 1

    def answered(self, request: web.Request, status: int) -> None:
        """An HTTP request has got its answer, or its client has left (499)."""
        resource = request.match_info.route.resource  # none where no route has this path and method
        method = request.method if request.method in hdrs.METH_ALL else "other"
        self._http[method, "" if resource is None else resource.canonical, str(status)] += 1

    def _calls_of(self, servable: str, origin: Origin) -> _Calls:
        calls = self._calls.get((servable, origin))
        if calls is None:
            calls = self._calls[servable, origin] = _Calls()
        return calls

    # ---- what is told

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        text = generate_latest(self.registry).decode()
        for family in FAMILIES.values():
            if family.kind == "counter":  # see _metric
                text = text.replace(f"# TYPE {family.name} untyped\n", f"# TYPE {family.name} counter\n")
        return text

    def collect(self) -> Iterator[Metric]:
        """For the registry: every family, those without a sample too."""
        samples: dict[str, list[_Sample]] = {name: [] for name in self._only}
        for sample in self._samples():
            if sample.family in samples:
                samples[sample.family].append(sample)
        for name in FAMILIES:
            if name in samples:
                yield _metric(name, samples[name])

    def _samples(self) -> Iterator[_Sample]:
        for (name, origin), calls in self._calls.items():
            where = (name, *origin)
            yield _Sample("ovms_requests_accepted", where, calls.accepted)
            yield _Sample("ovms_requests_rejected", where, calls.rejected)
            yield _Sample("ovms_responses", where, calls.responses)
            failed = calls.outcomes[Outcome.REFUSED] + calls.outcomes[Outcome.FAILED]
            yield _Sample("ovms_graph_error", where, failed)
            for outcome, count in calls.outcomes.items():
                yield _Sample("graph_runtime_requests_total", (*where, outcome), count)
        for (name, origin, good), count in self._questions.items():
            yield _Sample("ovms_requests_success" if good else "ovms_requests_fail", (name, *origin), count)
        for processing, spent in self._processing_us.items():
            yield _Sample("ovms_graph_processing_time_us", processing, spent)
        for name, times in self._times.items():
            yield _Sample("graph_runtime_queue_wait_seconds", (name,), times.waited)
            yield _Sample("graph_runtime_request_seconds", (name,), times.seconds)
        for answered, count in self._http.items():
            yield _Sample("graph_runtime_http_requests_total", answered, count)
        for servable in self._servables or ():
            assert self._servables is not None
            busy: Occupancy = self._servables.occupancy(servable)
            yield _Sample("ovms_current_graphs", (servable.name,), busy.running)
            yield _Sample("graph_runtime_requests_running", (servable.name,), busy.running)
            yield _Sample("graph_runtime_requests_waiting", (servable.name,), busy.waiting)
            for state in State:
                yield _Sample("graph_runtime_servable_state", (servable.name, state), int(state is servable.state))
        if self._backend is not None:
            for name, nodes in self._backend.statistics().items():
                for node, record in nodes.items():
                    yield from _image_samples((name, node), record)


class counted_rejections:  # noqa: N801  # used as a function; a generator would cost each request more
    """What is done with a request for a known graph before it can run goes in here: a refusal is counted."""

    __slots__ = ("_metrics", "_origin", "_servable")

    def __init__(self, metrics: Metrics | None, servable: str, origin: Origin) -> None:
        self._metrics, self._servable, self._origin = metrics, servable, origin

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        if error is not None and self._metrics is not None and isinstance(error, RequestError):
            self._metrics.rejected(self._servable, self._origin)


@contextmanager
def counted_question(metrics: Metrics | None, servable: str, origin: Origin) -> Iterator[None]:
    """A KServe client asks something about a servable in here: an error is a no, everything else a yes."""
    good = False
    try:
        yield
        good = True
    finally:
        if metrics is not None:
            metrics.asked(servable, origin, good)


class _Sample(NamedTuple):
    """A number, or a histogram, of a family; the values of its labels in their order."""

    family: str
    labels: Labels
    value: float | _Histogram | Distribution


def _image_samples(of: Labels, record: ImageStatistics) -> Iterator[_Sample]:
    yield _Sample("graph_runtime_images_total", of, record.images)
    yield _Sample("graph_runtime_image_steps_total", of, record.steps)
    yield _Sample("graph_runtime_image_steps_per_second", of, record.steps_per_s)
    yield _Sample("graph_runtime_image_lane_restarts_total", of, record.restarts)
    yield _Sample("graph_runtime_image_memory_bytes", of, record.memory_bytes)
    for stage, spent in record.stage_s.items():
        yield _Sample("graph_runtime_image_stage_seconds", (*of, stage), spent)
    for outcome in _IMAGE_OUTCOMES:
        yield _Sample("graph_runtime_image_requests_total", (*of, outcome), record.requests.get(outcome, 0))
    for state in _LANE_STATES:
        yield _Sample("graph_runtime_image_lanes", (*of, state), record.lanes.get(state, 0))


def _metric(name: str, samples: Iterable[_Sample]) -> Metric:
    # prometheus_client ends the name of every counter with _total, and the reference's do not end so.
    family = FAMILIES[name]
    metric = Metric(name, family.meaning, "unknown" if family.kind == "counter" else family.kind)
    for _, values, value in samples:
        labels = dict(zip(family.labels, values, strict=True))
        if isinstance(value, (_Histogram, Distribution)):
            _add_histogram(metric, labels, value)
        else:
            metric.add_sample(name, labels, value)
    return metric


def _add_histogram(metric: Metric, labels: Mapping[str, str], value: _Histogram | Distribution) -> None:
    below = 0
    for bound, count in zip((*value.bounds, float("inf")), value.counts, strict=True):
        below += count
        metric.add_sample(f"{metric.name}_bucket", {**labels, "le": _bound(bound)}, below)
    metric.add_sample(f"{metric.name}_sum", dict(labels), value.total)
    metric.add_sample(f"{metric.name}_count", dict(labels), below)


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else f"{bound:.15g}"
