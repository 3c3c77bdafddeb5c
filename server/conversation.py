"""A run that is fed over time: what ModelStreamInfer of KServe is on this side.

How the three are kept in step: the graph takes a feed when it has room (``max_queue_size`` of the graph file); a feed is asked for
when the one before was taken; and while :data:`MOST_WAITING` outputs wait for the caller, nothing is asked for and the graph is
paused. So memory has a bound, however quickly a client sends and however slowly it reads. A node that is just being called is not
interrupted: what one call sends comes out in one go.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

from calculators.http_payload import RequestError
from graph_runtime import CalculatorGraph, GraphError, Packet, Plan
from server.backend import Event, Feed, Refused, RunCancelledError, RunRequest
from server.local_run import Loaded, LocalRun

MOST_WAITING: Final = 16
"""Outputs that wait for the caller before the graph is paused."""


class Conversation(LocalRun):
    """A run that takes further packets while it goes on."""

    def __init__(self, loaded: Loaded, request: RunRequest, feeds: AsyncIterator[Feed | Refused]) -> None:
        super().__init__(loaded, request)
        self._source = feeds
        self._handed: SimpleQueue[Feed | None] = SimpleQueue()
        self._taken = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._pausing = threading.Lock()
        self._paused: CalculatorGraph | None = None
        self._reading: asyncio.Task[None] | None = None

    def start(self, pool: ThreadPoolExecutor, on_end: Callable[[LocalRun], None]) -> None:
        """Begin, and begin to read the feeds."""
        super().start(pool, on_end)
        self._reading = self._loop.create_task(self._read(), name=f"feeds of {self.request.run_id}")

    async def next_event(self) -> Event | Refused | None:
        """See LocalRun; here the caller's pace is also the graph's.

        Raises:
            Exception: what the feeds raised.
        """
        if len(self._events) <= MOST_WAITING // 2:
            self._resume()
        event = await super().next_event()
        if event is None and self._reading is not None and self._reading.done() and not self._reading.cancelled():
            await self._reading  # raises what ended the feeds before their time
        return event

    def cancel(self, why: RunCancelledError) -> None:
        """See LocalRun; no feed is asked for any more."""
        super().cancel(why)
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    # ---- on the event loop: from the source to the run's thread

    async def _read(self) -> None:
        try:
            async for each in self._source:
                if isinstance(each, Refused):
                    self._say(each)
                    self._hold()
                    self._wake()
                else:
                    self._taken.clear()
                    self._handed.put(each)
                    await self._taken.wait()
                await self._room.wait()
        finally:
            self._handed.put(None)

    def _notice(self) -> None:
        if self._driven:
            self._stop_reading()
        super()._notice()

    # ---- on the run's own thread

    def _drive(self) -> None:
        self._driven_by(feed=self._feed, on_done=lambda: self._handed.put(None))

    def _feed(self, graph: CalculatorGraph) -> None:
        if self.request.inputs:
            self._take(graph, Feed(self.request.inputs, self.request.timestamp))
        while (feed := self._handed.get()) is not None:
            self._take(graph, feed)
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._taken.set)

    def _take(self, graph: CalculatorGraph, feed: Feed) -> None:
        packets = {stream: Packet(value).at(feed.timestamp) for stream, value in feed.packets.items()}
        try:
            for stream, packet in packets.items():
                graph.check_packet(stream, packet)
            ahead = [text for stream in packets if (text := _wait_for_room(graph, stream)) is not None]
        except GraphError as error:
            if not graph.has_error():
                self._say(Refused(RequestError(error.message, code="packet_refused"), feed))
                self._notify()
            return
        if ahead:
            self._say(Refused(RequestError(ahead[0], code="input_ahead"), feed))
            self._notify()
            return
        with suppress(GraphError):  # the run has failed meanwhile, and its end says why
            for stream, packet in packets.items():
                graph.add_packet_to_input_stream(stream, packet)

    # ---- on any thread

    def _emit(self, stream: str, packet: Packet) -> None:
        super()._emit(stream, packet)
        if len(self._events) >= MOST_WAITING:
            self._pause()

    def _say(self, refused: Refused) -> None:
        self._events.append(refused)
        if len(self._events) >= MOST_WAITING:
            self._pause()

    def _pause(self) -> None:
        with self._pausing:
            graph = self._graph
            if graph is None or self._paused is not None or len(self._events) < MOST_WAITING:
                return
            self._paused = graph
            graph.pause()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._hold)

    def _hold(self) -> None:
        if self._paused is not None:
            self._room.clear()

    def _resume(self) -> None:
        with self._pausing:
            graph, self._paused = self._paused, None
            if graph is not None:
                graph.resume()
        self._room.set()


def _wait_for_room(graph: CalculatorGraph, stream: str) -> str | None:
    """Wait until a graph input has room; why it gets none without packets at other inputs, or None.

    MediaPipe lets the queues of a graph that is idle and full grow, for ever if a client feeds one of two inputs alone.
    """
    graph.wait_for_room(stream)
    limit = graph.max_queue_size
    if limit < 0 or not _full(graph, limit, stream):
        return None
    try:
        graph.wait_until_idle(timeout_s=0)
    except GraphError:
        return None  # it works, and gets shorter queues by that; or it has failed
    waiting = _full(graph, limit, stream)
    if not waiting:
        return None
    return (
        f"the graph takes no more packets at {stream!r} before others come: {'; '.join(waiting)}. Feed the other inputs, or let "
        f"the graph file allow more with max_queue_size (it is {limit})"
    )


def _full(graph: CalculatorGraph, limit: int, stream: str) -> list[str]:
    """The queues that hold as much as they may, and that a packet at this graph input could make longer."""
    return [
        f'{each.queue_size} packet(s) of stream "{each.stream}" wait in node "{node.name}"'
        for node in graph.snapshot().nodes
        for each in node.inputs
        if each.queue_size >= limit and stream in _made_of(graph.plan, each.stream)
    ]


def _made_of(plan: Plan, stream: str) -> Collection[int | str]:
    producer = plan.streams[plan.stream_ids[stream]].producer
    return {stream} if producer is None else plan.ancestors[producer[0]]
