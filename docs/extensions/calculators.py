"""The reference of the calculators: what each registered name does, from its docstring and from the options that it reads."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import suppress
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from docs.extensions.markdown import code, join, table
from graph_runtime import Calculator, find_calculator, proto_path
from graph_runtime._pb import message_class
from graph_runtime.registry import ENTRY_POINT_GROUP

_TYPES: Final = {
    getattr(FieldDescriptor, name): name.removeprefix("TYPE_").lower()
    for name in dir(FieldDescriptor)
    if name.startswith("TYPE_")
}
_FIELD: Final = re.compile(r"\s*(?:optional|required|repeated)?\s*[\w.]+\s+(\w+)\s*=\s*\d+")


def markdown(words: list[str]) -> str:
    """A section for each class that is documented, with all its names."""
    families: dict[type[Calculator], list[str]] = {}
    for name in names():
        families.setdefault(_documented(find_calculator(name)), []).append(name)
    return join(_section(cls, found) for cls, found in sorted(families.items(), key=lambda item: item[0].__name__))


def names() -> list[str]:
    """The names that the package itself registers."""
    from importlib.metadata import distribution

    points = distribution("graph-runtime").entry_points.select(group=ENTRY_POINT_GROUP)
    return sorted(each.name for each in points)


def _documented(cls: type[Calculator]) -> type[Calculator]:
    """The class whose docstring says what it does: of one that only fixes an element type, its base."""
    base = cls.__mro__[1]
    is_variant = issubclass(base, Calculator) and base is not Calculator and "process" not in vars(cls)
    return _documented(base) if is_variant else cls


def _section(cls: type[Calculator], found: list[str]) -> str:
    others = [name for name in found if name != cls.__name__]
    module = sys.modules[cls.__module__]
    messages = [each for each in vars(module).values() if _is_options(each) and each.__name__ in inspect.getsource(cls)]
    with suppress(KeyError):  # where it is another module that reads them
        messages.append(message_class(f"mediapipe.{cls.__name__}Options"))
    described = dict.fromkeys(each.DESCRIPTOR for each in messages)
    return join([
        f"## {cls.__name__}",
        _text(inspect.getdoc(cls) or ""),
        "It never waits: a graph of such nodes runs without a thread." if vars(cls).get("nonblocking") else "",
        "With elements of one type: " + ", ".join(map(code, others)) + "." if others else "",
        *(_options(each) for each in described),
    ])  # fmt: skip


def _text(docstring: str) -> str:
    """A docstring's reStructuredText as Markdown, as far as calculators use it."""
    docstring = re.sub(r"``(.+?)``", r"`\1`", docstring, flags=re.S)
    docstring = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", docstring)
    docstring = re.sub(
        r"^::\n\n((?:    .*\n?|\n)+)",
        lambda found: f"```text\n{inspect.cleandoc(found[1])}\n```\n\n",
        docstring,
        flags=re.M,
    )
    return re.sub(r"^(Args|Raises|Attributes|Returns):\n((?:    .*\n?)+)", _list, docstring, flags=re.M)


def _list(section: re.Match[str]) -> str:
    entries = re.sub(r"^(?! )", "- ", inspect.cleandoc(section[2]), flags=re.M)
    return f"**{section[1]}**\n\n{entries}\n"


def _is_options(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Message) and value.__name__.endswith("Options")


def _options(message: Descriptor) -> str:
    """A table of the message's fields, and one for each message that it holds."""
    notes = comments(message)
    rows = [[code(each.name), _type(each), _default(each), notes.get(each.name, "")] for each in message.fields]
    inner = [
        each.message_type for each in message.fields if each.message_type and each.message_type.file == message.file
    ]
    head = f"Options, `{message.full_name}`" if message.name.endswith("Options") else f"`{message.name}`"
    return join(
        [
            f"{head}:" if rows else f"{head}, has no fields.",
            table(("field", "type", "default", "what it is"), rows),
            *(_options(each) for each in dict.fromkeys(inner) if each is not message),
        ]
    )


def _type(field: FieldDescriptor) -> str:
    old: Any = field  # before protobuf 6 a field tells its label alone
    repeated = field.is_repeated if hasattr(field, "is_repeated") else old.label == old.LABEL_REPEATED
    if field.enum_type is not None:
        kind = ", ".join(code(value.name) for value in field.enum_type.values)
    else:
        kind = field.message_type.full_name if field.message_type is not None else _TYPES[field.type]
    return f"list of {kind}" if repeated else kind


def _default(field: FieldDescriptor) -> str:
    if not field.has_default_value:
        return ""
    if field.enum_type is not None:
        return code(field.enum_type.values_by_number[field.default_value].name)
    return code(str(field.default_value).lower() if isinstance(field.default_value, bool) else field.default_value)


def comments(message: Descriptor) -> dict[str, str]:
    """Field -> the comment that stands before it in the ``.proto`` file; fields in a row share one."""
    found: dict[str, str] = {}
    inside: list[str] = []
    note: list[str] = []
    for line in (proto_path() / message.file.name).read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("//"):
            note.append(text.removeprefix("//").strip())
        elif not text:
            note = []
        elif text.endswith("{"):
            inside.append(text.split()[1] if text.startswith("message ") else "")
        elif text.startswith("}"):
            inside.pop()
            note = []
        elif inside and inside[-1] == message.name and (field := _FIELD.match(line)):
            found[field[1]] = " ".join(note)
    return found
