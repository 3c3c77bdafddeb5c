"""FixedSizeInputStreamHandler: the default handler over queues that are cut to the newest packets when they grow too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph_runtime._pb.mediapipe.framework.stream_handler.fixed_size_input_stream_handler_pb2 import (
    FixedSizeInputStreamHandlerOptions,
)
from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import Queue
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.tags import TagMap


class FixedSizeInputStreamHandler(DefaultInputStreamHandler):
    """A queue with ``trigger_queue_size`` packets is cut to its ``target_queue_size`` newest, and all others to the same time.

    With ``fixed_min_size`` nothing is cut before all queues have reached the trigger.
    """

    @classmethod
    def check(cls, find_options: Callable[[type[Any]], Any], tag_map: TagMap) -> tuple[Any, str | None]:
        options = find_options(FixedSizeInputStreamHandlerOptions) or FixedSizeInputStreamHandlerOptions()
        trigger, target = options.trigger_queue_size, options.target_queue_size
        text = None
        if not 1 <= target <= trigger:
            text = f"1 <= target_queue_size <= trigger_queue_size has to hold, not {target} and {trigger}"
        return (trigger, target, options.fixed_min_size), text

    def prepare(self, options: Any, tag_map: TagMap) -> None:
        super().prepare(1, tag_map)
        self._trigger, self._target, self._fixed_min_size = options

    def arrived(self) -> None:
        """A packet has come: cut what is too long."""
        full = [queue for queue in self.queues if len(queue) >= self._trigger]
        if not full or (self._fixed_min_size and len(full) < len(self.queues)):
            return
        # The oldest packet that each full queue would keep; with several full queues the one rule fits all of them.
        kept = [queue[len(queue) - self._target]._timestamp for queue in full]
        self._cut(min(kept) if self._fixed_min_size else max(kept))

    def decide(self) -> int | None:
        decision = super().decide()
        if decision is not None and all(len(queue) > self._target for queue in self.queues):
            self.arrived()
            decision = super().decide()
        return decision

    def _cut(self, timestamp: int) -> None:
        for queue in self.queues:
            while queue and queue[0]._timestamp < timestamp:
                queue.popleft()


class WatchedQueue(Queue):
    """A queue that tells its handler of each packet, so that it can be cut when the packet comes."""

    def __init__(self) -> None:
        super().__init__()
        self.handler: FixedSizeInputStreamHandler | None = None

    def append(self, packet: Packet) -> None:
        """Add a packet and let the handler look."""
        super().append(packet)
        if self.handler is not None:
            self.handler.arrived()
