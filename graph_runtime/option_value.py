"""``option_value``: nodes that take field values from the options of the graph around them.

An entry reads ``"node path:graph path"``. A path is a list of field names with ``/`` between them; a number after a repeated
field picks one of its values. ``OPTIONS`` and ``options`` in front stand for the options message itself, and
``Ext::package.Type`` in front picks one by its type where there are several.

The graph's values come from its ``graph_options`` or ``options``; the fields that the subgraph node around it sets, in options of
the same type, come before them.

Source: MediaPipe ``tool/options_util.cc``, ``options_field_util.cc`` and ``options_syntax_util.cc``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Error as ProtobufError
from google.protobuf.message import Message

from graph_runtime import _pb
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.near_names import did_you_mean

ALL: Final = -1
"""A field is meant with all its values."""

MESSAGE: Final = FieldDescriptor.CPPTYPE_MESSAGE
"""The kind of a field that holds messages. Kinds have the numbers of MediaPipe's FieldData, which error texts quote."""

# A message's Descriptor and a FieldDescriptor: the releases of protobuf differ too much in their stubs to name them.
Type: TypeAlias = Any
Field: TypeAlias = Any

_TYPE_URL: Final = "type.googleapis.com/"
_SINGLE_COLON: Final = re.compile(r"(?<!:):(?!:)")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_TYPE_NAMES: Final = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}


class Name(NamedTuple):
    """A step of a path as it is written: a field's name, or an extension's type, and which of its values."""

    text: str
    is_type: bool = False
    which: int = ALL


class Step(NamedTuple):
    """A step of a path in a message: a field and which of its values."""

    field: Field
    which: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about an entry.

    Attributes:
        node, entry: positions of the node in the graph, and of the entry in its ``option_value``.
        message: what it is.
        code: the status code that MediaPipe gives for it; None for a warning.
    """

    node: int
    entry: int
    message: str
    code: StatusCode | None


def apply_option_values(config: CalculatorGraphConfig, outer: CalculatorGraphConfig.Node) -> list[Finding]:
    """Evaluate the ``option_value`` entries of all nodes of a graph, and clear them.

    Results are written to ``node_options``, whichever form the options came in.

    Args:
        config: the graph; its nodes are changed.
        outer: the subgraph node that the graph stands for; an empty one for the top graph.
    """
    findings = []
    for position, node in enumerate(config.node):
        for index, entry in enumerate(node.option_value):
            try:
                doubts = _apply(entry, node, config, outer)
            except GraphError as error:
                findings.append(Finding(position, index, f'option_value "{entry}": {error.message}', error.code))
            else:
                findings += [Finding(position, index, f'option_value "{entry}": {text}', None) for text in doubts]
        node.ClearField("option_value")
    return findings


def options_of(carrier: CalculatorGraphConfig | CalculatorGraphConfig.Node) -> list[Message]:
    """Copies of all options messages that a node or a graph carries: extensions in ``options`` first, then Any fields.

    An Any of a type that nobody here knows is left out.
    """
    found: list[Message] = []
    if carrier.HasField("options"):
        found = [
            _copy(value)
            for field, value in carrier.options.ListFields()
            if field.is_extension and _is_message(field) and not _pb.is_repeated(field)
        ]
    for packed in carrier.node_options if isinstance(carrier, CalculatorGraphConfig.Node) else carrier.graph_options:
        try:
            message = _pb.message_class(packed.type_url.rpartition("/")[2])()
            message.ParseFromString(packed.value)
        except (KeyError, ProtobufError):
            continue  # whoever reads these options says what is wrong with them
        found.append(message)
    return found


def _apply(
    entry: str, node: CalculatorGraphConfig.Node, config: CalculatorGraphConfig, outer: CalculatorGraphConfig.Node
) -> list[str]:
    """Evaluate one entry; what there is to warn of, where MediaPipe goes on without a word."""
    parts = _SINGLE_COLON.split(entry)
    if len(parts) < 2:
        raise GraphError(
            'it has to be "node path:graph path", such as "threshold:options/threshold"',
            code=StatusCode.INVALID_ARGUMENT,
        )
    doubts = ['all after the second ":" is ignored'] if len(parts) > 2 else []
    node_type, node_names = _parse_path(parts[0])
    graph_type, graph_names = _parse_path(parts[1])
    source = _graph_options(config, outer, graph_type, graph_names)
    target = _choose(options_of(node), node_type, node_names)
    if target is None:
        raise GraphError(
            f"Option extension not found: {node_type or '*'}; the node needs an options message of the type that is to be "
            "filled, be it an empty one",
            code=StatusCode.NOT_FOUND,
        )
    if source is None:
        return [*doubts, "it has no effect, for neither the graph nor the node around it has such options"]
    graph_steps, graph_rest = _resolve(source.DESCRIPTOR, graph_names)
    node_steps, node_rest = _resolve(target.DESCRIPTOR, node_names)
    doubts += [
        f'"{rest}" is ignored, for it follows a field that is no message' for rest in (node_rest, graph_rest) if rest
    ]
    _check_types(target.DESCRIPTOR, node_steps, source.DESCRIPTOR, graph_steps)
    values, former = _values(source, graph_steps), _values(target, node_steps)
    if former and not values:
        doubts.append("it clears the field of the node, for the options of the graph do not set it")
    _merge(target, node_steps, former, values)
    _store(node, target)
    return doubts


# ---- which message


def _parse_path(text: str) -> tuple[str, list[Name]]:
    """The options type that a path picks, "" for any, and its steps."""
    parts = text.split("/")
    for prefix in ("OPTIONS", "options"):
        if parts and parts[0] == prefix:
            del parts[0]
    names: list[Name] = []
    for part in parts:
        if _NUMBER.fullmatch(part):
            if not names or names[-1].is_type:
                raise GraphError(f'"{part}" in "{text}" follows no field', code=StatusCode.INVALID_ARGUMENT)
            names[-1] = names[-1]._replace(which=max(int(part), ALL))
        elif part[:5].lower() == "ext::":
            names.append(Name(part[5:], is_type=True, which=0))
        elif part:
            names.append(Name(part))
    if names and names[0].is_type:
        return names[0].text, names[1:]
    return "", names


def _choose(candidates: Sequence[Message], type_name: str, names: Sequence[Name]) -> Message | None:
    """The message of the named type, or the first that has the path's first field, or the first."""
    if type_name:
        return next((each for each in candidates if each.DESCRIPTOR.full_name == type_name), None)
    for each in candidates:
        if not names or names[0].is_type or names[0].text in each.DESCRIPTOR.fields_by_name:
            return each
    return candidates[0] if candidates else None


def _graph_options(
    config: CalculatorGraphConfig, outer: CalculatorGraphConfig.Node, type_name: str, names: Sequence[Name]
) -> Message | None:
    """The graph's options, the fields that the node around it sets put over them."""
    given = options_of(outer)
    base = _choose(options_of(config), type_name, names)
    if base is None:
        return _choose(given, type_name, names)
    over = _choose(given, base.DESCRIPTOR.full_name, names)
    if over is not None:
        base.MergeFrom(over)
    elif given and not type_name:
        raise _different_messages(base.DESCRIPTOR, given[0].DESCRIPTOR)
    return base


def _store(node: CalculatorGraphConfig.Node, message: Message) -> None:
    """Put options into a node's ``node_options``, in the place of those of that type."""
    name = message.DESCRIPTOR.full_name
    same = [packed for packed in node.node_options if packed.type_url.rpartition("/")[2] == name]
    packed = same[-1] if same else node.node_options.add(type_url=_TYPE_URL + name)
    packed.value = message.SerializePartialToString()
    options: Any = node.options  # its stub has one type per extension
    for field, _ in options.ListFields():
        if field.is_extension and _is_message(field) and field.message_type.full_name == name:
            options.ClearExtension(field)
    if not options.ListFields():
        node.ClearField("options")


# ---- which field


def _resolve(message_type: Type, names: Sequence[Name]) -> tuple[list[Step], str]:
    """The fields that a path means, and what of it comes after a field that has none inside."""
    steps: list[Step] = []
    inside: Type | None = message_type
    for position, name in enumerate(names):
        if inside is None:
            return steps, "/".join(each.text for each in names[position:])
        field = _extension(inside, name.text) if name.is_type else inside.fields_by_name.get(name.text)
        if field is None:
            raise _no_field(inside, name)
        inside = field.message_type
        if inside is not None and inside.GetOptions().map_entry:
            raise GraphError(f'"{name.text}" is a map, which cannot be copied', code=StatusCode.UNIMPLEMENTED)
        steps.append(Step(field, name.which))
    return steps, ""


def _extension(message_type: Type, type_name: str) -> Field | None:
    known: Sequence[Field] = _pb.POOL.FindAllExtensions(message_type)
    return next((each for each in known if _is_message(each) and each.message_type.full_name == type_name), None)


def _no_field(message_type: Type, name: Name) -> GraphError:
    if name.is_type:
        return GraphError(f"Option extension not found: {name.text}", code=StatusCode.NOT_FOUND)
    known = list(message_type.fields_by_name)
    hint = did_you_mean(name.text, known, "its fields are") or "it has no fields"
    return GraphError(f'{message_type.full_name} has no field named "{name.text}"; {hint}', code=StatusCode.INTERNAL)


def _check_types(node: Type, node_steps: Sequence[Step], graph: Type, graph_steps: Sequence[Step]) -> None:
    """Refuse to put one kind of value where another belongs (between scalars, MediaPipe writes a zero instead)."""
    target = node_steps[-1].field if node_steps else None
    source = graph_steps[-1].field if graph_steps else None
    kinds = [MESSAGE if field is None else field.cpp_type for field in (target, source)]
    if kinds[0] != kinds[1] or _is_bytes(target) != _is_bytes(source):
        raise GraphError(
            f"Cannot merge field data with data types: {kinds[0]}, {kinds[1]}; "
            f"{_describe(node, target)} cannot take {_describe(graph, source)}",
            code=StatusCode.INVALID_ARGUMENT,
        )
    if kinds[0] == MESSAGE:
        inside = [own if field is None else field.message_type for own, field in ((node, target), (graph, source))]
        if inside[0].full_name != inside[1].full_name:
            raise _different_messages(*inside)


def _describe(owner: Type, field: Field | None) -> str:
    if field is None:
        return f"the message {owner.full_name}"
    named = field.message_type or field.enum_type
    return f'"{field.name}" ({_TYPE_NAMES[field.type] if named is None else named.full_name})'


def _different_messages(left: Type, right: Type) -> GraphError:
    return GraphError(
        f"Cannot merge field data with message types: {_TYPE_URL}{left.full_name}, {_TYPE_URL}{right.full_name}",
        code=StatusCode.INVALID_ARGUMENT,
    )


# ---- values


def _values(message: Message, steps: Sequence[Step]) -> list[Any]:
    """The values at the end of a path; none for a field that is not set.

    Raises:
        GraphRuntimeError: a number is beyond the field's values, or a message on the way is not set (OUT_OF_RANGE).
    """
    if not steps:
        return [message]
    (field, which), rest = steps[0], steps[1:]
    values = _all_values(message, field)
    which = max(which, 0) if rest else which
    if len(values) <= which:
        raise GraphError(
            f"Missing field value: {field.name} at index: {which}; {message.DESCRIPTOR.full_name} has "
            f"{len(values) or 'no'} {'value' if len(values) == 1 else 'values'} there",
            code=StatusCode.OUT_OF_RANGE,
        )
    if rest:
        return _values(values[which], rest)
    return values if which == ALL else [values[which]]


def _all_values(message: Message, field: Field) -> list[Any]:
    for have, value in message.ListFields():
        if have.number == field.number:
            return list(value) if _pb.is_repeated(field) else [value]
    return []


def _merge(target: Message, steps: Sequence[Step], former: Sequence[Any], values: Sequence[Any]) -> None:
    """Put values to the end of a path in ``target``; a message is merged into the one that was there."""
    if not steps:
        if not values:
            raise GraphError(
                "Missing field value: the options of the graph do not set it", code=StatusCode.INVALID_ARGUMENT
            )
        target.MergeFrom(values[0])
        return
    message: Any = target
    for field, which in steps[:-1]:
        message = _content(message, field)[max(which, 0)] if _pb.is_repeated(field) else _content(message, field)
    field, which = steps[-1]
    if _is_message(field):
        merged = [_copy(value) for value in former[: len(values)]]
        for old, value in zip(merged, values, strict=False):
            old.MergeFrom(value)
        values = [*merged, *values[len(merged) :]]
    try:
        _replace(message, field, which, values)
    except ValueError as error:  # the number of another enum's value
        raise GraphError(f'"{field.name}": {error}', code=StatusCode.INVALID_ARGUMENT) from error


def _content(message: Any, field: Field) -> Any:
    return message.Extensions[field] if field.is_extension else getattr(message, field.name)


def _replace(message: Any, field: Field, which: int, values: Sequence[Any]) -> None:
    if _pb.is_repeated(field):
        have = _content(message, field)
        kept = (have[:which], have[which + 1 :]) if which != ALL else ((), ())
        new = [*kept[0], *values, *kept[1]]
        if _is_message(field):
            new = [_copy(each) for each in new]
        del have[:]
        have.extend(new)
        return
    if field.is_extension:
        message.ClearExtension(field)
    else:
        message.ClearField(field.name)
    for value in values:  # of several scalars the last one counts, messages add up
        if _is_message(field):
            _content(message, field).SetInParent()
            _content(message, field).MergeFrom(value)
        elif field.is_extension:
            message.Extensions[field] = value
        else:
            setattr(message, field.name, value)


def _is_message(field: Field) -> bool:
    return field.message_type is not None


def _is_bytes(field: Field | None) -> bool:
    return field is not None and bool(field.type == FieldDescriptor.TYPE_BYTES)


def _copy(message: Message) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
