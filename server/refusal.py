"""Finds the refusal that a calculator raised inside the error that its run ended with."""

from __future__ import annotations

from calculators.http_payload import RequestError


def refusal_in(error: BaseException) -> RequestError | None:
    """The error itself if it is a RequestError, else the first one among its causes, else None."""
    seen: set[int] = set()  # causes can be tied into a ring
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, RequestError):
            return current
        seen.add(id(current))
        current = current.__cause__
    return None
