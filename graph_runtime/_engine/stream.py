"""A stream while a graph runs: its timestamp bound, the queues that it feeds, and those who observe it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Final

from graph_runtime.calculator import EMPTY_PACKET
from graph_runtime.errors import GraphError, StatusCode, code_of
from graph_runtime.packet import NOTHING, BoundMark, Packet
from graph_runtime.timestamp import (
    DONE,
    MAX,
    MIN,
    ONE_OVER_POST_STREAM,
    POST_STREAM,
    PRE_STREAM,
    debug_string,
    is_allowed_in_stream,
    next_allowed,
    previous_allowed,
)

if TYPE_CHECKING:
    from graph_runtime._engine.run import Run

MAX_DEPTH: Final = 60
"""Nodes that a bound runs through in one go; those further down the chain get it in their turn."""

Sink = tuple[deque[Packet], list[int], int]
"""A consumer's queue, and the heap and the key by which it becomes ready."""


class Port:
    """The bound of a stream as one input of a node has seen it."""

    __slots__ = ("bound",)

    def __init__(self) -> None:
        self.bound = PRE_STREAM


class WatchedQueue(deque[Packet]):
    """The queue of an input whose node looks at it whenever a packet comes, and not only when it is the node's turn.

    A node with one stream at several inputs sees the packet at one of them after the other; ``port`` then has the bound of each.
    """

    __slots__ = ("arrived", "is_filling", "port")

    def __init__(self, arrived: Callable[[], None]) -> None:
        super().__init__()
        self.arrived = arrived
        self.is_filling = False
        """Whether more packets of the same call are about to come: the node looks when all of them are there."""
        self.port: Port | None = None

    def append(self, packet: Packet) -> None:
        """Add a packet and let the node look."""
        super().append(packet)
        if self.port is not None:
            self.port.bound = next_allowed(packet._timestamp)
        if not self.is_filling:
            self.arrived()


class Observer:
    """One callback on a stream; with ``bounds`` it also gets empty packets for settled timestamps.

    It lives as long as its graph. What it was last told it remembers from one run to the next, as in MediaPipe: a later run
    reports no settled timestamp before that.
    """

    __slots__ = ("bounds", "callback", "last", "told")

    def __init__(self, callback: Callable[[Packet], object], bounds: bool) -> None:
        self.callback = callback
        self.bounds = bounds
        self.last = PRE_STREAM - 1
        self.told = 0
        """How often something happened on the stream, its end included; ``wait_for_observed_output`` waits for that."""

    def packet(self, packet: Packet) -> None:
        """Hand a packet on."""
        self.told += 1
        self.last = packet._timestamp
        try:
            self.callback(packet)
        except Exception as error:
            raise _callback_failure(error) from error

    def bound(self, bound: int) -> None:
        """Hand on the highest settled timestamp, when it is news and the stream is not done."""
        self.told += 1
        if self.bounds and bound != DONE:
            settled = POST_STREAM if bound == POST_STREAM else previous_allowed(bound)
            if settled > self.last and is_allowed_in_stream(settled):
                self.last = settled
                try:
                    self.callback(Packet(NOTHING, settled))
                except Exception as error:
                    raise _callback_failure(error) from error


def _callback_failure(error: Exception) -> GraphError:
    return GraphError(f"A callback on an observed stream failed: {type(error).__name__}: {error}", code=code_of(error))


def show(observers: Sequence[Observer], packet: Packet) -> None:
    """Hand a packet to all observers. What one of them raises is raised when all have had it."""
    failed: Exception | None = None
    for observer in observers:
        try:
            observer.packet(packet)
        except Exception as error:
            failed = failed or error
    if failed is not None:
        raise failed


class StreamState:
    """A stream of one run. Only the thread that drains the run touches it.

    ``bound`` is the lowest timestamp that may still come: PRE_STREAM at first, DONE when closed.
    """

    __slots__ = (
        "bound",
        "check",
        "dropping",
        "header",
        "is_closed_by_caller",
        "is_handing_on",
        "is_header_known",
        "is_ordered",
        "is_watched",
        "name",
        "observers",
        "posted",
        "posted_bound",
        "quiet_bound",
        "run",
        "sinks",
        "taken",
    )

    def __init__(self, name: str, check: Callable[[Packet], None] | None, run: Run) -> None:
        self.name = name
        self.bound = PRE_STREAM
        self.quiet_bound = PRE_STREAM
        """The bound as long as no packet has moved it: equal to ``bound`` while there was none."""
        self.sinks: list[Sink] = []
        self.dropping: Sequence[WatchedQueue] = ()
        """The queues of nodes that drop packets: what they tell by their outputs' bounds may be later than the packet."""
        self.is_handing_on = False
        self.observers: Sequence[Observer] = ()
        self.header = EMPTY_PACKET
        self.is_header_known = False
        """Whether its producer has opened, and has had the chance to set the header."""
        self.posted = 0
        """Packets put into the inbox by whoever feeds this graph input; ``taken`` of them have left it."""
        self.taken = 0
        self.is_closed_by_caller = False
        """Of a graph input: whether its end was posted."""
        self.posted_bound = PRE_STREAM
        """The bound after all that was posted, for whoever feeds this graph input."""
        self.is_ordered = False
        """Whether any consumer cares for the order of timestamps (all handlers but Barrier do)."""
        self.is_watched = False
        """After the run: whether somebody listened to the stream until its end, who would refuse what still comes."""
        self.check = check
        self.run = run

    def takes_order(self) -> bool:
        """Whether packets go out in the order of their timestamps: always, but for a stream that only Barrier nodes take."""
        return self.is_ordered or bool(self.observers) or not self.sinks

    def check_order(self, timestamp: int) -> None:
        """Refuse a timestamp that may not follow what was posted; of a graph input, for whoever feeds it.

        Raises:
            GraphError: as ``send`` would.
        """
        late = timestamp < self.posted_bound and self.takes_order()
        if late or not is_allowed_in_stream(timestamp) or (timestamp == POST_STREAM and self.posted):
            raise self._refusal(timestamp, self.posted_bound)

    def take(self, packet: Packet) -> None:
        """Send a packet that lay in the run's inbox."""
        self.taken += 1
        self.send(packet)

    def take_end(self, _: Packet) -> None:
        """Close: the end that the caller gave this graph input has left the run's inbox."""
        self.run.inputs_ended += 1
        self.move_bound(DONE)

    def is_done(self) -> bool:
        """Whether nothing can come any more."""
        return self.bound >= ONE_OVER_POST_STREAM

    def send(self, packet: Packet) -> None:
        """Hand a packet to all queues and observers; an empty one moves the bound past its timestamp.

        Raises:
            GraphError: the timestamp is illegal or before the bound, and there is a consumer to notice it.
        """
        timestamp = packet._timestamp
        if packet._value is NOTHING:
            self.move_bound(timestamp if isinstance(packet, BoundMark) else next_allowed(timestamp))
            return
        if self.dropping and not self.is_handing_on:
            self.send_together([packet])
            return
        if not self.sinks and not self.observers and not self.is_watched:
            self.bound = max(self.bound, next_allowed(timestamp))
            return  # MediaPipe checks at the consumer, so an unconnected stream takes every timestamp
        if self.is_ordered or self.observers or self.is_watched:
            if not self.bound <= timestamp <= POST_STREAM or (
                timestamp == POST_STREAM and self.bound != self.quiet_bound
            ):
                raise self._refusal(timestamp, self.bound)
            self.bound = timestamp + 1 if MIN <= timestamp < MAX else next_allowed(timestamp)
        elif not is_allowed_in_stream(timestamp):
            raise self._refusal(timestamp, self.bound)
        for queue, heap, key in self.sinks:
            if not queue:
                heappush(heap, key)
            if len(queue) >= self.run.nearly_full:
                self.run.may_be_full(queue)
            queue.append(packet)
        if self.observers:
            show(self.observers, packet)
            if timestamp == PRE_STREAM:
                for observer in self.observers:
                    observer.bound(self.bound)  # nothing may follow: all that comes later is settled

    def send_together(self, packets: list[Packet]) -> None:
        """Hand on the packets of one call: each consumer that looks at its queue gets all of them first.

        Raises:
            GraphError: as ``send``.
        """
        watched = [queue for queue, _, _ in self.sinks if isinstance(queue, WatchedQueue)]
        if any(queue.port is not None for queue in watched):
            # The inputs of such a node get their packets one input after the other.
            watched = [queue for queue in self.dropping if queue.port is None]
        for queue in watched:
            queue.is_filling = True
        self.is_handing_on = True
        try:
            for packet in packets:
                self.send(packet)
        finally:
            self.is_handing_on = False
            for queue in watched:
                queue.is_filling = False
        for queue in watched:
            queue.arrived()

    def move_bound(self, bound: int) -> None:
        """Announce that nothing before ``bound`` will come. Lower than before is an error, equal is no news.

        Raises:
            GraphError: the bound is lower than one announced earlier.
        """
        if bound == self.bound:
            return
        if bound < self.bound:
            if not self.sinks and not self.observers and not self.is_watched:
                return
            raise GraphError(
                "SetNextTimestampBound must be called with a timestamp greater than or equal to the current bound. "
                f'In stream "{self.name}". Current minimum expected timestamp is {debug_string(self.bound)} '
                f"but received {debug_string(bound)}",
                code=StatusCode.UNKNOWN,
            )
        if self.bound == self.quiet_bound:
            self.quiet_bound = bound
        self.bound = bound
        run = self.run
        for queue, _, key in self.sinks:
            if queue.__class__ is WatchedQueue and queue.port is not None:
                queue.port.bound = bound
            if queue:
                continue
            node = run.by_key[key]
            if run.depth >= MAX_DEPTH:
                heappush(node.pool.heap, key)
                continue
            run.depth += 1
            try:
                node.arrived()
            finally:
                run.depth -= 1
        for observer in self.observers:
            observer.bound(bound)

    def close(self) -> None:
        """Nothing more will come."""
        self.move_bound(DONE)

    def _refusal(self, timestamp: int, bound: int) -> GraphError:
        if not is_allowed_in_stream(timestamp):
            text = (
                f'In stream "{self.name}", timestamp not specified or set to illegal value: {debug_string(timestamp)}'
            )
        elif timestamp == POST_STREAM:
            text = f'In stream "{self.name}", a packet at Timestamp::PostStream() must be the only Packet in an InputStream.'
        else:
            text = (
                f'Packet timestamp mismatch on a calculator receiving from stream "{self.name}". Current minimum expected '
                f"timestamp is {debug_string(bound)} but received {debug_string(timestamp)}. Are you using a custom "
                "InputStreamHandler? Note that some InputStreamHandlers allow timestamps that are not strictly "
                "monotonically increasing. See for example the ImmediateInputStreamHandler class comment."
            )
        return GraphError(text, code=StatusCode.INVALID_ARGUMENT)
