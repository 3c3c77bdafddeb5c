"""Who works on a run, and when: the token, the inbox, the pools of threads, and the waits.

Everything about a run is changed by the thread that holds its *token*. Such a thread *drains* the run: it takes events from the
inbox and calls the steps of ready nodes, highest priority first. Whoever waits for the run drains it; what nobody waits for is
drained by worker threads. Adding a packet appends to the inbox and never runs user code nor waits for a thread that does.

A *pool* is an executor of the graph: a heap of ready nodes and a number of threads. The default pool is drained by one thread at a
time; calls that turn out to be slow are *detached*, so that another thread goes on meanwhile (see ``steps.py``).
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from heapq import heappop
from time import monotonic
from typing import Final

from graph_runtime._engine import workers
from graph_runtime._engine.node import Claims, NodeState, Step, do_nothing
from graph_runtime._engine.pools import Pool, Submit, make_pools, refused_work
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.executors import ExecutorPlan
from graph_runtime.packet import NOTHING, Packet

STALL_S: Final = 0.0004
"""A thread that waits for the token looks so often which call holds it, and takes it from a call that it sees twice."""

MAX_DETACHED: Final = 64
"""Slow calls of the default pool that run at once, each on a thread of its own."""

Event = tuple[Callable[[Packet], None], Packet]

NO_PACKET: Final = Packet(NOTHING)
"""The packet of an event that carries none."""

ALWAYS: Final = Packet(NOTHING)
"""Marks an event that counts after a failure too."""


class Scheduler(ABC):
    """The threads of one run. A run says what there is to do (``_idle``) and how a slow node goes on (``_slow_step``).

    Attributes:
        by_key: the nodes; the lower the key, the higher the priority.
        inbox: what has come from outside; only a thread that drains takes from it.
        claims: the node whose inline call is running, if one is. Taking it away is taking the token. It is the list of the
            thread that drains: one that has lost the token must not take back what its successor announced.
        is_done: whether the run has ended.
        errors: what has failed.
    """

    # A server makes a run for each request. With slots that takes half the time; what few runs need is made when it is asked for.
    __slots__ = (
        "__weakref__", "_condition", "_default", "_deferred", "_detached", "_due", "_inside", "_lacks_thread", "_lock", "_paused",
        "_stolen", "_token", "_watchers", "by_key", "claims", "errors", "inbox", "is_done", "is_halted", "pools",
    )  # fmt: skip

    def __init__(self, executors: Mapping[str, ExecutorPlan], submits: Mapping[str, Submit], *, deferred: bool) -> None:
        self.pools = make_pools(executors, submits)
        self.by_key: list[NodeState] = []
        self.claims: Claims = []
        self.is_done = False
        self.errors: list[GraphError] = []
        self._due: list[NodeState] = []
        """After a failure: nodes that still get the call that was due when it happened."""
        self._default = self.pools[""]
        # Only a thread that drains can be waited for: real pools get their threads at once.
        self._deferred = deferred and self._default.is_inline
        self._paused = False
        self.is_halted = False
        """Whether no node may be called: paused or failed."""
        self._lacks_thread = False
        """Whether there is something to do in a default pool without threads: for one that waits."""
        self.inbox: deque[Event] = deque()
        self._token = threading.Lock()
        self._inside: set[int] = set()
        self._detached = 0
        self._stolen: dict[NodeState, Step] = {}
        self._watchers = 0
        self._lock = threading.Lock()
        """For what any thread may touch at any time."""
        self._condition: threading.Condition | None = None

    @property
    def _changed(self) -> threading.Condition:
        """Where threads wait until something changes."""
        with self._lock:
            if self._condition is None:
                self._condition = threading.Condition()
            return self._condition

    @abstractmethod
    def fail(self, error: GraphError) -> None:
        """Record an error: the run ends without calling any node again but to close it."""

    @abstractmethod
    def _idle(self, pool: Pool) -> bool:
        """Nothing is ready in ``pool``: find something to do. False when there is nothing for it now."""

    @abstractmethod
    def _end(self) -> None:
        """The run is over: set ``is_done`` and tell everybody."""

    @abstractmethod
    def _slow_step(self, node: NodeState) -> Step:
        """The step of a node whose call has turned out to be slow."""

    def wait_until_idle(self, timeout_s: float | None = None) -> bool:
        """Help until nothing is left to do for now; False when ``timeout_s`` seconds passed first."""
        self._refuse_inside("wait_until_idle")
        return self._wait(self._is_quiet, timeout_s, for_idle=True)

    def wait_until_done(self, timeout_s: float | None = None) -> bool:
        """Help until the run has ended; False when ``timeout_s`` seconds passed first."""
        self._refuse_inside("wait_until_done")
        if timeout_s is None and self._default.is_inline:  # mostly this thread can do all of it
            self._enter()
            if self._drain_and_leave(self._default) and self.is_done:
                return True
        return self._wait(lambda: self.is_done, timeout_s, for_idle=False)

    def wait_for(self, is_over: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Help until ``is_over()`` or the end of the run; False when ``timeout_s`` seconds passed first.

        Who makes it true while another thread waits has to call ``tell_watchers``.
        """
        self._refuse_inside("waiting for output")
        return self._wait(lambda: is_over() or self.is_done, timeout_s, for_idle=False)

    def pause(self) -> None:
        """Start no further calls until ``resume``; a run that fails or is cancelled ends all the same."""
        self._post(partial(self._on_pause, True), ALWAYS)

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._post(partial(self._on_pause, False), ALWAYS)

    @property
    def is_paused(self) -> bool:
        """Whether ``pause`` is in force."""
        return self._paused

    def detach(self, node: NodeState | None) -> None:
        """Give up the token for the time of a call of ``node``, whose step does nothing meanwhile; of None, no step changes."""
        if node is not None:
            self._stolen[node], node.step = node.step, do_nothing
        self._detached += 1
        self._dispatch()
        self._token.release()
        if self._lacks_thread:
            self.tell_watchers()

    def rejoin(self, node: NodeState | None, claims: Claims) -> None:
        """Take the token again after a detached call, or after an inline one that was stolen from this thread."""
        self._enter()
        self.claims = claims
        self._detached -= 1
        if node is not None:
            step = self._stolen.pop(node)
            if node.step is do_nothing and node.is_open:
                node.step = step

    def begin_async(self) -> None:
        """A coroutine of a node begins; ``end_async`` has to follow."""
        self._detached += 1

    def end_async(self, act: Callable[[], None]) -> None:
        """A coroutine has ended, on whatever thread: call ``act()`` with the token held."""

        def ended(_: Packet) -> None:
            self._detached -= 1
            act()

        self._post(ended, ALWAYS, force=True)

    def interrupt(self, node: NodeState, act: Callable[[Packet], None]) -> None:
        """Call ``act`` with the token held, although a call of ``node`` may go on meanwhile; by whoever can do it first.

        This thread does it where the token is free, or is its own (it is inside that inline call). Else a worker comes, and
        takes the token from the call; where the graph has no such thread, it is done when the call returns.
        """
        self.inbox.append((act, NO_PACKET))
        thread, claims = threading.get_ident(), self.claims
        was_inside = thread in self._inside
        try:
            own = claims.pop() if was_inside and claims[0] is node else None
        except IndexError:
            own = None  # taken by another thread in this instant
        if own is not None or self._token.acquire(blocking=False):
            self._inside.add(thread)
            try:
                self._take_inbox()
                self._dispatch()
            finally:
                if not was_inside:
                    self._inside.discard(thread)
                if own is not None:
                    claims.append(own)
                else:
                    self._token.release()
        if self.inbox and not self.is_done:
            self._want_thread(self._default)

    def _drain(self, pool: Pool, until: Callable[[], bool] | None = None, *, step_by_step: bool = False) -> bool:
        """Work until there is nothing that this pool may do now, or ``until()`` says that it is enough: False then.

        ``until`` is asked when no node is ready; with ``step_by_step`` after each call.
        """
        thread = threading.get_ident()
        self._inside.add(thread)
        self._lacks_thread = False
        heap, nodes, inbox = pool.heap, self.by_key, self.inbox
        claims: Claims = []
        self.claims = claims
        is_alone = True
        try:
            while not self.is_done:
                while heap and not self.is_halted:
                    if inbox:
                        self._take_inbox()
                    elif step_by_step and until is not None and until():
                        return False
                    elif heap:
                        node = nodes[heappop(heap)]
                        if heap and is_alone:  # another thread takes over if this one gets stuck in the call
                            is_alone = False
                            self._want_thread(pool)
                        node.step(node, claims)
                if inbox:
                    self._take_inbox()
                elif until is not None and until():
                    return False
                elif (self._paused and not self.errors) or not self._idle(pool):
                    break
            return True
        except BaseException as error:
            # KeyboardInterrupt in a calculator, or a fault of the engine: nobody may wait for ever.
            if not self.errors:
                self.errors.append(GraphError(f"The run was interrupted: {error!r}", code=StatusCode.CANCELLED))
            claims.clear()
            self._due.clear()
            for each in self.pools.values():
                each.heap.clear()
            try:
                while self._idle(
                    pool
                ):  # ends the run, unless other calls are still going on: then the last of them does
                    pass
            except BaseException:
                self._end()
            raise
        finally:
            self._inside.discard(thread)

    def _take_inbox(self) -> None:
        inbox = self.inbox
        while inbox:
            act, packet = inbox.popleft()
            if self.errors and packet is not ALWAYS:
                continue
            try:
                act(packet)
            except GraphError as error:
                self.fail(error)
        self.tell_watchers()

    def settle(self) -> None:
        """Take what lies in the inbox now, so that what is wrong with it is an error of the run when this returns."""
        thread = threading.get_ident()
        if thread in self._inside:
            return
        self._enter()
        self._inside.add(thread)
        try:
            self._take_inbox()
        finally:
            self._inside.discard(thread)
            self._token.release()
        self._post(nothing_more, NO_PACKET)  # for a thread that goes on with what has come of it

    def _on_pause(self, paused: bool, _: Packet) -> None:
        self._paused = paused
        self.is_halted = paused or bool(self.errors)

    def _post(self, act: Callable[[Packet], None], packet: Packet, *, force: bool = False) -> None:
        self.inbox.append((act, packet))
        if self._watchers and (self._deferred or self._default.submit is None):
            self.tell_watchers()
        if (force or not self._deferred) and not self._default.is_coming:
            # Also while another thread has the token: it may be inside a call that does not end, and nobody may be waiting.
            self._want_thread(self._default)

    def _want_thread(self, pool: Pool) -> None:
        if pool.submit is None:
            self._lacks_thread = True
        elif not pool.is_coming and pool.active < pool.max_threads:
            pool.is_coming = True
            try:
                pool.submit(partial(self._work, pool))
            except Exception as error:
                self._lose_executor(pool, error)

    def _lose_executor(self, pool: Pool, error: Exception) -> None:
        """An executor of the caller's takes no work: the run fails, and ends on other threads without a call of its nodes."""

        def end(_: Packet) -> None:
            self.fail(refused_work(pool, error))
            self._due = [node for node in self._due if node.pool is not pool]

        pool.is_coming = False
        pool.submit = workers.submit
        self.inbox.append((end, ALWAYS))
        self._want_thread(self._default)
        self.tell_watchers()

    def _dispatch(self) -> None:
        """Get threads for pools that have ready nodes, or for the inbox; the caller goes on with something else."""
        for pool in self.pools.values():
            if pool.heap or (self.inbox and pool is self._default):
                self._want_thread(pool)

    def _work(self, pool: Pool) -> None:
        """A worker's turn."""
        with contextlib.suppress(BaseException):  # recorded by _drain as the run's error; nobody above could handle it
            self._enter()
            pool.is_coming = False
            pool.active += 1
            if pool.active > pool.max_threads or self.is_done:
                pool.active -= 1
                self._token.release()
                self.tell_watchers()
            else:
                self._drain_and_leave(pool, is_worker=True)

    def _drain_and_leave(
        self,
        pool: Pool,
        *,
        is_worker: bool = False,
        until: Callable[[], bool] | None = None,
        step_by_step: bool = False,
    ) -> bool:
        """Drain with the token in hand, then give it up; whether the run was quiet at that moment."""
        is_quiet = True
        try:
            is_drained = self._drain(pool, until, step_by_step=step_by_step)
            is_quiet = self.is_done or (
                is_drained and not (self.inbox or self._detached or self._is_ready() or self._awaits_thread())
            )
            if not is_quiet and not self._paused:
                self._dispatch()
            if not is_drained:
                self._want_thread(self._default)
        finally:
            if is_worker:
                pool.active -= 1
            self._token.release()
            # What came while this thread was leaving saw the token taken and asked nobody.
            if self.inbox and not self.is_done and not self._token.locked() and not self._deferred:
                self._want_thread(self._default)
            if self._watchers:
                self.tell_watchers()
        return is_quiet

    def _enter(self) -> None:
        """Take the token; from an inline call that does not end, if need be."""
        seen: tuple[NodeState, int] | None = None
        while not self._token.acquire(timeout=STALL_S):
            running = self._running_call()
            if running is not None and running == seen and self._steal():
                return
            seen = running

    def _running_call(self) -> tuple[NodeState, int] | None:
        """The node and the input timestamp of the inline call that is running: enough to tell calls apart."""
        try:
            node = self.claims[0]
        except IndexError:
            return None  # between two calls
        return node, node.context._timestamp

    def _steal(self) -> bool:
        """Become the owner of the token that an inline call holds. That call finds out when it returns, and rejoins."""
        if self._default.max_threads == 1 or self._detached >= MAX_DETACHED:
            return False
        try:
            node = self.claims.pop()
        except IndexError:
            return False  # it has just ended
        self._stolen[node], node.step = self._slow_step(node), do_nothing
        self._detached += 1
        self._want_thread(self._default)  # the next one who takes over, if need be
        return True

    def _wait(self, is_over: Callable[[], bool], timeout_s: float | None, *, for_idle: bool) -> bool:
        """Drain the default pool as far as that is allowed to this thread, then watch, until ``is_over()``."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        # A thread inside a node's call cannot look at the clock: with a time limit others work, where there are any.
        if deadline is not None and self._default.submit is not None:
            return self._watch(is_over, deadline)

        def is_enough() -> bool:
            return (not for_idle and is_over()) or (deadline is not None and monotonic() >= deadline)

        while True:
            if self._default.is_inline:
                if deadline is None:
                    self._enter()
                elif not self._token.acquire(timeout=max(0.0, deadline - monotonic())):
                    return is_over()
                is_quiet = self._drain_and_leave(
                    self._default, until=None if for_idle and deadline is None else is_enough
                )
                if is_quiet and (for_idle or self.is_done):
                    return True
                if deadline is not None and monotonic() >= deadline:
                    return not for_idle and is_over()
            if self._watch(lambda: is_over() or self._needs_help(), deadline):
                if is_over():
                    return True
            else:
                return False

    def _watch(self, is_over: Callable[[], bool], deadline: float | None) -> bool:
        """Let other threads work until ``is_over()``; False when the time is over first."""
        if deadline is not None and self._deferred:
            self._deferred = False
            self._want_thread(self._default)
        with self._changed:
            self._watchers += 1
            try:
                left = None if deadline is None else max(0.0, deadline - monotonic())
                return self._changed.wait_for(is_over, left)
            finally:
                self._watchers -= 1

    def _needs_help(self) -> bool:
        """Whether a waiting thread could drain something that no other thread will."""
        return (
            (self._default.submit is None or self._deferred)
            and (self._lacks_thread or bool(self.inbox) or bool(self._default.heap))
            and not self._token.locked()
        )

    def _awaits_thread(self) -> bool:
        """Whether a thread of another pool than the default one is on its way, to what only it may do."""
        return len(self.pools) > 1 and any(pool.is_coming for pool in self.pools.values() if pool is not self._default)

    def _is_ready(self) -> bool:
        """Whether any node is."""
        for pool in self.pools.values():  # asked for every packet, and any() takes longer
            if pool.heap:
                return True
        return bool(self._due)

    def _is_quiet(self) -> bool:
        return self.is_done or not (
            self.inbox
            or self._detached
            or self._token.locked()
            or any(pool.heap or pool.is_coming for pool in self.pools.values())
        )

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


def nothing_more(_: Packet) -> None:
    """An event that only wakes a thread."""
