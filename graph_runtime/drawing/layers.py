"""Where the items of one picture stand: in layers, each below what it depends on, with few crossings (Sugiyama's method).

Layers by the longest way, order by barycenters, places by averages that keep the order (isotonic regression). All of it is plain
arithmetic on lists; the same graph always gets the same picture.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

GAP_X: Final = 26.0
GAP_LINE: Final = 14.0
"""Between lines that pass a layer."""
GAP_Y: Final = 46.0
_SWEEPS: Final = 12

Point: TypeAlias = tuple[float, float]


@dataclass(eq=False, slots=True)
class Item:
    """A rectangle to be placed.

    Attributes:
        inputs, outputs: where its ports are, from its left side.
        at: ``"first"`` and ``"last"`` for items that stand above, or below, all others.
        x, y: where its left upper corner came to be.
    """

    width: float
    height: float
    inputs: Sequence[float]
    outputs: Sequence[float]
    at: str = ""
    x: float = 0.0
    y: float = 0.0
    rank: int = 0


@dataclass(eq=False, slots=True)
class Link:
    """From an output of an item to an input of another.

    Attributes:
        back: whether it leads back up, as a back edge does.
        way: the points that it passes, from output to input; filled by ``place``. ``turns`` says whether it leaves downwards and
            comes back from above.
    """

    source: int
    output: int
    target: int
    input: int
    back: bool = False
    turns: bool = False
    way: list[Point] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Spot:
    """What takes room in a layer: an item, or a line that passes (``item`` is -1)."""

    item: int
    width: float
    rank: int
    beside: _Spot | None = None
    center: float = 0.0
    up: list[tuple[_Spot, float, float]] = field(default_factory=list)
    """What it is joined to in the layer above: the spot, the port there and the port here, both from their centers."""
    down: list[tuple[_Spot, float, float]] = field(default_factory=list)


def place(items: Sequence[Item], links: Sequence[Link]) -> tuple[float, float]:
    """Give every item its place and every link its way; returns width and height of the whole."""
    if not items:
        return 0.0, 0.0
    _rank(items, links)
    spots = [_Spot(at, item.width, item.rank) for at, item in enumerate(items)]
    lines = _lines(items, links, spots)
    layers: list[list[_Spot]] = [[] for _ in range(max(spot.rank for spot in spots) + 1)]
    for spot in dict.fromkeys([*spots, *(spot for line in lines for spot in line)]):
        layers[spot.rank].append(spot)
    _order(layers)
    _spread(layers)
    left = min(spot.center - spot.width / 2 for layer in layers for spot in layer)
    y, tops, bottoms = 0.0, [], []
    for layer in layers:
        height = max((items[spot.item].height for spot in layer if spot.item >= 0), default=0.0)
        tops.append(y)
        bottoms.append(y + height)
        y += height + GAP_Y
    for spot in (spot for layer in layers for spot in layer):
        spot.center -= left
        if spot.item >= 0:
            item = items[spot.item]
            item.x = spot.center - item.width / 2
            item.y = tops[spot.rank] + (bottoms[spot.rank] - tops[spot.rank] - item.height) / 2
    for link, line in zip(links, lines, strict=True):
        source, target = items[link.source], items[link.target]
        x, x_end = source.x + source.outputs[link.output], target.x + target.inputs[link.input]
        link.way = [(x, source.y + source.height), (x, bottoms[source.rank])]
        for spot in line:
            ends = [(spot.center, tops[spot.rank]), (spot.center, bottoms[spot.rank])]
            link.way += reversed(ends) if link.turns else ends
        link.way += [(x_end, tops[target.rank]), (x_end, target.y)]
    width = max(spot.center + spot.width / 2 for layer in layers for spot in layer)
    return width, bottoms[-1]


def _rank(items: Sequence[Item], links: Sequence[Link]) -> None:
    """The layer of each item: below all that it depends on; what depends on nothing stands just above its first use."""
    after: list[list[int]] = [[] for _ in items]
    before: list[list[int]] = [[] for _ in items]
    for link in links:
        if not link.back and link.source != link.target:
            after[link.source].append(link.target)
    order = _without_cycles(after)
    position = {item: at for at, item in enumerate(order)}
    for source, targets in enumerate(after):
        after[source] = [target for target in targets if position[target] > position[source]]
        for target in after[source]:
            before[target].append(source)
    top = 1 if any(item.at == "first" for item in items) else 0
    for at in order:
        item = items[at]
        item.rank = 0 if item.at == "first" else max((items[each].rank + 1 for each in before[at]), default=top)
    for at in reversed(order):
        if items[at].at == "" and not before[at] and after[at]:
            items[at].rank = max(top, min(items[each].rank for each in after[at]) - 1)
    last = max((item.rank for item in items if item.at != "last"), default=-1) + 1
    for item in items:
        if item.at == "last":
            item.rank = last
    used = {rank: at for at, rank in enumerate(sorted({item.rank for item in items}))}
    for item in items:
        item.rank = used[item.rank]


def _without_cycles(after: Sequence[Sequence[int]]) -> list[int]:
    """An order in which every item comes before what depends on it, but for links that close a cycle."""
    order: list[int] = []
    seen: set[int] = set()
    for start in range(len(after)):
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(after[start]))]
        while path:
            at, rest = path[-1]
            following = next((each for each in rest if each not in seen), None)
            if following is None:
                order.append(at)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(after[following])))
    order.reverse()
    return order


def _lines(items: Sequence[Item], links: Sequence[Link], spots: Sequence[_Spot]) -> list[list[_Spot]]:
    """The spots that each link passes. Links of one output share their way as far as it is the same."""
    trunks: dict[tuple[int, int], list[_Spot]] = {}
    lines = []
    for link in links:
        source, target = items[link.source], items[link.target]
        link.turns = target.rank <= source.rank
        out = source.outputs[link.output] - source.width / 2
        into = target.inputs[link.input] - target.width / 2
        if link.turns:
            line = [_Spot(-1, GAP_LINE, rank) for rank in range(source.rank, target.rank - 1, -1)]
            line[0].beside, line[-1].beside = spots[link.source], spots[link.target]
            for lower, upper in pairwise(line):
                _join(upper, 0.0, lower, 0.0)
            lines.append(line)
            continue
        trunk = trunks.setdefault((link.source, link.output), [])
        while len(trunk) < target.rank - source.rank - 1:
            spot = _Spot(-1, 0.0, source.rank + len(trunk) + 1)
            if trunk:
                _join(trunk[-1], 0.0, spot, 0.0)
            else:
                _join(spots[link.source], out, spot, 0.0)
            trunk.append(spot)
        line = trunk[: target.rank - source.rank - 1]
        if line:
            _join(line[-1], 0.0, spots[link.target], into)
        else:
            _join(spots[link.source], out, spots[link.target], into)
        lines.append(line)
    return lines


def _join(upper: _Spot, out: float, lower: _Spot, into: float) -> None:
    upper.down.append((lower, into, out))
    lower.up.append((upper, out, into))


def _order(layers: list[list[_Spot]]) -> None:
    """Sort each layer by where its spots are joined to, down and up again; the order with the fewest crossings counts."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers[1:] if down else reversed(layers[:-1]):
            _sort(layer, layers[layer[0].rank + (-1 if down else 1)], down)
        crossings = _crossings(layers)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    for layer, kept in zip(layers, best, strict=True):
        layer[:] = kept


def _sort(layer: list[_Spot], other: Sequence[_Spot], down: bool) -> None:
    place_of = {spot: at for at, spot in enumerate(other)}
    value: dict[_Spot, float] = {}
    for at, spot in enumerate(layer):
        joined = spot.up if down else spot.down
        where = [place_of[each] + port / (each.width + 1.0) for each, port, _ in joined]
        value[spot] = sum(where) / len(where) if where else at * len(other) / len(layer)
    for spot in layer:
        if spot.beside is not None and not (spot.up if down else spot.down):
            value[spot] = value[spot.beside] + 1e-3
    layer.sort(key=value.__getitem__)


def _crossings(layers: Sequence[Sequence[_Spot]]) -> int:
    count = 0
    for upper, lower in pairwise(layers):
        place_of = {spot: at for at, spot in enumerate(lower)}
        seen: list[tuple[int, float]] = []
        for spot in upper:
            ends = sorted((port, (place_of[each], into)) for each, into, port in spot.down)
            for _, end in ends:
                count += len(seen) - bisect_right(seen, end)
                insort(seen, end)
    return count


def _spread(layers: Sequence[list[_Spot]]) -> None:
    """Give each spot its center: near the average of what it is joined to, in the order of its layer."""
    for layer in layers:
        _settle(layer, [0.0] * len(layer))
    for sweep in range(_SWEEPS * 2):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            wanted = []
            for spot in layer:
                joined = spot.up if down else spot.down
                joined = joined or (spot.down if down else spot.up)
                if sweep >= _SWEEPS:
                    joined = [*spot.up, *spot.down]
                where = [each.center + port - own for each, port, own in joined]
                if spot.beside is not None:
                    where.append(spot.beside.center + spot.beside.width / 2 + GAP_LINE)
                wanted.append(sum(where) / len(where) if where else spot.center)
            _settle(layer, wanted)


def _settle(layer: Sequence[_Spot], wanted: Iterable[float]) -> None:
    """Centers as near to the wanted ones as order and room allow: pool adjacent violators."""
    offsets = [0.0]
    for one, two in pairwise(layer):
        gap = GAP_X if one.item >= 0 or two.item >= 0 else GAP_LINE
        offsets.append(offsets[-1] + (one.width + two.width) / 2 + gap)
    pools: list[tuple[float, float, int]] = []  # sum of weighted places, weight, how many spots
    for spot, offset, place in zip(layer, offsets, wanted, strict=True):
        weight = 2.0 if spot.item < 0 else 1.0
        pool = ((place - offset) * weight, weight, 1)
        while pools and pools[-1][0] / pools[-1][1] > pool[0] / pool[1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    centers = [total / weight for total, weight, count in pools for _ in range(count)]
    for spot, offset, center in zip(layer, offsets, centers, strict=True):
        spot.center = center + offset
