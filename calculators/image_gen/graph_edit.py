"""Changes the options of an image node in the text of a graph; all else stays as it was written, comments included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf.message import Message

from calculators.image_gen.graph_text import ORDER, option_lines
from graph_runtime import _pb
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import GraphSource, find_options, read_graph
from graph_runtime.positions import FieldPath
from graph_runtime.text_scanner import scan_text

_CALCULATOR: Final = "ImageGenCalculator"
_ANY: Final = f"type.googleapis.com/{ImageGenCalculatorOptions.DESCRIPTOR.full_name}"
_EXTENSION: Final = f"{ImageGenCalculatorOptions.DESCRIPTOR.full_name}.ext"


class EditError(ValueError):
    """The graph cannot be changed here; the text says why."""


def image_options(source: GraphSource) -> ImageGenCalculatorOptions:
    """The options of the only image node of a graph.

    Raises:
        EditError: it has none, or several of them, or the node has no options.
    """
    return _find(source)[1]


def edit_graph_text(source: GraphSource, options: ImageGenCalculatorOptions) -> tuple[str, list[str]]:
    """The text of a graph with other options in its image node, and the names of the options that were changed.

    Args:
        source: a graph that was read from text, without problems.
        options: all options that the node is to have.

    Raises:
        EditError: there is not one image node with options, or the text has a form in which they cannot be changed safely.
    """
    path, before = _find(source)
    changed = [name for name in ORDER if _serialized(before, name) != _serialized(options, name)]
    text = source.text
    if text is None:
        raise EditError("it is no text")
    for name in changed:
        text = _with_option(text, path, name, option_lines(options, name))
    wanted = CalculatorGraphConfig()
    wanted.CopyFrom(source.config)
    _replace_options(wanted, path, options)
    found = read_graph(text, keep_problems=True)
    if found.problems or found.config != wanted:
        raise EditError("it is written in a form that cannot be changed safely")
    return text, changed


def _find(source: GraphSource) -> tuple[FieldPath, ImageGenCalculatorOptions]:
    """Where the options stand, and what they are."""
    nodes = [(index, node) for index, node in enumerate(source.config.node) if node.calculator.endswith(_CALCULATOR)]
    if len(nodes) != 1:
        raise EditError(f"it has {len(nodes) or 'no'} nodes with an {_CALCULATOR}, and not one")
    index, node = nodes[0]
    options = find_options(node, ImageGenCalculatorOptions)
    if options is None:
        raise EditError(f"its node with an {_CALCULATOR} has no options")
    for at, packed in enumerate(node.node_options):
        if packed.type_url == _ANY:
            return ("node", index, "node_options", at), options
    return ("node", index, "options", _EXTENSION), options


def _serialized(options: Message, name: str) -> bytes:
    """An option alone, in a form that tells what is set from what has the same value by default."""
    alone = type(options)()
    for field, value in options.ListFields():
        if field.name == name:
            if name.endswith("_adapters"):
                getattr(alone, name).extend(value)
            else:
                setattr(alone, name, value)
    return alone.SerializePartialToString()


def _replace_options(config: CalculatorGraphConfig, path: FieldPath, options: ImageGenCalculatorOptions) -> None:
    node = config.node[int(path[1])]
    if path[2] == "node_options":
        node.node_options[int(path[3])].value = options.SerializeToString(deterministic=True)
    else:
        node.options.Extensions[ImageGenCalculatorOptions.ext].CopyFrom(options)


def _with_option(text: str, path: FieldPath, name: str, lines: list[str]) -> str:
    """The text with one option written anew: at its place, or behind the one that comes before it in the usual order."""
    scan = scan_text(text, CalculatorGraphConfig.DESCRIPTOR, _pb.POOL, "")

    def spans(option: str) -> list[tuple[int, int]]:
        found = set()
        for offset in _offsets(scan.positions.offsets, (*path, option)):
            start = max(start for start in scan.entries if start <= offset < scan.entries[start])
            found.add((start, scan.entries[start]))
        return sorted(found)

    places = spans(name)
    for start, end in reversed(places[1:] if lines else places):
        text = _without(text, start, end)
    if not lines:
        return text
    if places:
        start, end = places[0]
        indent = _indent(text, start)
        return text[:start] + (indent if indent is not None else " ").join(lines) + text[end:]
    for option in reversed(ORDER[: ORDER.index(name)]):
        if before := spans(option):
            return _insert(text, *before[-1], lines)
    raise EditError("its options cannot be found in the text")


def _offsets(offsets: Mapping[FieldPath, int], path: FieldPath) -> Iterator[int]:
    """The offset of a field; of each value, where it is repeated."""
    if path in offsets:
        yield offsets[path]
    index = 0
    while (*path, index) in offsets:
        yield offsets[*path, index]
        index += 1


def _indent(text: str, start: int) -> str | None:
    """The end of a line and the blanks before a field that begins its line; None if something else stands before it."""
    line = text.rfind("\n", 0, start) + 1
    blanks = text[line:start]
    return _end_of_line(text) + blanks if not blanks.strip() else None


def _end_of_line(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _insert(text: str, start: int, end: int, lines: list[str]) -> str:
    """The lines behind a field, on lines of their own if it has one; a comment behind it stays with it."""
    indent = _indent(text, start)
    stop = text.find("\n", end)
    stop = len(text) if stop < 0 else stop - text[:stop].endswith("\r")
    rest = text[end:stop].strip()
    if indent is None or (rest and not rest.startswith("#")):
        return f"{text[:end]} {' '.join(lines)}{text[end:]}"
    return text[:stop] + "".join(indent + line for line in lines) + text[stop:]


def _without(text: str, start: int, end: int) -> str:
    """The text without a field; without its line, if that holds nothing else."""
    line, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1
    if stop and not text[line:start].strip() and not text[end:stop].strip():
        return text[:line] + text[stop:]
    return text[:start] + text[end:].removeprefix(" ")
