"""How many requests may run and wait, who is refused, and what the refused are told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any, cast

import pytest
from openai import AsyncOpenAI

from calculators.http_payload import RequestError
from server.admission import DEFAULT_RETRY_S, Admission, Outcome
from server.backend import (
    Backend,
    DeadlineError,
    Event,
    Feed,
    Handle,
    Limits,
    Occupancy,
    Origin,
    Refused,
    RunCancelledError,
    RunRequest,
)
from server.keys import BACKEND, SERVABLES

if TYPE_CHECKING:
    from server.interface import GraphInterface
    from tests.server.conftest import Client, FakeClock, Gate, Models, Serve

PATH = "/v3/images/generations"
BLOCK = {"model": "block"}
NO_INTERFACE = cast("GraphInterface", None)  # admission does not look at it


async def _until_busy(client: Client, running: int, waiting: int, name: str = "block") -> None:
    """Return when the servable is as busy as that; each look lets the event loop go round."""
    handle = client.app[SERVABLES].find(name).handle
    assert handle is not None
    async with asyncio.timeout(20):
        while client.app[BACKEND].occupancy(handle) != Occupancy(running, waiting):
            await client.get("/v2/health/live")


async def test_a_request_beyond_those_that_may_wait_gets_429_in_openais_form(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1, queue_size=1)
    asked = [asyncio.create_task(client.post(PATH, json=BLOCK)) for _ in range(2)]
    await _until_busy(client, 1, 1)
    refused = await client.post(PATH, json=BLOCK)
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "5"  # nothing is known yet of how long such requests take
    assert (await refused.json())["error"] == {
        "message": "The model 'block' is busy: it works on 1 request(s), and 1 wait, the most that may. "
        "Try again in 5 second(s).",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    gate.released.set()
    assert [response.status for response in await asyncio.gather(*asked)] == [200, 200]
    assert (await client.post(PATH, json=BLOCK)).status == 200


async def test_a_full_queue_of_one_model_does_not_refuse_requests_for_another(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    models.add("echo", "HttpEcho")
    client = await serve(runs_per_servable=1, queue_size=0)
    asked = asyncio.create_task(client.post(PATH, json=BLOCK))
    await _until_busy(client, 1, 0)
    assert (await client.post(PATH, json=BLOCK)).status == 429
    assert (await client.post(PATH, json={"model": "echo"})).status == 200
    gate.released.set()
    assert (await asked).status == 200


async def test_a_model_that_is_flooded_does_not_keep_the_threads_from_another(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    models.add("echo", "HttpEcho")
    client = await serve(run_threads=1, runs_per_servable=8)
    flood = [asyncio.create_task(client.post(PATH, json=BLOCK)) for _ in range(8)]
    await _until_busy(client, 1, 7)
    asked = asyncio.create_task(client.post(PATH, json={"model": "echo"}))
    await _until_busy(client, 0, 1, "echo")
    for _ in range(2):  # let one of the flood go, and close the gate behind it
        arrived, gate.released = gate.released, threading.Event()
        gate.entered.clear()
        arrived.set()
        if not asked.done():
            await asyncio.wait([asked, asyncio.create_task(gate.wait_entered())], return_when=asyncio.FIRST_COMPLETED)
    assert (await asked).status == 200
    assert sum(each.done() for each in flood) <= 2
    gate.released.set()
    assert {response.status for response in await asyncio.gather(*flood)} == {200}


async def test_a_waiting_client_that_leaves_frees_its_place(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1, queue_size=1)
    asked = [asyncio.create_task(client.post(PATH, json=BLOCK)) for _ in range(2)]
    await _until_busy(client, 1, 1)
    asked[1].cancel()
    await _until_busy(client, 1, 0)
    asked[1] = asyncio.create_task(client.post(PATH, json=BLOCK))
    await _until_busy(client, 1, 1)
    gate.released.set()
    assert [response.status for response in await asyncio.gather(*asked)] == [200, 200]


async def test_a_model_has_limits_of_its_own_in_the_config_file(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    (models.folder / "config.json").write_text(
        '{"graph_runtime": {"models": {"block": {"runs_at_once": 2, "queue_size": 0, "request_timeout_s": 60}}}}'
    )
    client = await serve(queue_size=5)
    asked = [asyncio.create_task(client.post(PATH, json=BLOCK)) for _ in range(2)]
    await _until_busy(client, 2, 0)
    assert (await client.post(PATH, json=BLOCK)).status == 429
    handle = client.app[SERVABLES].find("block").handle
    assert handle is not None
    assert handle.limits == Limits(at_once=2, queue_size=0, timeout_s=60.0)
    gate.released.set()
    assert [response.status for response in await asyncio.gather(*asked)] == [200, 200]


async def test_openais_client_comes_again_after_the_time_that_it_is_told(
    serve: Serve, models: Models, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1, queue_size=0)
    asked = asyncio.create_task(client.post(PATH, json=BLOCK))
    await _until_busy(client, 1, 0)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        gate.released.set()
        await asked

    monkeypatch.setattr("openai._base_client.anyio.sleep", sleep)
    async with AsyncOpenAI(base_url=str(client.make_url("/v3")), api_key="any", max_retries=1) as openai:
        answer = await openai.post("/images/generations", body=BLOCK, cast_to=cast("type[dict[str, Any]]", dict))
    assert answer == {"blocked": True}
    assert slept == [5.0]


class _Told:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[Any, ...]] = []

    def full(self, servable: str, origin: Origin) -> None:
        self.lines.append(("full", servable, origin))

    def started(self, servable: str, origin: Origin) -> None:
        self.lines.append(("started", servable, origin))

    def responded(self, servable: str, origin: Origin) -> None:
        self.lines.append(("responded", servable, origin))

    def ended(self, servable: str, origin: Origin, outcome: Outcome, seconds: float, waited_s: float) -> None:
        self.lines.append(("ended", servable, origin, outcome, seconds, waited_s))

    def ran(self, servable: str, origin: Origin, outcome: Outcome, responses: int, seconds: float) -> None:
        self.lines.append(("ran", servable, origin, outcome, responses, seconds))


class _Runs:
    """Stands in for a backend: each run gives one packet when the test says so, or fails."""

    def __init__(self) -> None:
        self.running: dict[str, asyncio.Future[None]] = {}

    async def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        self.running[request.run_id] = waiting = asyncio.get_running_loop().create_future()
        await waiting
        yield Event("output", request.run_id, 0)

    async def converse(
        self, handle: Handle, request: RunRequest, feeds: AsyncIterator[Feed | Refused]
    ) -> AsyncGenerator[Event | Refused, None]:
        async for feed in feeds:
            yield feed if isinstance(feed, Refused) else Event("output", feed.packets, feed.timestamp)


class _Line:
    """A servable behind the admission, with requests named by letters."""

    def __init__(self, clock: FakeClock, limits: Limits) -> None:
        self.told = _Told()
        self.runs = _Runs()
        self.admission = Admission(cast("Backend", self.runs), clock, self.told)
        self.handle = Handle("m", 1, NO_INTERFACE, limits=limits)
        self.asked: dict[str, asyncio.Task[int]] = {}

    async def ask(self, letter: str) -> None:
        """Send a request, and return when it has a place or was refused."""
        self.asked[letter] = asyncio.create_task(self._count(letter))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _count(self, letter: str) -> int:
        async with aclosing(self.admission.run(self.handle, RunRequest(letter, {}))) as events:
            return len([event async for event in events])

    async def finish(self, letter: str, error: BaseException | None = None) -> None:
        """End a run, and return when its caller has the answer."""
        if error is None:
            self.runs.running[letter].set_result(None)
            assert await self.asked[letter] == 1
        else:
            self.runs.running[letter].set_exception(error)
            with pytest.raises(type(error)):
                await self.asked[letter]

    async def retry_after(self, letter: str = "refused") -> str:
        """The Retry-After of a request that is refused."""
        with pytest.raises(RequestError) as caught:
            await self._count(letter)
        assert caught.value.status == 429
        return dict(caught.value.headers)["Retry-After"]


async def test_retry_after_is_the_time_that_those_ahead_need_by_what_requests_took_lately(clock: FakeClock) -> None:
    line = _Line(clock, Limits(at_once=1, queue_size=2))
    for letter in "abc":
        await line.ask(letter)
    assert await line.retry_after() == "5"
    clock.advance(10)
    await line.finish("a")  # 10 s
    await line.ask("d")
    assert await line.retry_after() == "30"  # b, c and d
    clock.advance(4)
    await line.finish("b")  # 4 s of its own; that it waited 10 s for a does not count
    await line.ask("e")
    assert await line.retry_after() == "21"  # 7 s each


async def test_retry_after_is_shared_by_requests_that_are_worked_on_side_by_side_and_is_at_least_a_second(
    clock: FakeClock,
) -> None:
    line = _Line(clock, Limits(at_once=2, queue_size=1))
    for letter in "abc":
        await line.ask(letter)
    clock.advance(8)
    await line.finish("a")
    await line.ask("d")
    assert await line.retry_after() == "12"  # three of 8 s by two
    quick = _Line(clock, Limits(at_once=1, queue_size=0))
    await quick.ask("a")
    clock.advance(0.001)
    await quick.finish("a")
    await quick.ask("b")
    assert await quick.retry_after() == "1"


@pytest.mark.parametrize("error", [ValueError("broken"), RequestError("steps is too large"), DeadlineError("too long")])
async def test_requests_that_failed_say_nothing_of_how_long_requests_take(clock: FakeClock, error: Exception) -> None:
    line = _Line(clock, Limits(at_once=1, queue_size=0))
    await line.ask("a")
    clock.advance(100)
    await line.finish("a", error)
    await line.ask("b")
    assert await line.retry_after() == "5"


async def test_a_new_version_of_a_model_has_a_queue_of_its_own(clock: FakeClock) -> None:
    line = _Line(clock, Limits(at_once=1, queue_size=0))
    await line.ask("a")
    assert await line.retry_after() == "5"
    line.handle = Handle("m", 2, NO_INTERFACE, limits=line.handle.limits)
    await line.ask("b")
    await line.finish("b")
    await line.finish("a")


async def test_the_observer_is_told_what_became_of_each_request_and_how_long_it_waited(clock: FakeClock) -> None:
    origin = Origin("V3", "Unary", "REST")
    line = _Line(clock, Limits(at_once=1, queue_size=1))
    await line.ask("a")
    await line.ask("b")
    await line.retry_after()
    clock.advance(2)
    await line.finish("a")
    clock.advance(3)
    await line.finish("b", ValueError("broken"))
    assert line.told.lines == [
        ("started", "m", origin),
        ("started", "m", origin),
        ("full", "m", origin),
        ("responded", "m", origin),
        ("ended", "m", origin, Outcome.OK, 2.0, 0.0),
        ("ended", "m", origin, Outcome.FAILED, 5.0, 2.0),
    ]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RequestError("steps is too large"), Outcome.REFUSED),
        (RequestError("no engine", status=503), Outcome.FAILED),
        (DeadlineError("too long"), Outcome.TOO_LATE),
        (RunCancelledError("by its operator"), Outcome.CANCELLED),
    ],
)
async def test_the_observer_is_told_whose_fault_it_was(clock: FakeClock, error: Exception, outcome: Outcome) -> None:
    line = _Line(clock, Limits())
    await line.ask("a")
    await line.finish("a", error)
    assert line.told.lines[-1][3] is outcome


@pytest.mark.parametrize(
    ("error", "told"), [(None, (Outcome.OK, 2)), (RequestError("steps is too large"), (Outcome.REFUSED, 0))]
)
def test_the_observer_is_told_of_a_request_that_is_over_at_once(
    clock: FakeClock, error: Exception | None, told: tuple[Outcome, int]
) -> None:
    def run_now(handle: Handle, request: RunRequest) -> list[Event]:
        clock.advance(3)
        if error is not None:
            raise error
        return [Event("output", number, number) for number in range(2)]

    line = _Line(clock, Limits())
    line.runs.run_now = run_now  # type: ignore[attr-defined]  # the others wait for the test
    origin = Origin("KServe", "ModelInfer", "REST")
    with nullcontext() if error is None else pytest.raises(type(error)):
        line.admission.run_now(line.handle, RunRequest("a", {}, origin=origin))
    assert line.told.lines == [("ran", "m", origin, *told, 3.0)]


async def test_the_observer_is_told_of_a_client_that_left(clock: FakeClock) -> None:
    line = _Line(clock, Limits())
    await line.ask("a")
    line.asked["a"].cancel()
    await asyncio.gather(line.asked["a"], return_exceptions=True)
    assert line.told.lines[-1][3] is Outcome.CANCELLED


async def test_a_conversation_is_one_request_and_says_nothing_of_how_long_others_take(clock: FakeClock) -> None:
    line = _Line(clock, Limits(at_once=1, queue_size=0))
    refused = Refused(RequestError("no tensor"))
    origin = Origin("KServe", "ModelInferStream", "gRPC")

    async def feeds() -> AsyncIterator[Feed | Refused]:
        yield Feed({"in": 1}, 7)
        clock.advance(3600.0)
        yield refused
        with pytest.raises(RequestError, match="is busy"):
            await anext(line.admission.run(line.handle, RunRequest("b", {})))

    events = line.admission.converse(line.handle, RunRequest("a", {}, origin=origin), feeds())
    assert [event async for event in events] == [Event("output", {"in": 1}, 7), refused]
    assert line.told.lines == [
        ("started", "m", origin),
        ("responded", "m", origin),
        ("responded", "m", origin),
        ("full", "m", Origin()),
        ("ended", "m", origin, Outcome.OK, 3600.0, 0.0),
    ]
    await line.ask("c")
    with pytest.raises(RequestError) as told:
        await anext(line.admission.run(line.handle, RunRequest("d", {})))
    assert told.value.headers == (("Retry-After", str(DEFAULT_RETRY_S)),)
    await line.finish("c")
