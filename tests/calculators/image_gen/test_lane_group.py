"""Several lanes behind one queue: who draws, who waits, and what happens when a lane cannot."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.errors import GenerationCancelledError
from calculators.image_gen.generation import Cancellation, GenerationRequest, GenerationResult
from calculators.image_gen.lane_group import LaneGroup
from calculators.statistics import ImageStatistics

WAIT_S = 20.0


class HeldLane:
    """A lane whose pictures are its name, each let go by the test."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.trouble: str | None = None
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.served = 0
        self.closed = False

    def generate(self, request: GenerationRequest, **told: Any) -> GenerationResult:
        self.entered.release()
        assert self.go_on.acquire(timeout=WAIT_S)
        if self.trouble is not None:
            raise RequestError(self.trouble, status=503)
        self.served += 1
        return GenerationResult((f"{self.name} {request.prompt}".encode(),), (0,), 64, 64, "png", 1)

    def statistics(self) -> ImageStatistics:
        return ImageStatistics()

    def describe(self) -> dict[str, Any]:
        state = "broken" if self.trouble is not None else "idle"
        return {"kind": "held", "state": state, "waiting": 0, "served": self.served}

    def close(self) -> None:
        self.closed = True
        self.go_on.release(100)


@pytest.fixture
def lanes() -> tuple[HeldLane, HeldLane]:
    return HeldLane("one"), HeldLane("two")


@pytest.fixture
def group(lanes: tuple[HeldLane, HeldLane]) -> Iterator[LaneGroup]:
    group = LaneGroup(lanes)
    yield group
    group.close()


Ask = Callable[[str], Future[GenerationResult]]


@pytest.fixture
def ask(group: LaneGroup) -> Iterator[Ask]:
    with ThreadPoolExecutor(8) as pool:
        yield lambda prompt: pool.submit(group.generate, GenerationRequest(prompt, 64, 64, 1, 1, rng_seed=0))
        group.close()


def waits(group: LaneGroup, count: int) -> bool:
    with group._changed:
        return group._changed.wait_for(lambda: len(group._waiting) == count, WAIT_S)


def test_lanes_draw_at_once_and_the_queue_is_served_in_order(
    lanes: tuple[HeldLane, HeldLane], group: LaneGroup, ask: Ask
) -> None:
    one, two = lanes
    first = ask("a")
    assert one.entered.acquire(timeout=WAIT_S)
    second = ask("b")
    assert two.entered.acquire(timeout=WAIT_S)
    third = ask("c")
    assert waits(group, 1)
    fourth = ask("d")
    assert waits(group, 2)
    assert group.describe()["waiting"] == 2
    two.go_on.release()
    assert second.result(WAIT_S).images == (b"two b",)
    two.go_on.release()
    assert third.result(WAIT_S).images == (b"two c",)
    two.go_on.release()
    assert fourth.result(WAIT_S).images == (b"two d",)
    one.go_on.release()
    assert first.result(WAIT_S).images == (b"one a",)
    assert group.describe() == {
        "kind": "held", "state": "idle", "waiting": 0, "served": 4, "lanes": [one.describe(), two.describe()]
    }  # fmt: skip


def test_a_lane_in_trouble_gets_nothing_to_do_while_another_can_draw(
    lanes: tuple[HeldLane, HeldLane], group: LaneGroup, ask: Ask
) -> None:
    one, two = lanes
    one.trouble = "no engine"
    assert group.trouble is None
    first = ask("a")
    assert two.entered.acquire(timeout=WAIT_S)
    second = ask("b")
    assert waits(group, 1)
    two.go_on.release(2)
    assert [first.result(WAIT_S).images, second.result(WAIT_S).images] == [(b"two a",), (b"two b",)]
    assert one.served == 0
    two.trouble = "no engine either"
    assert group.trouble == "no engine"
    one.go_on.release()
    with pytest.raises(RequestError, match="no engine"):
        ask("c").result(WAIT_S)


def test_a_lane_that_has_mended_itself_draws_for_who_waits(
    lanes: tuple[HeldLane, HeldLane], group: LaneGroup, ask: Ask
) -> None:
    one, two = lanes
    one.trouble = "no engine"
    first = ask("a")
    assert two.entered.acquire(timeout=WAIT_S)
    second = ask("b")
    assert waits(group, 1)
    one.trouble = None
    one.go_on.release()
    assert second.result(WAIT_S).images == (b"one b",)
    two.go_on.release()
    assert first.result(WAIT_S).images == (b"two a",)


def test_who_cancels_while_waiting_never_starts(lanes: tuple[HeldLane, HeldLane], group: LaneGroup, ask: Ask) -> None:
    running = [ask("a"), ask("b")]
    for lane in lanes:
        assert lane.entered.acquire(timeout=WAIT_S)
    cancellation = Cancellation()
    with ThreadPoolExecutor(1) as pool:
        request = GenerationRequest("gone", 64, 64, 1, 1, rng_seed=0)
        gone = pool.submit(group.generate, request, on_cancel=cancellation.on_cancel)
        assert waits(group, 1)
        cancellation.cancel()
        with pytest.raises(GenerationCancelledError):
            gone.result(WAIT_S)
    for lane in lanes:
        lane.go_on.release()
    assert all(future.result(WAIT_S) for future in running)
    assert sum(lane.served for lane in lanes) == 2


def test_closing_ends_who_waits_and_closes_every_lane(
    lanes: tuple[HeldLane, HeldLane], group: LaneGroup, ask: Ask
) -> None:
    running = [ask("a"), ask("b")]
    for lane in lanes:
        assert lane.entered.acquire(timeout=WAIT_S)
    waiting = ask("c")
    assert waits(group, 1)
    group.close()
    with pytest.raises(RequestError, match="has been unloaded"):
        waiting.result(WAIT_S)
    assert all(future.result(WAIT_S) for future in running)
    assert all(lane.closed for lane in lanes)
