"""Which queues are full, and which graph inputs and sources have to wait for them.

A queue is full when it holds as many packets as the graph's ``max_queue_size``. A graph input or a source is throttled while any
queue downstream of it is full. A graph that is idle and still throttled would wait for ever: every full queue is then allowed
one more packet, or the run fails where ``report_deadlock`` asks for that. Source: MediaPipe ``framework/calculator_graph.cc``.

Queues are looked at only when a packet is added to one that is not empty, which costs a graph in flow nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graph_runtime._engine.node import NodeState


@dataclass(slots=True)
class _Full:
    queue: deque[Any]
    limit: int
    node: NodeState
    stream: str

    def size(self) -> int:
        """Packets that wait. The first one does not where the node can take it at once, as soon as it is its turn."""
        is_next = self.queue.__class__ is deque and not self.node.is_scheduled and len(self.queue) > 0
        return len(self.queue) - is_next


class Throttle:
    """The full queues of one run."""

    def __init__(self, limit: int, ancestors: Sequence[frozenset[int | str]], nodes: Sequence[NodeState]) -> None:
        self._limit = limit
        self._ancestors = ancestors
        self._nodes = nodes
        self._limits: dict[int, int] = {}
        self.full: dict[int, _Full] = {}

    @cached_property
    def _owners(self) -> dict[int, tuple[NodeState, str]]:
        return {
            id(queue): (node, stream.name)
            for node in self._nodes
            for queue, stream in zip(node.queues, node.in_streams, strict=True)
        }

    def look_at(self, queue: deque[Any]) -> None:
        """A packet is about to be added to ``queue``: remember it if that makes it full."""
        limit = self._limits.get(id(queue), self._limit)
        owner = self._owners.get(id(queue))
        if owner is not None and len(queue) + 1 >= limit:
            self.full[id(queue)] = _Full(queue, limit, *owner)

    def is_throttled(self, producer: int | str) -> bool:
        """Whether a source (its node id) or a graph input (its name) has a full queue downstream."""
        if not self.full:
            return False
        for key, full in list(self.full.items()):
            if full.size() < full.limit:
                self.full.pop(key, None)
            elif producer in self._ancestors[full.node.plan.id]:
                return True
        return False

    def reason(self, producer: int | str) -> str | None:
        """Which full queue holds a source or a graph input up, in words; None where none does."""
        for full in list(self.full.values()):
            if len(full.queue) >= full.limit and producer in self._ancestors[full.node.plan.id]:
                return f'{len(full.queue)} packet(s) of stream "{full.stream}" wait for node "{full.node.plan.name}"'
        return None

    def grow(self) -> list[tuple[str, str, int]]:
        """Allow every full queue one packet more than it has; what was grown, as (stream, node, new limit)."""
        grown = []
        for key, full in list(self.full.items()):
            self.full.pop(key, None)  # a thread that adds may have seen in the meantime that it is not full any more
            if full.size() >= full.limit:
                self._limits[key] = full.size() + 1
                grown.append((full.stream, full.node.plan.name, full.size() + 1))
        return grown
