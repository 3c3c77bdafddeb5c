"""What a node finds under its name: seeds, hand-over to the lane, description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from calculators.http_payload import HttpPayload
from calculators.image_gen.generation import GenerationRequest, GenerationResult, OnCancel, OnPartial, OnStep
from calculators.image_gen.pipelines import Pipelines, random_seed
from calculators.image_gen.request import parse_request
from calculators.image_gen.request_rules import RequestRules
from calculators.statistics import ImageStatistics

MakeRules = Callable[..., RequestRules]


class NotingLane:
    """Notes what it is asked for."""

    trouble: str | None = None

    def __init__(self) -> None:
        self.calls: list[tuple[GenerationRequest, OnCancel | None, OnStep | None]] = []

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        self.calls.append((request, on_cancel, on_step))
        return GenerationResult((b"x",), (request.rng_seed or 0,), 64, 64, "png", 1)

    def statistics(self) -> ImageStatistics:
        return ImageStatistics()

    def describe(self) -> dict[str, Any]:
        return {"kind": "noting"}

    def close(self) -> None:
        pass


def parsed(body: dict[str, Any], rules: RequestRules) -> GenerationRequest:
    return parse_request(HttpPayload.json("/v3/images/generations", body), rules).generation


@pytest.fixture
def lane() -> NotingLane:
    return NotingLane()


def test_a_request_without_a_seed_gets_one_and_is_told(lane: NotingLane, make_rules: MakeRules) -> None:
    rules = make_rules()
    seeds = iter([11, 12])
    pipelines = Pipelines(rules.settings, rules.model, lane, choose_seed=lambda: next(seeds))
    asked = parsed({"prompt": "a"}, pipelines.rules)
    assert [pipelines.generate(asked).seeds for _ in range(2)] == [(11,), (12,)]
    assert asked.rng_seed is None


def test_a_seed_of_the_request_stays(lane: NotingLane, make_rules: MakeRules) -> None:
    rules = make_rules()
    pipelines = Pipelines(rules.settings, rules.model, lane, choose_seed=lambda: pytest.fail("not needed"))
    assert pipelines.generate(parsed({"prompt": "a", "rng_seed": 0}, rules)).seeds == (0,)


def test_random_seeds_differ_and_fit_into_what_genai_uses() -> None:
    seeds = {random_seed() for _ in range(100)}
    assert len(seeds) > 90
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_cancellation_and_steps_are_handed_on(lane: NotingLane, make_rules: MakeRules) -> None:
    rules = make_rules()

    def at_load(done: int, total: int) -> None: ...

    def at_call(done: int, total: int) -> None: ...

    def on_cancel(listener: Callable[[], None]) -> Callable[[], None]:
        return listener

    pipelines = Pipelines(rules.settings, rules.model, lane, on_step=at_load)
    asked = parsed({"prompt": "a"}, rules)
    pipelines.generate(asked, on_cancel=on_cancel)
    pipelines.generate(asked, on_step=at_call)
    assert [call[1:] for call in lane.calls] == [(on_cancel, at_load), (None, at_call)]


def test_description_is_json_and_tells_the_limits(lane: NotingLane, make_rules: MakeRules) -> None:
    rules = make_rules()
    about = Pipelines(rules.settings, rules.model, lane).describe()
    assert about["family"] == "Stable Diffusion"
    assert about["default_size"] == "512x512"
    assert about["max_resolution"] == "4096x4096"
    assert about["size_multiple"] == 64
    assert about["lane"] == {"kind": "noting"}
