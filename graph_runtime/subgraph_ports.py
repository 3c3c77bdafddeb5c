"""How the streams and side packets of a subgraph are joined to those of the node that stands for it.

Source: MediaPipe ``tool/subgraph_expansion.cc``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.near_names import did_you_mean
from graph_runtime.origins import Origin, Use
from graph_runtime.tags import TagIndexName, TagMap, describe_port, parse_tag_index_name

Report = Callable[..., None]
"""``report(message, code, origin, *path, node=None, hint=None)``: note a problem."""

PORT_LISTS: Final = {
    "input_stream": "input streams",
    "output_stream": "output streams",
    "input_side_packet": "input side packets",
    "output_side_packet": "output side packets",
}


class Renamings:
    """What the names inside a subgraph become in the graph that uses it.

    Attributes:
        prefix: put before every name that is not a port's.
        streams, side_packets: the names of ports, and what the subgraph node calls them.
        absent: new names of the input ports that the subgraph node leaves out, by list.
        missing: streams that would be there but for problems with the ports.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.streams: dict[str, str] = {}
        self.side_packets: dict[str, str] = {}
        self.absent: dict[str, set[str]] = {}
        self.missing: set[str] = set()

    def of_list(self, field: str) -> dict[str, str]:
        """The names that hold in a list of ports."""
        return self.streams if field in ("input_stream", "output_stream") else self.side_packets

    def rename(self, message: Any) -> dict[str, list[int]]:
        """Rename everything in a node, packet generator or status handler, and take out inputs that are absent.

        Returns: for lists that lost entries, the former position of each that is left.
        """
        kept: dict[str, list[int]] = {}
        for field in PORT_LISTS:
            entries: Sequence[str] = getattr(message, field, ())
            if not entries:
                continue
            renamed = [self._rename(entry, self.of_list(field)) for entry in entries]
            absent = self.absent.get(field)
            if absent:
                left = [at for at, entry in enumerate(renamed) if name_of(entry) not in absent]
                if len(left) < len(renamed):
                    kept[field] = left
                    renamed = [renamed[at] for at in left]
            message.ClearField(field)
            getattr(message, field).extend(renamed)
        return kept

    def _rename(self, entry: str, names: Mapping[str, str]) -> str:
        start, colon, name = entry.rpartition(":")
        return start + colon + (names.get(name) or self.prefix + name)


def name_of(entry: str) -> str:
    """The name in ``TAG:index:name``, well formed or not."""
    return entry.rpartition(":")[2]


def connect(
    config: CalculatorGraphConfig,
    inside: Origin,
    node: CalculatorGraphConfig.Node,
    use: Use,
    prefix: str,
    report: Report,
) -> Renamings:
    """Join the ports of a subgraph to those of its node, by tag and index.

    Args:
        config: the subgraph.
        inside: where it was written.
        node: the subgraph node.
        use: the same, for messages.
        prefix: what the names inside begin with.
        report: called for each problem.
    """
    renamings = Renamings(prefix)
    for field, what in PORT_LISTS.items():
        is_good = True

        def complain(message: str, *args: Any, what: str = what, **details: Any) -> None:
            nonlocal is_good
            is_good = False
            start = f"while processing the {what} of subgraph node {node.calculator}: "
            report(start + message, *args, node=use.node, **details)

        outer = _tag_map(getattr(node, field), use.origin, field, complain)
        inner = _tag_map(getattr(config, field), inside, field, complain) if is_good else TagMap([])
        if is_good:
            for tag in outer.tags:
                _compare(tag, inner, outer, use.origin, field, complain)
        names = dict(zip(inner, inner.names, strict=True))
        outside = {port: name for port, name in zip(outer, outer.names, strict=True) if port in names}
        renamings.of_list(field).update({names[port]: name for port, name in outside.items()})
        if not is_good:  # what lacks a connection now lacks it for a reason that is told already
            renamings.missing.update(prefix + name_of(entry) for entry in getattr(config, field))
            renamings.missing.update(name_of(entry) for entry in node.output_stream)
        elif field.startswith("input"):
            renamings.absent[field] = {prefix + name for port, name in names.items() if port not in outside}
    return renamings


def _tag_map(entries: Iterable[str], origin: Origin, field: str, complain: Report) -> TagMap:
    """The ports of a list; none when it cannot be read."""
    parsed: list[TagIndexName | None] = []
    for at, entry in enumerate(entries):
        try:
            parsed.append(parse_tag_index_name(entry))
        except GraphError as error:
            complain(error.message, error.code, origin, field, at)
            parsed.append(None)
    try:
        return TagMap([] if None in parsed else parsed)
    except GraphError as error:
        complain(error.message, error.code, origin, field, 0)
        return TagMap([])


def _compare(tag: str, inner: TagMap, outer: TagMap, origin: Origin, field: str, complain: Report) -> None:
    """The subgraph has to have as many ports of a tag as its node."""
    have, wanted = inner.num_entries(tag), outer.num_entries(tag)
    if wanted <= have:
        return
    text = f'Tag "{tag}" has {wanted} indexes in the subgraph node but has only {have} indexes in the subgraph config.'
    if not have:
        text = f'Tag "{tag}" does not exist in the subgraph config.'
    ports = ", ".join(describe_port(*port) for port in inner) or "none"
    near = did_you_mean(tag, [each for each in inner.tags if each]) if tag and not have else None
    first = outer.id_of(tag, have)
    assert first is not None
    complain(
        text,
        StatusCode.INVALID_ARGUMENT,
        origin,
        field,
        outer.source[first],
        hint=near or f"the ports of the subgraph are: {ports}",
    )
