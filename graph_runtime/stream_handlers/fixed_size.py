"""FixedSizeInputStreamHandler: the default handler over queues that are cut to the newest packets when they grow too long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graph_runtime._pb.mediapipe.framework.stream_handler.fixed_size_input_stream_handler_pb2 import (
    FixedSizeInputStreamHandlerOptions,
)
from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.tags import TagMap
from graph_runtime.timestamp import MAX, MIN, UNSET, next_allowed


class FixedSizeInputStreamHandler(DefaultInputStreamHandler):
    """A queue with ``trigger_queue_size`` packets is cut to its ``target_queue_size`` newest, and all others to the same time.

    With ``fixed_min_size`` nothing is cut before all queues have reached the trigger.
    """

    drops_packets: ClassVar[bool] = True

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
        self._kept = UNSET
        """Packets before this are dropped."""

    def decide(self) -> int | None:
        self.trim()
        decision = super().decide()
        while decision is not None and decision < self._kept:
            self.trim()
            decision = super().decide()
        return decision

    def fill(self, timestamp: int) -> list[Packet]:
        if not self._fixed_min_size:
            # One timestamp that all inputs can still reach is kept.
            newest = min(
                next_allowed(queue[-1]._timestamp) if queue else stream.bound
                for queue, stream in zip(self.queues, self.streams, strict=True)
            )
            self._kept = min(self._kept, newest - 1 if MIN <= newest <= MAX else newest)
        return super().fill(timestamp)

    def trim(self) -> None:
        full = [queue for queue in self.queues if len(queue) >= self._trigger]
        if not self._fixed_min_size:
            dropped = [next_allowed(queue[-self._target - 1]._timestamp) for queue in full if len(queue) > self._target]
            self._kept = max([self._kept, *dropped])
        elif len(full) == len(self.queues):
            self._kept = min(queue[-self._target]._timestamp for queue in full)
        for queue in self.queues:
            while queue and queue[0]._timestamp < self._kept:
                queue.popleft()
