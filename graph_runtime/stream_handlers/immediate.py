"""ImmediateInputStreamHandler: each input on its own; a packet is processed as soon as it comes."""

from __future__ import annotations

from typing import Any

from graph_runtime.packet import Packet
from graph_runtime.stream_handlers.base import CLOSE, NOT_READY, InputStreamHandler, SyncSet
from graph_runtime.tags import TagMap
from graph_runtime.timestamp import DONE, MAX, UNSET


class ImmediateInputStreamHandler(InputStreamHandler):
    """Every input is a SyncSet of its own; a call has the packets of those inputs whose head is the smallest ready timestamp.

    When an input becomes done the node is called once more: with ``process_bounds`` at Timestamp.MAX, else at the smallest bound.
    """

    def prepare(self, options: Any, tag_map: TagMap) -> None:
        self._sets = [SyncSet(self, [port]) for port in range(len(self.queues))]
        self._ready = [UNSET] * len(self._sets)

    def decide(self) -> int | None:
        timestamp = min_bound = DONE
        became_done = False
        for position, each in enumerate(self._sets):
            if self._ready[position] == UNSET:
                decision = each.decide()
                if decision == CLOSE:
                    if each.done_seen:
                        continue
                    if self.process_bounds:
                        each.done_seen = True
                        if each.last_processed >= MAX:
                            continue
                        self._ready[position] = MAX
                    else:
                        each.done_seen = became_done = True
                        continue
                elif decision is NOT_READY:
                    min_bound = min(min_bound, each.stream_timestamp)
                    continue
                else:
                    self._ready[position] = decision
            timestamp = min(timestamp, self._ready[position])
            min_bound = min(min_bound, self._ready[position])
        self.bound = min_bound
        if min_bound == DONE:
            return CLOSE
        if timestamp < DONE:
            return timestamp
        return min_bound if became_done else NOT_READY

    def fill(self, timestamp: int) -> list[Packet]:
        packets = []
        for port, ready in enumerate(self._ready):
            if ready == timestamp:
                self._ready[port] = UNSET
                self._sets[port].last_processed = timestamp
                packets.append(self.take(port, timestamp))
            else:
                packets.append(self.nothing(port))
        return packets
