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
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from graph_runtime.arguments import wrong_type
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.graph import CalculatorGraph, GraphInputStreamAddMode
from graph_runtime.packet import Packet
from graph_runtime.plan import Plan


class AsyncRun:
    """A run of a graph, seen from one event loop; made by :func:`running`."""

    def __init__(self, graph: CalculatorGraph, outputs: Iterable[str]) -> None:
        self.graph = graph
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._packets: dict[str, deque[Packet]] = {name: deque() for name in outputs}
        self._ended = False
        for name in self._packets:
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
                    await self._loop.run_in_executor(None, self.graph.wait_for_room, stream)

    def close_inputs(self) -> None:
        """End all graph inputs and sources: the run ends when what is in it is processed."""
        self.graph.close_all_packet_sources()

    async def output(self, stream: str) -> AsyncIterator[Packet]:
        """The packets of one of the ``outputs``, as they come, until the run ends.

        Raises:
            GraphError: the run failed; after the packets that came before.
        """
        packets = self._packets.get(stream)
        if packets is None:
            have = ", ".join(self._packets) or "none"
            raise GraphError(
                f'"{stream}" is not among the outputs that running() was asked for: {have}',
                code=StatusCode.INVALID_ARGUMENT,
            )
        while True:
            while packets:
                yield packets.popleft()
            if self._ended:
                break
            self._changed.clear()
            await self._changed.wait()
        if self.graph.has_error():
            self.graph.wait_until_done()  # it has ended: this raises at once

    async def wait_until_done(self) -> None:
        """Return when the run has ended, which needs all graph inputs to be closed.

        Raises:
            GraphError: the run failed; told once.
        """
        while not self._ended:
            self._changed.clear()
            await self._changed.wait()
        self.graph.wait_until_done()

    def cancel(self) -> None:
        """End the run as soon as possible."""
        self.graph.cancel()

    def _add(self, stream: str, packet: Packet) -> bool:
        """Whether there was room for it."""
        try:
            self.graph.add_packet_to_input_stream(stream, packet)
        except GraphError as error:
            if error.code != StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    def _work(self) -> None:
        """Run the graph on this thread."""
        with suppress(BaseException):  # what a node raises is an error of the run
            self.graph._started("WaitUntilDone").wait_until_done()

    def _on_packet(self, name: str, packet: Packet) -> None:
        self._packets[name].append(packet)
        self._tell()

    def _on_end(self) -> None:
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._changed.set)


@asynccontextmanager
async def running(
    graph: Plan | CalculatorGraph,
    side_packets: Mapping[str, Any] | None = None,
    *,
    outputs: Iterable[str] = (),
) -> AsyncIterator[AsyncRun]:
    """Start a run, and end it with the block.

    Args:
        graph: what to run.
        side_packets: name -> packet or value.
        outputs: the streams that will be read with ``AsyncRun.output``.

    Raises:
        GraphError: the run cannot start, or failed.
    """
    if not isinstance(graph, Plan | CalculatorGraph):
        raise wrong_type("running() takes a Plan or a CalculatorGraph", graph)
    if isinstance(outputs, str):
        raise TypeError(f"running() takes a list of streams: outputs=['{outputs}']")
    if isinstance(graph, Plan):
        graph = CalculatorGraph(graph)
    observers, add_mode = graph._observers[:], graph.graph_input_stream_add_mode
    run = AsyncRun(graph, outputs)
    graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
    try:
        graph.start_run(side_packets, loop=run._loop, on_done=run._on_end)
        if not graph.plan.executors[""].has_threads:  # its nodes run only in a thread that waits
            run._loop.run_in_executor(None, run._work)
        try:
            yield run
        except BaseException:
            # on_cancel callbacks of calculators run inside: not on the event loop.
            await asyncio.shield(run._loop.run_in_executor(None, graph.cancel))
            with suppress(GraphError):
                await asyncio.shield(run.wait_until_done())
            raise
        graph.close_all_packet_sources()
        await run.wait_until_done()
    finally:
        graph._observers[:] = observers
        graph.graph_input_stream_add_mode = add_mode
