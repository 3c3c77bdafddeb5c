"""The order of a graph's nodes: producers before consumers, or which nodes form a loop where that cannot be.

Source: MediaPipe ``deps/topologicalsorter.cc``.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Sequence


def topological_order(
    needs: Sequence[Sequence[Hashable]], gives: Sequence[Sequence[Hashable]]
) -> tuple[list[int], list[int]]:
    """Sort nodes by what each needs and gives.

    The written order is kept when it is right already; otherwise the ready node that was written first comes first
    (MediaPipe's rule). A node that needs what it gives itself is a loop. Needs that nobody gives do not count.

    Returns: positions of the nodes, producers first, and an empty list; or the nodes that do not come after a loop, and the loop:
        nodes each of which feeds the next.
    """
    giver: dict[Hashable, int] = {}
    for position, names in enumerate(gives):
        for name in names:
            giver.setdefault(name, position)
    written = range(len(needs))
    if all(giver.get(need, -1) < position for position in written for need in needs[position]):
        return list(written), []
    upstream = [{giver[need] for need in needs[position] if need in giver} for position in written]
    followers: list[list[int]] = [[] for _ in written]
    for position in written:
        for producer in upstream[position]:
            followers[producer].append(position)  # in the written order, each once
    waiting = [len(producers) for producers in upstream]
    ready = [position for position in written if not waiting[position]]
    order: list[int] = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for follower in followers[position]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heapq.heappush(ready, follower)
    return order, [] if len(order) == len(needs) else _find_cycle(followers, set(order))


def _find_cycle(followers: Sequence[Sequence[int]], sorted_nodes: Collection[int]) -> list[int]:
    """The first loop that is met on the way downstream from the first node that could not be sorted, then from the next."""
    done = set(sorted_nodes)
    for start in range(len(followers)):
        # What is still to be followed from each node on the way.
        trail = {} if start in done else {start: iter(followers[start])}
        while trail:
            position, left = next(reversed(trail.items()))
            follower = next((each for each in left if each not in done), None)
            if follower is None:
                done.add(position)
                del trail[position]
            elif follower in trail:
                way = list(trail)
                return way[way.index(follower) :]
            else:
                trail[follower] = iter(followers[follower])
    raise ValueError("there is no loop")
