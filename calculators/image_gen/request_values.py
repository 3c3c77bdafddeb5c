"""Reads single values of an images request: JSON has one kind of number and null, and clients use both freely.

Each reader takes a field's name and its JSON value, and returns the value in its own type or raises a RequestError (400) that
names the field. Key phrases of the texts are OVMS's.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from calculators.http_payload import RequestError
from calculators.image_gen.generation import SEED_LIMIT

_LONGEST_ECHO: Final = 100
_FLOAT32_MAX: Final = 3.4028234663852886e38


def refuse(param: str, message: str, code: str) -> NoReturn:
    """Refuse a request for one of its fields.

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


def _whole(name: str, value: Any, phrase: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(name, f"{name} field is not a {phrase}: it must be a whole number", "invalid_type")
    return value


def read_int(name: str, value: Any) -> int:
    """A whole number (not a boolean)."""
    return _whole(name, value, "int")


def read_int64(name: str, value: Any) -> int:
    """A whole number (not a boolean)."""
    return _whole(name, value, "int64")


def read_size_t(name: str, value: Any) -> int:
    """A whole number from 0."""
    number = _whole(name, value, "size_t")
    if number < 0:
        hint = "; leave it out for a random one" if name == "rng_seed" else ""
        refuse(name, f"{name} field is not a size_t: it must not be negative{hint}", "integer_below_min_value")
    return number


def read_seed(name: str, value: Any) -> int:
    """A whole number from 0 that fits into 64 bits."""
    number = read_size_t(name, value)
    if number >= SEED_LIMIT:
        refuse(name, f"{name} field is not a size_t: it must be below 2**64", "integer_above_max_value")
    return number


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


def read_any(name: str, value: Any) -> Any:
    """Any JSON value; for fields that are judged elsewhere, or not at all."""
    return value
