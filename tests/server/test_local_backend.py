"""The backend alone: resources, unloading, and work on threads that nobody waits for any more."""

from __future__ import annotations

import asyncio
import pickle
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from calculators.http_payload import HttpPayload
from calculators.statistics import ImageStatistics
from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    GraphError,
    Plan,
    register_calculator,
)
from server import local_backend
from server.backend import Handle, RunRequest, StoppedError
from server.discovery import ServableSpec, find_servables
from server.local_backend import LocalBackend, in_thread
from server.servable_errors import public_reason
from server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import Gate, Models

PATIENCE_S = 20


class _Resources:
    """Stands in for loaded models."""

    def __init__(self) -> None:
        self.side_packets: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        self.at_once: int | None = None
        self.closed = threading.Event()
        self.may_close = threading.Event()
        self.may_close.set()

    def graph(self, plan: Plan) -> CalculatorGraph:
        return CalculatorGraph(plan)

    def statistics(self) -> dict[str, ImageStatistics]:
        return {"gen": ImageStatistics(lanes={"closed" if self.closed.is_set() else "idle": 1}, images=3)}

    def aliases(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        assert self.may_close.wait(PATIENCE_S)
        self.closed.set()


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> _Resources:
    made = _Resources()
    monkeypatch.setattr(local_backend, "load_resources", lambda *_, **__: made)
    return made


def _spec(models: Models) -> ServableSpec:
    (spec,) = find_servables(models.folder, print)
    return spec


def _run(backend: LocalBackend, handle: Handle) -> asyncio.Task[list[Any]]:
    async def collect() -> list[Any]:
        events = backend.run(handle, RunRequest("id", {"input": HttpPayload.json("/v3/x", {"answers": 3})}))
        async with aclosing(events):
            return [event async for event in events]

    return asyncio.create_task(collect())


@register_calculator
class NoteThread(Calculator):
    """Answers with the thread that called it."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["HTTP_REQUEST_PAYLOAD"].set_any()
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].set_any()

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(threading.get_ident())


@register_calculator
class NoteThreadAtOnce(NoteThread):
    """The same, and promises not to wait."""

    nonblocking = True


@pytest.mark.parametrize("calculator", [NoteThread, NoteThreadAtOnce])
async def test_only_a_graph_whose_nodes_promise_not_to_wait_runs_on_the_event_loop(
    models: Models, calculator: type[Calculator]
) -> None:
    models.add("noting", calculator.__name__)
    backend = LocalBackend(Settings())
    handle = await backend.load(_spec(models))
    (event,) = await _run(backend, handle)
    assert (event.value == threading.get_ident()) == calculator.nonblocking
    assert await backend.close() == []


async def test_a_run_gives_the_packets_of_the_graph_as_events_in_order(models: Models) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings())
    handle = await backend.load(_spec(models))
    assert await _run(backend, handle) == [("output", f'{{"number": {number}}}', number) for number in range(3)]
    assert await backend.close() == []


async def test_what_a_model_has_done_is_still_counted_when_its_servable_is_loaded_anew(
    models: Models, resources: _Resources
) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings())
    old, new = await backend.load(_spec(models)), await backend.load(_spec(models))
    both = backend.statistics()["answers"]["gen"]
    assert (both.images, both.lanes) == (6, {"idle": 2})
    resources.may_close.clear()
    unloading = asyncio.create_task(backend.unload(old))
    await asyncio.sleep(0)
    assert backend.statistics()["answers"]["gen"].images == 6
    resources.may_close.set()
    await unloading
    assert backend.statistics()["answers"]["gen"].images == 6
    await backend.unload(new)
    gone = backend.statistics()["answers"]["gen"]
    assert (gone.images, gone.lanes) == (6, {})
    await backend.close()


async def test_handles_and_specifications_can_be_sent_to_another_process(models: Models) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings())
    handle = await backend.load(_spec(models))
    assert pickle.loads(pickle.dumps((handle, _spec(models)))) == (handle, _spec(models))
    await backend.close()


async def test_two_loads_of_one_graph_live_side_by_side(models: Models) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings())
    old, new = [await backend.load(_spec(models)) for _ in range(2)]
    await backend.unload(old)
    assert len(await _run(backend, new)) == 3
    await backend.close()


async def test_an_unloading_that_was_given_up_is_ended_by_the_end_of_the_server(
    models: Models, resources: _Resources
) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings())
    handle = await backend.load(_spec(models))
    resources.may_close.clear()
    unloading = asyncio.create_task(backend.unload(handle))
    await asyncio.sleep(0)  # it has begun to close the resources
    unloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await unloading
    closing = asyncio.create_task(backend.close())
    await asyncio.sleep(0)
    assert not closing.done()
    resources.may_close.set()
    assert await closing == []
    assert resources.closed.is_set()


async def test_unloading_waits_for_the_runs_that_go_on(models: Models, gate: Gate, resources: _Resources) -> None:
    models.add("block", "HttpBlock")
    backend = LocalBackend(Settings())
    handle = await backend.load(_spec(models))
    running = _run(backend, handle)
    await gate.wait_entered()
    unloading = asyncio.create_task(backend.unload(handle))
    await asyncio.sleep(0)
    assert not resources.closed.is_set()
    gate.released.set()
    await unloading
    assert resources.closed.is_set()
    assert [event.value for event in await running] == ['{"blocked":true}']


async def test_a_stopped_backend_runs_nothing_more(models: Models) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings())
    handle = await backend.load(_spec(models))
    backend.stop("the server is shutting down")
    with pytest.raises(StoppedError, match="^the server is shutting down$"):
        await _run(backend, handle)
    await backend.close()


async def test_closing_tells_what_was_not_given_back_in_time(models: Models, resources: _Resources) -> None:
    models.add("answers", "HttpAnswers")
    backend = LocalBackend(Settings(cancel_grace_s=0.01))
    await backend.load(_spec(models))
    resources.may_close.clear()
    assert await backend.close() == ["answers: its resources were not given back in time"]
    resources.may_close.set()


async def test_resources_of_a_load_that_nobody_waits_for_any_more_are_given_back(
    models: Models, gate: Gate, resources: _Resources
) -> None:
    models.add("slow", "HttpSlowToLoad")
    backend = LocalBackend(Settings())
    loading = asyncio.create_task(backend.load(_spec(models)))
    await gate.wait_entered()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not resources.closed.is_set()
    gate.released.set()
    assert await asyncio.to_thread(resources.closed.wait, PATIENCE_S)
    await backend.close()


async def test_a_result_that_comes_just_before_the_cancellation_is_taken_back_too() -> None:
    worked, undone = threading.Event(), threading.Event()
    waiting = asyncio.create_task(
        in_thread("work", lambda: worked.set() or 7, undo=lambda result: undone.set() if result == 7 else None)  # type: ignore[func-returns-value]  # set() and the value in one expression
    )
    await asyncio.sleep(0)  # it starts
    worked.wait(PATIENCE_S)  # without giving the event loop a chance to notice
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(undone.wait, PATIENCE_S)


async def test_what_work_raises_reaches_the_one_who_waits() -> None:
    def fail(error: BaseException) -> None:
        raise error

    with pytest.raises(KeyError):
        await in_thread("work", lambda: fail(KeyError("x")))
    with pytest.raises(RuntimeError, match=r"^work: raised SystemExit\(3\)$"):
        await in_thread("work", lambda: fail(SystemExit(3)))


def test_clients_are_not_told_of_folders_and_code(models: Models) -> None:
    models.add("plug", "HttpEcho")
    try:
        compile("1 +", f"{models.folder}/plug/code.py", "exec")
    except SyntaxError as caught:
        import traceback

        text = "".join(traceback.format_exception(caught))
    error = GraphError(
        f"the plug-in x:Y cannot be imported:\n{text}see {models.folder}/plug/graph.pbtxt and {models.folder}/plug"
    )
    reason = public_reason(error, _spec(models))
    assert reason.startswith("the plug-in x:Y cannot be imported:\n")
    assert "SyntaxError: invalid syntax" in reason
    assert "Traceback" not in reason
    assert str(models.folder) not in reason
    assert reason.endswith("see plug/graph.pbtxt and plug")
