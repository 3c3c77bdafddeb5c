"""Reads single values of an images request, from JSON and from the text parts of a multipart body.

JSON has one kind of number and null, and clients use both freely; a text part has to be the whole value, written plainly. Each
reader takes a field's name and its value, and returns it in its own type or raises a RequestError (400) that names the field.
Key phrases of the texts, and the rules for text parts, are OVMS's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from calculators.http_payload import RequestError, parse_json
from calculators.image_gen.generation import SEED_LIMIT

_LONGEST_ECHO: Final = 100
_FLOAT32_MAX: Final = 3.4028234663852886e38
_WHOLE: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")
_MOST_DIGITS: Final = 400
"""Python refuses to read numbers of thousands of digits; none of these is within any limit."""
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class ValueType(NamedTuple):
    """A type of fields: how its values are read from JSON, and from the text of a multipart part.

    Attributes:
        title: its name for people.
        json: reads a JSON value.
        text: reads a text, which is not empty.
        schema: the same as JSON Schema, for JSON values.
    """

    title: str
    json: Callable[[str, Any], Any]
    text: Callable[[str, str], Any]
    schema: Mapping[str, Any]


def refuse(param: str | None, message: str, code: str) -> NoReturn:
    """Refuse a request for one of its fields, or as a whole.

    Raises:
        RequestError: always.
    """
    raise RequestError(message, param=param, code=code)


def shortened(text: str) -> str:
    """What a client sent, as far as it may stand in an answer."""
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}..."


def read_text(name: str, value: Any) -> str:
    """A text; half of a surrogate pair is none."""
    if not isinstance(value, str):
        refuse(name, f"{name} field is not a string", "invalid_type")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(name, f"{name} field is not valid Unicode text: it holds half of a surrogate pair", "invalid_value")
    return value


def _whole(name: str, value: Any, phrase: str, bits: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(name, f"{name} field is not a {phrase}: it must be a whole number", "invalid_type")
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        refuse(name, f"{name} field is not a {phrase}: it must fit into {bits} bits", "invalid_value")
    return value


def read_int32(name: str, value: Any) -> int:
    """A whole number (not a boolean) of 32 bits."""
    return _whole(name, value, "int", 32)


def read_int64(name: str, value: Any) -> int:
    """A whole number (not a boolean) of 64 bits."""
    return _whole(name, value, "int64", 64)


def read_size_t(name: str, value: Any) -> int:
    """A whole number from 0, below 2**64."""
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(name, f"{name} field is not a size_t: it must be a whole number", "invalid_type")
    if value < 0:
        hint = "; leave it out for a random one" if name == "rng_seed" else ""
        refuse(name, f"{name} field is not a size_t: it must not be negative{hint}", "integer_below_min_value")
    if value >= SEED_LIMIT:
        refuse(name, f"{name} field is not a size_t: it must be below 2**64", "integer_above_max_value")
    return value


def read_float(name: str, value: Any) -> float:
    """A finite number that fits into 32 bits; whole numbers are numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        refuse(name, f"{name} field is not a float", "invalid_type")
    if not abs(value) <= _FLOAT32_MAX:  # true for NaN as well
        refuse(name, f"{name} field is not a float: it must be a finite number of 32 bits", "invalid_value")
    return float(value)


def read_boolean(name: str, value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        refuse(name, f"{name} field is not a boolean", "invalid_type")
    return value


def read_weights(name: str, value: Any) -> dict[str, float]:
    """An object of numbers, such as ``{"alias": 0.5}``."""
    if not isinstance(value, dict):
        refuse(name, f"{name} must be an object", "invalid_type")
    for key, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            refuse(name, f"{name} value for '{shortened(key)}' must be a number", "invalid_type")
        if not abs(weight) <= _FLOAT32_MAX:
            refuse(name, f"{name} value for '{shortened(key)}' must be a number of 32 bits", "invalid_value")
    return {key: float(weight) for key, weight in value.items()}


def _whole_text(phrase: str, read: Callable[[str, Any], int]) -> Callable[[str, str], int]:
    def reader(name: str, text: str) -> int:
        if not _WHOLE.fullmatch(text):
            refuse(name, f"{name} field is not a {phrase}: it must be a whole number, without blanks", "invalid_type")
        if len(text) > _MOST_DIGITS:
            refuse(name, f"{name} field is not a {phrase}: it is too long", "invalid_value")
        return read(name, int(text))

    return reader


def _float_text(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        refuse(name, f"{name} field is not a float", "invalid_type")
    return read_float(name, float(text))


def _boolean_text(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        refuse(name, f"{name} field is not a boolean: it must be true or false", "invalid_type")
    return text == "true"


def _weights_text(name: str, text: str) -> dict[str, float]:
    try:
        value = parse_json(text.encode())
    except RequestError as error:
        refuse(name, f"{name} field must be valid JSON: {error.message}", "invalid_json")
    return read_weights(name, value)


def _integers(first: int, last: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": first, "maximum": last}


_NUMBER: Final = {"type": "number", "minimum": -_FLOAT32_MAX, "maximum": _FLOAT32_MAX}

TEXT: Final = ValueType("text", read_text, read_text, {"type": "string"})
INT32: Final = ValueType("whole number", read_int32, _whole_text("int32", read_int32), _integers(-(2**31), 2**31 - 1))
INT64: Final = ValueType("whole number", read_int64, _whole_text("int64", read_int64), _integers(-(2**63), 2**63 - 1))
SIZE_T: Final = ValueType(
    "whole number from 0", read_size_t, _whole_text("size_t", read_size_t), _integers(0, SEED_LIMIT - 1)
)
FLOAT: Final = ValueType("number", read_float, _float_text, _NUMBER)
BOOLEAN: Final = ValueType("true or false", read_boolean, _boolean_text, {"type": "boolean"})
WEIGHTS: Final = ValueType(
    "object of numbers", read_weights, _weights_text, {"type": "object", "additionalProperties": _NUMBER}
)
