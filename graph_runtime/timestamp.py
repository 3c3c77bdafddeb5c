"""Timestamps: int64 microseconds, with MediaPipe's special values.

Inside the engine a timestamp is a plain ``int``; the names below are those of the special values. :class:`Timestamp` is what
users see. Source of every rule: MediaPipe ``framework/timestamp.h``.
"""

from __future__ import annotations

from operator import index as exact_int
from typing import ClassVar, Final

UNSET: Final = -(2**63)
UNSTARTED: Final = UNSET + 1
PRE_STREAM: Final = UNSET + 2
MIN: Final = UNSET + 3
MAX: Final = 2**63 - 4
POST_STREAM: Final = 2**63 - 3
ONE_OVER_POST_STREAM: Final = 2**63 - 2
DONE: Final = 2**63 - 1

UNITS_PER_SECOND: Final = 1_000_000

_NAMES: Final = {
    UNSET: "UNSET",
    UNSTARTED: "UNSTARTED",
    PRE_STREAM: "PRESTREAM",
    MIN: "MIN",
    MAX: "MAX",
    POST_STREAM: "POSTSTREAM",
    ONE_OVER_POST_STREAM: "ONE_OVER_POSTSTREAM",
    DONE: "DONE",
}
_DEBUG_NAMES: Final = {
    UNSET: "Unset",
    UNSTARTED: "Unstarted",
    PRE_STREAM: "PreStream",
    MIN: "Min",
    MAX: "Max",
    POST_STREAM: "PostStream",
    ONE_OVER_POST_STREAM: "OneOverPostStream",
    DONE: "Done",
}


def next_allowed(value: int) -> int:
    """The smallest bound after a packet at ``value``: nothing may follow PreStream, Max and PostStream."""
    if MIN <= value < MAX:
        return value + 1
    return MIN if value < MIN and value != PRE_STREAM else ONE_OVER_POST_STREAM


def previous_allowed(value: int) -> int:
    """The highest timestamp that is settled when the bound is ``value``."""
    if MIN < value <= MAX:
        return value - 1
    return UNSTARTED if value <= MIN or value == POST_STREAM else MAX


def is_allowed_in_stream(value: int) -> bool:
    """Whether a packet in a stream may carry ``value``: PreStream to PostStream."""
    return PRE_STREAM <= value <= POST_STREAM


def debug_string(value: int) -> str:
    """``value`` as MediaPipe prints it in error messages: ``Timestamp::Done()`` or a number."""
    name = _DEBUG_NAMES.get(value)
    return str(int(value)) if name is None else f"Timestamp::{name}()"


class Timestamp(int):
    """A point on a stream's time line, in microseconds (int64).

    Compares with ``int``. Adding or subtracting a number gives a Timestamp clamped to ``Timestamp.MIN`` .. ``Timestamp.MAX``;
    the difference of two Timestamps is an ``int``. Special values come from the class attributes, not from numbers.

    Raises:
        TypeError: the value is not an integer.
        ValueError: the value is a special one or does not fit in int64; or arithmetic on a special value.
    """

    __slots__ = ()

    UNSET: ClassVar[Timestamp]
    UNSTARTED: ClassVar[Timestamp]
    PRESTREAM: ClassVar[Timestamp]
    MIN: ClassVar[Timestamp]
    MAX: ClassVar[Timestamp]
    POSTSTREAM: ClassVar[Timestamp]
    ONE_OVER_POSTSTREAM: ClassVar[Timestamp]
    DONE: ClassVar[Timestamp]

    def __new__(cls, value: int) -> Timestamp:
        """Check the number; a Timestamp is copied, special or not."""
        if isinstance(value, Timestamp):
            return int.__new__(cls, value)
        value = exact_int(value)  # a whole number of any kind, numpy's included; TypeError for others
        if not MIN <= value <= MAX:
            raise ValueError(
                f"Timestamp({value}): not in {MIN}..{MAX}; special values are class attributes such as Timestamp.PRESTREAM"
            )
        return int.__new__(cls, value)

    @classmethod
    def from_seconds(cls, seconds: float) -> Timestamp:
        """The timestamp ``seconds`` after 0, rounded to whole microseconds; halves away from zero, as in C++."""
        exact = seconds * UNITS_PER_SECOND
        whole = round(exact)
        if abs(exact - whole) == 0.5 and abs(whole) < abs(exact):  # round() takes the even one
            whole += 1 if exact > 0 else -1
        return cls(whole)

    @property
    def value(self) -> int:
        """The number itself, microseconds."""
        return int(self)

    def seconds(self) -> float:
        """The timestamp in seconds."""
        return int(self) / UNITS_PER_SECOND

    def microseconds(self) -> int:
        """The timestamp in microseconds."""
        return int(self)

    def is_special_value(self) -> bool:
        """Whether it is one of the named values (Min and Max included)."""
        return int(self) <= MIN or int(self) >= MAX

    def is_range_value(self) -> bool:
        """Whether it is an ordinary time, Min and Max included."""
        return MIN <= int(self) <= MAX

    def is_allowed_in_stream(self) -> bool:
        """Whether a packet in a stream may carry it."""
        return is_allowed_in_stream(int(self))

    def next_allowed_in_stream(self) -> Timestamp:
        """The smallest timestamp that a following packet may have; ONE_OVER_POSTSTREAM when none may follow."""
        return as_timestamp(next_allowed(int(self)))

    def __add__(self, other: int) -> Timestamp:
        if isinstance(other, Timestamp) or not isinstance(other, int):
            return NotImplemented
        if not self.is_range_value():
            raise ValueError(f"cannot add to {self!r}: it is not a range value")
        return as_timestamp(min(max(int(self) + other, MIN), MAX))

    __radd__ = __add__

    def __sub__(self, other: int) -> int:
        if not isinstance(other, int):
            return NotImplemented
        if not self.is_range_value() or (isinstance(other, Timestamp) and not other.is_range_value()):
            raise ValueError(f"cannot subtract {other!r} from {self!r}: both have to be range values")
        if isinstance(other, Timestamp):
            return int(self) - int(other)
        return as_timestamp(min(max(int(self) - other, MIN), MAX))

    def __repr__(self) -> str:
        return f"<mediapipe.Timestamp with value: {_NAMES.get(int(self), int(self))}>"

    def __reduce__(self) -> tuple[object, ...]:
        return as_timestamp, (int(self),)


def as_timestamp(value: int) -> Timestamp:
    """``value`` as a Timestamp, special values included (for code that has checked it already)."""
    return int.__new__(Timestamp, value)


for _value, _name in _NAMES.items():
    setattr(Timestamp, _name, as_timestamp(_value))
