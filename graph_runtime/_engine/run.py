"""One run of a Plan: what happens next. Which thread does it is decided in ``scheduler.py``.

Source of the order (open, then downstream nodes before upstream ones, then sources by layer) and of the end of a run: MediaPipe
``framework/scheduler.cc`` and ``scheduler_queue.cc``.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from graph_runtime._engine import workers
from graph_runtime._engine.calls import Failed
from graph_runtime._engine.detached_steps import detached_step
from graph_runtime._engine.node import NodeState, Step
from graph_runtime._engine.pools import Pool, Submit
from graph_runtime._engine.scheduler import ALWAYS, NO_PACKET, STALL_S, Scheduler, nothing_more
from graph_runtime._engine.steps import choose_step
from graph_runtime._engine.stream import Observer, StreamState
from graph_runtime._engine.throttle import Throttle
from graph_runtime.calculator import STOP
from graph_runtime.errors import GraphError, StatusCode, combine
from graph_runtime.inspect import never_processed
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.port_types import packet_mismatch
from graph_runtime.tags import TagIndexName, TagMap
from graph_runtime.timestamp import DONE, MAX, POST_STREAM, PRE_STREAM, UNSET, debug_string, next_allowed

if TYPE_CHECKING:
    import asyncio

    from graph_runtime.plan import NodePlan, Plan
    from graph_runtime.trace import Tracer

_LOG: Final = logging.getLogger("graph_runtime")

HEAD_START_S: Final = 0.001
"""Sources that are closed right after the start run so long all the same, as they would on threads that had started at once."""

MAX_ERRORS: Final = 1000
"""Errors kept of one run; more are dropped."""


class Run(Scheduler):
    """The state of one run. ``start`` begins it; it ends when all inputs are closed and drained, or with an error."""

    __slots__ = (
        "_close_requested", "_done_callbacks", "_on_cancel", "_sources", "_sources_since", "_stop_sources", "_unopened",
        "_waiting_sources", "_waiting_to_add", "cancelled", "counters", "depth", "graph_inputs", "in_flight", "inputs_ended",
        "is_over", "loop", "nearly_full", "nodes", "output_side_packets", "plan", "queue_limit", "services", "side_packets",
        "streams", "throttle", "tracer", "unprocessed",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan,
        side_packets: Mapping[str, Packet],
        observers: list[tuple[str, Observer]],
        executors: Mapping[str, Submit] | None = None,
        *,
        deferred: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        services: Mapping[str, Any] | None = None,
        tracer: Tracer | None = None,
        queue_limit: int | None = None,
    ) -> None:
        super().__init__(plan.executors, executors or {}, deferred=deferred)
        self.plan = plan
        self.queue_limit = plan.max_queue_size if queue_limit is None else queue_limit
        self.nearly_full = self.queue_limit - 1
        """So many packets in a queue, and one more may make it full."""
        self.depth = 0
        """How many nodes a bound is running through."""
        self.streams = [StreamState(stream.name, stream.check, self) for stream in plan.streams]
        last = len(plan.nodes) - 1
        self.nodes = [
            NodeState(self, node, last - node.id, self.pools[node.executor], self.streams) for node in plan.nodes
        ]
        self.by_key.extend(reversed(self.nodes))
        self.graph_inputs: dict[str, StreamState] = {}
        for _, _, name in plan.graph_inputs:
            self.graph_inputs[name] = stream = self.stream(name)
            stream.is_header_known = True
        for name, observer in observers:
            stream = self.stream(name)
            stream.observers = [*stream.observers, observer]
        self.side_packets = dict(side_packets)
        self.output_side_packets: dict[str, Packet] = {}
        self.is_over = False
        """Whether a caller has waited for the end: its errors are told once, as MediaPipe does."""
        self.cancelled = False
        self.unprocessed: tuple[str, ...] = ()
        """After a regular end: which packets nobody has processed, a line for each node."""
        self.throttle = _NO_THROTTLE
        """The full queues: another one as soon as there may be any."""
        self._unopened = list(self.nodes)
        self._sources: list[NodeState] = []
        self._waiting_sources: list[NodeState] = []
        self.inputs_ended = 0
        self._stop_sources = False
        self._close_requested = False
        self._sources_since: float | None = None
        self._waiting_to_add = 0
        self._on_cancel: dict[object, Callable[[], None]] = {}
        self._done_callbacks: list[Callable[[], None]] = []
        self.loop = loop
        self.services = services or {}
        self.tracer = tracer
        self.in_flight: dict[NodeState, int] = {}
        """Of nodes that have several calls at once: the timestamp of the first one that goes on."""
        self.counters: dict[str, int] = {}

    def stream(self, name: str) -> StreamState:
        """A stream of the graph."""
        return self.streams[self.plan.stream_ids[name]]

    def knows_side_packet(self, name: str) -> bool:
        """Whether a side packet that a node takes is there, or known to be left out: of those that no node makes all are."""
        return name in self.side_packets or name in self.plan.required_side_packets

    # ---- from any thread

    def start(self) -> None:
        """Open the nodes, on whatever thread drains first. What is in the inbox by then reaches their queues before that."""
        if not self._deferred:
            self._post(nothing_more, NO_PACKET)

    def has_room(self, stream: StreamState) -> bool:
        """Whether a graph input may take one more packet now. What lies in the inbox counts like what lies in a queue."""
        return stream.posted - stream.taken < self.queue_limit and not (
            self.throttle.full and self.throttle.is_throttled(stream.name)
        )

    def add(self, stream: StreamState, packet: Packet) -> None:
        """A packet for a graph input. One that is out of order fails the run by the time this returns."""
        stream.posted += 1
        self._post(stream.take, packet)
        timestamp = packet._timestamp
        if PRE_STREAM < timestamp < MAX and timestamp >= stream.posted_bound:
            stream.posted_bound = timestamp + 1
        else:
            self._look_at_order(stream, packet)

    def _look_at_order(self, stream: StreamState, packet: Packet) -> None:
        """A packet that may be out of order was posted: if it is, let the stream say so at once, as MediaPipe's streams do."""
        timestamp, bound = packet._timestamp, next_allowed(packet._timestamp)
        fits = bound >= stream.posted_bound if packet._value is NOTHING else timestamp >= stream.posted_bound
        if fits and (timestamp != POST_STREAM or stream.posted == 1):
            stream.posted_bound = bound
        else:
            self.settle()

    @contextmanager
    def waiting_to_add(self) -> Iterator[None]:
        """Inside, full queues that were let grow are not filled by sources before others have had a chance to add."""
        with self._changed:
            self._waiting_to_add += 1
        try:
            yield
        finally:
            with self._changed:
                self._waiting_to_add -= 1
            self._want_thread(self._default)  # for the sources, if nothing was added

    def close_input(self, name: str) -> None:
        """End one graph input."""
        stream = self.graph_inputs[name]
        if not stream.is_closed_by_caller:
            stream.is_closed_by_caller = True
            stream.posted_bound = DONE
            self._post(stream.take_end, NO_PACKET)

    def close_sources(self) -> None:
        """End all graph inputs and ask the sources to end."""
        for name in self.graph_inputs:
            self.close_input(name)
        if self.plan.has_sources:
            self._post(self._on_stop_sources, NO_PACKET)

    def post_failure(self, error: GraphError) -> None:
        """End the run with an error that was found outside of it."""
        self._post(lambda _: self.fail(error), ALWAYS)

    def cancel(self) -> None:
        """End the run soon: running calls are told by ``cc.cancelled`` and ``cc.on_cancel``, nothing new starts."""
        with self._lock:
            first, self.cancelled = not self.cancelled, True
            callbacks = list(self._on_cancel.values())
            self._on_cancel.clear()
        if not first or self.is_done:
            return
        # First of all, for a call that a callback ends may not be followed by another one.
        self.post_failure(GraphError("CalculatorGraph::Run() was cancelled", code=StatusCode.CANCELLED))
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                # Told beside the cancellation, and with its code: that is still why the run ended.
                self.post_failure(GraphError(f"on_cancel callback failed: {error!r}", code=StatusCode.CANCELLED))

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See CalculatorContext.on_cancel."""
        key = object()  # not the callback: one function may be left by several calls
        with self._lock:
            if not self.cancelled:
                self._on_cancel[key] = callback
                return partial(self._forget, key)
        callback()
        return lambda: None

    def count(self, name: str, by: int) -> None:
        """See CalculatorContext.count."""
        with self._lock:
            self.counters[name] = self.counters.get(name, 0) + by

    def open_inputs(self) -> list[str]:
        """The graph inputs that nobody has closed."""
        return [name for name, stream in self.graph_inputs.items() if not stream.is_closed_by_caller]

    def is_unopened(self, node: NodeState) -> bool:
        """Whether a node waits to be opened."""
        return node in self._unopened

    def running_call(self, node: NodeState) -> int | None:
        """The timestamp of the call of a node that is going on, the first of several; None where there is none."""
        timestamp = self.in_flight.get(node)
        if timestamp is None and (node in self.claims or node in self._stolen):
            timestamp = node.context._timestamp
        return timestamp

    def status(self) -> GraphError | None:
        """All errors so far as one, or None."""
        return combine("", self.errors) if self.errors else None

    # ---- for steps: the caller holds the token

    def fail(self, error: GraphError) -> None:
        """Record an error: the run ends. Nodes whose turn it was to be opened or called still are, once; then all are closed."""
        if not self.errors:
            is_over = self.cancelled or self._paused
            self._unopened = [node for node in self._unopened if not is_over and node.can_open()]
            self._due = (
                [] if is_over else [self.by_key[key] for pool in self.pools.values() for key in sorted(set(pool.heap))]
            )
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)
        self.is_halted = True

    def take_result(self, node: NodeState, result: object) -> bool:
        """What ``process`` returned instead of None: STOP ends the sources, all else fails the run. False when it did."""
        if result is STOP:
            self._stop_sources = True
            return True
        if not isinstance(result, Failed):
            self.fail(node.bad_result(result))
            return False
        self.fail(node.failure("process", result.error))
        if isinstance(result.error, KeyboardInterrupt):
            raise result.error  # for whoever waits on the main thread; the token is in order again here
        return False

    def may_be_full(self, queue: deque[Packet]) -> None:
        """A packet is about to be added to a queue that is nearly full."""
        if self.throttle is _NO_THROTTLE:
            self.throttle = Throttle(self.queue_limit, self.plan.ancestors, self.nodes)
        self.throttle.look_at(queue)

    def _slow_step(self, node: NodeState) -> Step:
        if node.plan.is_source:
            return node.step
        self.plan.slow_nodes.add(node.plan.id)
        node.is_scheduled = True
        return detached_step(node)

    def choose_step_again(self, node: NodeState) -> None:
        """Give a node the step that fits it now."""
        node.step = choose_step(node)

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Where coroutines of nodes run: the caller's loop, or the process-wide background one."""
        return self.loop if self.loop is not None else workers.background_loop()

    def call_when_done(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on some thread when the run has ended; at once if it has."""
        with self._lock:
            if not self.is_done:
                self._done_callbacks.append(callback)
                return
        callback()

    def set_side_packet(self, name: str, packet: Packet) -> None:
        """A node made a side packet."""
        text, code = None, StatusCode.INVALID_ARGUMENT
        if name in self.output_side_packets:
            text, code = f'Output side packet "{name}" was already set.', StatusCode.ALREADY_EXISTS
        elif packet.is_empty():
            text = f'Empty packet set on output side packet "{name}".'
        elif packet._timestamp != UNSET:
            text = f'Output side packet "{name}" has a timestamp {debug_string(packet._timestamp)}.'
        else:
            node, port = self.plan.produced_side_packets[name]
            mismatch = packet_mismatch(list(self.plan.nodes[node].contract.output_side_packets)[port], packet)
            if mismatch is not None:
                text = f'Packet type mismatch on calculator output side packet "{name}": {mismatch}'
        if text is not None:
            raise GraphError(text, code=code)
        self.output_side_packets[name] = self.side_packets[name] = packet

    def present_side_packets(self, node: NodePlan) -> TagMap:
        """The node's side packet ports without those that were left out; indexes move up."""
        return TagMap(
            [
                TagIndexName(tag, -1, name)
                for (tag, _), name in zip(node.input_side_packets, node.input_side_packets.names, strict=True)
                if name in self.side_packets
            ]
        )

    def node_closed(self, node: NodeState) -> None:
        """A node has closed: forget it as a source."""
        if node.plan.is_source:
            self._sources = [source for source in self._sources if source is not node]

    # ---- draining: the caller holds the token

    def _idle(self, pool: Pool) -> bool:
        """Nothing is ready in ``pool``: open nodes, run a source, or end. False when there is nothing to do for it now."""
        if self.errors:
            for each in self.pools.values():
                each.heap.clear()  # nothing else is called any more; what ends now may still have made nodes ready
            if (self._unopened and self._open_nodes()) or self._call_due(pool):
                return True
            if not self._detached and not self._due:
                self._finish(regular=False)
            return False
        quiet = not self._detached and not self._is_ready()
        if self._unopened and self._open_nodes():
            if len(self.pools) > 1:
                self._dispatch()
            return True
        if self._close_requested and self._sources_since is not None:
            self._stop_sources |= monotonic() - self._sources_since >= HEAD_START_S
        if self._stop_sources and quiet and (self._sources or self._waiting_sources):
            for node in [*self._sources, *self._waiting_sources]:
                node.close(regular=True)
            self._sources, self._waiting_sources = [], []
            self._dispatch()
            return True
        if quiet and not self._sources and self._waiting_sources:
            layer = min(node.plan.source_layer for node in self._waiting_sources)
            self._sources = [node for node in self._waiting_sources if node.plan.source_layer == layer]
            if self._sources_since is None:
                self._sources_since = monotonic()
            self._waiting_sources = [node for node in self._waiting_sources if node.plan.source_layer != layer]
        if self._sources and not self._stop_sources:
            mine = [
                node
                for node in self._sources
                if node.pool is pool and node not in self._stolen and not self.throttle.is_throttled(node.plan.id)
            ]
            if mine:
                chosen = min(mine, key=lambda node: (min(stream.bound for stream in node.out_streams), node.plan.id))
                chosen.step(chosen, self.claims)
                return True
        if not quiet:
            return False
        if self._sources:
            if any(not self.throttle.is_throttled(node.plan.id) for node in self._sources):
                self._dispatch_sources()
                return False
            return self._resolve_deadlock()
        if self.inputs_ended == len(self.graph_inputs):
            self._finish(regular=True)
        elif self.throttle.full and any(self.throttle.is_throttled(name) for name in self.graph_inputs):
            return self._resolve_deadlock()
        return False

    def _call_due(self, pool: Pool) -> bool:
        """After a failure: the next call of this pool that was due when it happened; whether there was one."""
        for node in self._due:
            if node.pool is pool:
                self._due.remove(node)
                node.step(node, self.claims)
                return True
            self._want_thread(node.pool)
        return False

    def _resolve_deadlock(self) -> bool:
        """Idle, yet throttled: let the full queues grow, or fail where the graph asks for that."""
        for stream, node, limit in self.throttle.grow():
            if self.plan.config.report_deadlock:
                self.fail(
                    GraphError(
                        f'Detected a deadlock due to input throttling for input stream: "{stream}" of a node "{node}". '
                        "All calculators are idle while packet sources remain active and throttled.  "
                        f'Consider adjusting "max_queue_size" or "report_deadlock"; the queue would need {limit} packets.',
                        code=StatusCode.UNAVAILABLE,
                    )
                )
                return True
        self.tell_watchers()
        return bool(self._sources) and not self._waiting_to_add

    def _open_nodes(self) -> bool:
        """Open, in order, every node whose headers and side packets are there; whether there was one."""
        opened = False
        for node in self._unopened[:]:
            if (self.errors and node not in self._unopened) or not node.can_open():
                continue
            opened = True
            self._unopened.remove(node)
            if not node.open() or self.errors:
                continue
            node.step = choose_step(node)
            if node.plan.is_source:
                self._waiting_sources.append(node)
            elif node.in_streams:
                node.is_scheduled = False
                if any(node.queues) or any(stream.bound != PRE_STREAM for stream in node.in_streams):
                    node.arrived()
        return opened

    def _finish(self, *, regular: bool) -> None:
        for stream in self.graph_inputs.values():
            # Whoever feeds the graph after its end is told that the stream is closed, if anybody listened to the end.
            stream.is_watched = bool(stream.sinks or stream.observers)
        has_packets = False
        for node in self.nodes:
            for queue in node.queues:
                has_packets |= bool(queue)
        if regular and (self._unopened or has_packets):
            self.unprocessed = tuple(never_processed(self))
            for line in self.unprocessed:
                _LOG.warning("%s", line)
        for node in self.nodes:
            if node.is_open:
                node.close(regular=regular)
        for pool in self.pools.values():
            pool.heap.clear()
        # Without its loops of references a run is freed at once; servers make thousands of them a second.
        for node in self.nodes:
            node.release()
        for stream in self.streams:
            stream.sinks.clear()
            stream.dropping = stream.observers = ()
            del stream.run
        self.by_key.clear()
        self.in_flight.clear()
        self.nodes = []
        self.throttle = _NO_THROTTLE
        self._end()

    def _end(self) -> None:
        with self._lock:
            self.is_done = True
            callbacks, self._done_callbacks = self._done_callbacks, []
        for callback in callbacks:
            callback()
        self.tell_watchers()

    def _on_stop_sources(self, _: Packet) -> None:
        self._close_requested = True

    # ---- threads

    def _dispatch_sources(self) -> None:
        for node in self._sources:
            self._want_thread(node.pool)

    def may_add(self, stream: StreamState, wait: bool) -> bool:
        """The graph is throttled: whether a packet may be added after all, at once or after a wait."""
        if threading.get_ident() in self._inside:
            return True  # a calculator or callback that feeds its own graph cannot wait for it

        def has_room() -> bool:
            return self.has_room(stream) or bool(self.errors) or self.is_done

        if self._default.submit is None or self._deferred:
            self.settle()  # nobody else moves packets from the inbox to where nodes take them
        if not wait:
            return has_room()
        with self._changed:
            self._watchers += 1
        try:
            with self.waiting_to_add():
                self._help_until(has_room)
        finally:
            with self._changed:
                self._watchers -= 1
        return True

    def _help_until(self, has_room: Callable[[], bool]) -> None:
        while not has_room():
            if self._default.submit is None or self._deferred:  # as in MediaPipe, a blocked add then runs the graph
                self._enter()
                self._drain_and_leave(self._default, until=has_room, step_by_step=True)
            elif not self._token.locked():
                self._want_thread(self._default)
            with self._changed:
                # Queues get shorter without a word to anybody, so that this looks again by itself.
                self._changed.wait_for(has_room, STALL_S)

    def _forget(self, key: object) -> None:
        with self._lock:
            self._on_cancel.pop(key, None)


_NO_THROTTLE: Final = Throttle(0, (), [])
