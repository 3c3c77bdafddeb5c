"""Walks the text of a graph beside protobuf's parser: where each field stands, and everything that no message knows.

protobuf's own parser reads the values but stops at the first problem, and it tells no position for a missing required
field, an unknown options type or anything that a later check finds. The scanner walks the same grammar (protobuf text
format) and reports all of them at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from graph_runtime._pb import is_repeated, is_required
from graph_runtime.near_names import did_you_mean, near_name
from graph_runtime.positions import FieldPath, Positions, line_starts
from graph_runtime.string_literals import bad_escape, is_utf8, plain_literal

MAX_DEPTH: Final = 100
"""Messages nested deeper than this are refused; the limit that protobuf has for its binary format."""

_MAX_HINTS: Final = 100  # did-you-mean takes a millisecond a name, and nobody reads more of them

# Marks that text format has no use for, but people and programs around it have.
_FOREIGN: Final = {
    "%": "this is a graph template (%for, %if, %param, %name%), and templates are not supported; write the graph out, or make "
    "it from options with a class: graph_runtime.Subgraph",
    "/": "no field and no value begins with a slash; a comment begins with # and ends with its line",
    "\ufeff": "a byte order mark stands inside the text; take it out",
    "\0": "a NUL character stands in the text; if the file is UTF-16, save it as UTF-8",
}

_UNKNOWN_OPTIONS: Final = (
    'nobody has registered that type; graph_runtime.register_options("its.proto") does, or --options_proto its.proto'
)

_ONE_ANY: Final = "each options message has a node_options { ... } of its own"

_ANY: Final = "google.protobuf.Any"
_NODE: Final = "mediapipe.CalculatorGraphConfig.Node"

_TOKEN: Final = re.compile(
    r"""(?P<blank>(?:\s|\#[^\n]*)+)
      | (?P<name>[A-Za-z_][0-9A-Za-z_+-]*)
      | (?P<number>(?:[0-9+-]|\.[0-9])[0-9A-Za-z_.+-]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<mark>.)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the text that the messages do not allow.

    Attributes:
        offset: where it stands.
        message: what is wrong.
        hint: what would be right, or None.
        missing: a required field is missing, so there is no text that is wrong.
    """

    offset: int
    message: str
    hint: str | None = None
    missing: bool = False


@dataclass(slots=True)
class NodeSpan:
    """The text of one node, from the word ``node`` to its closing brace."""

    start: int
    end: int
    name: str = ""
    calculator: str = ""


@dataclass(slots=True)
class Scan:
    """What the scanner found in a text.

    Attributes:
        positions: the places of all fields.
        findings: what the messages do not know, and required fields that are missing, in the order of the text.
        entries: start -> end offset of every field with its value, inner fields included.
        nodes: every node, outer ones before inner ones.
        literals: offset -> new text, of the same length, of literals that not every protobuf release reads rightly.
        broken: offset and text of the syntax error at which the scan ended, or None.
        explained: protobuf's own parser has nothing better to say of that error.
    """

    positions: Positions
    findings: list[Finding]
    entries: dict[int, int]
    nodes: list[NodeSpan]
    literals: dict[int, str]
    broken: tuple[int, str] | None = None
    explained: bool = False

    def node_at(self, offset: int) -> str | None:
        """The name of the node around an offset, or its calculator's where it has none; None outside of nodes."""
        around = [node for node in self.nodes if node.start <= offset < node.end]
        return around[-1].name or around[-1].calculator or None if around else None


def scan_text(text: str, root: Descriptor, pool: DescriptorPool, label: str) -> Scan:
    """Walk through a text-format message; never fails, but may end early (``Scan.broken``).

    Args:
        text: the message in text format, without lone surrogates.
        root: what kind of message it is.
        pool: knows the messages that may stand in an Any, and the extensions.
        label: the file's name, for places.
    """
    offsets: dict[FieldPath, int] = {}
    scan = Scan(Positions(label, offsets, line_starts(text)), [], {}, [], {})
    try:
        _Scanner(text, pool, scan, offsets).fields(root, (), 0, None, 0)
    except _BrokenTextError as broken:
        scan.broken = (broken.offset, broken.message)
        scan.explained = broken.explained
    scan.findings.sort(key=lambda finding: finding.offset)
    return scan


def missing_text(message: str, field: str) -> str:
    """What is said of a required field that is not there."""
    return f'Message "{message}" is missing the required field "{field}"'


class _BrokenTextError(Exception):
    """The text is no text format from here on."""

    def __init__(self, offset: int, message: str, *, explained: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message
        self.explained = explained


class _Scanner:
    """One walk over the tokens.

    ``kind``, ``word`` and ``start`` describe the next token, ``end`` is the end of the one before. A field or message
    whose descriptor is None is unknown: it is walked through and nothing in it is reported.
    """

    def __init__(self, text: str, pool: DescriptorPool, scan: Scan, offsets: dict[FieldPath, int]) -> None:
        self.tokens = ((m.lastgroup or "", m[0], m.start()) for m in _TOKEN.finditer(text) if m.lastgroup != "blank")
        self.text = text
        self.size = len(text)
        self.pool = pool
        self.scan = scan
        self.offsets = offsets
        self.node: NodeSpan | None = None  # the innermost node around the next token
        self.kind, self.word, self.start, self.end = "", "", 0, 0
        self.advance()

    def advance(self) -> None:
        self.end = self.start + len(self.word)
        self.kind, self.word, self.start = next(self.tokens, ("end", "", self.size))

    def take(self, mark: str) -> bool:
        if self.kind == "mark" and self.word == mark:
            self.advance()
            return True
        return False

    def expect(self, mark: str) -> None:
        if not self.take(mark):
            raise self.broken(f'Expected "{mark}"')

    def broken(self, message: str, *, explained: bool = False) -> _BrokenTextError:
        foreign = _FOREIGN.get(self.word) if self.kind == "mark" else None
        if foreign is not None:
            return _BrokenTextError(self.start, foreign, explained=True)
        found = repr(self.word[:40]) if self.word else "the end"
        return _BrokenTextError(self.start, f"{message}, found {found}", explained=explained)

    def find(self, offset: int, message: str, hint: str | None = None) -> None:
        self.scan.findings.append(Finding(offset, message, hint))

    def suggest(self, name: str, possible: Iterable[str]) -> str | None:
        return did_you_mean(name, possible, "possible") if len(self.scan.findings) < _MAX_HINTS else None

    def suggest_type(self, name: str, known: Iterable[str], ending: str) -> str | None:
        """A hint for a name that no options message has: the one that was meant, or how others become known."""
        if len(self.scan.findings) >= _MAX_HINTS:
            return None
        meant = near_name(name, known, ending)
        return f'did you mean "{meant}"?' if meant else _UNKNOWN_OPTIONS

    def fields(self, message: Descriptor | None, path: FieldPath, opened: int, close: str | None, depth: int) -> None:
        """The fields of one message, up to its closing mark."""
        if depth > MAX_DEPTH:
            raise _BrokenTextError(opened, f"messages are nested deeper than {MAX_DEPTH}", explained=True)
        counts: dict[str, int] = {}
        opened_to = self.end
        while close is None or not self.take(close):
            if self.kind == "end":
                if close is None:
                    break
                raise self.broken(f'Expected "{close}"')
            if message is not None and message.full_name == _ANY and self.word == "[" and self.end > opened_to:
                self.find(self.start, "Non-repeated Any specified multiple times", _ONE_ANY)
            self.entry(message, path, counts, depth)
        if message is not None:
            for field in message.fields:
                if is_required(field) and field.name not in counts:
                    text = missing_text(message.full_name, field.name)
                    self.scan.findings.append(Finding(opened, text, missing=True))

    def entry(self, message: Descriptor | None, path: FieldPath, counts: dict[str, int], depth: int) -> None:
        """One field: its name, its value or values, and a separator."""
        start = self.start
        if self.take("["):
            name = self.bracket()
            if message is not None and message.full_name == _ANY:
                self.any_contents(name, path, start, depth)
                return
            field = None if message is None else self.extension(name, message, start)
        elif self.kind in ("name", "number"):
            name = self.word
            self.advance()
            field = None if message is None else self.field(name, message, start)
        else:
            raise self.broken("Expected a field name")
        self.value(field, (*path, name), start, counts, depth)
        if not self.take(","):
            self.take(";")
        self.scan.entries[start] = self.end

    def bracket(self) -> str:
        """What stands between [ and ], without blanks and comments."""
        words = []
        while not self.take("]"):
            if self.kind in ("end", "string") or self.word in ("{", "}", "<", ">", "["):
                raise self.broken('Expected "]"', explained=True)
            words.append(self.word)
            self.advance()
        return "".join(words)

    def field(self, name: str, message: Descriptor, start: int) -> FieldDescriptor | None:
        field = message.fields_by_name.get(name)
        if field is not None:
            return field
        group = message.fields_by_name.get(name.lower())  # a group is written with the name of its type
        if group is not None and group.type == FieldDescriptor.TYPE_GROUP:
            return group
        hint: str | None
        if message.full_name == _ANY:
            hint = "options stand one level further in: [type.googleapis.com/mediapipe.XOptions] { ... }"
        elif message.is_extendable and len(message.fields) <= 1:  # a mere carrier
            hint = "options stand one level further in: [mediapipe.XOptions.ext] { ... }"
        else:
            hint = self.suggest(name, message.fields_by_name.keys())
        self.find(start, f'Message type "{message.full_name}" has no field named "{name}"', hint)
        return None

    def extension(self, name: str, message: Descriptor, start: int) -> FieldDescriptor | None:
        if not message.is_extendable:
            self.find(start, f'Message type "{message.full_name}" does not have extensions, so it has no "[{name}]"')
            return None
        try:
            field = self.pool.FindExtensionByName(name)
        except KeyError:
            hint: str | None = None
            if "/" in name:
                hint = "a [type.googleapis.com/...] belongs into node_options"
            else:
                known = [each.full_name for each in self.pool.FindAllExtensions(message)]
                hint = self.suggest_type(name, known, "CalculatorOptions.ext")
            text = f'Extension "{name}" is not defined or is not an extension of "{message.full_name}"'
            self.find(start, text, hint)
            return None
        extended = field.containing_type.full_name if field.containing_type is not None else ""
        if extended != message.full_name:
            self.find(start, f'Extension "{name}" is not an extension of "{message.full_name}", but of "{extended}"')
            return None
        return field

    def any_contents(self, url: str, path: FieldPath, start: int, depth: int) -> None:
        """``[type.googleapis.com/package.Type] { ... }``, the contents of an Any; no separator may follow."""
        _, slash, name = url.rpartition("/")
        inside: Descriptor | None = None
        hint: str | None = None
        if slash:
            try:
                inside = self.pool.FindMessageTypeByName(name)
            except KeyError:
                hint = self.suggest_type(name, _options_types(self.pool), "CalculatorOptions")
        else:
            hint = f"here it is written [type.googleapis.com/{url.removesuffix('.ext')}]"
        if inside is None:
            self.find(start, f'Could not find type "{url}" stored in google.protobuf.Any', hint)
        self.take(":")
        self.body(inside, path, start, depth)
        self.scan.entries[start] = self.end

    def value(
        self, field: FieldDescriptor | None, path: FieldPath, start: int, counts: dict[str, int], depth: int
    ) -> None:
        """The colon and the value, or the list of values; ``path`` ends with the field's name."""
        name = str(path[-1])
        count = counts.setdefault(name, 0)
        scalar = field is not None and field.message_type is None
        if not self.take(":") and scalar:
            raise self.broken('Expected ":"')
        if field is not None and not is_repeated(field):
            self.one_value(field, path, self.start if scalar else start, depth)
        elif self.take("["):
            while not self.take("]"):
                self.one_value(field, (*path, count), self.start, depth)
                count += 1
                if self.word != "]":
                    self.expect(",")
                    if self.word == "]":
                        raise self.broken("Expected a value")
        else:
            self.one_value(field, (*path, count), self.start if scalar else start, depth)
            count += 1
        counts[name] = count

    def one_value(self, field: FieldDescriptor | None, path: FieldPath, start: int, depth: int) -> None:
        if field is not None:
            self.offsets.setdefault(path, start)
        if field.message_type is not None if field is not None else self.word in ("{", "<"):
            self.body(field.message_type if field is not None else None, path, start, depth)
        else:
            self.scalar(field)

    def body(self, message: Descriptor | None, path: FieldPath, start: int, depth: int) -> None:
        """A message in braces or angle brackets."""
        close = ">" if self.take("<") else "}"
        if close == "}":
            self.expect("{")
        around = self.node
        if message is not None and message.full_name == _NODE:
            self.node = NodeSpan(start, self.size + 1)
            self.scan.nodes.append(self.node)
        self.fields(message, path, start, close, depth + 1)
        if self.node is not None and self.node is not around:
            self.node.end = self.end
        self.node = around

    def scalar(self, field: FieldDescriptor | None) -> None:
        start, word = self.start, self.word
        if self.kind == "string":
            word = ""
            while self.kind == "string":  # neighbours are one string
                bad = bad_escape(self.word)
                if bad is not None:
                    text = f"Invalid escape sequence {bad[0]} in string literal"
                    self.find(self.start + bad.start(), text, "a backslash itself is written \\\\")
                if "\\u" in self.word.lower() or "\\?" in self.word:
                    self.scan.literals[self.start] = plain_literal(self.word)
                word += self.word[1:-1]
                self.advance()
            if field is not None and field.type == FieldDescriptor.TYPE_STRING and not is_utf8(word):
                self.find(start, "Invalid UTF-8 in string literal")
            if self.node is not None and field is not None and field.full_name == f"{_NODE}.name":
                self.node.name = word
            elif self.node is not None and field is not None and field.full_name == f"{_NODE}.calculator":
                self.node.calculator = word
        elif self.kind in ("name", "number"):
            if self.kind == "number":
                self.number()
            enum = field.enum_type if field is not None else None
            if field is not None and enum is not None and self.kind == "name" and word not in enum.values_by_name:
                hint = self.suggest(word, enum.values_by_name.keys())
                self.find(start, f'Unknown enumeration value of "{word}" for field "{field.name}"', hint)
            self.advance()
        else:
            raise self.broken("Expected a value")

    def number(self) -> None:
        """Check a number for what protobuf's Python parser and MediaPipe's read differently; a lone minus is passed over."""
        start, word = self.start, self.word
        if word == "-":
            self.advance()
            between = self.text[start + 1 : self.start]
            if self.kind not in ("name", "number") or between[-1:] not in (" ", "\t"):
                raise self.broken("Expected a number right behind the minus")
            self.scan.literals[start] = f" {between[:-1]}-"
        elif word.startswith("+") or "_" in word:
            self.find(start, f'Expected a number, got "{word}"')


def _options_types(pool: DescriptorPool) -> set[str]:
    """The messages that are meant for an Any: every options message, extension or not."""
    carrier = pool.FindMessageTypeByName("mediapipe.CalculatorOptions")
    extensions = [extension.message_type for extension in pool.FindAllExtensions(carrier)]
    return {message.full_name for message in extensions if message is not None} | {
        "mediapipe.ImmediateMuxCalculatorOptions"
    }
