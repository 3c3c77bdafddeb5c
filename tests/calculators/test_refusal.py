"""Refusals inside other errors."""

from __future__ import annotations

from calculators.http_payload import RequestError, refusal_in


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def test_a_refusal_is_found_however_deep_it_is() -> None:
    refusal = RequestError("no")
    assert refusal_in(refusal) is refusal
    assert refusal_in(_caused(ValueError(), _caused(RuntimeError(), refusal))) is refusal


def test_an_error_without_a_refusal_has_none_even_if_its_causes_go_round_in_a_ring() -> None:
    first, second = ValueError(), RuntimeError()
    assert refusal_in(first) is None
    assert refusal_in(_caused(first, _caused(second, first))) is None


def test_a_refusal_that_was_merely_being_handled_is_not_what_the_client_is_told() -> None:
    error = ValueError()
    error.__context__ = RequestError("no")
    assert refusal_in(error) is None
