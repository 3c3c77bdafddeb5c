"""BarrierInputStreamHandler: one packet of every input at a time, whatever their timestamps."""

from __future__ import annotations

from typing import ClassVar

from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import CLOSE, NOT_READY, InputStreamHandler
from graph_runtime.timestamp import ONE_OVER_POST_STREAM


class BarrierInputStreamHandler(InputStreamHandler):
    """Ready when no queue is empty; the input timestamp is the smallest of the heads. Done as soon as one input is done."""

    ignores_timestamps: ClassVar[bool] = True

    def decide(self) -> int | None:
        for queue, stream in zip(self.queues, self.streams, strict=True):
            if not queue and stream.bound >= ONE_OVER_POST_STREAM:
                return CLOSE
        if all(self.queues):
            return min(queue[0]._timestamp for queue in self.queues)
        self.bound = min(self.head_or_bound(port) for port in range(len(self.queues)))
        return NOT_READY

    def fill(self, timestamp: int) -> list[Packet]:
        return [queue.popleft() for queue in self.queues]
