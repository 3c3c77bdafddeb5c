"""Requests and results as values, seeds, and the switch that cancels."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from calculators.image_gen.errors import (
    cancelled_error,
    crashed_error,
    failed_error,
    unavailable_error,
)
from calculators.image_gen.generation import Cancellation, GenerationRequest, GenerationResult, picture_seeds
from calculators.load_error import LoadError
from graph_runtime import StatusCode

REQUEST = GenerationRequest("a \u2603", 64, 32, 3, 5, rng_seed=7, guidance_scale=0.1, ignored=("user", "image"))


@pytest.mark.parametrize(
    ("uploads", "kind"),
    [
        ({}, "text to image"),
        ({"image": b"\x00picture"}, "image to image"),
        ({"image": b"picture", "mask": b"mask\xff", "strength": 0.5, "adapters": (("green", 0.25),)}, "inpainting"),
    ],
)
def test_a_request_survives_the_way_through_a_message(uploads: dict[str, Any], kind: str) -> None:
    request = replace(REQUEST, **uploads)
    values, block = request.to_message()
    again = GenerationRequest.from_message(json.loads(json.dumps(values)), block)
    assert again == request
    assert again.kind == kind


@pytest.mark.parametrize("images", [(), (b"one",), (b"", b"\x00\xff", b"three")])
def test_a_result_survives_the_way_through_a_message(images: tuple[bytes, ...]) -> None:
    result = GenerationResult(images, tuple(range(len(images))), 64, 32, "png", 5, 7, {"denoise": 0.25, "write": 0.5})
    values, block = result.to_message()
    assert GenerationResult.from_message(json.loads(json.dumps(values)), block) == result


def test_seeds_follow_each_other_and_start_again_at_the_end() -> None:
    assert picture_seeds(REQUEST) == (7, 8, 9)
    last = GenerationRequest("a", 64, 64, 2, 5, rng_seed=2**64 - 1)
    assert picture_seeds(last) == (2**64 - 1, 0)
    with pytest.raises(ValueError, match="no seed"):
        picture_seeds(GenerationRequest("a", 64, 64, 1, 5))


def test_listeners_are_called_once_each_at_cancellation() -> None:
    cancellation = Cancellation()
    calls: list[str] = []
    cancellation.on_cancel(lambda: calls.append("kept"))
    forget = cancellation.on_cancel(lambda: calls.append("forgotten"))
    forget()
    forget()
    assert not cancellation.cancelled
    cancellation.cancel()
    cancellation.cancel()
    assert cancellation.cancelled
    assert calls == ["kept"]


def test_a_late_listener_is_called_at_once() -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    calls: list[str] = []
    cancellation.on_cancel(lambda: calls.append("late"))()
    assert calls == ["late"]


def test_a_listener_may_use_the_switch_itself() -> None:
    cancellation = Cancellation()
    seen: list[bool] = []
    cancellation.on_cancel(lambda: seen.append(cancellation.cancelled))
    cancellation.on_cancel(cancellation.cancel)
    cancellation.cancel()
    assert seen == [True]


def test_errors_tell_clients_whether_to_try_again() -> None:
    assert cancelled_error().status == 499
    for error in (failed_error("x"), crashed_error("was ended by SIGSEGV")):
        assert error.status == 500
        assert error.type == "server_error"
        assert ("x-should-retry", "false") in error.headers
    assert unavailable_error("x", 0.2).headers == (("retry-after", "1"),)
    assert unavailable_error("x", 7.6).headers == (("retry-after", "8"),)
    assert unavailable_error("x").headers == ()


def test_a_load_error_survives_pickling() -> None:
    error = LoadError("no", field="device", code=StatusCode.NOT_FOUND)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.field, again.code) == ("no", "device", StatusCode.NOT_FOUND)
