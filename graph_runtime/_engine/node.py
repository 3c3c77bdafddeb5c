"""A node while a graph runs: its calculator, its queues, and how it opens, sends and closes. ``steps.py`` says how it is called."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final

from graph_runtime._engine.stream import Port, WatchedQueue, show
from graph_runtime.arguments import refuse_result
from graph_runtime.calculator import (
    EMPTY_PACKET,
    Calculator,
    CalculatorContext,
    InputSidePacket,
    InputStream,
    OutputSidePacket,
    OutputStream,
    Ports,
)
from graph_runtime.errors import GraphError, code_of, describe
from graph_runtime.packet import NOTHING, BoundMark, Packet
from graph_runtime.stream_handlers import InputStreamHandler
from graph_runtime.tags import TagMap
from graph_runtime.timestamp import DONE, MAX, MIN, POST_STREAM, PRE_STREAM, debug_string, next_allowed

if TYPE_CHECKING:
    from graph_runtime._engine.pools import Pool
    from graph_runtime._engine.run import Run
    from graph_runtime._engine.stream import Observer, StreamState
    from graph_runtime.plan import NodePlan

Claims = list["NodeState"]
"""The node whose inline call is running, if one is; each thread that drains a run has a list of its own."""

Step = Callable[["NodeState", Claims], None]

Look = Callable[["NodeState"], bool]
"""Decide what to do next, and get its packets ready; False when there is nothing to do, and the bound has been passed on."""

_PHASE_NAMES: Final = {"open": "Open", "process": "Process", "close": "Close"}


def do_nothing(node: NodeState, claims: Claims) -> None:
    """The step of a node that may not run now: what arrives stays in the queues."""


def see_nothing(node: NodeState) -> bool:
    """The look of a node that is not open."""
    return False


class NodeState:
    """One node of one run. Only a thread that holds the run's token touches it, but for the calculator in ``process``."""

    __slots__ = (
        "_handler",
        "batch",
        "bounds",
        "calculator",
        "context",
        "following",
        "in_stream",
        "in_streams",
        "inputs",
        "is_open",
        "is_scheduled",
        "key",
        "look",
        "offsets",
        "out",
        "out_streams",
        "pending",
        "plan",
        "pool",
        "port",
        "process",
        "queue",
        "queues",
        "run",
        "sender",
        "step",
        "unread",
    )

    # For one_input_step and default_step, set by choose_step.
    queue: deque[Packet]
    in_stream: StreamState
    port: InputStream
    out: StreamState
    pending: list[Packet]
    inputs: list[tuple[deque[Packet], StreamState | Port, InputStream]]

    def __init__(self, run: Run, plan: NodePlan, key: int, pool: Pool, streams: list[StreamState]) -> None:
        self.run = run
        self.plan = plan
        self.key = key
        self.pool = pool
        self.in_streams = [streams[stream] for stream in plan.input_streams]
        self.out_streams = [streams[stream] for stream in plan.output_streams]
        self.queues: list[deque[Packet]] = []
        self.bounds: list[StreamState | Port] = self.in_streams  # type: ignore[assignment]  # only read
        """What has the bound of each input."""
        self.unread: list[int] = []
        """Where streams push the key of a node that puts itself into the heap."""
        self._handler: InputStreamHandler | None = None
        self.batch: list[tuple[int, list[Packet]]] = []
        """The calls that are on their way: of each, the input timestamp and the packets."""
        self.look: Look = see_nothing
        self.is_scheduled = True
        """Whether there is nothing to decide: a call is on its way, or the node is not open."""
        if len(self.in_streams) == 1 and plan.has_default_policy:
            self.queues.append(deque())
            self.in_streams[0].sinks.append((self.queues[0], pool.heap, key))
            self.in_streams[0].is_ordered = True
        elif self.in_streams:
            self._watch_queues()
        self.offsets: list[int | None] = [None] * len(self.out_streams)
        self.is_open = False
        self.step: Step = do_nothing
        self.calculator: Calculator | None = None
        self.process: Callable[[CalculatorContext], Any] = _not_open
        self.context = NO_CONTEXT
        self.sender: CalculatorContext | None = None
        """The context whose packets are next to go out: of several calls at once, that of the first timestamp."""
        self.following: NodeState | None = None
        """The only consumer of the only output, where packets may go straight to it."""

    def _watch_queues(self) -> None:
        """Make the queues of a node for which it matters when, and in which order, packets arrive."""
        self.bounds = list(self.in_streams)
        arrived = self.arrived_and_trim if self.plan.handler.drops_packets else self.arrived
        for position, stream in enumerate(self.in_streams):
            queue = WatchedQueue(arrived)
            if self.in_streams.count(stream) > 1:
                self.bounds[position] = queue.port = Port()
            self.queues.append(queue)
            stream.sinks.append((queue, self.unread, self.key))
            if self.plan.handler.drops_packets:
                stream.dropping = [*stream.dropping, queue]
            stream.is_ordered |= not self.plan.handler.ignores_timestamps

    def arrived(self) -> None:
        """Something is new at the inputs: decide now, unless that has to wait for a call.

        The moment counts: a handler that takes what is there, as Immediate does, is asked before the next input gets its packet.
        """
        self.unread.clear()
        if not self.is_scheduled and self.look(self) and not self.run.errors:
            heappush(self.pool.heap, self.key)

    def arrived_and_trim(self) -> None:
        """The same where the handler drops packets."""
        self.arrived()
        self.handler.trim()

    @property
    def handler(self) -> InputStreamHandler:
        """The input policy; made when it is asked for, since the steps of the default policy do without."""
        if self._handler is None:
            plan = self.plan
            self._handler = plan.handler(
                self.queues, self.bounds, plan.handler_options, plan.inputs, plan.contract.process_timestamp_bounds
            )
        return self._handler

    def can_open(self) -> bool:
        """Whether all side packets and the headers of all inputs are there."""
        run = self.run
        for name in self.plan.input_side_packets.names:
            if not run.knows_side_packet(name):
                return False
        for port, stream in enumerate(self.in_streams):
            if not stream.is_header_known and port not in self.plan.back_edges:
                return False
        return True

    def open(self) -> bool:
        """Make the calculator and call its ``open``; whether that went well."""
        plan, run = self.plan, self.run
        self.context = context = self.new_context()
        try:
            self.calculator = calculator = plan.calculator()
            self.process = self._traced("process", calculator.process)
            result = self._traced("open", calculator.open)(context)
            if result is not None:
                refuse_result("open", result)
        except BaseException as error:
            run.fail(self.failure("open", error))
            if isinstance(error, KeyboardInterrupt):
                raise
            return False
        self.is_open = True
        has_sent = False
        for port, (out, stream) in enumerate(zip(context.outputs, self.out_streams)):  # noqa: B905  # as new_context makes them
            self.offsets[port] = plan.contract.timestamp_offset if out._offset is None else out._offset
            if out._header is not None:
                stream.header = out._header
            stream.is_header_known = True
            has_sent |= bool(out._pending)
        if has_sent and not self.send(context, "open"):
            return False
        self.begin_calls(context)
        self.sender = context
        return True

    def begin_calls(self, context: CalculatorContext) -> None:
        """Make a context ready for ``process``."""
        context._phase = "process"
        context._flush = self.flush

    def new_context(self) -> CalculatorContext:
        """A context with ports of its own."""
        plan, run = self.plan, self.run
        context = CalculatorContext(plan.name, run, plan.find_options, plan.contract.services)
        context.inputs = Ports.of(
            [InputStream(stream, queue) for stream, queue in zip(self.in_streams, self.queues, strict=True)],
            plan.inputs,
            "input streams",
        )
        context.outputs = Ports.of(
            [OutputStream(stream.name, context, stream.check) for stream in self.out_streams],
            plan.outputs,
            "output streams",
        )
        context.input_side_packets, context.output_side_packets = _NO_INPUT_SIDE_PACKETS, _NO_OUTPUT_SIDE_PACKETS
        names = plan.input_side_packets.names
        if names:
            present = [name for name in names if name in run.side_packets]
            context.input_side_packets = Ports.of(
                [InputSidePacket(name, run.side_packets[name]) for name in present],
                plan.input_side_packets if len(present) == len(names) else run.present_side_packets(plan),
                "input side packets",
            )
        if plan.output_side_packets.names:
            context.output_side_packets = Ports.of(
                [OutputSidePacket(name, run.set_side_packet) for name in plan.output_side_packets.names],
                plan.output_side_packets,
                "output side packets",
            )
        return context

    def close(self, *, regular: bool) -> None:
        """Call ``close`` once; send what it sent when the run ends regularly, and end all outputs."""
        context, calculator = self.context, self.calculator
        if not self.is_open or calculator is None:
            return
        self.is_open = False
        self.is_scheduled = True
        self.sender = None
        self.step = do_nothing
        context._timestamp = DONE
        context._phase = "close"
        context._flush = None
        for queue, stream, port in zip(self.queues, self.in_streams, context.inputs):  # noqa: B905  # one of each for an input
            queue.clear()
            if stream.dropping:
                stream.dropping = [each for each in stream.dropping if each is not queue]
            port.packet = EMPTY_PACKET
            # What still comes is dropped without a check: nobody is there to notice its order.
            if len(stream.sinks) == 1:  # this one
                stream.sinks.clear()
            else:
                stream.sinks[:] = [sink for sink in stream.sinks if sink[0] is not queue]
        try:
            result = self._traced("close", calculator.close)(context)
            if result is not None:
                refuse_result("close", result)
        except BaseException as error:
            if regular:
                self.run.fail(self.failure("close", error))
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        if regular and self.send(context, "close"):
            for stream in self.out_streams:
                stream.close()
        self.run.node_closed(self)

    def _traced(self, phase: str, method: Callable[[CalculatorContext], Any]) -> Callable[[CalculatorContext], Any]:
        if self.run.tracer is None:
            return method
        is_async = phase == "process" and self.plan.is_async
        return self.run.tracer.wrap(self.plan.name, phase, method, is_async=is_async)

    def release(self) -> None:
        """The run is over: let go of everything that points back to it."""
        if self.context is not NO_CONTEXT:
            self.context.inputs = _NO_INPUTS
            self.context.outputs = _NO_OUTPUTS
            self.context._flush = None
        self.context, self.calculator, self.sender, self.following = NO_CONTEXT, None, None, None
        self.process, self.step, self.look = _not_open, do_nothing, see_nothing
        self.queues, self.inputs = [], []  # some queues know the node
        del self.run, self._handler

    def failure(self, phase: str, error: BaseException) -> GraphError:
        """``error`` as the run's error, in MediaPipe's words."""
        wrapped = GraphError(
            f'Calculator::{_PHASE_NAMES[phase]}() for node "{self.plan.name}" failed: {describe(error)}',
            code=code_of(error),
            phase=phase,
            node=self.plan.name,
        )
        wrapped.__cause__ = error
        return wrapped

    def bad_result(self, result: object) -> GraphError:
        """The error for a ``process`` that returned something."""
        if isinstance(result, Coroutine):
            result.close()  # else Python warns later that nobody awaited it
            return self.failure(
                "process", TypeError("process() returned a coroutine; write async def process(self, cc)")
            )
        return self.failure(
            "process",
            TypeError(
                f"process() returned {type(result).__name__}; it returns None or STOP. To send a packet write\n"
                '    wrong: return value\n    right: cc.outputs["TAG"].add(value)'
            ),
        )

    def send(self, context: CalculatorContext, phase: str, timestamp: int | None = None) -> bool:
        """Send what a context's outputs hold; False when a stream refused it (the run has failed then).

        Per stream: the packets, then one bound, the last explicit one or the one that the offset gives after ``timestamp``,
        whichever is higher.
        """
        packets: Sequence[Packet] = ()
        try:
            for port, stream, offset in zip(context.outputs, self.out_streams, self.offsets, strict=True):
                bound = None
                if port._pending:
                    packets = port._pending[:]
                    del port._pending[
                        : len(packets)
                    ]  # not clear(): in a flush the call goes on, and may add one meanwhile
                    last = packets[-1]
                    if len(packets) > 1:
                        stream.send_together([packet for packet in packets if packet._value is not NOTHING])
                    elif last._value is not NOTHING:
                        stream.send(last)
                    if last._value is NOTHING:
                        bound = last._timestamp if isinstance(last, BoundMark) else next_allowed(last._timestamp)
                if timestamp is not None and offset is not None and (offset > 0 or stream.bound <= timestamp):
                    moved = bound_after(timestamp, offset)
                    if moved > stream.bound and (bound is None or moved > bound):
                        bound = moved
                if bound is not None:
                    stream.move_bound(bound)
        except Exception as raised:
            error = raised
            for stray in (each for each in packets if not isinstance(each, Packet)):
                error = TypeError(f"add_packet() takes a Packet, not {type(stray).__name__}; add() takes a value")
            self.run.fail(self._stream_failure(phase, error, context))
            return False
        return True

    def flush(self, context: CalculatorContext) -> None:
        """Send what a running call has in its outputs; from any thread, with or without the token."""
        timestamp = context._timestamp

        def send(_: Packet) -> None:
            # Another context's turn, or another call by now: what this one sent goes out when it returns.
            if context is self.sender and context._timestamp == timestamp:
                self.send(context, "process")

        context._run.interrupt(self, send)  # the context's: this node may have been released by then

    def show(self, observers: Sequence[Observer], packet: Packet) -> bool:
        """Hand a packet to observers; False when one of them failed (the run has failed then)."""
        try:
            show(observers, packet)
        except Exception as error:
            self.run.fail(self._stream_failure("process", error, self.context))
            return False
        return True

    def _stream_failure(self, phase: str, error: Exception, context: CalculatorContext) -> GraphError:
        """A refused packet: the stream's own error, with the node that sent it."""
        if isinstance(error, GraphError):
            if error.node is None:
                error.node, error.phase = self.plan.name, phase
                stop = "" if error.message.endswith(".") else "."
                error.message += (
                    f'{stop} Node "{self.plan.name}" sent it in {phase}() at {debug_string(context._timestamp)}.'
                )
            return error
        return self.failure(phase, error)

    def finish(self, context: CalculatorContext, timestamp: int, result: Any) -> bool:
        """After ``process``: look at what it returned, send, move bounds. False when the run has failed."""
        if (result is None or self.run.take_result(self, result)) and self.send(context, "process", timestamp):
            return True
        self.batch.clear()
        self.is_scheduled = False
        self.look(self)  # the bound is passed on all the same
        return False

    def pass_bound(self, bound: int) -> None:
        """The inputs are settled up to ``bound`` without packets: outputs with an offset follow."""
        for stream, offset in zip(self.out_streams, self.offsets, strict=True):
            if offset is not None and MIN <= bound <= MAX:
                moved = min(max(bound + offset, MIN), MAX)
                if moved > stream.bound:
                    try:
                        stream.move_bound(moved)
                    except Exception as error:  # a callback of the user's
                        self.run.fail(self._stream_failure("process", error, self.context))


def _not_open(context: CalculatorContext) -> None:
    raise AssertionError("a node that is not open is not called")


def bound_after(timestamp: int, offset: int) -> int:
    """The output bound after processing ``timestamp`` with an offset (MediaPipe ``output_stream_manager.cc``)."""
    if MIN <= timestamp < MAX:
        return min(max(timestamp + 1 + offset, MIN), MAX)
    if timestamp == MAX:
        return POST_STREAM if offset >= 0 else next_allowed(MAX + offset)
    return MIN if timestamp == PRE_STREAM else next_allowed(timestamp)


NO_CONTEXT: Final = CalculatorContext("", None, lambda _: None, ())
"""What a node has before it opens and when its run is over."""

_NO_INPUTS: Final[Ports[InputStream]] = Ports.of([], TagMap([]), "input streams")
_NO_OUTPUTS: Final[Ports[OutputStream]] = Ports.of([], TagMap([]), "output streams")
_NO_INPUT_SIDE_PACKETS: Final[Ports[InputSidePacket]] = Ports.of([], TagMap([]), "input side packets")
_NO_OUTPUT_SIDE_PACKETS: Final[Ports[OutputSidePacket]] = Ports.of([], TagMap([]), "output side packets")
