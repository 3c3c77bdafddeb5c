"""The queue of a lane: order, one at a time, cancellation, closing. A scripted engine stands in for the model."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from calculators.http_payload import RequestError
from calculators.image_gen.errors import (
    GenerationCancelledError,
    cancelled_error,
    failed_error,
    spoilt_error,
)
from calculators.image_gen.generation import (
    Cancellation,
    GenerationRequest,
    GenerationResult,
    OnPartial,
    OnStep,
    PartialImage,
)
from calculators.image_gen.lane import IdleUnload, ThreadLane
from calculators.load_error import LoadError

WAIT_S = 20.0


ABOUT: dict[str, Any] = {"kinds": ["text to image"], "devices": ["CPU"], "notes": []}


class ScriptedEngine:
    """Notes what it is asked for; a request named "hold" waits until the test lets it go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.inside = 0
        self.most_inside = 0
        self.threads: set[str] = set()

    def about(self) -> dict[str, Any]:
        return ABOUT

    def generate(
        self, request: GenerationRequest, *, cancelled: Callable[[], bool], on_step: OnStep, on_partial: OnPartial
    ) -> GenerationResult:
        self.started.append(request.prompt)
        self.threads.add(threading.current_thread().name)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.entered.release()
            for step in range(1, request.num_inference_steps + 1):
                if request.prompt.startswith("hold"):
                    assert self.go_on.acquire(timeout=WAIT_S)
                if cancelled():
                    raise cancelled_error()
                on_step(step, request.num_inference_steps)
                if step <= request.partial_images:
                    on_partial(PartialImage(0, step - 1, b"partial"))
            if request.prompt == "spoil":
                raise spoilt_error("scripted")
            if request.prompt == "fail":
                raise failed_error("scripted")
            if request.prompt == "bug":
                raise ZeroDivisionError("scripted")
            return GenerationResult((request.prompt.encode(),), (0,), 64, 64, "png", request.num_inference_steps)
        finally:
            self.inside -= 1


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def lane(engine: ScriptedEngine) -> Iterator[ThreadLane]:
    lane = ThreadLane("test", engine, lambda: engine)
    yield lane
    engine.go_on.release(1000)
    lane.close()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def request(prompt: str, steps: int = 1) -> GenerationRequest:
    return GenerationRequest(prompt, 64, 64, 1, steps, rng_seed=0)


def has_length(queue: Sized, length: int) -> bool:
    return len(queue) >= length


def queue_up(lane: ThreadLane, callers: ThreadPoolExecutor, prompts: list[str]) -> list[Future[GenerationResult]]:
    """One caller per prompt, each in the queue before the next one comes; the lane must be busy."""
    futures = []
    for prompt in prompts:
        longer = len(lane._waiting) + 1
        futures.append(callers.submit(lane.generate, request(prompt)))
        with lane._changed:
            assert lane._changed.wait_for(partial(has_length, lane._waiting, longer), WAIT_S)
    return futures


def test_requests_are_served_in_the_order_they_came_one_at_a_time(
    lane: ThreadLane, engine: ScriptedEngine, callers: ThreadPoolExecutor
) -> None:
    first = callers.submit(lane.generate, request("hold"))
    assert engine.entered.acquire(timeout=WAIT_S)
    prompts = [f"r{k}" for k in range(8)]
    futures = queue_up(lane, callers, prompts)
    assert lane.describe() == {"kind": "thread", "state": "busy", "waiting": 8, "served": 0, "loaded": ABOUT}
    engine.go_on.release()
    assert [future.result(WAIT_S).images for future in [first, *futures]] == [(p.encode(),) for p in ["hold", *prompts]]
    assert engine.started == ["hold", *prompts]
    assert engine.most_inside == 1
    assert engine.threads == {"image lane test"}


def test_a_lane_counts_how_requests_end_and_the_steps_of_the_one_that_runs(
    lane: ThreadLane, engine: ScriptedEngine, callers: ThreadPoolExecutor
) -> None:
    lane.generate(request("a", steps=3))
    for prompt in ("fail", "spoil"):
        with pytest.raises(RequestError):
            lane.generate(request(prompt))
    lane.generate(request("b"))
    counted = lane.statistics()
    assert counted.requests == {"done": 2, "failed": 2}
    assert (counted.images, counted.steps, counted.restarts) == (2, 6, 1)
    assert counted.lanes == {"idle": 1}

    cancellation = Cancellation()
    first_step = threading.Event()
    running = callers.submit(
        lane.generate,
        request("hold", steps=9),
        on_cancel=cancellation.on_cancel,
        on_step=lambda done, total: first_step.set(),
    )
    engine.go_on.release()
    assert first_step.wait(WAIT_S)
    assert (lane.statistics().steps, lane.statistics().lanes) == (7, {"busy": 1})
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        running.result(WAIT_S)
    engine.go_on.release()
    lane.generate(request("c"))  # the lane has counted the other one before it takes this one
    assert lane.statistics().requests == {"done": 3, "failed": 2, "cancelled": 1}
    assert lane.statistics().steps == 8


def test_steps_reach_the_caller(lane: ThreadLane) -> None:
    steps: list[tuple[int, int]] = []
    lane.generate(request("a", steps=3), on_step=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_partial_images_reach_the_caller_until_its_function_raises(
    lane: ThreadLane, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def take(partial: PartialImage) -> None:
        seen.append(partial.index)
        if partial.index == 1:
            raise ValueError("no")

    asked = replace(request("a", steps=3), partial_images=3)
    assert lane.generate(asked, on_partial=take).images == (b"a",)
    assert seen == [0, 1]
    assert "an on_partial function failed" in caplog.text


def test_a_step_function_that_raises_costs_only_itself(lane: ThreadLane, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []

    def broken(done: int, total: int) -> None:
        calls.append(done)
        raise ValueError("no")

    assert lane.generate(request("a", steps=3), on_step=broken).images == (b"a",)
    assert calls == [1]
    assert "an on_step function failed" in caplog.text


@pytest.mark.parametrize(("prompt", "kind"), [("fail", RequestError), ("bug", ZeroDivisionError)])
def test_errors_reach_the_caller_and_the_lane_goes_on(prompt: str, kind: type[Exception], lane: ThreadLane) -> None:
    with pytest.raises(kind, match="scripted"):
        lane.generate(request(prompt))
    assert lane.generate(request("next")).images == (b"next",)


class Engines:
    """Gives a new engine at each call, unless told to fail."""

    def __init__(self) -> None:
        self.made: list[ScriptedEngine] = []
        self.refusing = False

    def __call__(self) -> ScriptedEngine:
        if self.refusing:
            raise LoadError("scripted refusal")
        self.made.append(ScriptedEngine())
        return self.made[-1]


@pytest.mark.parametrize("prompt", ["spoil", "bug"])
def test_a_spoilt_engine_is_loaded_anew_for_the_next_request(prompt: str) -> None:
    engines = Engines()
    lane = ThreadLane("test", engines(), engines)
    try:
        lane.generate(request("a"))
        with pytest.raises(Exception, match="scripted"):
            lane.generate(request(prompt))
        assert len(engines.made) == 1  # not before it is needed: a program that ends here shall not wait for it
        engines.refusing = True
        with pytest.raises(RequestError, match="could not be started again") as caught:
            lane.generate(request("b"))
        assert caught.value.status == 503
        assert lane.describe()["state"] == "broken"
        assert lane.describe()["reason"] == "scripted refusal"
        assert lane.trouble is not None
        engines.refusing = False
        assert lane.generate(request("c")).images == (b"c",)
        assert lane.describe()["state"] == "idle"
        assert lane.trouble is None
        assert [each.started for each in engines.made] == [["a", prompt], ["c"]]
    finally:
        lane.close()


def test_a_failure_that_leaves_the_engine_well_keeps_it() -> None:
    engines = Engines()
    lane = ThreadLane("test", engines(), engines)
    try:
        with pytest.raises(RequestError, match="scripted"):
            lane.generate(request("fail"))
        lane.generate(request("a"))
        assert len(engines.made) == 1
    finally:
        lane.close()


def test_a_finished_request_and_its_pictures_are_not_kept(lane: ThreadLane) -> None:
    gone = threading.Event()

    class Caller:
        def step(self, done: int, total: int) -> None:
            pass

    caller = Caller()
    weakref.finalize(caller, gone.set)
    lane.generate(request("a"), on_step=caller.step)
    del caller
    gc.collect()
    assert gone.wait(WAIT_S)


def test_a_cancelled_request_that_waits_never_starts(
    lane: ThreadLane, engine: ScriptedEngine, callers: ThreadPoolExecutor
) -> None:
    first = callers.submit(lane.generate, request("hold"))
    assert engine.entered.acquire(timeout=WAIT_S)
    cancellation = Cancellation()
    waiting = callers.submit(lane.generate, request("never"), on_cancel=cancellation.on_cancel)
    (last,) = queue_up(lane, callers, ["last"])
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        waiting.result(WAIT_S)  # at once: the lane is still busy with the first
    engine.go_on.release()
    first.result(WAIT_S)
    last.result(WAIT_S)
    assert engine.started == ["hold", "last"]


def test_a_request_cancelled_before_it_came_never_starts(lane: ThreadLane, engine: ScriptedEngine) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        lane.generate(request("never"), on_cancel=cancellation.on_cancel)
    lane.generate(request("next"))
    assert engine.started == ["next"]


def test_a_running_request_is_released_at_once_and_ends_at_its_next_step(
    lane: ThreadLane, engine: ScriptedEngine, callers: ThreadPoolExecutor
) -> None:
    cancellation = Cancellation()
    steps: list[int] = []
    running = callers.submit(
        lane.generate,
        request("hold", steps=1000),
        on_cancel=cancellation.on_cancel,
        on_step=lambda done, total: steps.append(done),
    )
    assert engine.entered.acquire(timeout=WAIT_S)
    cancellation.cancel()
    with pytest.raises(GenerationCancelledError):
        running.result(WAIT_S)
    assert engine.inside == 1  # the engine itself is still in its step
    engine.go_on.release()
    assert lane.generate(request("next")).images == (b"next",)
    assert steps == []


def test_listeners_are_forgotten_when_a_request_has_ended(lane: ThreadLane) -> None:
    removed: list[bool] = []

    def on_cancel(listener: Callable[[], None]) -> Callable[[], None]:
        return lambda: removed.append(True)

    lane.generate(request("a"), on_cancel=on_cancel)
    with pytest.raises(RequestError):
        lane.generate(request("fail"), on_cancel=on_cancel)
    assert removed == [True, True]


def test_closing_ends_who_runs_and_who_waits(
    lane: ThreadLane, engine: ScriptedEngine, callers: ThreadPoolExecutor
) -> None:
    running = callers.submit(lane.generate, request("hold", steps=5))
    assert engine.entered.acquire(timeout=WAIT_S)
    waiting = queue_up(lane, callers, ["w1", "w2"])
    closing = callers.submit(lane.close)
    for future in [running, *waiting]:
        with pytest.raises(RequestError, match="unloaded") as caught:
            future.result(WAIT_S)
        assert caught.value.status == 503
    engine.go_on.release()
    closing.result(WAIT_S)
    assert engine.started == ["hold"]
    assert lane.describe()["state"] == "closed"
    with pytest.raises(RequestError, match="unloaded"):
        lane.generate(request("late"))
    lane.close()


def test_an_idle_lane_gives_its_engine_back_and_loads_it_for_the_next_request() -> None:
    now_s = [0.0]
    made: list[ScriptedEngine] = []

    def load() -> ScriptedEngine:
        made.append(ScriptedEngine())
        return made[-1]

    lane = ThreadLane("test", load(), load, IdleUnload(60.0, lambda: now_s[0]))

    def pass_time(seconds: float) -> None:
        now_s[0] += seconds
        with lane._changed:
            lane._changed.notify_all()

    try:
        pass_time(59.0)
        assert lane.generate(request("a")).images == (b"a",)
        pass_time(59.0)  # counted from the last request, not from the load
        assert lane.generate(request("b")).images == (b"b",)
        assert len(made) == 1
        gone = threading.Event()
        weakref.finalize(made.pop(), gone.set)
        pass_time(60.0)
        assert gone.wait(WAIT_S)
        assert lane.describe()["state"] == "unloaded"
        assert lane.trouble is None
        assert lane.generate(request("c")).images == (b"c",)
        assert lane.describe()["state"] == "idle"
        assert len(made) == 1
    finally:
        lane.close()


def test_a_lane_is_not_unloaded_while_somebody_waits_or_runs(
    engine: ScriptedEngine, callers: ThreadPoolExecutor
) -> None:
    lane = ThreadLane("test", engine, lambda: pytest.fail("loaded again"), IdleUnload(1.0, lambda: 0.0))
    first = callers.submit(lane.generate, request("hold"))
    assert engine.entered.acquire(timeout=WAIT_S)
    futures = queue_up(lane, callers, ["a", "b"])
    engine.go_on.release()
    assert [future.result(WAIT_S).images for future in [first, *futures]] == [(b"hold",), (b"a",), (b"b",)]
    lane.close()


def test_many_callers_lose_no_answer(lane: ThreadLane, callers: ThreadPoolExecutor) -> None:
    futures = [callers.submit(lane.generate, request(f"p{k}", steps=k % 3 + 1)) for k in range(300)]
    assert [future.result(WAIT_S).images[0] for future in futures] == [f"p{k}".encode() for k in range(300)]
    assert lane.describe() == {"kind": "thread", "state": "idle", "waiting": 0, "served": 300, "loaded": ABOUT}
