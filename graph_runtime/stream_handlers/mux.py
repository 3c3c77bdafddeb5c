"""MuxInputStreamHandler: a control input says which of the data inputs counts."""

from __future__ import annotations

from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import CLOSE, NOT_READY, InputStreamHandler
from graph_runtime.timestamp import ONE_OVER_POST_STREAM


class MuxInputStreamHandler(InputStreamHandler):
    """The last input is the control; its int selects a data input, which alone has to be settled at that timestamp."""

    def decide(self) -> int | None:
        control = len(self.queues) - 1
        queue = self.queues[control]
        if not queue:
            self.bound = self.streams[control].bound
            return CLOSE if self.bound >= ONE_OVER_POST_STREAM else NOT_READY
        timestamp = queue[0]._timestamp
        self.bound = timestamp
        data = self._selected(queue[0])
        selected = self.queues[data]
        while selected and selected[0]._timestamp < timestamp:
            selected.popleft()
        return timestamp if selected or self.streams[data].bound > timestamp else NOT_READY

    def fill(self, timestamp: int) -> list[Packet]:
        control = len(self.queues) - 1
        packet = self.queues[control].popleft()
        data = self._selected(packet)
        packets = [Packet() for _ in self.queues]
        packets[control] = packet
        packets[data] = self.take(data, timestamp)
        for queue in self.queues[:control]:
            while queue and queue[0]._timestamp <= timestamp:
                queue.popleft()
        return packets

    def _selected(self, packet: Packet) -> int:
        value = packet._value
        if not isinstance(value, int) or not 0 <= value < len(self.queues) - 1:
            raise GraphError(
                f"the control input selects {value!r}; there are data inputs 0 to {len(self.queues) - 2}",
                code=StatusCode.INVALID_ARGUMENT,
            )
        return value
