"""Timestamps: special values, arithmetic and what is refused."""

from __future__ import annotations

import pickle

import pytest

from graph_runtime import Timestamp
from graph_runtime.timestamp import (
    MAX,
    MIN,
    ONE_OVER_POST_STREAM,
    POST_STREAM,
    PRE_STREAM,
    UNSTARTED,
    debug_string,
    next_allowed,
    previous_allowed,
)


def test_special_values_are_those_of_mediapipe() -> None:
    assert Timestamp.UNSET == -(2**63)
    assert Timestamp.UNSTARTED == -(2**63) + 1
    assert Timestamp.PRESTREAM == -(2**63) + 2
    assert Timestamp.MIN == -(2**63) + 3
    assert Timestamp.MAX == 2**63 - 4
    assert Timestamp.POSTSTREAM == 2**63 - 3
    assert Timestamp.DONE == 2**63 - 1


def test_compares_and_hashes_like_an_int() -> None:
    assert Timestamp(5) == 5
    assert Timestamp(5) < Timestamp(6)
    assert {Timestamp(5): "x"}[Timestamp(5)] == "x"


@pytest.mark.parametrize("special", [-(2**63), 2**63 - 1, 2**63 - 3, 2**64])
def test_a_special_number_is_an_ordinary_error(special: int) -> None:
    with pytest.raises(ValueError, match="special values are class attributes"):
        Timestamp(special)


@pytest.mark.parametrize("value", [1.5, "1", None])
def test_only_ints_are_taken(value: object) -> None:
    with pytest.raises(TypeError):
        Timestamp(value)  # type: ignore[arg-type]  # this is what is tested


def test_seconds_round_to_microseconds() -> None:
    assert Timestamp.from_seconds(1.2345678).value == 1234568
    halves = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5]
    assert [Timestamp.from_seconds(half / 1e6).value for half in halves] == [1, 2, 3, -1, -2, -3]
    assert Timestamp(1_500_000).seconds() == 1.5


def test_addition_is_clamped_to_the_range() -> None:
    assert Timestamp(1) + 2 == 3
    assert Timestamp.MAX + 10 == Timestamp.MAX
    assert Timestamp.MIN - 10 == Timestamp.MIN
    assert isinstance(Timestamp(1) + 2, Timestamp)
    assert Timestamp(9) - Timestamp(4) == 5


def test_arithmetic_on_special_values_is_refused() -> None:
    with pytest.raises(ValueError, match="range value"):
        Timestamp.PRESTREAM + 1
    with pytest.raises(ValueError, match="range value"):
        Timestamp.DONE - Timestamp(1)


def test_predicates() -> None:
    assert Timestamp.MIN.is_special_value()
    assert Timestamp.MIN.is_range_value()
    assert Timestamp.PRESTREAM.is_allowed_in_stream()
    assert not Timestamp.PRESTREAM.is_range_value()
    assert not Timestamp.DONE.is_allowed_in_stream()


def test_repr_names_special_values() -> None:
    assert repr(Timestamp(1)) == "<mediapipe.Timestamp with value: 1>"
    assert repr(Timestamp.PRESTREAM) == "<mediapipe.Timestamp with value: PRESTREAM>"
    assert str(Timestamp.DONE) == "<mediapipe.Timestamp with value: DONE>"
    assert debug_string(Timestamp.DONE) == "Timestamp::Done()"


def test_pickles() -> None:
    for value in (Timestamp(7), Timestamp.UNSET):
        again = pickle.loads(pickle.dumps(value))
        assert again == value
        assert isinstance(again, Timestamp)


@pytest.mark.parametrize(
    ("timestamp", "bound"),
    [
        (PRE_STREAM, ONE_OVER_POST_STREAM),
        (UNSTARTED, MIN),
        (MIN, MIN + 1),
        (7, 8),
        (MAX, ONE_OVER_POST_STREAM),
        (POST_STREAM, ONE_OVER_POST_STREAM),
    ],
)
def test_next_allowed_in_stream(timestamp: int, bound: int) -> None:
    assert next_allowed(timestamp) == bound


@pytest.mark.parametrize(
    ("bound", "settled"), [(MIN, UNSTARTED), (PRE_STREAM, UNSTARTED), (8, 7), (MAX, MAX - 1), (POST_STREAM, UNSTARTED)]
)
def test_previous_allowed_in_stream(bound: int, settled: int) -> None:
    assert previous_allowed(bound) == settled
