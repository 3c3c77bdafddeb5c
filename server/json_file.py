"""JSON files that people write: values, with the line and column of each, so that a complaint can say where."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from graph_runtime.positions import FieldPath, Positions, line_starts
from server.settings import SettingsError

# Only for text that json has read: it tells strings, brackets and all other values apart, and passes over the rest.
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s"{}\[\],:]+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A file's content.

    Attributes:
        value: the content.
        positions: where each value stands; the value of an object's key counts as standing where the key does.
    """

    value: Any
    positions: Positions


def read_json_file(path: Path) -> JsonFile:
    """Read a file.

    Raises:
        FileNotFoundError: there is no such file.
        SettingsError: it cannot be read, is no JSON, or has a key twice in one object; the text says where.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path}:{error.lineno}:{error.colno}: it is no JSON: {error.msg}") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"{path} cannot be read: {reason}") from None
    offsets, repeated = _offsets(text)
    positions = Positions(str(path), offsets, line_starts(text))
    if repeated:
        lines = [f'{positions.place_of_offset(offset)}: the key "{key}" is there twice' for key, offset in repeated]
        raise SettingsError("\n".join(lines))
    return JsonFile(value, positions)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _offsets(text: str) -> tuple[dict[FieldPath, int], list[tuple[str, int]]]:
    """Path of each value -> its offset, or that of its key; and the keys that are there twice in one object."""
    offsets: dict[FieldPath, int] = {}
    repeated = []
    path: list[str | int] = []  # of the value that comes next; an empty text where it is a key that comes next
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in "}]":
            path.pop()
        elif path and path[-1] == "" and word[0] == '"':
            path[-1] = key = json.loads(word) or "\0"
            if tuple(path) in offsets:
                repeated.append((key, token.start()))
            offsets[tuple(path)] = token.start()
            continue
        else:
            offsets.setdefault(tuple(path), token.start())
            if word in "{[":
                path.append("" if word == "{" else 0)
                continue
        if path:  # a value is complete
            path[-1] = path[-1] + 1 if isinstance(path[-1], int) else ""
    return offsets, repeated
