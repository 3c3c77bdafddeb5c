"""TimestampAlignInputStreamHandler: inputs with different clocks, aligned by their first packets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph_runtime._pb.mediapipe.framework.stream_handler.timestamp_align_input_stream_handler_pb2 import (
    TimestampAlignInputStreamHandlerOptions,
)
from graph_runtime.errors import GraphError
from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import CLOSE, NOT_READY, InputStreamHandler
from graph_runtime.tags import TagMap, describe_port, parse_tag_index
from graph_runtime.timestamp import DONE, MAX, MIN, ONE_OVER_POST_STREAM


class TimestampAlignInputStreamHandler(InputStreamHandler):
    """One input is the base; all others are shifted so that their first packet is at the base packet that came with it.

    Before every input has had a packet, base packets pass alone. After that the default policy applies to shifted timestamps.
    """

    @classmethod
    def check(cls, find_options: Callable[[type[Any]], Any], tag_map: TagMap) -> tuple[Any, str | None]:
        options = find_options(TimestampAlignInputStreamHandlerOptions)
        have = ", ".join(describe_port(*each) for each in tag_map) or "none"
        if options is None or not options.timestamp_base_tag_index:
            return None, f"timestamp_base_tag_index is missing in the options; the inputs are: {have}"
        try:
            tag, index = parse_tag_index(options.timestamp_base_tag_index)
        except GraphError as error:
            return None, error.message
        base = tag_map.id_of(tag, index)
        if base is None:
            text = (
                f'timestamp_base_tag_index "{options.timestamp_base_tag_index}" is not an input; the inputs are: {have}'
            )
            return None, text
        return base, None

    def prepare(self, options: Any, tag_map: TagMap) -> None:
        self._base: int = options
        self._offsets: list[int | None] = [None] * len(self.queues)
        self._offsets[self._base] = 0

    def decide(self) -> int | None:
        base_queue, base_stream = self.queues[self._base], self.streams[self._base]
        if None in self._offsets:
            if base_queue:
                self._find_offsets(base_queue[0]._timestamp)
            if None in self._offsets:
                if base_queue:
                    return base_queue[0]._timestamp
                self.bound = base_stream.bound
                return CLOSE if all(self._is_done(port) for port in range(len(self.queues))) else NOT_READY
        min_packet = min_bound = DONE
        for port, queue in enumerate(self.queues):
            if queue:
                min_packet = min(min_packet, self._shifted(port, queue[0]._timestamp))
            else:
                min_bound = min(min_bound, self._shifted(port, self.streams[port].bound))
        self.bound = min(min_packet, min_bound)
        if self.bound >= ONE_OVER_POST_STREAM:
            return CLOSE
        return min_packet if min_packet < min_bound else NOT_READY

    def fill(self, timestamp: int) -> list[Packet]:
        packets = []
        for port, queue in enumerate(self.queues):
            known = self._offsets[port] is not None and None not in self._offsets
            if queue and (known or port == self._base) and self._shifted(port, queue[0]._timestamp) == timestamp:
                packets.append(queue.popleft().at(timestamp))
            else:
                packets.append(self.nothing(port))
        return packets

    def _find_offsets(self, base_timestamp: int) -> None:
        firsts = [queue[0]._timestamp if queue else None for queue in self.queues]
        if None not in firsts:
            self._offsets = [base_timestamp - first for first in firsts if first is not None]

    def _shifted(self, port: int, timestamp: int) -> int:
        offset = self._offsets[port]
        return timestamp if offset is None or not MIN <= timestamp <= MAX else min(max(timestamp + offset, MIN), MAX)

    def _is_done(self, port: int) -> bool:
        return not self.queues[port] and self.streams[port].bound >= ONE_OVER_POST_STREAM
