"""What callers give to public methods: the TypeError for what cannot be meant, in words that say what belongs there."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any


def wrong_type(expected: str, value: object) -> TypeError:
    """The error for an argument: ``"timeout_s is a number of seconds, not str"``."""
    return TypeError(f"{expected}, not {type(value).__name__}")


def check_name(name: object) -> None:
    """Refuse what can be no name of a stream, side packet, service or calculator.

    Raises:
        TypeError: it is no str.
    """
    if not isinstance(name, str):
        raise wrong_type("a name is a str", name)


def check_callable(function: object, expected: str) -> None:
    """Refuse what cannot be called; ``expected`` says what for, as the beginning of the error's text.

    Raises:
        TypeError: it cannot be called.
    """
    if not callable(function):
        raise wrong_type(expected, function)


def check_timeout(timeout_s: object) -> None:
    """Refuse what can be no time limit.

    Raises:
        TypeError: it is neither a number nor None.
    """
    if timeout_s is not None and not isinstance(timeout_s, int | float):
        raise wrong_type("timeout_s is a number of seconds or None", timeout_s)


def check_offset(offset: object) -> None:
    """Refuse what can be no difference of timestamps.

    Raises:
        TypeError: it is no int.
    """
    if not isinstance(offset, int):
        raise wrong_type("a timestamp offset is an int", offset)


def by_name(what: str, values: Any) -> dict[str, Any]:
    """A mapping from names, as a dict of its own; ``what`` is its beginning in error texts.

    Raises:
        TypeError: it is no mapping, or a key is no str.
    """
    if values is None:
        return {}
    if not hasattr(values, "items"):
        raise wrong_type(what, values)
    for name in values:
        if not isinstance(name, str):
            raise TypeError(f"{what}: names are str, not {type(name).__name__}")
    return dict(values)


def refuse_result(method: str, result: object) -> None:
    """Refuse what a method of a calculator other than ``process`` has returned.

    Raises:
        TypeError: it is not None.
    """
    if result is None:
        return
    if isinstance(result, Coroutine):
        result.close()  # else Python warns later that nobody awaited it
        raise TypeError(f"{method}() is async; only process may be async, and {method} is a plain method")
    raise TypeError(f"{method}() returned {type(result).__name__}; it returns None")
