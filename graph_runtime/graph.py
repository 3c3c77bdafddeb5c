"""CalculatorGraph: a Plan that runs. The names are those of MediaPipe's Python API (0.10.x), with cancellation and time limits."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from operator import index as exact_int
from typing import TYPE_CHECKING, Any

from graph_runtime._engine.run import Run
from graph_runtime._engine.stream import Observer, StreamState
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.arguments import by_name, check_callable, check_name, check_timeout, wrong_type
from graph_runtime.config import to_text
from graph_runtime.errors import GraphError, Problem, StatusCode, combine, raise_problems
from graph_runtime.executors import ExecutorPlan
from graph_runtime.inspect import GraphSnapshot, take_snapshot
from graph_runtime.near_names import did_you_mean
from graph_runtime.packet import Packet
from graph_runtime.plan import UNLIMITED, Plan
from graph_runtime.poller import OutputStreamPoller
from graph_runtime.port_types import packet_mismatch
from graph_runtime.subgraph import Subgraphs
from graph_runtime.timestamp import POST_STREAM, PRE_STREAM, UNSET, debug_string
from graph_runtime.trace import DEFAULT_CAPACITY, Tracer
from graph_runtime.validated_graph_config import ValidatedGraphConfig, plan_from_keywords

if TYPE_CHECKING:
    import asyncio

    from graph_runtime.calculator import Calculator


class GraphInputStreamAddMode(enum.IntEnum):
    """What adding does when a graph input is full."""

    WAIT_TILL_NOT_FULL = 0
    ADD_IF_NOT_FULL = 1

    def __str__(self) -> str:
        return f"GraphInputStreamAddMode.{self.name}"


class CalculatorGraph:
    """A graph that can be run, several times one after the other.

    Args:
        plan: a validated graph, to be shared with other CalculatorGraph objects; or give one of the keywords:
        graph_config: pbtxt text or a CalculatorGraphConfig message.
        binary_graph_path: path of a serialized CalculatorGraphConfig.
        validated_graph_config: a ValidatedGraphConfig.
        subgraphs, calculators: what this graph may use as nodes beside what is registered; see Plan.
        executors: for executors that the graph declares without a type, by name: a function that runs a given function
            some time later on a thread of its own, such as ``concurrent.futures.ThreadPoolExecutor().submit``.

    The calling thread runs nodes while it waits; a worker thread does when nobody waits. All methods may be called from any
    thread, and from calculators and callbacks, except the waits, which a node of the same graph may not call.
    """

    __slots__ = (
        "__weakref__", "_add_mode", "_executors", "_last_side_packets", "_observers", "_outputs_waited_for", "_plan",
        "_queue_limit", "_run", "_services", "_tracer",
    )  # fmt: skip

    def __init__(
        self,
        plan: Plan | None = None,
        *,
        graph_config: str | CalculatorGraphConfig | None = None,
        binary_graph_path: str | os.PathLike[str] | None = None,
        validated_graph_config: ValidatedGraphConfig | None = None,
        executors: Mapping[str, Callable[[Callable[[], None]], object]] | None = None,
        subgraphs: Subgraphs = (),
        calculators: Mapping[str, type[Calculator]] | None = None,
        **unknown: Any,
    ) -> None:
        executors = by_name("executors has name -> function", executors)
        if plan is None:
            plan = plan_from_keywords(
                executors=executors,
                subgraphs=subgraphs,
                calculators=calculators,
                graph_config=graph_config,
                binary_graph_path=binary_graph_path,
                validated_graph_config=validated_graph_config,
                **unknown,
            )
        elif unknown or (graph_config, binary_graph_path, validated_graph_config) != (None, None, None):
            raise GraphError("CalculatorGraph() takes a plan or keywords, not both", code=StatusCode.INVALID_ARGUMENT)
        elif not isinstance(plan, Plan):
            raise TypeError(
                f"CalculatorGraph() takes a Plan, or keywords such as graph_config=..., not {type(plan).__name__}"
            )
        if executors:
            _check_executors(plan, executors)
        self._plan = plan
        self._executors = executors
        self._observers: list[tuple[str, Observer]] = []
        self._run: Run | None = None
        self._last_side_packets: dict[str, Packet] = {}
        self._outputs_waited_for = 0
        self._services: dict[str, Any] = {}
        self._tracer = None if plan.trace_capacity is None else Tracer(plan.trace_capacity)
        self._queue_limit = plan.max_queue_size
        self._add_mode = GraphInputStreamAddMode.WAIT_TILL_NOT_FULL

    @property
    def plan(self) -> Plan:
        """The validated graph."""
        return self._plan

    @property
    def text_config(self) -> str:
        """The validated graph as pbtxt."""
        return to_text(self._plan.config)

    @property
    def binary_config(self) -> bytes:
        """The validated graph, serialized."""
        return self._plan.config.SerializeToString()

    @property
    def max_queue_size(self) -> int:
        """Packets that an input may hold before the graph inputs are full; -1 for no limit.

        What the graph file says (100 where it says nothing), until it is set; a set value holds in all following runs.

        Raises:
            InvalidArgumentError: the value that is set is neither positive nor -1.
            GraphRuntimeError: it is set during a run.
        """
        return -1 if self._queue_limit == UNLIMITED else self._queue_limit

    @max_queue_size.setter
    def max_queue_size(self, packets: int) -> None:
        limit = exact_int(packets)
        if limit < 1 and limit != -1:
            raise GraphError(
                f"max_queue_size = {limit}: it has to be positive, or -1 for no limit", code=StatusCode.INVALID_ARGUMENT
            )
        if self._is_running():
            raise GraphError("max_queue_size is set during a run", code=StatusCode.FAILED_PRECONDITION)
        self._queue_limit = UNLIMITED if limit == -1 else limit

    @property
    def graph_input_stream_add_mode(self) -> GraphInputStreamAddMode:
        """Whether adding to a full graph waits, or raises with code UNAVAILABLE; may be set at any time."""
        return self._add_mode

    @graph_input_stream_add_mode.setter
    def graph_input_stream_add_mode(self, mode: GraphInputStreamAddMode) -> None:
        if not isinstance(mode, GraphInputStreamAddMode):
            raise wrong_type("graph_input_stream_add_mode is a GraphInputStreamAddMode", mode)
        self._add_mode = mode

    # ---- before a run

    def observe_output_stream(
        self, stream_name: str, callback_fn: Callable[[str, Packet], object], observe_timestamp_bounds: bool = False
    ) -> None:
        """Call ``callback_fn(stream_name, packet)`` for each packet of any stream, in all following runs.

        With ``observe_timestamp_bounds`` also for settled timestamps without packets (an empty packet). Callbacks of one
        stream are never called at the same time. An exception in one fails the run.

        Raises:
            GraphRuntimeError: there is no such stream (NOT_FOUND), or a run is going on.
        """
        check_name(stream_name)
        check_callable(callback_fn, "packets are given to callback_fn(stream_name, packet)")
        if stream_name not in self._plan.stream_ids:
            raise GraphError(
                f'Unable to attach observer to output stream "{stream_name}" because it doesn\'t exist; '
                f"{did_you_mean(stream_name, self._plan.stream_ids, 'the streams of the graph are')}",
                code=StatusCode.NOT_FOUND,
            )
        if self._is_running():
            raise GraphError("observe_output_stream() is called during a run", code=StatusCode.FAILED_PRECONDITION)
        self._observers.append((stream_name, Observer(partial(callback_fn, stream_name), observe_timestamp_bounds)))

    def add_output_stream_poller(self, stream_name: str, observe_timestamp_bounds: bool = False) -> OutputStreamPoller:
        """An object to take the packets of any stream from, in all following runs.

        Raises:
            GraphRuntimeError: there is no such stream (NOT_FOUND), or a run is going on.
        """
        check_name(stream_name)
        poller = OutputStreamPoller(stream_name, lambda: self._run)
        self.observe_output_stream(stream_name, lambda _, packet: poller.put(packet), observe_timestamp_bounds)
        return poller

    def set_service(self, key: str, value: Any) -> None:
        """Give all nodes an object that they share; before a run, and kept for all following ones.

        Raises:
            GraphRuntimeError: a run is going on.
        """
        check_name(key)
        if self._is_running():
            raise GraphError("set_service() is called during a run", code=StatusCode.FAILED_PRECONDITION)
        self._services[key] = value

    def start_run(
        self,
        input_side_packets: Mapping[str, Any] | None = None,
        *,
        stream_headers: Mapping[str, Any] | None = None,
        deferred: bool = False,
        loop: asyncio.AbstractEventLoop | None = None,
        on_done: Callable[[], None] | None = None,
    ) -> None:
        """Begin a run. Values that are no Packets are wrapped.

        Args:
            input_side_packets: name -> packet or value.
            stream_headers: graph input -> the packet or value that nodes see as its header.
            deferred: run nothing before a thread waits for the graph. Saves waking a worker thread, which costs more than a
                small graph does, where the caller adds its packets and waits at once.
            loop: where ``async def process`` of nodes runs; without it, on a background event loop.
            on_done: called on some thread when the run has ended.

        Raises:
            GraphError: a side packet is missing or of a wrong type; a header is for no graph input, or has a timestamp; or the
                former run has not ended.
        """
        if self._is_running():
            raise GraphError(
                "start_run() is called before the former run ended: close() it or cancel() it first",
                code=StatusCode.FAILED_PRECONDITION,
            )
        if on_done is not None:
            check_callable(on_done, "on_done is called without arguments at the end")
        if loop is not None and not hasattr(loop, "call_soon_threadsafe"):
            raise wrong_type("loop is an event loop", loop)
        headers = by_name("stream_headers has name -> packet or value", stream_headers)
        side_packets = by_name("start_run() takes name -> packet or value", input_side_packets)
        for name, value in side_packets.items():
            if not isinstance(value, Packet):
                side_packets[name] = Packet(value)
        self._check_side_packets(side_packets)
        self._make_services()
        run = Run(
            self._plan,
            side_packets,
            self._observers,
            self._executors,
            deferred=deferred,
            loop=loop,
            services=self._services,
            tracer=self._tracer,
            queue_limit=self._queue_limit,
        )
        for name, value in headers.items():
            header = value if isinstance(value, Packet) else Packet(value)
            if header._timestamp != UNSET:
                raise GraphError(
                    f'Headers must not have a timestamp. Stream: "{name}".', code=StatusCode.INVALID_ARGUMENT
                )
            self._input_of(run, "StartRun", name).header = header
        if on_done is not None:
            run.call_when_done(on_done)
        self._outputs_waited_for = self._outputs_told()
        self._run = run
        run.start()

    def _make_services(self) -> None:
        """Make what nodes need and the caller did not give."""
        for node, key, service in self._plan.services:
            if key in self._services or service.optional:
                continue
            reason = "it has no default"
            if service.default is not None:
                try:
                    self._services[key] = service.default()
                    continue
                except Exception as error:
                    reason = str(error)
            raise GraphError(
                f'Service "{key}", required by node {node}, was not provided and cannot be created: {reason}',
                code=StatusCode.INTERNAL,
            )

    def _check_side_packets(self, given: Mapping[str, Packet]) -> None:
        problems = []
        for name, ports in self._plan.required_side_packets.items():
            packet = given.get(name)
            for port in ports:
                if packet is None:
                    if not port.is_optional:
                        problems.append(Problem(f'Side packet "{name}" is required but was not provided.'))
                        break
                    continue
                mismatch = packet_mismatch(port, packet)
                if mismatch is not None:
                    code = StatusCode.INTERNAL if packet.is_empty() else StatusCode.INVALID_ARGUMENT
                    problems.append(Problem(f'Side packet "{name}" failed validation: {mismatch}', code))
        for name in self._plan.produced_side_packets:
            if name in given:
                problems.append(
                    Problem(
                        f'Side packet "{name}" is both provided and made by a node of the graph.', StatusCode.UNKNOWN
                    )
                )
        raise_problems("ValidateRequiredSidePackets failed to validate:", problems)

    # ---- during a run

    def add_packet_to_input_stream(self, stream: str, packet: Packet, timestamp: int = UNSET) -> None:
        """Give a graph input a packet, at ``timestamp`` (microseconds) or at the packet's own; processes nothing.

        An empty packet moves the stream's bound to just after its timestamp. A packet that is before the bound, or for a closed
        stream, fails the run, unless nobody listens to the stream any more; the next call says so.

        Raises:
            InvalidArgumentError: the timestamp cannot be that of a packet, or the packet's type does not fit.
            GraphRuntimeError: no such graph input, no run, or ``Graph has errors: ...`` for anything that failed earlier.
        """
        if not isinstance(packet, Packet):
            raise TypeError(
                f"add_packet_to_input_stream() takes a Packet, not {type(packet).__name__}: write Packet({packet!r:.40})"
            )
        if timestamp != UNSET:
            packet = packet.at(timestamp)
        if not PRE_STREAM <= packet._timestamp <= POST_STREAM:
            raise GraphError(
                f"{debug_string(packet._timestamp)} can't be the timestamp of a Packet in a stream.",
                code=StatusCode.INVALID_ARGUMENT,
            )
        run, target = self._graph_input("AddPacketToInputStream", stream)
        if run.errors:
            raise combine("Graph has errors: ", run.errors)
        if target.check is not None and not packet.is_empty():
            try:
                target.check(packet)
            except GraphError as error:
                run.post_failure(error)
                run.settle()
                raise combine("Graph has errors: ", [error]) from error
        if not run.has_room(target):
            waits = self._add_mode is GraphInputStreamAddMode.WAIT_TILL_NOT_FULL
            if not run.may_add(target, waits):
                raise GraphError("Graph is throttled.", code=StatusCode.UNAVAILABLE)
            if run.errors:
                raise combine("Graph has errors: ", run.errors)
        run.add(target, packet)

    def check_packet(self, stream: str, packet: Packet) -> None:
        """Raise what adding this packet would fail the run with, and leave the run alone: for packets that come from outside.

        It knows what has been added until now; of several threads that add to one stream, each has to hold a lock of its own.

        Raises:
            InvalidArgumentError: the timestamp cannot be that of a packet, or is before one that was added; or the packet's type
                does not fit.
            GraphRuntimeError: no such graph input, no run, or ``Graph has errors: ...``.
        """
        run, target = self._graph_input("AddPacketToInputStream", stream)
        if run.errors:
            raise combine("Graph has errors: ", run.errors)
        target.check_order(packet._timestamp)
        if target.check is not None and not packet.is_empty():
            target.check(packet)

    def wait_for_room(self, stream: str) -> None:
        """Return when a graph input can take a packet, or the run has failed or ended."""
        run, target = self._graph_input("AddPacketToInputStream", stream)
        if not run.has_room(target):
            run.may_add(target, wait=True)

    def waiting_to_add(self) -> AbstractContextManager[None]:
        """Inside the block, full graphs are let grow for the caller's packet before their sources go on."""
        return self._started("AddPacketToInputStream").waiting_to_add()

    def close_input_stream(self, stream: str) -> None:
        """End one graph input; twice is fine."""
        self._graph_input("CloseInputStream", stream)[0].close_input(stream)

    def close_all_packet_sources(self) -> None:
        """End all graph inputs and sources: the run ends when what is in it is processed."""
        self._started("CloseAllPacketSources").close_sources()

    def cancel(self) -> None:
        """End the run as soon as possible, from any thread; ``wait_until_done`` then raises with code CANCELLED."""
        if self._run is not None:
            self._run.cancel()

    def wait_until_idle(self, timeout_s: float | None = None) -> None:
        """Return when the graph has nothing to do before more input comes.

        Args:
            timeout_s: give up after so many seconds; None waits for ever.

        Raises:
            GraphError: ``CalculatorGraph::Run() failed: ...`` when something failed; DEADLINE_EXCEEDED when the time is over.
        """
        run = self._started("WaitUntilIdle")
        check_timeout(timeout_s)
        if not run.wait_until_idle(timeout_s):
            report = self.snapshot().hang_report()
            raise GraphError(
                f"The graph is not idle after {timeout_s:g} s" + (f":\n{report}" if report else ""),
                code=StatusCode.DEADLINE_EXCEEDED,
            )
        if run.errors and not run.is_over:
            raise combine("CalculatorGraph::Run() failed: ", run.errors)

    def wait_for_observed_output(self, timeout_s: float | None = None) -> None:
        """Return when something has come on an observed stream since the last call or the start of the run, its end included.

        Raises:
            GraphRuntimeError: the run is over (OUT_OF_RANGE, ``Graph is done.``), or the time is (DEADLINE_EXCEEDED).
        """
        run = self._started("WaitForObservedOutput")
        check_timeout(timeout_s)
        if not run.wait_for(lambda: self._outputs_told() > self._outputs_waited_for, timeout_s):
            raise GraphError(f"No observed output within {timeout_s:g} s", code=StatusCode.DEADLINE_EXCEEDED)
        told = self._outputs_told()
        if told == self._outputs_waited_for:
            raise GraphError("Graph is done.", code=StatusCode.OUT_OF_RANGE)
        self._outputs_waited_for = told

    def pause(self) -> None:
        """Start no further calls of nodes until ``resume``; those that run go on."""
        self._started("Pause").pause()

    def resume(self) -> None:
        """Go on after ``pause``."""
        self._started("Resume").resume()

    def wait_until_done(self, timeout_s: float | None = None) -> None:
        """Return when the run has ended, which needs all graph inputs to be closed.

        Args:
            timeout_s: give up after so many seconds; None waits for ever.

        Raises:
            GraphError: ``CalculatorGraph::Run() failed: ...``, once; DEADLINE_EXCEEDED when the time is over.
        """
        run = self._started("WaitUntilDone")
        check_timeout(timeout_s)
        if not run.wait_until_done(timeout_s):
            report = self.snapshot().hang_report()
            raise GraphError(
                f"The run has not ended within {timeout_s:g} s" + (f":\n{report}" if report else ""),
                code=StatusCode.DEADLINE_EXCEEDED,
            )
        self._last_side_packets.update(run.output_side_packets)
        if run.is_over:
            return
        run.is_over = True
        if run.errors:
            raise combine("CalculatorGraph::Run() failed: ", run.errors)

    def close(self) -> None:
        """``close_all_packet_sources`` and ``wait_until_done``."""
        self.close_all_packet_sources()
        self.wait_until_done()

    def get_output_side_packet(self, name: str) -> Packet:
        """A side packet that a node made.

        Raises:
            GraphRuntimeError: no node makes it (NOT_FOUND), or it is not there yet (UNAVAILABLE).
        """
        check_name(name)
        if name not in self._plan.produced_side_packets:
            raise GraphError(
                f'Unable to get the output side packet "{name}" because it doesn\'t exist; '
                + (did_you_mean(name, self._plan.produced_side_packets, "nodes make") or "no node makes one"),
                code=StatusCode.NOT_FOUND,
            )
        current = {} if self._run is None else self._run.output_side_packets
        packet = current.get(name) or self._last_side_packets.get(name)
        if packet is None:
            raise GraphError(f'The output side packet "{name}" is unavailable.', code=StatusCode.UNAVAILABLE)
        return packet

    def has_error(self) -> bool:
        """Whether the current run has failed."""
        return self._run is not None and bool(self._run.errors) and not self._run.is_over

    def get_combined_error_message(self) -> str:
        """The code and the text of all errors of the current run; "" when there are none."""
        if self._run is None or not self.has_error():
            return ""
        error = combine("CalculatorGraph::Run() failed: ", self._run.errors)
        return f"{error.code.name}: {error.message}"

    # ---- seeing into it

    def snapshot(self) -> GraphSnapshot:
        """What every node holds and waits for, now; from any thread, at any time."""
        return take_snapshot(self._plan, self._run)

    def counters(self) -> dict[str, int]:
        """What nodes have counted (``cc.count``) in the current or last run."""
        return {} if self._run is None else dict(self._run.counters)

    def enable_tracing(self, capacity: int = DEFAULT_CAPACITY) -> Tracer:
        """Keep the last ``capacity`` calls of nodes, from the next run on; ``profiler_config { trace_enabled: true }`` does too.

        Returns: the tracer, whose ``write(path)`` makes a file for Perfetto.
        """
        self._tracer = Tracer(capacity)
        return self._tracer

    @property
    def tracer(self) -> Tracer | None:
        """The tracer, where tracing is on."""
        return self._tracer

    # ---- helpers

    def _outputs_told(self) -> int:
        told = 0
        for _, observer in self._observers:
            told += observer.told
        return told

    def _is_running(self) -> bool:
        return self._run is not None and not self._run.is_done

    def _started(self, what: str) -> Run:
        run = self._run
        if run is None or (run.is_over and what == "AddPacketToInputStream"):
            raise GraphError(
                f"CalculatorGraph::{what}() is called before StartRun()", code=StatusCode.FAILED_PRECONDITION
            )
        return run

    def _graph_input(self, what: str, stream: str) -> tuple[Run, StreamState]:
        run = self._started(what)
        return run, self._input_of(run, what, stream)

    def _input_of(self, run: Run, what: str, stream: str) -> StreamState:
        target = run.graph_inputs.get(stream)
        if target is not None:
            return target
        check_name(stream)
        have = ", ".join(name for _, _, name in self._plan.graph_inputs) or "none"
        raise GraphError(
            f'{what} called on input stream "{stream}" which is not a graph input stream; the graph inputs are: {have}',
            code=StatusCode.INTERNAL,
        )


def _check_executors(plan: Plan, executors: Mapping[str, Callable[[Callable[[], None]], object]]) -> None:
    """Refuse executors that the graph does not have, and what is no function."""
    for name, submit in executors.items():
        if not plan.executors.get(name, ExecutorPlan()).given_by_caller:
            have = ", ".join(each for each in plan.executors if each) or "none"
            raise GraphError(
                f'there is no executor "{name}" in the graph; it has: {have}', code=StatusCode.INVALID_ARGUMENT
            )
        if not callable(submit):
            raise TypeError(
                f'executor "{name}" has to be a function that runs a given function some time later, not '
                f"{type(submit).__name__}; pass its submit method, if it has one"
            )
