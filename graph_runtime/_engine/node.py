"""A node while a graph runs, and the closure that its plan is compiled into.

A *step* is the closure that the run calls when something at the node's inputs may have changed: it decides by the default input
policy (MediaPipe ``default_input_stream_handler``) whether to process, to close or to pass a bound on, and does it. A node with
one input gets a step without the search for the smallest timestamp. Nothing here knows what the calculator is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappush
from typing import TYPE_CHECKING, Final

from graph_runtime.calculator import (
    STOP,
    Calculator,
    CalculatorContext,
    InputSidePacket,
    InputStream,
    OutputSidePacket,
    OutputStream,
    Ports,
)
from graph_runtime.errors import GraphError, code_of
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.port_types import type_check
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.stream_handlers.fixed_size import FixedSizeInputStreamHandler, WatchedQueue
from graph_runtime.timestamp import (
    DONE,
    MAX,
    MIN,
    ONE_OVER_POST_STREAM,
    PRE_STREAM,
    UNSTARTED,
    next_allowed,
    previous_allowed,
)

if TYPE_CHECKING:
    from graph_runtime._engine.run import Run
    from graph_runtime._engine.stream import StreamState
    from graph_runtime.plan import NodePlan

Step = Callable[[], None]

SOURCE_TIMESTAMP: Final = 0
_PHASE_NAMES: Final = {"open": "Open", "process": "Process", "close": "Close"}


def not_open_yet() -> None:
    """The step of a node before ``open``: what arrives stays in the queues."""


class NodeState:
    """One node of one run. Only the thread that drains the run touches it."""

    __slots__ = (
        "calculator", "context", "in_streams", "is_open", "key", "last_processed", "offsets", "out_streams", "plan",
        "queues", "run",
    )  # fmt: skip

    def __init__(self, run: Run, plan: NodePlan, key: int, streams: list[StreamState]) -> None:
        self.run = run
        self.plan = plan
        self.key = key
        self.in_streams = [streams[stream] for stream in plan.input_streams]
        self.out_streams = [streams[stream] for stream in plan.output_streams]
        queue_type = WatchedQueue if issubclass(plan.handler, FixedSizeInputStreamHandler) else deque
        self.queues: list[deque[Packet]] = [queue_type() for _ in self.in_streams]
        for queue, stream in zip(self.queues, self.in_streams, strict=True):
            stream.sinks.append((queue, key))
            stream.is_ordered |= not plan.handler.ignores_timestamps
        self.offsets: list[int | None] = []
        self.is_open = False
        self.last_processed = UNSTARTED
        self.calculator: Calculator | None = None
        self.context: CalculatorContext | None = None

    def can_open(self) -> bool:
        """Whether all side packets and the headers of all inputs are there."""
        run = self.run
        return all(
            name in run.side_packets or name in run.absent_side_packets for name in self.plan.input_side_packets.names
        ) and all(
            stream.name in run.headers_known
            for port, stream in enumerate(self.in_streams)
            if port not in self.plan.back_edges
        )

    def open(self) -> Step | None:
        """Make the calculator and call its ``open``; the step to use from now on, or None when it failed."""
        plan, run = self.plan, self.run
        context = CalculatorContext(plan.name, run, plan.find_options)
        inputs = [InputStream(stream.name, stream) for stream in self.in_streams]
        for port, stream in zip(inputs, self.in_streams, strict=True):
            port.header = stream.header
        context.inputs = Ports.of(inputs, plan.inputs, "input streams")
        context.outputs = Ports.of(
            [
                OutputStream(
                    stream.name,
                    context,
                    type_check(port, f'Packet type mismatch on calculator outputting to stream "{stream.name}"'),
                )
                for port, stream in zip(plan.contract.outputs, self.out_streams, strict=True)
            ],
            plan.outputs,
            "output streams",
        )
        present = [name in run.side_packets for name in plan.input_side_packets.names]
        context.input_side_packets = Ports.of(
            [
                InputSidePacket(name, run.side_packets[name])
                for name in plan.input_side_packets.names
                if name in run.side_packets
            ],
            plan.input_side_packets if all(present) else run.present_side_packets(plan),
            "input side packets",
        )
        context.output_side_packets = Ports.of(
            [OutputSidePacket(name, run.set_side_packet) for name in plan.output_side_packets.names],
            plan.output_side_packets,
            "output side packets",
        )
        self.context = context
        try:
            self.calculator = plan.calculator()
            self.calculator.open(context)
        except Exception as error:
            run.fail(self.failure("open", error))
            return None
        self.is_open = True
        self.offsets = [
            port._offset if port._offset is not None else plan.contract.timestamp_offset for port in context.outputs
        ]
        for out, stream in zip(context.outputs, self.out_streams, strict=True):
            if out._header is not None:
                stream.header = out._header
            run.headers_known.add(stream.name)
        if not self.send_pending("open"):
            return None
        context._phase = "process"
        if plan.is_source:
            return self._source_step()
        if not self.in_streams:
            return not_open_yet
        if plan.handler is not DefaultInputStreamHandler or plan.handler_options != 1:
            return self._policy_step()
        if len(self.in_streams) == 1 and not plan.contract.process_timestamp_bounds:
            return self._single_input_step()
        return self._default_step()

    def close(self, *, regular: bool) -> None:
        """Call ``close`` once; send what it sent when the run ends regularly, and end all outputs."""
        context, calculator = self.context, self.calculator
        if not self.is_open or context is None or calculator is None:
            return
        self.is_open = False
        self.run.steps[self.key] = not_open_yet
        context._timestamp = DONE
        context._phase = "close"
        for queue, stream, port in zip(self.queues, self.in_streams, context.inputs, strict=True):
            queue.clear()
            port.packet = Packet()
            # What still comes is dropped without a check: nobody is there to notice its order.
            stream.sinks[:] = [sink for sink in stream.sinks if sink[0] is not queue]
        try:
            calculator.close(context)
        except Exception as error:
            if regular:
                self.run.fail(self.failure("close", error))
            return
        if regular and self.send_pending("close"):
            for stream in self.out_streams:
                stream.close()
        self.run.node_closed(self)

    def failure(self, phase: str, error: Exception) -> GraphError:
        """``error`` as the run's error, in MediaPipe's words."""
        text = str(error) or type(error).__name__
        if not isinstance(error, (GraphError, ValueError, RuntimeError)):
            text = f"{type(error).__name__}: {text}" if str(error) else text
        wrapped = GraphError(
            f'Calculator::{_PHASE_NAMES[phase]}() for node "{self.plan.name}" failed: {text}',
            code=code_of(error),
            phase=phase,
            node=self.plan.name,
        )
        wrapped.__cause__ = error
        return wrapped

    def send_pending(self, phase: str) -> bool:
        """Send what the node's outputs hold; False when a stream refused it (the run has failed then)."""
        assert self.context is not None
        for port, stream in zip(self.context.outputs, self.out_streams, strict=True):
            pending = port._pending
            if pending:
                packets = pending[:]
                pending.clear()
                try:
                    for packet in packets:
                        stream.send(packet)
                except Exception as error:
                    self.run.fail(self.stream_failure(phase, error))
                    return False
        return True

    def stream_failure(self, phase: str, error: Exception) -> GraphError:
        """A refused packet: the stream's own error, with the node that sent it."""
        if isinstance(error, GraphError):
            if error.node is None:
                error.node, error.phase = self.plan.name, phase
            return error
        return self.failure(phase, error)

    def move_offsets(self, timestamp: int) -> None:
        """After ``process`` at ``timestamp``: move the bounds of outputs that have an offset."""
        for stream, offset in zip(self.out_streams, self.offsets, strict=True):
            if offset is not None:
                bound = bound_after(timestamp, offset)
                if bound > stream.bound:
                    stream.move_bound(bound)

    def pass_bound(self, bound: int) -> None:
        """The inputs are settled up to ``bound`` without packets: outputs with an offset follow."""
        for stream, offset in zip(self.out_streams, self.offsets, strict=True):
            if offset is not None and MIN <= bound <= MAX:
                moved = min(max(bound + offset, MIN), MAX)
                if moved > stream.bound:
                    stream.move_bound(moved)

    def bad_result(self, result: object) -> GraphError:
        """The error for a ``process`` that returned something."""
        return self.failure(
            "process",
            TypeError(
                f"process() returned {type(result).__name__}; it returns None or STOP. To send a packet write\n"
                '    wrong: return value\n    right: cc.outputs["TAG"].add(value)'
            ),
        )

    # ---- steps

    def _single_input_step(self) -> Step:
        """One input, default policy: the head of the queue is always next."""
        assert self.context is not None
        assert self.calculator is not None
        context, process, run, key = self.context, self.calculator.process, self.run, self.key
        queue, in_stream, port = self.queues[0], self.in_streams[0], context.inputs.get_by_id(0)
        pop, ready = queue.popleft, run.ready
        outputs = list(context.outputs)
        has_offset = any(offset is not None for offset in self.offsets)
        if len(outputs) == 1 and self.out_streams[0].is_plain():
            return self._chain_step()

        def step() -> None:
            if not queue:
                if in_stream.bound >= ONE_OVER_POST_STREAM:
                    self.close(regular=True)
                elif has_offset:
                    self.pass_bound(in_stream.bound)
                return
            packet = pop()
            context._timestamp = timestamp = packet._timestamp
            port.packet = packet
            try:
                result = process(context)
            except Exception as error:
                run.fail(self.failure("process", error))
                return
            for out in outputs:
                if out._pending and not self.send_pending("process"):
                    return
            if has_offset:
                self.move_offsets(timestamp)
            if result is not None and not run.handle_result(self, result):
                return
            if queue or in_stream.bound >= ONE_OVER_POST_STREAM:
                heappush(ready, key)

        return step

    def _chain_step(self) -> Step:
        """One input, one output with one consumer: the same, with the common way of one packet written out."""
        assert self.context is not None
        assert self.calculator is not None
        context, process, run, key = self.context, self.calculator.process, self.run, self.key
        queue, in_stream, port = self.queues[0], self.in_streams[0], context.inputs.get_by_id(0)
        pop, ready, out_stream = queue.popleft, run.ready, self.out_streams[0]
        pending = context.outputs.get_by_id(0)._pending
        take, (sink, sink_key) = pending.pop, out_stream.sinks[0]
        put, has_offset = sink.append, self.offsets[0] is not None

        def step() -> None:
            if not queue:
                if in_stream.bound >= ONE_OVER_POST_STREAM:
                    self.close(regular=True)
                elif has_offset:
                    self.pass_bound(in_stream.bound)
                return
            packet = pop()
            context._timestamp = timestamp = packet._timestamp
            port.packet = packet
            try:
                result = process(context)
            except Exception as error:
                run.fail(self.failure("process", error))
                return
            if pending:
                packet = pending[0]
                sent = packet._timestamp
                if (
                    len(pending) == 1
                    and out_stream.bound <= sent < MAX
                    and sent != PRE_STREAM
                    and packet._value is not NOTHING
                ):
                    take()
                    out_stream.bound = sent + 1
                    if not sink:
                        heappush(ready, sink_key)
                    put(packet)
                elif not self.send_pending("process"):
                    return
            if has_offset and out_stream.bound <= timestamp:
                self.move_offsets(timestamp)
            if result is not None and not run.handle_result(self, result):
                return
            if queue or in_stream.bound >= ONE_OVER_POST_STREAM:
                heappush(ready, key)

        return step

    def _default_step(self) -> Step:
        """Several inputs, default policy: process the smallest timestamp that no input can still undercut."""
        assert self.context is not None
        assert self.calculator is not None
        context, process, run, key, ready = self.context, self.calculator.process, self.run, self.key, self.run.ready
        inputs = list(zip(self.queues, self.in_streams, context.inputs, strict=True))
        process_bounds = self.plan.contract.process_timestamp_bounds
        has_offset = any(offset is not None for offset in self.offsets)

        def step() -> None:
            min_packet = min_bound = DONE
            for queue, stream, _ in inputs:
                if queue:
                    if queue[0]._timestamp < min_packet:
                        min_packet = queue[0]._timestamp
                elif stream.bound < min_bound:
                    min_bound = stream.bound
            settled = min_bound if min_bound < min_packet else min_packet
            if process_bounds:
                timestamp = min_packet if min_packet < min_bound else previous_allowed(min_bound)
                is_ready = settled < ONE_OVER_POST_STREAM and timestamp > self.last_processed
            else:
                timestamp = min_packet
                is_ready = min_packet < min_bound
            if not is_ready:
                if settled >= ONE_OVER_POST_STREAM:
                    self.close(regular=True)
                elif has_offset:
                    self.pass_bound(settled)
                return
            self.last_processed = timestamp
            for queue, stream, port in inputs:
                if not queue:
                    port.packet = Packet(NOTHING, previous_allowed(stream.bound))
                elif queue[0]._timestamp == timestamp:
                    port.packet = queue.popleft()
                else:
                    port.packet = Packet(NOTHING, previous_allowed(queue[0]._timestamp))
            context._timestamp = timestamp
            try:
                result = process(context)
            except Exception as error:
                run.fail(self.failure("process", error))
                return
            if not self.send_pending("process"):
                return
            if has_offset:
                self.move_offsets(timestamp)
            if result is not None and not run.handle_result(self, result):
                return
            heappush(ready, key)

        return step

    def _policy_step(self) -> Step:
        """Any input stream handler, as its file says; with batches where it asks for them."""
        assert self.context is not None
        assert self.calculator is not None
        context, process, run, key, ready = self.context, self.calculator.process, self.run, self.key, self.run.ready
        handler = self.plan.handler(
            self.queues,
            self.in_streams,
            self.plan.handler_options,
            self.plan.inputs,
            self.plan.contract.process_timestamp_bounds,
        )
        for queue in self.queues:
            if isinstance(queue, WatchedQueue) and isinstance(handler, FixedSizeInputStreamHandler):
                queue.handler = handler
        batch_size = getattr(handler, "batch_size", 1)
        batch: list[tuple[int, list[Packet]]] = []
        has_offset = any(offset is not None for offset in self.offsets)

        def run_batch() -> bool:
            for timestamp, packets in batch:
                for port, packet in zip(context.inputs, packets, strict=True):
                    port.packet = packet
                context._timestamp = timestamp
                try:
                    result = process(context)
                except Exception as error:
                    run.fail(self.failure("process", error))
                    return False
                if not self.send_pending("process"):
                    return False
                if has_offset:
                    self.move_offsets(timestamp)
                if result is not None and not run.handle_result(self, result):
                    return False
            batch.clear()
            return True

        def step() -> None:
            try:
                timestamp = handler.decide()
                if timestamp is None:
                    if has_offset and not batch:
                        self.pass_bound(handler.bound)
                    return
                if timestamp < ONE_OVER_POST_STREAM:
                    batch.append((timestamp, handler.fill(timestamp)))
                    if len(batch) < batch_size or run_batch():
                        heappush(ready, key)
                    return
            except Exception as error:  # a handler that was fed something impossible
                run.fail(self.failure("process", error))
                return
            if run_batch():
                self.close(regular=True)

        return step

    def _source_step(self) -> Step:
        assert self.context is not None
        assert self.calculator is not None
        context, process, run = self.context, self.calculator.process, self.run

        def step() -> None:
            context._timestamp = SOURCE_TIMESTAMP
            try:
                result = process(context)
            except Exception as error:
                run.fail(self.failure("process", error))
                return
            if not self.send_pending("process"):
                return
            if result is STOP or all(stream.is_done() for stream in self.out_streams):
                self.close(regular=True)
            elif result is not None:
                run.fail(self.bad_result(result))

        return step


def bound_after(timestamp: int, offset: int) -> int:
    """The output bound after processing ``timestamp`` with an offset (MediaPipe ``output_stream_manager.cc``)."""
    if MIN <= timestamp < MAX:
        return min(max(timestamp + 1 + offset, MIN), MAX)
    if timestamp == MAX:
        return next_allowed(MAX) if offset >= 0 else next_allowed(MAX + offset)
    return next_allowed(timestamp)
