"""SyncSetInputStreamHandler: groups of inputs, each processed by timestamp on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph_runtime._pb.mediapipe.framework.stream_handler.sync_set_input_stream_handler_pb2 import (
    SyncSetInputStreamHandlerOptions,
)
from graph_runtime.errors import GraphError
from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import CLOSE, NOT_READY, InputStreamHandler, SyncSet
from graph_runtime.tags import TagMap, describe_port, parse_tag_index
from graph_runtime.timestamp import DONE


class SyncSetInputStreamHandler(InputStreamHandler):
    """The sets of the options, and one of all other inputs; the set with the earliest ready timestamp runs."""

    @classmethod
    def check(cls, find_options: Callable[[type[Any]], Any], tag_map: TagMap) -> tuple[Any, str | None]:
        options = find_options(SyncSetInputStreamHandlerOptions) or SyncSetInputStreamHandlerOptions()
        sets: list[list[int]] = []
        used: set[int] = set()
        for entry in options.sync_set:
            ports = []
            for text in entry.tag_index:
                try:
                    tag, index = parse_tag_index(text)
                except GraphError as error:
                    return None, error.message
                port = tag_map.id_of(tag, index)
                if port is None:
                    have = ", ".join(describe_port(*each) for each in tag_map) or "none"
                    return None, f'sync_set names "{text}", which is not an input of the node; its inputs are: {have}'
                if port in used:
                    return None, f'sync_set names "{text}" twice; an input belongs to one set'
                used.add(port)
                ports.append(port)
            if not ports:
                return None, "a sync_set without tag_index is empty"
            sets.append(ports)
        rest = [port for port in range(len(tag_map)) if port not in used]
        return [*sets, rest] if rest else sets, None

    def prepare(self, options: Any, tag_map: TagMap) -> None:
        self._sets = [SyncSet(self, ports) for ports in options]
        self._chosen: SyncSet | None = None

    def decide(self) -> int | None:
        best: int | None = NOT_READY
        self.bound = DONE
        for each in self._sets[:]:
            timestamp = each.decide()
            if timestamp == CLOSE:
                self._sets.remove(each)
                continue
            self.bound = min(self.bound, each.stream_timestamp if timestamp is None else timestamp)
            if timestamp is not None and (best is None or timestamp < best):
                best, self._chosen = timestamp, each
        return best if self._sets else CLOSE

    def fill(self, timestamp: int) -> list[Packet]:
        chosen = self._chosen
        assert chosen is not None
        chosen.last_processed = timestamp
        return [
            self.take(port, timestamp) if port in chosen.ports else self.nothing(port)
            for port in range(len(self.queues))
        ]
