"""One run of a Plan: what happens next, on which thread.

Everything about a run is changed by the thread that holds its *token*. Such a thread *drains* the run: it takes events from the
inbox and calls the steps of ready nodes, highest priority first. Whoever waits for the run drains it; what nobody waits for is
drained by worker threads. Adding a packet appends to the inbox and never runs user code nor waits for a thread that does.

A *pool* is an executor of the graph: a heap of ready nodes and a number of threads. The default pool is drained by one thread at a
time; calls that turn out to be slow are *detached*, so that another thread goes on meanwhile (see ``steps.py``).

Source of the order (open, then downstream nodes before upstream ones, then sources by layer) and of the end of a run: MediaPipe
``framework/scheduler.cc`` and ``scheduler_queue.cc``.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from graph_runtime._engine import workers
from graph_runtime._engine.calls import Failed
from graph_runtime._engine.detached_steps import detached_step
from graph_runtime._engine.node import NodeState, Step, do_nothing
from graph_runtime._engine.steps import compile_step
from graph_runtime._engine.stream import Observer, StreamState
from graph_runtime._engine.throttle import Throttle
from graph_runtime.calculator import STOP
from graph_runtime.errors import GraphError, StatusCode, code_of, combine
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.port_types import packet_mismatch, type_check
from graph_runtime.tags import TagIndexName, TagMap
from graph_runtime.timestamp import UNSET, debug_string

if TYPE_CHECKING:
    import asyncio

    from graph_runtime.plan import NodePlan, Plan
    from graph_runtime.trace import Tracer

MAX_ERRORS: Final = 1000
"""Errors kept of one run; more are dropped."""

STALL_S: Final = 0.0004
"""A thread that waits for the token looks so often which call holds it, and takes it from a call that it sees twice."""

MAX_DETACHED: Final = 64
"""Slow calls of the default pool that run at once, each on a thread of its own."""

Event = tuple[Callable[[Packet], None], Packet]
Submit = Callable[[Callable[[], None]], object]


class Pool:
    """An executor of one run: its ready nodes, and how it gets threads."""

    __slots__ = ("active", "heap", "is_coming", "is_inline", "max_threads", "submit")

    def __init__(self, max_threads: int, *, is_inline: bool, submit: Submit | None) -> None:
        self.heap: list[int] = []
        self.max_threads = max_threads
        self.is_inline = is_inline
        self.submit = submit
        self.active = 0
        """Worker threads that drain the pool or are inside a detached call of it."""
        self.is_coming = False
        """Whether a thread was asked for and has not arrived yet; it asks for the next one where there is more to do."""


class Run:
    """The state of one run. ``start`` begins it; it ends when all inputs are closed and drained, or with an error."""

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
    ) -> None:
        self.plan = plan
        self._deferred = deferred
        self.pools = {
            name: Pool(
                executor.max_threads,
                is_inline=executor.is_inline,
                submit=(executors or {}).get(name, workers.submit if executor.has_threads else None),
            )
            for name, executor in plan.executors.items()
        }
        self._default = self.pools[""]
        self.queue_limit = plan.max_queue_size
        self.claims: dict[int, None] = {}
        """The key of the inline call that is running, if one is. Taking it away is taking the token."""
        self.streams = [StreamState(stream.name, self) for stream in plan.streams]
        last = len(plan.nodes) - 1
        self.nodes = [
            NodeState(self, node, last - node.id, self.pools[node.executor], self.streams) for node in plan.nodes
        ]
        self.steps: list[Step] = [do_nothing] * len(self.nodes)
        self.by_name = {name: self.streams[stream] for name, stream in plan.stream_ids.items()}
        self.graph_inputs = {name: self.by_name[name] for _, _, name in plan.graph_inputs}
        for name, stream in self.graph_inputs.items():
            stream.check = type_check(
                plan.streams[plan.stream_ids[name]].port,
                f'Packet type mismatch on calculator outputting to stream "{name}"',
            )
        for name, observer in observers:
            self.by_name[name].observers.append(observer)
        self.side_packets = dict(side_packets)
        self.absent_side_packets = {name for name in plan.required_side_packets if name not in side_packets}
        self.output_side_packets: dict[str, Packet] = {}
        self.headers_known = set(self.graph_inputs)
        self.errors: list[GraphError] = []
        self.is_over = False
        """Whether a caller has waited for the end: its errors are told once, as MediaPipe does."""
        self.cancelled = False
        self.done = threading.Event()
        self.throttle = Throttle(plan.max_queue_size, plan.ancestors, self.nodes)
        self._unopened = list(self.nodes)
        self._sources: list[NodeState] = []
        self._waiting_sources: list[NodeState] = []
        self._closed_inputs: set[str] = set()
        self._inputs_ended = 0
        self._stop_sources = False
        self._paused = False
        self._inbox: deque[Event] = deque()
        self._token = threading.Lock()
        self._inside: set[int] = set()
        self._detached = 0
        self._stolen: dict[int, Step] = {}
        self._changed = threading.Condition()
        self._watchers = 0
        self._on_cancel: dict[int, Callable[[], None]] = {}
        self._cancel_lock = threading.Lock()
        self._done_callbacks: list[Callable[[], None]] = []
        self.loop = loop
        self.services = services or {}
        self.tracer = tracer
        self.counters: Counter[str] = Counter()
        self._counter_lock = threading.Lock()

    # ---- from any thread

    def start(self) -> None:
        """Open the nodes, on whatever thread drains first."""
        self._post(self._on_start, _NO_PACKET)

    def add(self, name: str, packet: Packet, *, wait: bool) -> None:
        """A packet for a graph input; its order is checked when it is taken from the inbox.

        Raises:
            GraphRuntimeError: the graph is throttled and ``wait`` is off (UNAVAILABLE).
        """
        if name in self._closed_inputs:
            return
        stream = self.graph_inputs[name]
        if not self._has_room(stream) and not self._may_add(stream, wait):
            raise GraphError("Graph is throttled.", code=StatusCode.UNAVAILABLE)
        stream.posted += 1
        self._post(stream.take, packet)

    def wait_for_room(self, name: str) -> None:
        """Return when a graph input can take a packet, or the run has failed or ended."""
        if not self._has_room(self.graph_inputs[name]):
            self._may_add(self.graph_inputs[name], wait=True)

    def close_input(self, name: str) -> None:
        """End one graph input."""
        if name not in self._closed_inputs:
            self._closed_inputs.add(name)
            self._post(partial(self._on_close_input, self.graph_inputs[name]), _NO_PACKET)

    def close_sources(self) -> None:
        """End all graph inputs and ask the sources to end."""
        for name in self.graph_inputs:
            self.close_input(name)
        self._post(self._on_stop_sources, _NO_PACKET)

    def post_failure(self, error: GraphError) -> None:
        """End the run with an error that was found outside of it."""
        self._post(lambda _: self.fail(error), _NO_PACKET)

    def cancel(self) -> None:
        """End the run soon: running calls are told by ``cc.cancelled`` and ``cc.on_cancel``, nothing new starts."""
        with self._cancel_lock:
            first, self.cancelled = not self.cancelled, True
            callbacks = list(self._on_cancel.values())
            self._on_cancel.clear()
        if not first or self.done.is_set():
            return
        for callback in callbacks:
            try:
                callback()
            except Exception as error:
                self.post_failure(GraphError(f"on_cancel callback failed: {error}", code=code_of(error)))
        self.post_failure(GraphError("CalculatorGraph::Run() was cancelled", code=StatusCode.CANCELLED))

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """See CalculatorContext.on_cancel."""
        key = id(callback)
        with self._cancel_lock:
            if not self.cancelled:
                self._on_cancel[key] = callback
                return partial(self._forget, key)
        callback()
        return lambda: None

    def count(self, name: str, by: int) -> None:
        """See CalculatorContext.count."""
        with self._counter_lock:
            self.counters[name] += by

    @property
    def is_paused(self) -> bool:
        """Whether ``pause`` is in force."""
        return self._paused

    def open_inputs(self) -> list[str]:
        """The graph inputs that nobody has closed."""
        return [name for name in self.graph_inputs if name not in self._closed_inputs]

    def is_unopened(self, node: NodeState) -> bool:
        """Whether a node waits to be opened."""
        return node in self._unopened

    def is_running(self, node: NodeState) -> bool:
        """Whether a call of a node is going on."""
        return node.key in self.claims or node.key in self._stolen

    def status(self) -> GraphError | None:
        """All errors so far as one, or None."""
        return combine("", self.errors) if self.errors else None

    def wait_until_idle(self, timeout_s: float | None = None) -> bool:
        """Help until nothing is left to do for now; False when ``timeout_s`` seconds passed first."""
        self._refuse_inside("wait_until_idle")
        return self._wait(self._is_quiet, timeout_s, for_idle=True)

    def wait_until_done(self, timeout_s: float | None = None) -> bool:
        """Help until the run has ended; False when ``timeout_s`` seconds passed first."""
        self._refuse_inside("wait_until_done")
        return self._wait(self.done.is_set, timeout_s, for_idle=False)

    def wait_for(self, is_over: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Help until ``is_over()`` or the end of the run; False when ``timeout_s`` seconds passed first.

        Who makes it true while another thread waits has to call ``tell_watchers``.
        """
        self._refuse_inside("waiting for output")
        return self._wait(lambda: is_over() or self.done.is_set(), timeout_s, for_idle=False)

    def pause(self) -> None:
        """Start no further calls until ``resume``."""
        self._post(partial(self._on_pause, True), _NO_PACKET)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._post(partial(self._on_pause, False), _NO_PACKET)

    # ---- for steps: the caller holds the token

    def fail(self, error: GraphError) -> None:
        """Record an error: the run ends without calling any node again but to close it."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)
        for pool in self.pools.values():
            pool.heap.clear()

    def take_result(self, node: NodeState, result: object) -> bool:
        """What ``process`` returned instead of None: STOP ends the sources, all else fails the run. False when it did."""
        if result is STOP:
            self._stop_sources = True
            return True
        if not isinstance(result, Failed):
            self.fail(node.bad_result(result))
        elif isinstance(result.error, Exception):
            self.fail(node.failure("process", result.error))
        else:
            raise result.error  # KeyboardInterrupt, SystemExit: for whoever called us, when the token is in order again
        return False

    def may_be_full(self, queue: deque[Packet]) -> None:
        """A packet is about to be added to a queue that is nearly full."""
        self.throttle.look_at(queue)

    def detach(self, key: int | None) -> None:
        """Give up the token for the time of a call; the node's step does nothing meanwhile. A key of None leaves it callable."""
        if key is not None:
            self._stolen[key] = self.steps[key]
            self.steps[key] = do_nothing
        self._detached += 1
        self._dispatch()
        self._token.release()

    def rejoin(self, key: int | None) -> None:
        """Take the token again after a detached call, or after an inline one that was stolen from this thread."""
        self._enter()
        self._detached -= 1
        if key is not None:
            step = self._stolen.pop(key)
            if self.steps[key] is do_nothing and self.nodes[len(self.nodes) - 1 - key].is_open:
                self.steps[key] = step

    def recompile(self, node: NodeState) -> None:
        """Give a node the step that fits it now."""
        self.steps[node.key] = compile_step(node)

    def begin_async(self) -> None:
        """A coroutine of a node begins; ``end_async`` has to follow."""
        self._detached += 1

    def end_async(self, act: Callable[[], None]) -> None:
        """A coroutine has ended, on whatever thread: call ``act()`` with the token held."""

        def ended(_: Packet) -> None:
            self._detached -= 1
            act()

        self._post(ended, _ALWAYS, force=True)

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """Where coroutines of nodes run: the caller's loop, or the process-wide background one."""
        return self.loop if self.loop is not None else workers.background_loop()

    def call_when_done(self, callback: Callable[[], None]) -> None:
        """Call ``callback()`` on some thread when the run has ended; at once if it has."""
        with self._cancel_lock:
            if not self.done.is_set():
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

    def _drain(self, pool: Pool, until: Callable[[], bool] | None = None) -> None:
        """Work until there is nothing that this pool may do now, or ``until()`` says that it is enough."""
        thread = threading.get_ident()
        self._inside.add(thread)
        heap, steps, inbox = pool.heap, self.steps, self._inbox
        try:
            while not self.done.is_set():
                while heap and not self._paused:
                    if inbox:
                        self._take_inbox()
                    elif heap:
                        steps[heappop(heap)]()
                if inbox:
                    self._take_inbox()
                elif self._paused or (until is not None and until()) or not self._idle(pool):
                    break
        except BaseException as error:
            # KeyboardInterrupt in a calculator, or a fault of the engine: nobody may wait for ever.
            self.errors.append(GraphError(f"The run was interrupted: {error!r}", code=StatusCode.CANCELLED))
            self.claims.clear()
            self._end()
            raise
        finally:
            self._inside.discard(thread)

    def _take_inbox(self) -> None:
        inbox = self._inbox
        while inbox:
            act, packet = inbox.popleft()
            if self.errors and packet is not _ALWAYS:
                continue
            try:
                act(packet)
            except GraphError as error:
                self.fail(error)
            except Exception as error:  # a callback of the user's on an observed graph input
                self.fail(_callback_failure(error))
        self.tell_watchers()

    def _idle(self, pool: Pool) -> bool:
        """Nothing is ready in ``pool``: open nodes, run a source, or end. False when there is nothing to do for it now."""
        quiet = not self._detached and not any(each.heap for each in self.pools.values())
        if self.errors:
            if quiet:
                self._finish(regular=False)
            return False
        if self._unopened and self._open_nodes():
            self._dispatch()
            return True
        if self._stop_sources and quiet and (self._sources or self._waiting_sources):
            for node in [*self._sources, *self._waiting_sources]:
                node.close(regular=True)
            self._sources, self._waiting_sources = [], []
            self._dispatch()
            return True
        if quiet and not self._sources and self._waiting_sources:
            layer = min(node.plan.source_layer for node in self._waiting_sources)
            self._sources = [node for node in self._waiting_sources if node.plan.source_layer == layer]
            self._waiting_sources = [node for node in self._waiting_sources if node.plan.source_layer != layer]
        if self._sources and not self._stop_sources:
            mine = [
                node
                for node in self._sources
                if node.pool is pool and node.key not in self._stolen and not self.throttle.is_throttled(node.plan.id)
            ]
            if mine:
                chosen = min(mine, key=lambda node: (min(stream.bound for stream in node.out_streams), node.plan.id))
                self.steps[chosen.key]()
                return True
        if not quiet:
            return False
        if self._sources:
            if any(not self.throttle.is_throttled(node.plan.id) for node in self._sources):
                self._dispatch_sources()
                return False
            return self._resolve_deadlock()
        if self._inputs_ended == len(self.graph_inputs):
            self._finish(regular=True)
        elif any(self.throttle.is_throttled(name) for name in self.graph_inputs):
            return self._resolve_deadlock()
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
        return bool(self._sources)

    def _open_nodes(self) -> bool:
        """Open, in order, every node whose headers and side packets are there; whether there was one."""
        opened = False
        for node in self._unopened[:]:
            if self.errors:
                break
            if not node.can_open():
                continue
            opened = True
            self._unopened.remove(node)
            if not node.open():
                continue
            self.steps[node.key] = compile_step(node)
            if node.plan.is_source:
                self._waiting_sources.append(node)
            else:
                heappush(node.pool.heap, node.key)
        return opened

    def _finish(self, *, regular: bool) -> None:
        for node in self.nodes:
            node.close(regular=regular)
        for pool in self.pools.values():
            pool.heap.clear()
        # Without its loops of references a run is freed at once; servers make thousands of them a second.
        for node in self.nodes:
            node.release()
        for stream in self.streams:
            stream.sinks.clear()
            stream.observers.clear()
        self.steps.clear()
        self.nodes = []
        self.throttle = _NO_THROTTLE
        self._end()

    def _end(self) -> None:
        with self._cancel_lock:
            self.done.set()
            callbacks, self._done_callbacks = self._done_callbacks, []
        for callback in callbacks:
            callback()
        self.tell_watchers()

    def _on_start(self, _: Packet) -> None:
        self._open_nodes()
        self._dispatch()

    def _on_close_input(self, stream: StreamState, _: Packet) -> None:
        self._inputs_ended += 1
        stream.close()

    def _on_pause(self, paused: bool, _: Packet) -> None:
        self._paused = paused

    def _on_stop_sources(self, _: Packet) -> None:
        self._stop_sources = True

    # ---- threads

    def _post(self, act: Callable[[Packet], None], packet: Packet, *, force: bool = False) -> None:
        self._inbox.append((act, packet))
        if self._watchers and (self._deferred or self._default.submit is None):
            self.tell_watchers()
        if not self._token.locked() and (force or not self._deferred):
            self._want_thread(self._default)

    def _want_thread(self, pool: Pool) -> None:
        if pool.submit is not None and not pool.is_coming and pool.active < pool.max_threads:
            pool.is_coming = True
            pool.submit(partial(self._work, pool))

    def _dispatch(self) -> None:
        """Get threads for pools that have ready nodes, or for the inbox; the caller goes on with something else."""
        for pool in self.pools.values():
            if pool.heap or (self._inbox and pool is self._default):
                self._want_thread(pool)

    def _dispatch_sources(self) -> None:
        for node in self._sources:
            self._want_thread(node.pool)

    def _work(self, pool: Pool) -> None:
        """A worker's turn."""
        with contextlib.suppress(BaseException):  # recorded by _drain as the run's error; nobody above could handle it
            self._enter()
            pool.is_coming = False
            pool.active += 1
            if pool.active > pool.max_threads:
                pool.active -= 1
                self._token.release()
            else:
                if pool.heap:
                    self._want_thread(
                        pool
                    )  # runs other nodes of the pool, or takes over if this one gets stuck in a call
                self._drain_and_leave(pool, is_worker=True)

    def _drain_and_leave(self, pool: Pool, *, is_worker: bool = False, until: Callable[[], bool] | None = None) -> bool:
        """Drain with the token in hand, then give it up; whether the run was quiet at that moment."""
        is_quiet = True
        try:
            self._drain(pool, until)
            is_quiet = self.done.is_set() or not (
                self._inbox or self._detached or any(each.heap for each in self.pools.values())
            )
            if not is_quiet and not self._paused:
                self._dispatch()
        finally:
            if is_worker:
                pool.active -= 1
            self._token.release()
            if self._watchers:
                self.tell_watchers()
        # What came while this thread was leaving saw the token taken and asked nobody.
        if self._inbox and not self.done.is_set() and not self._token.locked() and not self._deferred:
            self._want_thread(self._default)
        return is_quiet

    def _enter(self) -> None:
        """Take the token; from an inline call that does not end, if need be."""
        seen: tuple[int, int] | None = None
        while not self._token.acquire(timeout=STALL_S):
            running = self._running_call()
            if running is not None and running == seen and self._steal():
                return
            seen = running

    def _running_call(self) -> tuple[int, int] | None:
        """The key and the input timestamp of the inline call that is running: enough to tell calls apart."""
        try:
            key = next(iter(self.claims))
        except (StopIteration, RuntimeError):
            return None  # between two calls
        context = self.nodes[len(self.nodes) - 1 - key].context
        return None if context is None else (key, context._timestamp)

    def _steal(self) -> bool:
        """Become the owner of the token that an inline call holds. That call finds out when it returns, and rejoins."""
        if self._default.max_threads == 1 or self._detached >= MAX_DETACHED:
            return False
        try:
            key, _ = self.claims.popitem()
        except KeyError:
            return False  # it has just ended
        node = self.nodes[len(self.nodes) - 1 - key]
        if node.plan.is_source:
            self._stolen[key] = self.steps[key]
        else:
            self.plan.slow_nodes.add(node.plan.id)
            self._stolen[key] = detached_step(node)
        self.steps[key] = do_nothing
        self._detached += 1
        self._want_thread(self._default)  # the next one who takes over, if need be
        return True

    def _wait(self, is_over: Callable[[], bool], timeout_s: float | None, *, for_idle: bool) -> bool:
        """Drain the default pool as far as that is allowed to this thread, then watch, until ``is_over()``."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while True:
            if self._default.is_inline:
                if deadline is None:
                    self._enter()
                elif not self._token.acquire(timeout=max(0.0, deadline - monotonic())):
                    return is_over()
                is_quiet = self._drain_and_leave(self._default, until=None if for_idle else is_over)
                if is_quiet and (for_idle or self.done.is_set()):
                    return True
            if is_over():
                return True
            with self._changed:
                self._watchers += 1
                try:
                    left = None if deadline is None else max(0.0, deadline - monotonic())
                    if not self._changed.wait_for(lambda: is_over() or self._needs_help(), left):
                        return False
                finally:
                    self._watchers -= 1

    def _needs_help(self) -> bool:
        """Whether a waiting thread could drain something that no other thread will."""
        return (
            (self._default.submit is None or self._deferred)
            and (bool(self._inbox) or bool(self._default.heap))
            and not self._token.locked()
        )

    def _is_quiet(self) -> bool:
        return self.done.is_set() or not (
            self._inbox
            or self._detached
            or self._token.locked()
            or any(pool.heap or pool.is_coming for pool in self.pools.values())
        )

    def _has_room(self, stream: StreamState) -> bool:
        """Whether a graph input may take one more packet now. What lies in the inbox counts like what lies in a queue."""
        return stream.posted - stream.taken < self.queue_limit and not self.throttle.is_throttled(stream.name)

    def _may_add(self, stream: StreamState, wait: bool) -> bool:
        """The graph is throttled: whether a packet may be added after all, at once or after a wait."""
        if threading.get_ident() in self._inside:
            return True  # a calculator or callback that feeds its own graph cannot wait for it

        def has_room() -> bool:
            return self._has_room(stream) or bool(self.errors) or self.done.is_set()

        if not wait:
            return has_room()
        with self._changed:
            self._watchers += 1
        try:
            while not has_room():
                if self._default.submit is None or self._deferred:  # as in MediaPipe, a blocked add then runs the graph
                    self._enter()
                    self._drain_and_leave(self._default)
                    continue
                if not self._token.locked():
                    self._want_thread(self._default)
                with self._changed:
                    # Queues get shorter without a word to anybody, so that this looks again by itself.
                    self._changed.wait_for(has_room, STALL_S)
        finally:
            self._watchers -= 1
        return True

    def tell_watchers(self) -> None:
        """Make waiting threads look again at what they wait for."""
        if self._watchers:
            with self._changed:
                self._changed.notify_all()

    def _refuse_inside(self, what: str) -> None:
        if threading.get_ident() in self._inside:
            raise GraphError(
                f"{what}() was called by a calculator or callback of the same graph: it would wait for itself",
                code=StatusCode.FAILED_PRECONDITION,
            )

    def _forget(self, key: int) -> None:
        with self._cancel_lock:
            self._on_cancel.pop(key, None)


def _callback_failure(error: Exception) -> GraphError:
    wrapped = GraphError(
        f"A callback on an observed stream failed: {type(error).__name__}: {error}", code=code_of(error)
    )
    wrapped.__cause__ = error
    return wrapped


_NO_PACKET: Final = Packet(NOTHING)
_ALWAYS: Final = Packet(NOTHING)
"""Marks an event that counts after a failure too."""

_NO_THROTTLE: Final = Throttle(0, (), [])
