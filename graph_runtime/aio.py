"""Graphs in asyncio programs: run a graph without blocking the event loop, and take its outputs by ``async for``.

::

    async with aio.running(plan, outputs=["out"]) as run:
        await run.add("in", Packet(1).at(0))
        run.close_inputs()
        async for packet in run.output("out"):
            ...

Leaving the block waits for the end of the run and raises what failed; leaving it by an exception, a cancelled task included,
cancels the run. Nodes run on worker threads; only ``async def process`` runs on the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.graph import CalculatorGraph, GraphInputStreamAddMode
from graph_runtime.packet import Packet
from graph_runtime.plan import Plan
from graph_runtime.sync import (
    CANCEL_GRACE_S,
    Outcome,
    checked,
    close_graph_inputs,
    first_packets,
    known_output,
    warn_of_hanging,
)


class AsyncRun:
    """A run of a graph, seen from one event loop; made by :func:`running`.

    Attributes:
        graph: the CalculatorGraph that runs.
    """

    def __init__(self, graph: CalculatorGraph, outputs: Iterable[str]) -> None:
        self.graph = graph
        self._outcome = Outcome(graph)
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._change_told = False
        self._ended = False
        self._room: dict[str, asyncio.Future[None]] = {}
        self._packets: dict[str, deque[Packet]] = {}
        for name in outputs:
            self._packets[name] = deque()
            graph.observe_output_stream(name, self._on_packet)

    async def add(self, stream: str, packet: Packet, timestamp: int | None = None) -> None:
        """Give a graph input a packet; while the graph is full this waits, without blocking the event loop.

        Raises:
            GraphError: as ``CalculatorGraph.add_packet_to_input_stream``.
        """
        if timestamp is not None and isinstance(packet, Packet):  # else the graph refuses it
            packet = packet.at(timestamp)
        if not self._add(stream, packet):
            with self.graph.waiting_to_add():
                while not self._add(stream, packet):
                    await self._wait_for_room(stream)

    def close_inputs(self) -> None:
        """End all graph inputs and sources: the run ends when what is in it is processed."""
        self.graph.close_all_packet_sources()

    def output(self, stream: str) -> AsyncIterator[Packet]:
        """The packets of one of the ``outputs``, as they come, until the run ends.

        Several outputs may be read at the same time, by a task each; of several tasks that read one, each gets what it takes first.
        Who breaks off can go on later where it was, by the same iterator or another one; so can who was cancelled while waiting.

        Raises:
            GraphError: the run failed; after the packets that came before. INVALID_ARGUMENT: the stream is not among the outputs.
        """
        return _Output(self, known_output(self._packets, stream))

    async def wait_until_done(self) -> None:
        """Return when the run has ended, which needs all graph inputs to be closed.

        Raises:
            GraphError: the run failed.
        """
        await self._wait_for_end()
        self._outcome.tell()

    def cancel(self) -> None:
        """End the run as soon as possible; leaving the block then raises nothing."""
        self._outcome.cancel_asked = True
        self._cancel()

    def _cancel(self) -> None:
        # on_cancel callbacks of calculators run inside: not on the event loop, which may be closed by now.
        threading.Thread(target=self.graph.cancel, name="graph_runtime aio", daemon=True).start()

    def _add(self, stream: str, packet: Packet) -> bool:
        """Whether there was room for it."""
        try:
            self.graph.add_packet_to_input_stream(stream, packet)
        except GraphError as error:
            if error.code != StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    async def _wait_for_room(self, stream: str) -> None:
        # One thread for a stream, also where callers give up and come again: it ends with the run at the latest.
        waiting = self._room.get(stream)
        if waiting is None or waiting.done():
            waiting = self._room[stream] = _in_thread(partial(self.graph.wait_for_room, stream))
        await asyncio.wait([waiting])
        waiting.result()

    def _work(self) -> None:
        """Run the graph on this thread."""
        with suppress(BaseException):  # what a node raises is an error of the run
            self.graph._started("WaitUntilDone").wait_until_done()

    async def _wait_for_end(self) -> None:
        while not self._ended:
            await self._change()
        self._outcome.learn()

    async def _change(self) -> None:
        """Return when packets have come, or the run has ended, since the caller looked."""
        self._changed.clear()
        await self._changed.wait()

    def _on_packet(self, name: str, packet: Packet) -> None:
        self._packets[name].append(packet)
        self._tell()

    def _on_end(self) -> None:
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        if not self._change_told:
            self._change_told = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._notice)

    def _notice(self) -> None:
        self._change_told = False  # before anybody looks: what comes after this is told anew
        self._changed.set()


class _Output:
    """The packets of an output; not a generator, which would be over when somebody stops to wait for a packet."""

    def __init__(self, run: AsyncRun, packets: deque[Packet]) -> None:
        self._run = run
        self._packets = packets

    def __aiter__(self) -> _Output:
        return self

    async def __anext__(self) -> Packet:
        run, is_over = self._run, False
        while not self._packets:
            if is_over:
                run._outcome.learn()
                run._outcome.tell()
                raise StopAsyncIteration
            is_over = run._ended  # then once more: the last packets come before the end
            if not is_over:
                await run._change()
        return self._packets.popleft()


def _in_thread(function: Callable[[], None]) -> asyncio.Future[None]:
    """Call a function on a thread of its own: those of the event loop's pool are few, and may all wait for each other."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def call() -> None:
        failed = None
        try:
            function()
        except Exception as error:
            failed = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, failed)

    threading.Thread(target=call, name="graph_runtime aio", daemon=True).start()
    return done


@asynccontextmanager
async def running(
    graph: Plan | CalculatorGraph,
    side_packets: Mapping[str, Any] | None = None,
    *,
    outputs: Iterable[str] = (),
    cancel_grace_s: float | None = CANCEL_GRACE_S,
) -> AsyncIterator[AsyncRun]:
    """Start a run, and end it with the block.

    Args:
        graph: what to run.
        side_packets: name -> packet or value.
        outputs: the streams that will be read with ``AsyncRun.output``; their packets are kept until then.
        cancel_grace_s: after an exception in the block, how long to wait for nodes that are at work; None waits for ever. Those
            that are not done by then are named in the log. A task that is cancelled a second time does not wait.

    Raises:
        GraphError: the run cannot start, or failed and nobody was told yet.
    """
    graph, names = checked("running", graph, outputs)
    observers, add_mode = graph._observers[:], graph.graph_input_stream_add_mode
    try:
        run = AsyncRun(graph, names)
        graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
        graph.start_run(side_packets, loop=run._loop, on_done=run._on_end)
        if not graph.plan.executors[""].has_threads:  # its nodes run only in a thread that waits
            _in_thread(run._work)
        try:
            yield run
            graph.close_all_packet_sources()
            await run._wait_for_end()
        except BaseException:
            run._cancel()
            if run._loop.is_closed():  # the task is thrown away, and cannot wait
                raise
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(cancel_grace_s):
                        await run._wait_for_end()
            finally:  # also where a second cancellation ends the wait
                warn_of_hanging(graph)
            raise
        run._outcome.tell_the_rest()
    finally:
        graph._observers[:] = observers
        graph.graph_input_stream_add_mode = add_mode


async def run(
    graph: Plan | CalculatorGraph,
    inputs: Mapping[str, Any] | None = None,
    side_packets: Mapping[str, Any] | None = None,
    *,
    outputs: Iterable[str] | None = None,
) -> dict[str, list[Packet]]:
    """Run a graph once: one packet for each input, and all that comes out. A cancelled task cancels the run.

    Sources run until they stop by themselves.

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
    async with running(graph, side_packets, outputs=names) as started:
        for stream, packet in given:
            await started.add(stream, packet)
        close_graph_inputs(graph)
        await started.wait_until_done()
    return {name: list(packets) for name, packets in started._packets.items()}
