"""The closures that a plan's nodes are compiled into, once per run.

A *step* is called, with the run's token held, when something at a node's inputs may have changed: it decides by the node's input
stream handler whether to process, to close or to pass a bound on, and does it. Three ways to call ``process``:

* *inline*: with the token held, for nodes that are quick. The call is announced in ``claims``, and a thread that has waited too
  long for the token takes the announcement away: it then owns the token, and this one rejoins when its call returns.
* *detached*: the token is given up for the time of the call, for slow nodes and for nodes of real thread pools.
* *parallel*: detached, with several calls of one node at once (``max_in_flight``), sent in the order of their timestamps.

The inline forms write the default policy out for speed; ``stream_handlers/`` is its specification. Nothing here knows what a
calculator is called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from heapq import heappush
from inspect import iscoroutinefunction
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from graph_runtime._engine.node import NodeState, Step, do_nothing
from graph_runtime.calculator import STOP, CalculatorContext
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.timestamp import DONE, MAX, ONE_OVER_POST_STREAM, PRE_STREAM, previous_allowed

if TYPE_CHECKING:
    import asyncio

SOURCE_TIMESTAMP: Final = 0

QUICK_S: Final = 100e-6
"""A detached call shorter than this is quick; a node with several in a row is called inline again."""

QUICK_CALLS: Final = 8


class Failed:
    """What ``process`` raised, in the place of its result."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def compile_step(node: NodeState) -> Step:
    """The step for an opened node."""
    if node.plan.is_source:
        return _source_step(node)
    if not node.in_streams:
        return do_nothing
    if iscoroutinefunction(node.process):
        return _async_step(node)
    if node.plan.max_in_flight > 1 and node.pool.max_threads > 1:
        return _parallel_step(node)
    if not node.pool.is_inline or (node.plan.id in node.run.plan.slow_nodes and node.pool.max_threads > 1):
        return detached_step(node)
    if (
        type(node.handler) is not DefaultInputStreamHandler
        or node.handler.batch_size > 1
        or node.handler.process_bounds
    ):
        return _policy_step(node)
    if len(node.in_streams) > 1:
        return _default_step(node)
    if len(node.out_streams) != 1 or node.run.queue_limit == 1 or not node.out_streams[0].takes_order():
        return _single_input_step(node)
    if len(node.out_streams[0].sinks) == 1 and not node.out_streams[0].observers:
        return _chain_step(node)
    return _one_output_step(node)


def _chain_step(node: NodeState) -> Step:
    """One input, one output with one consumer, default policy: the common way of one packet is written out."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    queue, in_stream, port = node.queues[0], node.in_streams[0], context.inputs.get_by_id(0)
    pop, ready, out_stream = queue.popleft, node.pool.heap, node.out_streams[0]
    pending = context.outputs.get_by_id(0)._pending
    take, (sink, sink_heap, sink_key) = pending.pop, out_stream.sinks[0]
    put, has_offset, limit = sink.append, node.offsets[0] is not None, run.queue_limit - 1
    claims = run.claims

    def step() -> None:
        if not queue:
            if in_stream.bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            elif has_offset:
                node.pass_bound(in_stream.bound)
            return
        packet = pop()
        context._timestamp = timestamp = packet._timestamp
        port.packet = packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if result is None and len(pending) == 1:
            packet = pending[0]
            sent = packet._timestamp
            if out_stream.bound <= sent < MAX and sent != PRE_STREAM and packet._value is not NOTHING:
                take()
                out_stream.bound = sent + 1
                if not sink:
                    heappush(sink_heap, sink_key)
                elif len(sink) >= limit:
                    run.may_be_full(sink)
                put(packet)
                if has_offset and sent < timestamp and not finish(context, timestamp, None):
                    return
            elif not finish(context, timestamp, None):
                return
        elif not finish(context, timestamp, result):
            return
        if queue or in_stream.bound >= ONE_OVER_POST_STREAM:
            heappush(ready, key)

    return step


def _one_output_step(node: NodeState) -> Step:
    """One input, one output with any number of consumers and observers, default policy; otherwise as the chain step."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    queue, in_stream, port = node.queues[0], node.in_streams[0], context.inputs.get_by_id(0)
    pop, ready, out_stream = queue.popleft, node.pool.heap, node.out_streams[0]
    pending, sinks, observers = context.outputs.get_by_id(0)._pending, out_stream.sinks, out_stream.observers
    take, has_offset, limit = pending.pop, node.offsets[0] is not None, run.queue_limit - 1
    claims = run.claims

    def step() -> None:
        if not queue:
            if in_stream.bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            elif has_offset:
                node.pass_bound(in_stream.bound)
            return
        packet = pop()
        context._timestamp = timestamp = packet._timestamp
        port.packet = packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if result is None and len(pending) == 1:
            packet = pending[0]
            sent = packet._timestamp
            if out_stream.bound <= sent < MAX and sent != PRE_STREAM and packet._value is not NOTHING:
                take()
                out_stream.bound = sent + 1
                for sink, sink_heap, sink_key in sinks:
                    if not sink:
                        heappush(sink_heap, sink_key)
                    elif len(sink) >= limit:
                        run.may_be_full(sink)
                    sink.append(packet)
                if observers and not node.show(observers, packet):
                    return
                if has_offset and sent < timestamp and not finish(context, timestamp, None):
                    return
            elif not finish(context, timestamp, None):
                return
        elif not finish(context, timestamp, result):
            return
        if queue or in_stream.bound >= ONE_OVER_POST_STREAM:
            heappush(ready, key)

    return step


def _single_input_step(node: NodeState) -> Step:
    """One input, default policy: the head of the queue is always next."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    queue, in_stream, port = node.queues[0], node.in_streams[0], context.inputs.get_by_id(0)
    pop, ready = queue.popleft, node.pool.heap
    claims = run.claims

    def step() -> None:
        if not queue:
            if in_stream.bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            else:
                node.pass_bound(in_stream.bound)
            return
        packet = pop()
        context._timestamp = timestamp = packet._timestamp
        port.packet = packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if finish(context, timestamp, result) and (queue or in_stream.bound >= ONE_OVER_POST_STREAM):
            heappush(ready, key)

    return step


def _default_step(node: NodeState) -> Step:
    """Several inputs, default policy: process the smallest timestamp that no input can still undercut."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    ready = node.pool.heap
    inputs = list(zip(node.queues, node.in_streams, context.inputs, strict=True))
    claims = run.claims

    def step() -> None:
        min_packet = min_bound = DONE
        for queue, stream, _ in inputs:
            if queue:
                if queue[0]._timestamp < min_packet:
                    min_packet = queue[0]._timestamp
            elif stream.bound < min_bound:
                min_bound = stream.bound
        if min_packet >= min_bound:
            if min_bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            else:
                node.pass_bound(min_bound)
            return
        for queue, stream, port in inputs:
            if not queue:
                port.packet = Packet(NOTHING, previous_allowed(stream.bound))
            elif queue[0]._timestamp == min_packet:
                port.packet = queue.popleft()
            else:
                port.packet = Packet(NOTHING, previous_allowed(queue[0]._timestamp))
        context._timestamp = min_packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if finish(context, min_packet, result):
            heappush(ready, key)

    return step


def _policy_step(node: NodeState) -> Step:
    """Any input stream handler, as its file says; with batches where it asks for them."""
    assert node.context is not None
    context, run, key = node.context, node.run, node.key
    handler = node.handler
    batch_size = getattr(handler, "batch_size", 1)
    batch: list[tuple[int, list[Packet]]] = []

    def run_batch() -> bool:
        for timestamp, packets in batch:
            _fill(context, timestamp, packets)
            run.claims[key] = None
            result = call(node, context)
            try:
                del run.claims[key]
            except KeyError:
                run.rejoin(key)
            if not node.finish(context, timestamp, result):
                return False
        batch.clear()
        return True

    def step() -> None:
        timestamp = _decide(node)
        if timestamp is None:
            if not batch:
                node.pass_bound(handler.bound)
        elif timestamp >= ONE_OVER_POST_STREAM:
            if not run.errors and run_batch():
                node.close(regular=True)
        else:
            batch.append((timestamp, handler.fill(timestamp)))
            if len(batch) < batch_size or run_batch():
                heappush(node.pool.heap, key)

    return step


def detached_step(node: NodeState) -> Step:
    """Any input stream handler; the token is given up while ``process`` runs."""
    assert node.context is not None
    context, run, key = node.context, node.run, node.key
    handler = node.handler
    batch_size = getattr(handler, "batch_size", 1)
    batch: list[tuple[int, list[Packet]]] = []
    quick = 0

    def run_batch() -> bool:
        nonlocal quick
        for timestamp, packets in batch:
            _fill(context, timestamp, packets)
            run.detach(key)
            start = perf_counter()
            result = call(node, context)
            took_s = perf_counter() - start
            run.rejoin(key)
            quick = quick + 1 if took_s < QUICK_S else 0
            if not node.finish(context, timestamp, result):
                return False
        batch.clear()
        return True

    def step() -> None:
        timestamp = _decide(node)
        if timestamp is None:
            if not batch:
                node.pass_bound(handler.bound)
        elif timestamp >= ONE_OVER_POST_STREAM:
            if not run.errors and run_batch():
                node.close(regular=True)
        else:
            batch.append((timestamp, handler.fill(timestamp)))
            if len(batch) < batch_size or run_batch():
                if quick >= QUICK_CALLS and node.pool.is_inline and node.is_open:
                    run.plan.slow_nodes.discard(node.plan.id)
                    run.steps[key] = compile_step(node)
                heappush(node.pool.heap, key)

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
        assert node.context is not None
        self.node = node
        self.free = [node.context]
        self.running: deque[_Call] = deque()

    def begin(self) -> _Call | None:
        """The next call, if the node is ready and may have one more; otherwise the node is closed or its bound moved."""
        node, running = self.node, self.running
        if len(running) >= node.plan.max_in_flight:
            return None  # asked again when a call ends
        timestamp = _decide(node)
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
            context._phase = "process"
        call = _Call(context, timestamp)
        running.append(call)
        _fill(context, timestamp, packets)
        heappush(node.pool.heap, node.key)  # the next one may be ready as well
        return call

    def end(self, call: _Call, result: Any) -> None:
        """A call has returned: send what is next in order."""
        call.result, call.is_done = result, True
        running = self.running
        while running and running[0].is_done:
            first = running.popleft()
            if not self.node.finish(first.context, first.timestamp, first.result):
                return
            self.free.append(first.context)
        heappush(self.node.pool.heap, self.node.key)


def _parallel_step(node: NodeState) -> Step:
    """Up to ``max_in_flight`` calls at once, each on a thread of its own."""
    calls, run = _Calls(node), node.run

    def step() -> None:
        started = calls.begin()
        if started is not None:
            run.detach(None)
            result = call(node, started.context)
            run.rejoin(None)
            calls.end(started, result)

    return step


def _async_step(node: NodeState) -> Step:
    """``async def process``: up to ``max_in_flight`` coroutines at once, on an event loop; no thread waits for them."""
    calls, run = _Calls(node), node.run
    process: Callable[[CalculatorContext], Coroutine[Any, Any, Any]] = node.process

    def start(started: _Call) -> None:
        loop = run.event_loop()
        task: asyncio.Task[Any] | None = None

        def begin() -> None:
            nonlocal task
            task = loop.create_task(process(started.context))
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

    def step() -> None:
        started = calls.begin()
        if started is not None:
            run.begin_async()
            start(started)

    return step


def _source_step(node: NodeState) -> Step:
    assert node.context is not None
    context, run, key = node.context, node.run, node.key

    def step() -> None:
        context._timestamp = SOURCE_TIMESTAMP
        if node.pool.is_inline:
            run.claims[key] = None
            result = call(node, context)
            try:
                del run.claims[key]
            except KeyError:
                run.rejoin(key)
        else:
            run.detach(key)
            result = call(node, context)
            run.rejoin(key)
        stopped = result is STOP
        if result is not None and not stopped:
            run.take_result(node, result)
        elif node.send(context, "process") and (stopped or all(stream.is_done() for stream in node.out_streams)):
            node.close(regular=True)

    return step


def call(node: NodeState, context: CalculatorContext) -> Any:
    """Call ``process``; an exception comes back as a result."""
    try:
        return node.process(context)
    except BaseException as error:
        return Failed(error)


def _decide(node: NodeState) -> int | None:
    """Ask the handler; a handler that was fed something impossible fails the run."""
    try:
        return node.handler.decide()
    except Exception as error:
        node.run.fail(node.failure("process", error))
        return ONE_OVER_POST_STREAM


def _fill(context: CalculatorContext, timestamp: int, packets: list[Packet]) -> None:
    context._timestamp = timestamp
    for port, packet in zip(context.inputs, packets, strict=True):
        port.packet = packet
