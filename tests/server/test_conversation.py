"""Runs that are fed over time: what comes out, what is refused, and who is held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from calculators.http_payload import RequestError
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, register_calculator
from server.backend import DeadlineError, Event, Feed, Handle, Refused, RunRequest, StoppedError
from server.conversation import MOST_WAITING
from server.discovery import find_servables
from server.local_backend import LocalBackend
from server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import FakeClock, Gate, Models

PATIENCE_S = 20


class _State:
    gate: Gate


@pytest.fixture(autouse=True)
def state(gate: Gate) -> None:
    _State.gate = gate


@register_calculator
class FedSum(Calculator):
    """The sum of all numbers until now; tells at its end how many there were."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(int)
        cc.outputs[0].set_any()

    def open(self, cc: CalculatorContext) -> None:
        self.numbers: list[int] = []

    def process(self, cc: CalculatorContext) -> None:
        value = cc.inputs[0].value
        if value < 0:
            raise RequestError("a number is negative", code="negative")
        self.numbers.append(value)
        cc.outputs[0].add(sum(self.numbers))

    def close(self, cc: CalculatorContext) -> None:
        if not cc.cancelled:
            cc.outputs[0].add(f"{len(self.numbers)} numbers", timestamp=1_000_000)


@register_calculator
class FedGated(Calculator):
    """Passes each packet on when the gate is open."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])

    def process(self, cc: CalculatorContext) -> None:
        def cancelled() -> None:
            _State.gate.cancelled.set()
            _State.gate.released.set()

        remove = cc.on_cancel(cancelled)
        _State.gate.pass_through()
        remove()
        cc.outputs[0].add(cc.inputs[0].value)


@register_calculator
class FedPair(Calculator):
    """What came at both inputs, or at one of them."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.inputs[1].set_any()
        cc.outputs[0].set_any()

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add([None if each.is_empty() else each.value for each in cc.inputs])


@register_calculator
class FedScaled(Calculator):
    """Each number times a side packet."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(int)
        cc.input_side_packets[0].set(int)
        cc.outputs[0].set(int)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add(cc.inputs[0].value * cc.input_side_packets[0].value)


def graph(calculator: str, *inputs: str, head: str = "") -> str:
    streams = "".join(f'input_stream: "{name}"\n' for name in inputs)
    return (
        f'{head}{streams}output_stream: "out"\nnode {{ calculator: "{calculator}" {streams} output_stream: "out" }}\n'
    )


async def load(models: Models, text: str, backend: LocalBackend) -> Handle:
    models.add_text("fed", text)
    return await backend.load(find_servables(models.folder, print)[0])


@pytest.fixture
async def backend() -> AsyncIterator[LocalBackend]:
    made = LocalBackend(Settings())
    yield made
    assert await made.close() == []


async def feeds(*each: Feed | Refused) -> AsyncGenerator[Feed | Refused, None]:
    for feed in each:
        yield feed


async def endless(*each: Feed) -> AsyncGenerator[Feed, None]:
    """These feeds, and then a client that says nothing more."""
    for feed in each:
        yield feed
    await asyncio.Event().wait()


def numbers(values: Iterable[int]) -> list[Feed]:
    return [Feed({"in": value}, timestamp) for timestamp, value in enumerate(values)]


async def collect(events: AsyncGenerator[Event | Refused, None]) -> list[Any]:
    async with aclosing(events), asyncio.timeout(PATIENCE_S):
        return [event async for event in events]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what it looks at belongs to other threads, and tells nobody
            await asyncio.sleep(0)


async def test_one_run_takes_all_feeds_and_its_end_comes_when_they_end(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    found = await collect(backend.converse(handle, RunRequest("id", {}), feeds(*numbers([1, 2, 3]))))
    assert found == [("out", 1, 0), ("out", 3, 1), ("out", 6, 2), ("out", "3 numbers", 1_000_000)]


async def test_an_answer_comes_before_the_next_feed_is_there(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    answered = asyncio.Event()

    async def ask_twice() -> AsyncIterator[Feed]:
        yield Feed({"in": 5}, 0)
        await answered.wait()
        yield Feed({"in": 6}, 1)

    async with aclosing(backend.converse(handle, RunRequest("id", {}), ask_twice())) as events:
        assert await anext(events) == ("out", 5, 0)
        answered.set()
        assert await anext(events) == ("out", 11, 1)


async def test_packets_of_the_request_come_first(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    request = RunRequest("id", {"in": 10}, timestamp=3)
    found = await collect(backend.converse(handle, request, feeds(Feed({"in": 1}, 4))))
    assert found[:2] == [("out", 10, 3), ("out", 11, 4)]


async def test_a_feed_may_be_for_some_of_the_inputs(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedPair", "a", "b"), backend)
    source = feeds(Feed({"a": 1}, 0), Feed({"b": 2}, 5), Feed({"a": 3, "b": 4}, 6))
    found = await collect(backend.converse(handle, RunRequest("id", {}), source))
    assert [event.value for event in found] == [[1, None], [None, 2], [3, 4]]


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (Feed({"in": 2}, 7), "Current minimum expected timestamp is 8 but received 7"),
        (Feed({"in": "two"}, 8), 'stores "string", but "int" was requested'),
        (Feed({"other": 2}, 8), "the graph inputs are: in"),
        (Feed({"in": 2}, 2**63 - 1), "illegal value"),
    ],
)
async def test_a_feed_that_does_not_fit_is_refused_and_the_run_goes_on(
    models: Models, backend: LocalBackend, bad: Feed, text: str
) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    source = feeds(Feed({"in": 1}, 7), bad, Feed({"in": 3}, 9))
    found = await collect(backend.converse(handle, RunRequest("id", {}), source))
    (refused,) = [each for each in found if isinstance(each, Refused)]
    assert refused.feed is bad
    assert text in refused.error.message
    assert [each.value for each in found if isinstance(each, Event)] == [1, 4, "2 numbers"]


async def test_nothing_of_a_refused_feed_is_taken(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedPair", "a", "b"), backend)
    source = feeds(Feed({"b": 0}, 5), Feed({"a": 1, "b": 2}, 5), Feed({"a": 3}, 5))
    found = await collect(backend.converse(handle, RunRequest("id", {}), source))
    assert [each.value for each in found if isinstance(each, Event)] == [[3, 0]]


async def test_a_refusal_among_the_feeds_comes_out_as_it_stands(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    unreadable = Refused(RequestError("this is no tensor"))
    found = await collect(backend.converse(handle, RunRequest("id", {}), feeds(unreadable, Feed({"in": 1}, 0))))
    assert found == [unreadable, ("out", 1, 0), ("out", "1 numbers", 1_000_000)]


async def test_a_graph_that_fails_ends_the_conversation_although_the_client_says_nothing(
    models: Models, backend: LocalBackend
) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    with pytest.raises(GraphError, match="a number is negative"):
        await collect(backend.converse(handle, RunRequest("id", {}), endless(*numbers([1, -1]))))


async def test_a_run_that_cannot_start_says_so_before_anything_is_read(models: Models, backend: LocalBackend) -> None:
    text = 'input_stream: "in" input_side_packet: "needed" output_stream: "out"\n'
    text += 'node { calculator: "FedScaled" input_stream: "in" input_side_packet: "needed" output_stream: "out" }'
    handle = await load(models, text, backend)
    with pytest.raises(GraphError, match='Side packet "needed" is required'):
        await collect(backend.converse(handle, RunRequest("id", {}), endless()))


async def test_what_the_feeds_raise_comes_out_when_all_before_is_worked_off(
    models: Models, backend: LocalBackend
) -> None:
    async def broken() -> AsyncIterator[Feed]:
        yield Feed({"in": 1}, 0)
        raise ConnectionError("the line broke")

    handle = await load(models, graph("FedSum", "in"), backend)
    events = backend.converse(handle, RunRequest("id", {}), broken())
    assert await anext(events) == ("out", 1, 0)
    assert await anext(events) == ("out", "1 numbers", 1_000_000)
    with pytest.raises(ConnectionError, match="the line broke"):
        await anext(events)


async def test_a_caller_that_leaves_cancels_the_run_and_reads_no_more(
    models: Models, backend: LocalBackend, gate: Gate
) -> None:
    handle = await load(models, graph("FedGated", "in"), backend)
    ended = asyncio.Event()

    async def source() -> AsyncIterator[Feed]:
        try:
            yield Feed({"in": 1}, 0)
            await asyncio.Event().wait()
        finally:
            ended.set()

    events = backend.converse(handle, RunRequest("id", {}), source())
    waiting = asyncio.ensure_future(anext(events))
    await gate.wait_entered()
    waiting.cancel()
    await asyncio.wait([waiting])
    await gate.wait_cancelled()
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    await until(lambda: backend.occupancy(handle) == (0, 0))


async def test_a_conversation_without_words_ends_with_its_time_and_with_the_backend(
    models: Models, clock: FakeClock
) -> None:
    backend = LocalBackend(Settings(), clock=clock)
    handle = await load(models, graph("FedSum", "in"), backend)
    timed = asyncio.create_task(collect(backend.converse(handle, RunRequest("a", {}, timeout_s=60.0), endless())))
    other = asyncio.create_task(collect(backend.converse(handle, RunRequest("b", {}), endless())))
    await clock.wait_for_sleep(60.0)
    clock.advance(60.0)
    with pytest.raises(DeadlineError):
        await timed
    backend.stop("the server is shutting down")
    with pytest.raises(StoppedError):
        await other
    assert await backend.close() == []


async def test_a_client_that_does_not_read_is_held_up_until_it_does(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedSum", "in", head="max_queue_size: 4\n"), backend)
    asked = 0

    async def source() -> AsyncIterator[Feed]:
        nonlocal asked
        for feed in numbers([1] * 500):
            asked += 1
            yield feed

    async with aclosing(backend.converse(handle, RunRequest("id", {}), source())) as events:
        found = [await anext(events)]
        (run,) = backend._runs
        await until(lambda: not run._room.is_set())  # type: ignore[attr-defined]  # from outside, "held up" is "nothing happens"
        while len(found) < 501:
            assert asked <= len(found) + MOST_WAITING + 4 + 8  # what waits, what the graph holds, what is on its way
            found.append(await anext(events))
    assert [event.value for event in found if isinstance(event, Event)] == [*range(1, 501), "500 numbers"]


async def test_a_client_that_sends_refused_feeds_and_does_not_read_is_held_up_too(
    models: Models, backend: LocalBackend
) -> None:
    handle = await load(models, graph("FedSum", "in"), backend)
    asked = 0

    async def source() -> AsyncIterator[Refused]:
        nonlocal asked
        for _ in range(500):
            asked += 1
            yield Refused(RequestError("this is no tensor"))
            await asyncio.sleep(0)

    async with aclosing(backend.converse(handle, RunRequest("id", {}), source())) as events:
        found = [await anext(events)]
        await until(lambda: asked > MOST_WAITING)
        while len(found) < 500:
            assert asked <= len(found) + MOST_WAITING + 8
            found.append(await anext(events))


async def test_a_client_that_sends_faster_than_the_graph_works_is_held_up(
    models: Models, backend: LocalBackend, gate: Gate
) -> None:
    handle = await load(models, graph("FedGated", "in", head="max_queue_size: 3\n"), backend)
    asked = 0

    async def source() -> AsyncIterator[Feed]:
        nonlocal asked
        for feed in numbers(range(50)):
            asked += 1
            assert asked <= gate.entries + 6  # in the call, in the queue, and the one that waits to be taken
            yield feed

    conversation = asyncio.create_task(collect(backend.converse(handle, RunRequest("id", {}), source())))
    await gate.wait_entered()
    await until(lambda: asked >= 4)
    gate.released.set()
    assert [event.value for event in await conversation] == list(range(50))


async def test_one_input_that_runs_too_far_ahead_of_another_is_refused(models: Models, backend: LocalBackend) -> None:
    handle = await load(models, graph("FedPair", "a", "b", head="max_queue_size: 5\n"), backend)
    source = feeds(*(Feed({"a": number}, number) for number in range(20)), Feed({"b": "there"}, 100))
    found = await collect(backend.converse(handle, RunRequest("id", {}), source))
    refused = [each for each in found if isinstance(each, Refused)]
    assert "at 'a' before others come" in refused[0].error.message
    assert "max_queue_size" in refused[0].error.message
    values = [each.value for each in found if isinstance(each, Event)]
    assert len(values) + len(refused) == 21  # each feed was either taken or refused
    assert len(values) <= 8
    assert values[-1] == [None, "there"]
