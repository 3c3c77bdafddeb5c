"""Where each field of a graph's text stands: field paths, and their file:line:column."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

FieldPath: TypeAlias = tuple[str | int, ...]
"""Field names and positions in repeated fields, from the root message down: ``("node", 2, "input_stream", 0)``.

The fields of a message inside an Any follow the Any's own path: ``("node", 0, "node_options", 0, "models_path")``. An
extension is named in full: ``("node", 0, "options", "mediapipe.GateCalculatorOptions.ext", "allow")``.
"""


@dataclass(frozen=True, slots=True)
class Positions:
    """Places in one graph's text, for error messages.

    Attributes:
        label: the file's name; ``<string>``, ``<bytes>`` or ``<message>`` for a graph that came without one.
        offsets: field path -> offset in the text: of the value of a scalar field, of the name of a message field. Empty
            where there is no text.
        line_starts: offset of each line's first character.
    """

    label: str
    offsets: Mapping[FieldPath, int] = field(default_factory=dict)
    line_starts: Sequence[int] = ()

    def place(self, *path: str | int) -> str:
        """``file:line:column`` (1-based, in characters) of a field, or of the nearest message around it that is there.

        An empty path gives the label alone, and so does a path of which nothing is in the text. For a graph without
        text the label is followed by the path: ``graph.binarypb:node[2].input_stream[0]``.
        """
        if not self.line_starts:
            return f"{self.label}:{path_text(path)}" if path else self.label
        for length in range(len(path), 0, -1):
            offset = self.offsets.get(path[:length])
            if offset is not None:
                return self.place_of_offset(offset)
        return self.label

    def place_of_offset(self, offset: int) -> str:
        """``file:line:column`` of an offset in the text."""
        line = bisect.bisect_right(self.line_starts, offset)
        return f"{self.label}:{line}:{offset - self.line_starts[line - 1] + 1}"


def line_starts(text: str) -> list[int]:
    r"""Offset of each line's first character; lines end at ``\n`` alone, as for protobuf's own parser."""
    return [0, *(match.end() for match in re.finditer("\n", text))]


def path_text(path: FieldPath) -> str:
    """A path as people write it: ``node[2].input_stream[0]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".[{step}]" if "." in step else f".{step}"
    return text.removeprefix(".")
