"""The texts of flags and environment variables -> values; ValueErrors say what was given, and what is possible."""

from __future__ import annotations

import difflib
import math
from pathlib import Path

from server.metric_families import FAMILIES, NOT_FOR_GRAPHS

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR")
MOST_UPLOAD_PIXELS = 64_000_000


def port(text: str) -> int:
    """A TCP port."""
    number = whole(text)
    if not 0 <= number <= 65535:
        raise ValueError(f"{text!r} is not a port; give a number from 0 (any free port) to 65535")
    return number


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def positive(text: str) -> int:
    """A whole number from 1."""
    number = whole(text)
    if number < 1:
        raise ValueError(f"{text!r} is too small; give 1 or more")
    return number


def from_zero(text: str) -> int:
    """A whole number from 0."""
    number = whole(text)
    if number < 0:
        raise ValueError(f"{text!r} is too small; give 0 or more")
    return number


def positive_uint32(text: str) -> int:
    """A whole number from 1 that an unsigned integer of 32 bits can hold."""
    number = positive(text)
    if number >= 2**32:
        raise ValueError(f"{text!r} is too large; give a number below 2**32")
    return number


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a finite number")
    return number


def pixels(text: str) -> int:
    """A number of pixels that lanes can decode."""
    number = positive(text)
    if number > MOST_UPLOAD_PIXELS:
        raise ValueError(f"{text!r} is too large; lanes decode pictures of {MOST_UPLOAD_PIXELS} pixels at most")
    return number


def seconds(text: str) -> float:
    """A number of seconds from 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds; give 0 or more")
    return number


def boolean(text: str) -> bool:
    """``true`` or ``false``, ``1`` or ``0``."""
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def log_level(text: str) -> str:
    """The name of a log level, in any case."""
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"{text!r} is not a log level; give one of {', '.join(LOG_LEVELS)}")
    return text.upper()


def log_format(text: str) -> str:
    """The name of a log format."""
    if text not in ("text", "json"):
        raise ValueError(f"{text!r} is not a log format; give text or json")
    return text


def name(text: str) -> str:
    """The name of a model."""
    if not text.strip():
        raise ValueError("the name is empty; give the one that requests will use")
    return text


def addresses(text: str) -> tuple[str, ...]:
    """Addresses to listen on, with commas between them."""
    addresses = words(text)
    if not addresses:
        raise ValueError(
            "the address is empty; give one such as 127.0.0.1, or 0.0.0.0 for every network of this machine"
        )
    return addresses


def words(text: str) -> tuple[str, ...]:
    """Words with commas between them; none for an empty text."""
    return tuple(each.strip() for each in text.split(",") if each.strip())


def key(text: str) -> str:
    """An API key, without blanks at its end."""
    return text.rstrip()


def files(text: str) -> tuple[Path, ...]:
    """Paths with commas between them."""
    return tuple(Path(each.strip()) for each in text.split(",") if each.strip())


def families(text: str) -> tuple[str, ...]:
    """Families of metrics, with commas between them."""
    names = tuple(each.strip() for each in text.split(",") if each.strip())
    for name in names:
        if name not in FAMILIES and name not in NOT_FOR_GRAPHS:
            near = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(FAMILIES)}"
            raise ValueError(f"{name!r} is not a family of metrics; {hint}")
    return names


def channel_arguments(text: str) -> tuple[tuple[str, str | int], ...]:
    """``NAME=VALUE`` pairs of gRPC, with commas between them; whole numbers become such."""
    found: list[tuple[str, str | int]] = []
    for each in words(text):
        name, equals, value = each.partition("=")
        if not (name and equals and value):
            raise ValueError(f"{each!r} is no NAME=VALUE, such as grpc.max_concurrent_streams=16")
        found.append((name, int(value) if value.lstrip("-").isdecimal() else value))
    return tuple(found)
