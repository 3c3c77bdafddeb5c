"""One run of a Plan: what happens next, on which thread.

At any time at most one thread *drains* a run: it holds ``_token``, takes events from ``_inbox`` and calls the steps of ready nodes,
highest priority first. Whoever waits for the run drains it; a graph that nobody waits for is drained by a worker thread.
Adding a packet appends to the inbox and never runs user code nor waits for a thread that does.

Source of the order (open, then downstream nodes before upstream ones, then sources by layer) and of the end of a run: MediaPipe
``framework/scheduler.cc`` and ``scheduler_queue.cc``.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from graph_runtime._engine import workers
from graph_runtime._engine.node import NodeState, Step, not_open_yet
from graph_runtime._engine.stream import Observer, StreamState
from graph_runtime.calculator import STOP
from graph_runtime.errors import GraphError, StatusCode, code_of, combine
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.port_types import packet_mismatch, type_check
from graph_runtime.tags import TagIndexName, TagMap
from graph_runtime.timestamp import UNSET, debug_string

if TYPE_CHECKING:
    from graph_runtime.plan import NodePlan, Plan

MAX_ERRORS: Final = 1000
"""Errors kept of one run; more are counted only."""

Event = tuple[Callable[[Packet], None], Packet]


class Run:
    """The state of one run. ``start`` begins it; it ends when all inputs are closed and drained, or with an error."""

    def __init__(self, plan: Plan, side_packets: Mapping[str, Packet], observers: list[tuple[str, Observer]]) -> None:
        self.plan = plan
        self.ready: list[int] = []
        self.streams = [StreamState(stream.name, self.ready) for stream in plan.streams]
        last = len(plan.nodes) - 1
        self.nodes = [NodeState(self, node, last - node.id, self.streams) for node in plan.nodes]
        self.steps: list[Step] = [not_open_yet] * len(self.nodes)
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
        self.sources: list[tuple[NodeState, Step]] = []
        self.waiting_sources: list[tuple[NodeState, Step]] = []
        self.unopened = list(self.nodes)
        self.closed_inputs: set[str] = set()
        self.errors: list[GraphError] = []
        self.is_over = False
        """Whether a caller has waited for the end: its errors are told once, as MediaPipe does."""
        self.cancelled = False
        self.done = threading.Event()
        self._stop_sources = False
        self._inputs_ended = 0
        self._inbox: deque[Event] = deque()
        self._token = threading.Lock()
        self._drainer: int | None = None
        self._worker_is_coming = False
        self._on_cancel: dict[int, Callable[[], None]] = {}
        self._cancel_lock = threading.Lock()

    # ---- from any thread

    def start(self) -> None:
        """Open the nodes, on whatever thread drains first."""
        self._post(self._on_start, _NO_PACKET)

    def add(self, name: str, packet: Packet) -> None:
        """A packet for a graph input; its order is checked when it is taken from the inbox."""
        stream = self.graph_inputs[name]
        if name not in self.closed_inputs:
            self._post(stream.send, packet)

    def close_input(self, name: str) -> None:
        """End one graph input."""
        if name not in self.closed_inputs:
            self.closed_inputs.add(name)
            self._post(partial(self._on_close_input, self.graph_inputs[name]), _NO_PACKET)

    def close_sources(self) -> None:
        """End all graph inputs and ask the sources to end."""
        for name in self.graph_inputs:
            self.close_input(name)
        self._post(self._on_stop_sources, _NO_PACKET)

    def post_failure(self, error: GraphError) -> None:
        """End the run with an error that was found outside of it."""
        self._post(self._failing(error), _NO_PACKET)

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
        with self._cancel_lock:
            if not self.cancelled:
                key = id(callback)
                self._on_cancel[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def status(self) -> GraphError | None:
        """All errors so far as one, or None."""
        return combine("", self.errors) if self.errors else None

    def wait_until_idle(self) -> None:
        """Drain until nothing is left to do for now."""
        self._refuse_inside("wait_until_idle")
        while True:
            with self._token:
                self._drain()
            if not self._inbox:
                return

    def wait_until_done(self, timeout_s: float | None = None) -> bool:
        """Drain, then wait for the end; False when ``timeout_s`` seconds passed first."""
        self._refuse_inside("wait_until_done")
        if self._token.acquire(timeout=-1 if timeout_s is None else timeout_s):
            try:
                self._drain()
            finally:
                self._token.release()
            self._look_again()
        return self.done.wait(timeout_s)

    # ---- the draining thread

    def fail(self, error: GraphError) -> None:
        """Record an error: the run ends without calling any node again but to close it."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(error)
        self.ready.clear()

    def handle_result(self, node: NodeState, result: object) -> bool:
        """What a non-source's ``process`` returned: STOP ends the sources; anything else fails the run. False when it did."""
        if result is STOP:
            self._stop_sources = True
            return True
        self.fail(node.bad_result(result))
        return False

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
        self.sources = [source for source in self.sources if source[0] is not node]

    def _drain(self) -> None:
        """Work until there is nothing to do. The caller holds the token."""
        self._drainer = threading.get_ident()
        ready, steps, inbox = self.ready, self.steps, self._inbox
        try:
            while not self.done.is_set():
                while ready:
                    if inbox:
                        self._take_inbox()
                    if ready:
                        steps[heappop(ready)]()
                if inbox:
                    self._take_inbox()
                elif not self._idle():
                    break
        except (
            BaseException
        ) as error:  # KeyboardInterrupt in a calculator, or a fault of the engine: nobody may wait for ever
            self.errors.append(GraphError(f"The run was interrupted: {error!r}", code=StatusCode.CANCELLED))
            self.done.set()
            raise
        finally:
            self._drainer = None

    def _take_inbox(self) -> None:
        inbox = self._inbox
        while inbox:
            act, packet = inbox.popleft()
            if self.errors:
                continue
            try:
                act(packet)
            except GraphError as error:
                self.fail(error)
            except Exception as error:  # a callback of the user's on an observed graph input
                self.fail(_callback_failure(error))

    def _idle(self) -> bool:
        """Nothing is ready: open what can be opened, run a source, or end. False when only new input can help."""
        if self.errors:
            self._finish(regular=False)
            return False
        if self.unopened and self._open_nodes():
            return True
        if self._stop_sources:
            for node, _ in [*self.sources, *self.waiting_sources]:
                node.close(regular=True)
            self.sources, self.waiting_sources = [], []
            if self.ready or self.errors:
                return True
        if not self.sources and self.waiting_sources:
            layer = min(node.plan.source_layer for node, _ in self.waiting_sources)
            self.sources = [each for each in self.waiting_sources if each[0].plan.source_layer == layer]
            self.waiting_sources = [each for each in self.waiting_sources if each[0].plan.source_layer != layer]
        if self.sources:
            _, step = min(self.sources, key=lambda each: (min(s.bound for s in each[0].out_streams), each[0].plan.id))
            step()
            return True
        if self._inputs_ended == len(self.graph_inputs):
            self._finish(regular=True)
        return False

    def _open_nodes(self) -> bool:
        """Open, in order, every node whose headers and side packets are there; whether there was one."""
        opened = False
        for node in self.unopened[:]:
            if self.errors:
                break
            if not node.can_open():
                continue
            opened = True
            self.unopened.remove(node)
            step = node.open()
            if step is None:
                continue
            if node.plan.is_source:
                self.waiting_sources.append((node, step))
            elif step is not not_open_yet:
                self.steps[node.key] = step
                heappush(self.ready, node.key)
        return opened

    def _finish(self, *, regular: bool) -> None:
        for node in self.nodes:
            node.close(regular=regular)
        self.ready.clear()
        self.done.set()

    def _on_start(self, _: Packet) -> None:
        self._open_nodes()

    def _on_close_input(self, stream: StreamState, _: Packet) -> None:
        self._inputs_ended += 1
        stream.close()

    def _on_stop_sources(self, _: Packet) -> None:
        self._stop_sources = True

    # ---- threads

    def _post(self, act: Callable[[Packet], None], packet: Packet) -> None:
        self._inbox.append((act, packet))
        if not self._token.locked() and not self._worker_is_coming:
            self._worker_is_coming = True
            workers.submit(self._work)

    def _work(self) -> None:
        self._worker_is_coming = False
        with contextlib.suppress(BaseException):  # recorded by _drain as the run's error; nobody above could handle it
            self._look_again()

    def _look_again(self) -> None:
        """Drain what came while the last drainer was leaving; without this an event could lie in the inbox for ever."""
        while self._inbox and not self.done.is_set() and self._token.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._token.release()

    def _refuse_inside(self, what: str) -> None:
        if self._drainer == threading.get_ident():
            raise GraphError(
                f"{what}() was called by a calculator or callback of the same graph: it would wait for itself",
                code=StatusCode.FAILED_PRECONDITION,
            )

    def _failing(self, error: GraphError) -> Callable[[Packet], None]:
        def fail(_: Packet) -> None:
            self.fail(error)

        return fail

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
