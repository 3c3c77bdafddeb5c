"""Steps that give the token up while ``process`` runs: on this thread, on several, or as coroutines; see ``steps.py``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from heapq import heappush
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from graph_runtime._engine.calls import Failed, call, decide, fill, look_by_handler, run_batch
from graph_runtime._engine.node import Claims, NodeState, Step
from graph_runtime.calculator import CalculatorContext
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.timestamp import ONE_OVER_POST_STREAM

if TYPE_CHECKING:
    import asyncio

QUICK_S: Final = 100e-6
"""A detached call shorter than this is quick; a node with several in a row is called inline again."""

QUICK_CALLS: Final = 8


def detached_step(node: NodeState) -> Step:
    """Any input stream handler; the token is given up while ``process`` runs."""
    context, run = node.context, node.run
    node.look = look_by_handler
    quick = 0

    def invoke(claims: Claims) -> Any:
        nonlocal quick
        run.detach(node)
        start = perf_counter()
        result = call(node, context)
        took_s = perf_counter() - start
        run.rejoin(node, claims)
        quick = quick + 1 if took_s < QUICK_S else 0
        return result

    def step(node: NodeState, claims: Claims) -> None:
        if (node.is_scheduled or look_by_handler(node)) and run_batch(node, partial(invoke, claims)):
            if quick >= QUICK_CALLS and node.pool.is_inline:
                run.plan.slow_nodes.discard(node.plan.id)
                run.choose_step_again(node)
            node.arrived()

    return step


class _Call:
    """One of several calls of a node that run at once."""

    __slots__ = ("context", "is_done", "result", "timestamp")

    def __init__(self, context: CalculatorContext, timestamp: int) -> None:
        self.context = context
        self.timestamp = timestamp
        self.result: Any = None
        self.is_done = False


class _Calls:
    """The calls of one node that run at once, each with a context of its own; their outputs go out in input order."""

    def __init__(self, node: NodeState) -> None:
        self.node = node
        self.free = [node.context]
        self.running: deque[_Call] = deque()

    def begin(self) -> _Call | None:
        """The next call, if the node is ready and may have one more; otherwise the node is closed or its bound moved."""
        node, running = self.node, self.running
        if len(running) >= node.plan.max_in_flight:
            return None  # asked again when a call ends
        timestamp = decide(node)
        if timestamp is None:
            if not running:
                node.pass_bound(node.handler.bound)
            return None
        if timestamp >= ONE_OVER_POST_STREAM:
            if not running and not node.run.errors:
                node.close(regular=True)
            return None
        packets = node.handler.fill(timestamp)
        if any(each.timestamp == timestamp for each in running):
            text = (
                "Multiple invocations with the same timestamps are not allowed with parallel execution, "
                f"and {timestamp} is being processed already; set max_in_flight to 1"
            )
            node.run.fail(node.failure("process", GraphError(text, code=StatusCode.FAILED_PRECONDITION)))
            return None
        if self.free:
            context = self.free.pop()
        else:
            context = node.new_context()
            node.begin_calls(context)
        call = _Call(context, timestamp)
        running.append(call)
        self._note_first()
        fill(context, timestamp, packets)
        heappush(node.pool.heap, node.key)  # the next one may be ready as well
        return call

    def end(self, call: _Call, result: Any) -> None:
        """A call has returned: send what is next in order."""
        call.result, call.is_done = result, True
        running = self.running
        while running and running[0].is_done:
            first = running.popleft()
            if not self.node.finish(first.context, first.timestamp, first.result):
                self._note_first()
                return
            self.free.append(first.context)
        self._note_first()
        heappush(self.node.pool.heap, self.node.key)

    def _note_first(self) -> None:
        node, first = self.node, self.running[0] if self.running else None
        node.sender = None if first is None else first.context
        if first is None:
            node.run.in_flight.pop(node, None)
        else:
            node.run.in_flight[node] = first.timestamp


def _see_any(_: NodeState) -> bool:
    return True


def parallel_step(node: NodeState) -> Step:
    """Up to ``max_in_flight`` calls at once, each on a thread of its own."""
    calls, run = _Calls(node), node.run
    node.look = _see_any

    def step(_: NodeState, claims: Claims) -> None:
        started = calls.begin()
        if started is not None:
            run.detach(None)
            result = call(node, started.context)
            run.rejoin(None, claims)
            calls.end(started, result)

    return step


def async_step(node: NodeState) -> Step:
    """``async def process``: up to ``max_in_flight`` coroutines at once, on an event loop; no thread waits for them."""
    calls, run = _Calls(node), node.run
    node.look = _see_any
    process: Callable[[CalculatorContext], Coroutine[Any, Any, Any]] = node.process

    def start(started: _Call) -> None:
        loop = run.event_loop()
        task: asyncio.Task[Any] | None = None

        async def call_process() -> Any:
            try:
                return await process(started.context)
            except (KeyboardInterrupt, SystemExit) as error:
                return Failed(
                    error
                )  # raised, it would end the event loop, and with it the coroutines of all other graphs

        def begin() -> None:
            nonlocal task
            task = loop.create_task(call_process())
            task.add_done_callback(ended)
            if run.cancelled:
                task.cancel()

        def cancel_task() -> None:
            if task is not None:
                task.cancel()

        def cancel() -> None:
            with suppress(RuntimeError):  # the loop is closed, and the task gone with it
                loop.call_soon_threadsafe(cancel_task)

        forget = run.on_cancel(cancel)

        def ended(finished: asyncio.Task[Any]) -> None:
            if finished.cancelled():
                end(Failed(RuntimeError("the coroutine was cancelled")))
            else:
                error = finished.exception()
                end(finished.result() if error is None else Failed(error))

        def end(result: Any) -> None:
            forget()
            run.end_async(lambda: None if run.errors else calls.end(started, result))

        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError as error:  # the loop is closed
            end(Failed(error))

    def step(_: NodeState, claims: Claims) -> None:
        started = calls.begin()
        if started is not None:
            run.begin_async()
            start(started)

    return step
