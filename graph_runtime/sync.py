"""Graphs in programs with threads: a run that begins and ends with a ``with`` block. ``aio`` has the same for asyncio.

::

    with running(plan, outputs=["out"]) as run:
        run.add("in", Packet(1), 0)
        run.close_inputs()
        for packet in run.output("out"):
            ...

Leaving the block waits for the end of the run and raises what failed; leaving it by an exception, Ctrl-C included, cancels the
run. Nodes run on worker threads, so that what they send is there at once; those of ``run`` on the calling one, unless it is main.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from graph_runtime.arguments import by_name, wrong_type
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.graph import CalculatorGraph
from graph_runtime.packet import Packet
from graph_runtime.plan import Plan
from graph_runtime.poller import OutputStreamPoller
from graph_runtime.timestamp import UNSET

CANCEL_GRACE_S: Final = 30.0
"""How long a run that was cancelled is waited for: a node that does not look at ``cc.cancelled`` holds it up."""

T = TypeVar("T")

# With a time limit the thread that waits runs no nodes: it gets packets while the call that sent them goes on, and Ctrl-C does not
# fall into somebody's node, or between two lines of the engine.
_FOR_EVER_S: Final = threading.TIMEOUT_MAX / 2

_log = logging.getLogger("graph_runtime")


class SyncRun:
    """A run of a graph; made by :func:`running`.

    Attributes:
        graph: the CalculatorGraph that runs.
    """

    def __init__(self, graph: CalculatorGraph, outputs: Iterable[str]) -> None:
        self.graph = graph
        self.outcome = Outcome(graph)
        self._pollers: dict[str, OutputStreamPoller] = {}
        for name in outputs:
            self._pollers[name] = graph.add_output_stream_poller(name)

    def add(self, stream: str, packet: Packet, timestamp: int | None = None) -> None:
        """Give a graph input a packet, at ``timestamp`` (microseconds) or at its own; waits while the graph is full.

        Raises:
            GraphError: as ``CalculatorGraph.add_packet_to_input_stream``.
        """
        self.graph.add_packet_to_input_stream(stream, packet, UNSET if timestamp is None else timestamp)

    def close_inputs(self) -> None:
        """End all graph inputs and sources: the run ends when what is in it is processed."""
        self.graph.close_all_packet_sources()

    def output(self, stream: str, timeout_s: float | None = None) -> Iterator[Packet]:
        """The packets of one of the ``outputs``, as they come, until the run ends.

        Who breaks off, or got no packet in time, can go on later where it was, by the same iterator or another one.

        Args:
            stream: its name.
            timeout_s: how long to wait for each packet at most; None waits for ever.

        Raises:
            GraphError: the run failed; after the packets that came before. DEADLINE_EXCEEDED: no packet came in time.
                INVALID_ARGUMENT: the stream is not among the outputs.
        """
        return _Output(self, known_output(self._pollers, stream), timeout_s)

    def wait_until_done(self, timeout_s: float | None = None) -> None:
        """Return when the run has ended, which needs all graph inputs to be closed.

        Raises:
            GraphError: the run failed; or DEADLINE_EXCEEDED: the time is over.
        """
        self.outcome.learn(timeout_s)
        self.outcome.tell()

    def cancel(self) -> None:
        """End the run as soon as possible, from any thread; leaving the block then raises nothing."""
        self.outcome.cancel_asked = True
        self.graph.cancel()


class _Output:
    """The packets of an output; not a generator, which would be over when a packet does not come in time."""

    def __init__(self, run: SyncRun, poller: OutputStreamPoller, timeout_s: float | None) -> None:
        self._run = run
        self._poller = poller
        self._timeout_s = timeout_s

    def __iter__(self) -> _Output:
        return self

    def __next__(self) -> Packet:
        if not self._run.outcome.is_known or self._poller.queue_size():
            packet = self._poller.next(_limit(self._timeout_s))
            if packet is not None:
                return packet
        self._run.wait_until_done()
        raise StopIteration


class Outcome:
    """How a run of :func:`running` has ended, here or in ``aio``.

    Attributes:
        is_known: whether it has ended, and somebody has asked.
        cancel_asked: whether the program itself has cancelled it.
    """

    def __init__(self, graph: CalculatorGraph) -> None:
        self.is_known = False
        self.cancel_asked = False
        self._graph = graph
        self._error: GraphError | None = None
        self._told = False

    def learn(self, timeout_s: float | None = None) -> None:
        """Wait for the end of the run.

        Raises:
            GraphError: DEADLINE_EXCEEDED: the time is over, and the run goes on.
        """
        if self.is_known:
            return
        try:
            self._graph.wait_until_done(_limit(timeout_s))
        except GraphError as error:
            if is_running(self._graph):
                raise
            self._error = error
        self.is_known = True

    def tell(self) -> None:
        """Raise what the run failed with."""
        if self._error is not None:
            self._told = True
            raise self._error.with_traceback(None)

    def tell_the_rest(self) -> None:
        """Raise what the run failed with, unless somebody knows."""
        if not self._told and not (self.cancel_asked and self._error and self._error.code == StatusCode.CANCELLED):
            self.tell()


@contextmanager
def running(
    graph: Plan | CalculatorGraph,
    side_packets: Mapping[str, Any] | None = None,
    *,
    outputs: Iterable[str] = (),
    cancel_grace_s: float | None = CANCEL_GRACE_S,
) -> Iterator[SyncRun]:
    """Start a run, and end it with the block.

    Args:
        graph: what to run.
        side_packets: name -> packet or value.
        outputs: the streams that will be read with ``SyncRun.output``; their packets are kept until then.
        cancel_grace_s: after an exception in the block, how long to wait for nodes that are at work; None waits for ever. Those
            that are not done by then are named in the log.

    Raises:
        GraphError: the run cannot start, or failed and nobody was told yet.
    """
    graph, names = checked("running", graph, outputs)
    observers = graph._observers[:]
    try:
        run = SyncRun(graph, names)
        graph.start_run(side_packets)
        with _cancelled_by_exceptions(graph, run.outcome, cancel_grace_s):
            yield run
            graph.close_all_packet_sources()
            run.outcome.learn()
        run.outcome.tell_the_rest()
    finally:
        graph._observers[:] = observers


def run(
    graph: Plan | CalculatorGraph,
    inputs: Mapping[str, Any] | None = None,
    side_packets: Mapping[str, Any] | None = None,
    *,
    outputs: Iterable[str] | None = None,
) -> dict[str, list[Packet]]:
    """Run a graph once: one packet for each input, and all that comes out. Sources run until they stop by themselves.

    Args:
        graph: what to run.
        inputs: graph input -> a packet, or a value; what has no timestamp gets 0.
        side_packets: name -> packet or value.
        outputs: the streams to return; the graph's output streams unless given.

    Returns:
        Stream -> its packets, in order.

    Raises:
        GraphError: the run cannot start, or failed.
    """
    given = first_packets(inputs)
    graph, names = checked("run", graph, outputs)
    came: dict[str, list[Packet]] = {name: [] for name in names}
    observers = graph._observers[:]
    try:
        for name, packets in came.items():
            graph.observe_output_stream(name, partial(_keep, packets))
        graph.start_run(side_packets, deferred=True)
        with _cancelled_by_exceptions(graph, Outcome(graph), CANCEL_GRACE_S):
            for stream, packet in given:
                graph.add_packet_to_input_stream(stream, packet)
            close_graph_inputs(graph)
            # Nobody looks before the end, so that this thread can do the work: to wake another one costs more than a small graph.
            # Not the main thread, because of Ctrl-C.
            is_main = threading.current_thread() is threading.main_thread()
            graph.wait_until_done(_FOR_EVER_S if is_main else None)
    finally:
        graph._observers[:] = observers
    return came


def _keep(packets: list[Packet], _: str, packet: Packet) -> None:
    packets.append(packet)


@contextmanager
def _cancelled_by_exceptions(graph: CalculatorGraph, outcome: Outcome, grace_s: float | None) -> Iterator[None]:
    try:
        yield
    except BaseException:
        graph.cancel()
        try:
            with suppress(GraphError):
                outcome.learn(grace_s)
        finally:  # also where a second Ctrl-C ends the wait
            warn_of_hanging(graph)
        raise


def close_graph_inputs(graph: CalculatorGraph) -> None:
    """End the graph inputs alone: who asks for all that comes out gets all that sources give."""
    for _, _, name in graph.plan.graph_inputs:
        graph.close_input_stream(name)


def checked(
    what: str, graph: Plan | CalculatorGraph, outputs: Iterable[str] | None
) -> tuple[CalculatorGraph, list[str]]:
    """The graph to run, and the streams to read: those of the graph file where None are given.

    Raises:
        TypeError: it is neither a Plan nor a CalculatorGraph, or ``outputs`` is one name.
    """
    if not isinstance(graph, Plan | CalculatorGraph):
        raise wrong_type(f"{what}() takes a Plan or a CalculatorGraph", graph)
    if isinstance(outputs, str):
        raise TypeError(f"{what}() takes a list of streams: outputs=['{outputs}']")
    if isinstance(graph, Plan):
        graph = CalculatorGraph(graph)
    if is_running(graph):
        raise GraphError(
            f"{what}() is given a graph that runs already; a Plan can run any number of times at once",
            code=StatusCode.FAILED_PRECONDITION,
        )
    if outputs is None:
        outputs = [name for _, _, name in graph.plan.graph_outputs]
    return graph, list(dict.fromkeys(outputs))


def _limit(timeout_s: float | None) -> float:
    return _FOR_EVER_S if timeout_s is None else timeout_s


def is_running(graph: CalculatorGraph) -> bool:
    """Whether a run of it goes on."""
    return graph._is_running()


def first_packets(inputs: Mapping[str, Any] | None) -> list[tuple[str, Packet]]:
    """What ``run()`` gives each graph input: packets, at 0 where they have no timestamp."""
    packets = []
    for stream, value in by_name("run() takes inputs as name -> packet or value", inputs).items():
        packet = value if isinstance(value, Packet) else Packet(value)
        packets.append((stream, packet.at(0) if packet._timestamp == UNSET else packet))
    return packets


def known_output(outputs: Mapping[str, T], stream: str) -> T:
    """What is kept for an output.

    Raises:
        GraphError: it is not among those that ``running()`` was asked for.
    """
    found = outputs.get(stream)
    if found is None:
        have = ", ".join(outputs) or "none"
        raise GraphError(
            f'"{stream}" is not among the outputs that running() was asked for: {have}',
            code=StatusCode.INVALID_ARGUMENT,
        )
    return found


def warn_of_hanging(graph: CalculatorGraph) -> None:
    """Say in the log which nodes go on although their run was cancelled, and is left."""
    if is_running(graph):
        _log.warning("a cancelled run is left behind, since it does not end:\n%s", graph.snapshot().hang_report())
