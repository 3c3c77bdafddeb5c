"""What an input stream handler is: the policy that decides when a node runs, and on which packets.

A handler looks at the queues of a node's inputs and at the bounds of their streams; it owns neither. ``decide`` says what the node
should do now, ``fill`` takes the packets for it. Both are called by one thread at a time and call no user code.

Source of the words and rules: MediaPipe ``framework/input_stream_handler.h``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Protocol

from graph_runtime.packet import NOTHING, Packet
from graph_runtime.tags import TagMap
from graph_runtime.timestamp import DONE, ONE_OVER_POST_STREAM, UNSET, UNSTARTED, previous_allowed

NOT_READY: Final = None
"""``decide``: nothing to do before more comes; ``handler.bound`` says up to where the inputs are settled."""

CLOSE: Final = DONE
"""``decide``: the node is to be closed."""

Queue = deque[Packet]


class Stream(Protocol):
    """What a handler sees of a stream."""

    bound: int


class InputStreamHandler:
    """The base of all handlers: the inputs of one node in one run.

    Attributes:
        queues, streams: one of each per input, in port id order.
        batch_size: how many calls are collected before they are made in a row.
        process_bounds: whether the calculator wants calls for settled timestamps without packets.
        bound: after ``decide`` said NOT_READY, what the inputs are settled up to.
        ignores_timestamps: packets are taken in the order of arrival, so streams need not check it for this node.
        drops_packets: ``trim`` is to be called after each packet that comes.
    """

    batch_size = 1
    ignores_timestamps: ClassVar[bool] = False
    drops_packets: ClassVar[bool] = False

    def __init__(
        self, queues: Sequence[Queue], streams: Sequence[Stream], options: Any, tag_map: TagMap, process_bounds: bool
    ) -> None:
        self.queues = queues
        self.streams = streams
        self.process_bounds = process_bounds
        self.bound = UNSET
        self.prepare(options, tag_map)

    @classmethod
    def check(cls, find_options: Callable[[type[Any]], Any], tag_map: TagMap) -> tuple[Any, str | None]:
        """The handler's options for a node's inputs, and what is wrong with them, or None."""
        return None, None

    def prepare(self, options: Any, tag_map: TagMap) -> None:
        """Set up what the options ask for."""

    def decide(self) -> int | None:
        """An input timestamp to process, CLOSE or NOT_READY."""
        raise NotImplementedError

    def fill(self, timestamp: int) -> list[Packet]:
        """Take the packets for a call at ``timestamp``: one per input, empty where there is none."""
        raise NotImplementedError

    def trim(self) -> None:
        """Drop packets that waited too long."""

    def head_or_bound(self, port: int) -> int:
        """The timestamp of an input's first packet, or its stream's bound."""
        queue = self.queues[port]
        return queue[0]._timestamp if queue else self.streams[port].bound

    def take(self, port: int, timestamp: int) -> Packet:
        """The packet of one input at ``timestamp``, or an empty one at the highest settled time."""
        queue = self.queues[port]
        if queue and queue[0]._timestamp == timestamp:
            return queue.popleft()
        return self.nothing(port)

    def nothing(self, port: int) -> Packet:
        """An empty packet for an input, at the highest settled time."""
        return Packet(NOTHING, previous_allowed(self.head_or_bound(port)))


class SyncSet:
    """Inputs that are processed together, by timestamp: a timestamp is ready when no input can still undercut it.

    MediaPipe ``InputStreamHandler::SyncSet``.
    """

    __slots__ = ("done_seen", "last_processed", "ports", "process_bounds", "queues", "stream_timestamp", "streams")

    def __init__(self, handler: InputStreamHandler, ports: Sequence[int]) -> None:
        # Not the handler: it holds this object, and a loop of references would keep both until the garbage collector comes.
        self.queues, self.streams, self.process_bounds = handler.queues, handler.streams, handler.process_bounds
        self.ports = list(ports)
        self.last_processed = UNSTARTED
        self.stream_timestamp = UNSET
        self.done_seen = False

    def decide(self) -> int | None:
        """As InputStreamHandler.decide; ``stream_timestamp`` is the smallest head or bound of the inputs.

        1. All inputs done: CLOSE.
        2. Without ``process_bounds``: ready at the smallest head, if all empty inputs are settled beyond it.
        3. With it: ready at the highest settled timestamp, or at the smallest head if that is earlier, once each.
        """
        queues, streams = self.queues, self.streams
        min_packet = min_bound = DONE
        for port in self.ports:
            queue = queues[port]
            if queue:
                if queue[0]._timestamp < min_packet:
                    min_packet = queue[0]._timestamp
            elif streams[port].bound < min_bound:
                min_bound = streams[port].bound
        self.stream_timestamp = settled = min(min_packet, min_bound)
        if settled >= ONE_OVER_POST_STREAM:
            return CLOSE
        if not self.process_bounds:
            return min_packet if min_packet < min_bound else NOT_READY
        timestamp = min_packet if min_packet < min_bound else previous_allowed(min_bound)
        return timestamp if timestamp > max(self.last_processed, UNSTARTED) else NOT_READY
