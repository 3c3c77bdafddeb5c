"""DefaultInputStreamHandler: all inputs by timestamp, each timestamp when it is settled; optionally in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph_runtime._pb.mediapipe.framework.stream_handler.default_input_stream_handler_pb2 import (
    DefaultInputStreamHandlerOptions,
)
from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import InputStreamHandler, SyncSet
from graph_runtime.tags import TagMap


class DefaultInputStreamHandler(InputStreamHandler):
    """One SyncSet of all inputs. ``batch_size`` is how many input sets are collected before they are processed in a row."""

    @classmethod
    def check(cls, find_options: Callable[[type[Any]], Any], tag_map: TagMap) -> tuple[Any, str | None]:
        options = find_options(DefaultInputStreamHandlerOptions)
        batch_size = 1 if options is None else options.batch_size
        return batch_size, None if batch_size >= 1 else f"batch_size has to be at least 1, not {batch_size}"

    def prepare(self, options: Any, tag_map: TagMap) -> None:
        self.batch_size = options
        self._set = SyncSet(self, range(len(self.queues)))

    def decide(self) -> int | None:
        decision = self._set.decide()
        self.bound = self._set.stream_timestamp
        return decision

    def fill(self, timestamp: int) -> list[Packet]:
        self._set.last_processed = timestamp
        return [self.take(port, timestamp) for port in range(len(self.queues))]
