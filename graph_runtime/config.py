"""Reads a graph: text, binary or message -> CalculatorGraphConfig, with a place for everything that is wrong in it."""

from __future__ import annotations

import bisect
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from google.protobuf import text_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Error as ProtobufError
from google.protobuf.message import Message

from graph_runtime import _pb
from graph_runtime._pb.google.protobuf.any_pb2 import Any
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.errors import GraphError, GraphFileNotFoundError, Problem, StatusCode
from graph_runtime.options import find_options, register_options
from graph_runtime.positions import FieldPath, Positions, line_starts
from graph_runtime.text_scanner import NodeSpan, Scan, missing_text, scan_text

__all__ = [
    "BINARY_SUFFIXES",
    "GraphSource",
    "Source",
    "find_options",
    "parse_graph_config",
    "read_graph",
    "register_options",
    "to_text",
]

Source: TypeAlias = str | bytes | os.PathLike[str] | Message
"""A graph as text (``str``), in binary form (``bytes``), as a file, or as a message of any descriptor pool."""

BINARY_SUFFIXES: Final = (".binarypb", ".binpb", ".pb")
"""Files with these endings hold the binary form; all others hold text."""

_PATH: Final = r"[^\s{}:\"']+\.(pbtxt|txtpb|textproto|binarypb|binpb|pb)"  # text that is a path and never a graph
_BYTE_ORDER_MARK: Final = "\ufeff"  # some editors on Windows put it before UTF-8
_MAX_ATTEMPTS: Final = 20  # every value that cannot be read costs one more parse
_MAX_SAME: Final = 100  # equal problems that are listed one by one
_NO_TEXT: Final = " is no UTF-8 text"
_PARSE_ERRORS: Final = (text_format.ParseError, ProtobufError, RecursionError, ValueError)


@dataclass(frozen=True, slots=True)
class GraphSource:
    """A graph that was read.

    Attributes:
        config: the graph, a copy that belongs to the caller.
        positions: the places of its fields.
        file: the file's name as it stands in messages, or None.
        text: what was parsed, or None where the graph came as bytes or as a message.
        problems: what is wrong with it; only ``read_graph(..., keep_problems=True)`` gives any.
        gaps: positions of the nodes in which something is wrong, so that it was left out; None stands for the rest of the graph.
    """

    config: CalculatorGraphConfig
    positions: Positions
    file: str | None = None
    text: str | None = None
    problems: tuple[Problem, ...] = ()
    gaps: frozenset[int | None] = frozenset()


def parse_graph_config(source: Source, *, file: str | None = None) -> CalculatorGraphConfig:
    """The graph of a pbtxt text, of a file, of bytes or of a message, checked for everything but its wiring.

    Args:
        source: see ``Source``. A ``str`` is always text; a file is given as a ``pathlib.Path``.
        file: the name to print in places; a path prints itself.

    Raises:
        GraphRuntimeError: "Failed to parse: ...", with every problem that was found in ``problems``.
        GraphFileNotFoundError: there is no such file.
        InvalidArgumentError: ``source`` is something else.
    """
    return read_graph(source, file=file).config


def read_graph(source: Source, *, file: str | None = None, keep_problems: bool = False) -> GraphSource:
    """The same, with the places of all fields.

    Args:
        source: as for ``parse_graph_config``.
        file: as for ``parse_graph_config``.
        keep_problems: do not raise for what can be left out (unknown fields and options, bad values, options that lack
            a required field) but return it in ``problems``, so that the rest can be checked in the same go.

    Raises:
        GraphError: as for ``parse_graph_config``.
    """
    text: str | None = None
    if isinstance(source, Message):
        name = source.DESCRIPTOR.full_name
        if name != CalculatorGraphConfig.DESCRIPTOR.full_name:
            raise GraphError(
                f"a graph is a mediapipe.CalculatorGraphConfig message, not {name}", code=StatusCode.INVALID_ARGUMENT
            )
        reader = _Reader(file or "<message>")
        reader.binary(source.SerializePartialToString())
    elif isinstance(source, str):
        reader = _Reader(file or "<string>")
        text = source.removeprefix(_BYTE_ORDER_MARK)
        reader.text(text)
    elif isinstance(source, bytes):
        reader = _Reader(file or "<bytes>")
        reader.binary(source)
    elif isinstance(source, os.PathLike):
        path = Path(os.fsdecode(source))
        file = file or str(path)
        reader = _Reader(file)
        text = _read_file(path, reader)
    else:
        raise GraphError(
            "a graph is given as str (text), bytes (binary), a path or a CalculatorGraphConfig message, "
            f"not {type(source).__name__}",
            code=StatusCode.INVALID_ARGUMENT,
        )
    problems = reader.problems
    if reader.config is None or (problems and not keep_problems):
        raise reader.error()
    return GraphSource(reader.config, reader.positions, file, text, problems, frozenset(reader.gaps()))


def to_text(message: Message) -> str:
    """A message in text format, options spelt out unless some cannot be read.

    ``str()`` would look Any types up in the process-wide pool.
    """
    try:
        return text_format.MessageToString(message, descriptor_pool=_pb.POOL)
    except ProtobufError:  # an Any whose bytes are no message of its type
        return text_format.MessageToString(message, descriptor_pool=DescriptorPool())


class _Reader:
    """Collects the problems of one source on the way to its config, which stays None where nothing can be saved."""

    def __init__(self, label: str) -> None:
        self.positions = Positions(label)
        self.config: CalculatorGraphConfig | None = None
        self.found: list[tuple[int, Problem]] = []  # with the offset in the text, to sort by
        self.nodes: list[NodeSpan] = []
        self.left_out: list[int] = []  # offsets of what is wrong

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for _, problem in sorted(self.found, key=lambda pair: pair[0]))

    def gaps(self) -> Iterator[int | None]:
        """In which nodes something is wrong; None for what is outside of the nodes."""
        spans = {node.start: node.end for node in self.nodes}
        starts: list[int] = []
        while (start := self.positions.offsets.get(("node", len(starts)))) is not None:
            starts.append(start)
        for offset in self.left_out:
            at = bisect.bisect_right(starts, offset) - 1
            yield at if at >= 0 and offset < spans[starts[at]] else None

    def error(self) -> GraphError:
        problems = self.problems
        lines = [str(problem) for problem in problems]
        if len(lines) > 1:
            lines.insert(0, f"{self.positions.label}: {len(lines)} problems")
        return GraphError(
            "Failed to parse: " + "\n".join(lines),
            code=problems[0].code,
            node=problems[0].node,
            place=problems[0].place,
            problems=problems,
        )

    def text(self, text: str) -> None:
        """Read a graph in text format. What can be left out is blanked, so that the rest shows its problems too."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            self.positions = Positions(self.positions.label, {}, line_starts(text))
            self.add(f"{text[error.start]!r} is half a character (a lone surrogate)", error.start)
            return
        if re.fullmatch(_PATH, text.strip()):
            self.add(
                "it is no graph", hint="it looks like a path: give a file as pathlib.Path, a str is the graph itself"
            )
            return
        for attempt in range(_MAX_ATTEMPTS):
            scan = scan_text(text, CalculatorGraphConfig.DESCRIPTOR, _pb.POOL, self.positions.label)
            self.positions, self.nodes = scan.positions, scan.nodes
            if attempt == 0:  # what a later scan finds missing was blanked here
                self.add_findings(scan)
            if scan.broken is not None and (scan.findings or scan.explained):
                self.add(scan.broken[1], scan.broken[0], scan)
                return
            gaps = [_gap(scan.entries, finding.offset) for finding in scan.findings if not finding.missing]
            if not gaps:
                gaps = [self.parse_values(text, scan)]
            if not any(gaps):
                return
            text = _blank(text, [gap for gap in gaps if gap is not None])
        self.add("more values cannot be read; these are the first of them", len(text), scan)

    def add_findings(self, scan: Scan) -> None:
        """What the scanner found, but for endless repetition: such a file is hardly a graph."""
        count: Counter[str] = Counter()
        beyond: dict[str, int] = {}
        for finding in scan.findings:
            self.left_out.append(finding.offset)
            count[finding.message] += 1
            if count[finding.message] <= _MAX_SAME:
                self.add(finding.message, finding.offset, scan, finding.hint)
            else:
                beyond.setdefault(finding.message, finding.offset)
        for message, offset in beyond.items():
            self.add(f"{message}; {count[message] - _MAX_SAME} times from here on", offset, scan)

    def parse_values(self, text: str, scan: Scan) -> tuple[int, int] | None:
        """Parse with protobuf's own parser; the field to leave out before the next try, or None to stop."""
        incomplete = any(finding.missing for finding in scan.findings)
        pool = _pb.pool_without_required() if incomplete else _pb.POOL
        for offset, literal in scan.literals.items():
            text = text[:offset] + literal + text[offset + len(literal) :]
        config = CalculatorGraphConfig()
        try:
            parsed = _pb.message_class(config.DESCRIPTOR.full_name, pool)()
            text_format.Parse(text, parsed, descriptor_pool=pool)
            config.ParseFromString(parsed.SerializePartialToString())
        except _PARSE_ERRORS as error:
            at, message = _describe(error, text, scan.positions.line_starts)
            self.add(message, at, scan)
            self.left_out.append(at or 0)
            return None if at is None or scan.broken is not None else _gap(scan.entries, at)
        self.config = config
        return None

    def binary(self, data: bytes) -> None:
        """Read a graph in binary form."""
        config = CalculatorGraphConfig()
        try:
            config.ParseFromString(data)
            is_text = True
            for path, message in _faults(config, ()):
                self.add(message, place=self.positions.place(*path), node=_node_name(config, path))
                is_text &= not message.endswith(_NO_TEXT)
            if is_text:  # otherwise names would be bytes, which nothing else expects
                self.config = config
        except _PARSE_ERRORS as error:
            start = data[:100].decode("latin-1")
            is_text = ":" in start and all(char.isprintable() or char.isspace() for char in start)
            hint = "it looks like text: give it as str, or in a file with another ending" if is_text else None
            self.add(f"it is no CalculatorGraphConfig in binary form ({error})", hint=hint)

    def undecodable(self, data: bytes, error: UnicodeDecodeError) -> None:
        """Say where a file that should be text is none."""
        before = data[: error.start].decode(errors="replace")
        self.positions = Positions(self.positions.label, {}, line_starts(before))
        text = f"it is no UTF-8 text: {error.reason} 0x{data[error.start]:02x}"
        self.add(text, len(before), hint="save the file as UTF-8")

    def add(
        self,
        message: str,
        offset: int | None = None,
        scan: Scan | None = None,
        hint: str | None = None,
        *,
        place: str | None = None,
        node: str | None = None,
    ) -> None:
        if offset is not None:
            place = self.positions.place_of_offset(offset)
            node = None if scan is None else scan.node_at(offset)
        # UNKNOWN makes it a RuntimeError, which is what MediaPipe's Python API raises for a graph that it cannot parse.
        problem = Problem(message, StatusCode.UNKNOWN, place or self.positions.label, node, hint)
        self.found.append((offset or 0, problem))


def _describe(error: Exception, text: str, starts: Sequence[int]) -> tuple[int | None, str]:
    """Offset and plain message of what protobuf's parser raised."""
    if isinstance(error, RecursionError):
        return None, "messages are nested too deeply"
    if not isinstance(error, text_format.ParseError):
        return None, str(error)
    line, column = error.GetLine(), error.GetColumn()
    if line is None or column is None or not 1 <= line <= len(starts):
        return None, str(error)
    # The parser puts the position and, mostly, the whole line before its message.
    message = str(error).removeprefix(f"{line}:{column} : ").removesuffix(".")
    message = message.removeprefix(f"'{text[starts[line - 1] :].partition(chr(10))[0]}': ")
    return min(starts[line - 1] + column - 1, len(text)), message


def _gap(spans: Mapping[int, int], offset: int) -> tuple[int, int] | None:
    """The innermost span around an offset."""
    if offset in spans:
        return offset, spans[offset]
    around = [start for start, end in spans.items() if start <= offset < end]
    return (max(around), spans[max(around)]) if around else None


def _blank(text: str, gaps: Iterable[tuple[int, int]]) -> str:
    """The text with blanks in the gaps, so that all other characters keep their places."""
    parts, done = [], 0
    for start, end in sorted(gaps):
        if end > done:
            parts += [text[done : max(start, done)], re.sub(r"[^\n]", " ", text[max(start, done) : end])]
            done = end
    return "".join([*parts, text[done:]])


def _read_file(path: Path, reader: _Reader) -> str | None:
    """Read a graph file; its text, or None for the binary form."""
    place = reader.positions.label
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GraphFileNotFoundError(
            f"The path does not exist: {path}", code=StatusCode.NOT_FOUND, place=place
        ) from error
    except IsADirectoryError as error:
        raise GraphError(f"Failed to parse: {place}: it is a folder; give the graph file in it", place=place) from error
    except (OSError, ValueError) as error:
        raise GraphError(f"Failed to parse: {place}: it cannot be read: {error}", place=place) from error
    if path.suffix in BINARY_SUFFIXES:
        reader.binary(data)
        return None
    try:
        text = data.removeprefix(_BYTE_ORDER_MARK.encode()).decode()
    except UnicodeDecodeError as error:
        reader.undecodable(error.object, error)
        return None
    reader.text(text)
    return text


def _faults(message: Message, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    """What protobuf lets pass: missing required fields and strings that are no UTF-8; inside Any fields and extensions too."""
    for field in message.DESCRIPTOR.fields:
        if _pb.is_required(field) and not message.HasField(field.name):
            yield path, missing_text(message.DESCRIPTOR.full_name, field.name)
    for field, value in message.ListFields():
        kind, step = field.message_type, (*path, field.full_name if field.is_extension else field.name)
        if kind is None:
            values = value if _pb.is_repeated(field) else [value]
            if field.type == field.TYPE_STRING and any(isinstance(each, bytes) for each in values):
                yield path, f'the string in field "{field.name}"{_NO_TEXT}'
            continue
        if not _pb.is_repeated(field):
            yield from _faults_inside(value, step)
        elif not kind.GetOptions().map_entry:
            for index, element in enumerate(value):
                yield from _faults_inside(element, (*step, index))
        elif kind.fields_by_name["value"].message_type is not None:
            for key in value:
                yield from _faults_inside(value[key], (*step, str(key)))


def _faults_inside(message: Message, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    if isinstance(message, Any):
        try:
            inside = _pb.message_class(message.type_url.rpartition("/")[2])()
        except KeyError:
            return  # a type that nobody here knows is kept as it is; whoever wants it brings its class
        try:
            inside.ParseFromString(message.value)
        except ProtobufError as error:
            yield path, f"{message.type_url} cannot be read ({error})"
            return
        message = inside
    yield from _faults(message, path)


def _node_name(config: CalculatorGraphConfig, path: FieldPath) -> str | None:
    if len(path) < 2 or path[0] != "node":
        return None
    node = config.node[int(path[1])]
    name: str | bytes = node.name or node.calculator
    return (name.decode(errors="replace") if isinstance(name, bytes) else name) or None
