"""The ``TAG:index:name`` syntax of streams and side packets, and the order of a node's ports.

Source: MediaPipe ``framework/tool/validate_name.cc`` and ``tag_map.cc``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from graph_runtime.errors import GraphError, StatusCode

PortKey = str | int | tuple[str, int]

MAX_INDEX: Final = 10000

_NUMBER = r"(?:0|[1-9][0-9]*)"
_TAG = r"[A-Z_][A-Z0-9_]*"
_NAME = r"[a-z_][a-z0-9_]*"
_TAG_INDEX_NAME = re.compile(rf"(?:(?P<tag>{_TAG}):(?:(?P<index>{_NUMBER}):)?)?(?P<name>{_NAME})")
_TAG_INDEX = re.compile(rf"(?P<tag>{_TAG})?(?::(?P<index>{_NUMBER}))?")


@dataclass(frozen=True, slots=True)
class TagIndexName:
    """One parsed entry; ``index`` is -1 where an untagged entry takes the next free one."""

    tag: str
    index: int
    name: str


def parse_tag_index_name(text: str) -> TagIndexName:
    """Parse ``name``, ``TAG:name`` or ``TAG:index:name``.

    Raises:
        InvalidArgumentError: the text does not have this form.
        GraphRuntimeError: the index is above 10000 (INTERNAL).
    """
    match = _TAG_INDEX_NAME.fullmatch(text)
    if match is None:
        raise GraphError(
            f'TAG:index:name is invalid, "{text}" does not match '
            '"([A-Z_][A-Z0-9_]*:((0|[1-9][0-9]*):)?)?[a-z_][a-z0-9_]*" '
            '(examples: "TAG:name" "VIDEO:2:name_b", "longer_name").',
            code=StatusCode.INVALID_ARGUMENT,
        )
    if match["tag"] is None:
        return TagIndexName("", -1, match["name"])
    return TagIndexName(match["tag"], _index(match["index"], "TAG:index:name", text), match["name"])


def parse_tag_index(text: str) -> tuple[str, int]:
    """Parse ``TAG``, ``TAG:index``, ``:index`` or the empty text (index 0 of the untagged).

    Raises:
        InvalidArgumentError: the text does not have this form.
        GraphRuntimeError: the index is above 10000 (INTERNAL).
    """
    match = _TAG_INDEX.fullmatch(text)
    if match is None:
        raise GraphError(
            f'TAG:index is invalid, "{text}" does not match "([A-Z_][A-Z0-9_]*)?(:(0|[1-9][0-9]*))?" '
            '(examples: "TAG" "VIDEO:2").',
            code=StatusCode.INVALID_ARGUMENT,
        )
    return match["tag"] or "", _index(match["index"], "TAG:index", text)


def _index(digits: str | None, what: str, text: str) -> int:
    index = 0 if digits is None else int(digits[: len(str(MAX_INDEX)) + 1])  # int() refuses thousands of digits
    if index > MAX_INDEX:
        raise GraphError(f'{what} is invalid, the index in "{text}" is above {MAX_INDEX}.', code=StatusCode.INTERNAL)
    return index


class TagMap:
    """The ports of one list (a node's inputs, say), in MediaPipe's order: by tag, untagged first, then by index.

    A port's position in this order is its id. ``source[id]`` is the position in the list that it was made from.
    """

    __slots__ = ("_ids", "id_by_key", "names", "source", "tags")

    def __init__(self, entries: Sequence[TagIndexName | None]) -> None:
        """Place parsed entries; a None (an entry that did not parse) is left out.

        Raises:
            GraphRuntimeError: an index is given twice, or indexes have a gap (FAILED_PRECONDITION).
        """
        slots: dict[str, dict[int, tuple[str, int]]] = {}
        for position, entry in enumerate(entries):
            if entry is None:
                continue
            of_tag = slots.setdefault(entry.tag, {})
            index = entry.index if entry.index >= 0 else len(of_tag)
            if index in of_tag:
                raise GraphError(
                    f'tag "{entry.tag}" index {index} already had a name "{of_tag[index][0]}" '
                    f'but is being reassigned a name "{entry.name}"',
                    code=StatusCode.FAILED_PRECONDITION,
                )
            of_tag[index] = (entry.name, position)
        for tag, of_tag in slots.items():
            if len(of_tag) != max(of_tag) + 1:
                lines = [
                    f'index {i} name "{of_tag[i][0]}"' if i in of_tag else f"index {i} name <missing>"
                    for i in range(max(of_tag) + 1)
                ]
                raise GraphError(
                    "\n".join([f'Not all indexes were assigned names.  Tag "{tag}" has the following:', *lines]),
                    code=StatusCode.FAILED_PRECONDITION,
                )
        self._ids: dict[tuple[str, int], int] = {}
        self.names: list[str] = []
        self.source: list[int] = []
        self.tags: list[str] = sorted(slots)
        for tag in self.tags:
            for index in range(len(slots[tag])):
                name, position = slots[tag][index]
                self._ids[tag, index] = len(self.names)
                self.names.append(name)
                self.source.append(position)

        self.id_by_key: dict[PortKey, int] = dict(self._ids.items())
        """The ids by every way to write a port: ``("TAG", 1)``, ``"TAG"`` and, untagged, ``0``."""
        for (tag, index), port_id in self._ids.items():
            if not index:
                self.id_by_key[tag] = port_id
            if not tag:
                self.id_by_key[index] = port_id

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """The (tag, index) pairs in id order."""
        return iter(self._ids)

    def id_of(self, tag: str, index: int = 0) -> int | None:
        """The id of a port, or None when there is no such port."""
        return self._ids.get((tag, index))

    def source_of(self, tag: str, index: int) -> int:
        """The position of a port in the list that the map was made from; KeyError when there is no such port."""
        return self.source[self._ids[tag, index]]

    def num_entries(self, tag: str) -> int:
        """How many ports carry the tag ("" for the untagged)."""
        return sum(1 for have, _ in self._ids if have == tag)

    def same_ports(self, other: TagMap) -> bool:
        """Whether both have the same tags and indexes, whatever the names."""
        return self._ids.keys() == other._ids.keys()


def describe_port(tag: str, index: int) -> str:
    """A port as it is written in a graph: ``TAG``, ``TAG:2`` or ``:0``."""
    if not tag:
        return f":{index}"
    return tag if index == 0 else f"{tag}:{index}"
