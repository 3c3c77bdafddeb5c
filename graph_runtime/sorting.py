"""The order of a graph's nodes: producers before consumers, and which nodes form a loop where that cannot be."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence


def topological_order(needs: Sequence[Sequence[Hashable]], gives: Sequence[Sequence[Hashable]]) -> list[int] | None:
    """Positions of the nodes, producers first; None when there is a loop.

    The written order is kept when it is right already; otherwise the ready node that was written first comes first
    (MediaPipe's rule). A node that needs what it gives itself is a loop. Needs that nobody gives do not count.
    """
    giver = _givers(gives)
    written = range(len(needs))
    if all(giver.get(need, -1) < position for position in written for need in needs[position]):
        return list(written)
    waiting = [0] * len(needs)
    followers: list[list[int]] = [[] for _ in written]
    for position in written:
        for need in needs[position]:
            if need in giver:
                waiting[position] += 1
                followers[giver[need]].append(position)
    ready = [position for position in written if not waiting[position]]
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for follower in followers[position]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
    return order if len(order) == len(needs) else None


def find_cycle(needs: Sequence[Sequence[Hashable]], gives: Sequence[Sequence[Hashable]]) -> list[int]:
    """The positions of the nodes of one loop, each feeding the next; call it only where there is one."""
    giver = _givers(gives)
    upstream = [[giver[need] for need in node if need in giver] for node in needs]
    done: set[int] = set()
    for start in range(len(needs)):
        trail: list[int] = []
        on_trail: dict[int, int] = {}
        position: int | None = start
        stack: list[list[int]] = []
        while position is not None:
            if position in on_trail:
                return trail[on_trail[position] :][::-1]
            if position not in done:
                on_trail[position] = len(trail)
                trail.append(position)
                stack.append(list(upstream[position]))
            position = None
            while stack and position is None:
                if stack[-1]:
                    position = stack[-1].pop()
                else:
                    stack.pop()
                    finished = trail.pop()
                    del on_trail[finished]
                    done.add(finished)
    raise ValueError("there is no loop")


def _givers(gives: Sequence[Sequence[Hashable]]) -> dict[Hashable, int]:
    giver: dict[Hashable, int] = {}
    for position, names in enumerate(gives):
        for name in names:
            giver.setdefault(name, position)
    return giver
