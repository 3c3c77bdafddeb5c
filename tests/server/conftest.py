"""Small graphs to serve, so that most tests of the server need no image model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from calculators.http_payload import HttpPayload, RequestError
from calculators.progress import PROGRESS
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, register_calculator
from server.app import build_app
from server.clock import Clock
from server.keys import SERVABLES
from server.settings import Settings
from tests.server.certificates import Certificates
from tests.server.serving import Server

PATIENCE_S = 20.0


class Gate:
    """A meeting point between a test and the calculators that block or wait on it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        """A calculator has arrived."""
        self.released = threading.Event()
        """It may go on."""
        self.cancelled = threading.Event()
        """It was told that its run was cancelled."""
        self.entries = 0
        """How many have arrived."""

    async def wait_entered(self) -> None:
        """Return when a calculator has arrived."""
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_S), "no calculator came to the gate"

    async def wait_cancelled(self) -> None:
        """Return when a calculator was told that its run is cancelled."""
        assert await asyncio.to_thread(self.cancelled.wait, PATIENCE_S), "the run was never cancelled"

    def pass_through(self) -> None:
        """What a calculator does: arrive, and wait for the test."""
        self.entries += 1
        self.entered.set()
        assert self.released.wait(PATIENCE_S), "the test never released the gate"


class FakeClock:
    """A clock that stands still until the test lets time pass."""

    def __init__(self) -> None:
        self._now = 1_790_000_000.0
        self._sleepers: list[tuple[float, float, asyncio.Future[None]]] = []
        self._asked = asyncio.Event()

    def time(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sleeper = (seconds, self._now + seconds, waiting)
        self._sleepers.append(sleeper)
        self._asked.set()
        try:
            await waiting
        finally:
            self._sleepers.remove(sleeper)

    async def wait_for_sleep(self, seconds: float) -> None:
        """Return when somebody sleeps for exactly so long."""
        async with asyncio.timeout(PATIENCE_S):
            while all(asked_s != seconds for asked_s, _, _ in self._sleepers):
                self._asked.clear()
                await self._asked.wait()

    def advance(self, seconds: float) -> None:
        """Let time pass; whoever has slept long enough goes on as soon as the event loop is free."""
        self._now += seconds
        for _, due, waiting in self._sleepers:
            if due <= self._now and not waiting.done():
                waiting.set_result(None)


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


class _Gates:
    current = Gate()


@pytest.fixture
def gate() -> Iterator[Gate]:
    _Gates.current = Gate()
    yield _Gates.current
    _Gates.current.released.set()


class _HttpCalculator(Calculator):
    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["HTTP_REQUEST_PAYLOAD"].set(HttpPayload)
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].set(str)

    def process(self, cc: CalculatorContext) -> None:
        self.answer(cc, cc.inputs["HTTP_REQUEST_PAYLOAD"].value)

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        raise NotImplementedError


@register_calculator
class HttpEcho(_HttpCalculator):
    """Tells what it was asked."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        told = {"uri": payload.uri, "json": payload.parsed_json, "agent": payload.headers.get("user-agent")}
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(json.dumps(told))


@register_calculator
class HttpRefuse(_HttpCalculator):
    """Refuses in the way that the request asks for."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        raise RequestError(
            "steps is too large: 500; the most is 100",
            status=payload.parsed_json.get("status", 400),
            param="steps",
            code="invalid_value",
            headers=(("Retry-After", "7"),),
        )


@register_calculator
class HttpRaise(_HttpCalculator):
    """Fails with a text that nobody outside may see."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        if payload.parsed_json.get("exit"):
            raise SystemExit(3)
        raise ValueError("/secret/path/model.bin is broken")


@register_calculator
class HttpBlock(_HttpCalculator):
    """Works until the test releases it, or until it is cancelled."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        gate = _Gates.current

        def cancelled() -> None:
            gate.cancelled.set()
            gate.released.set()

        remove = cc.on_cancel(cancelled)
        gate.pass_through()
        remove()
        if not cc.cancelled:
            cc.outputs["HTTP_RESPONSE_PAYLOAD"].add('{"blocked":true}')


@register_calculator
class HttpSteps(_HttpCalculator):
    """Tells the pairs of numbers in the list ``steps`` of the request as its progress, then waits at the gate."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        super().get_contract(cc)
        cc.use_service(PROGRESS, optional=True)

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        for done, total in payload.parsed_json["steps"]:
            cc.service(PROGRESS).tell(cc.node_name, done, total)
        _Gates.current.pass_through()
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add("{}")


@register_calculator
class HttpStubborn(_HttpCalculator):
    """Works until the test releases it, whoever cancels."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        _Gates.current.pass_through()


@register_calculator
class HttpAnswers(_HttpCalculator):
    """Gives as many packets as it is asked for."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        for number in range(payload.parsed_json["answers"]):
            cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(json.dumps({"number": number}), timestamp=number)


@register_calculator
class HttpScript(_HttpCalculator):
    """Does what the list ``do`` of the request says: ``wait`` at the gate, ``refuse``, ``raise``; all else is sent at once."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        remove = cc.on_cancel(_Gates.current.released.set)
        for number, what in enumerate(payload.parsed_json["do"]):
            if what == "wait":
                _Gates.current.pass_through()
            elif what == "refuse":
                raise RequestError("steps is too large", param="steps", code="invalid_value")
            elif what == "raise":
                raise ValueError("/secret/path/model.bin is broken")
            else:
                cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(what, timestamp=number)
                cc.flush()
        remove()


@register_calculator
class HttpParts(_HttpCalculator):
    """Tells what parts it was sent."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        parts = [[part.name, part.filename, part.content_type, len(part.data)] for part in payload.parts]
        told = {"parts": parts, "body": len(payload.body), "json": payload.parsed_json, "base_url": payload.base_url}
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(json.dumps(told))


@register_calculator
class HttpWhole(_HttpCalculator):
    """Tells all that it was sent: address, body, JSON, and each part as text."""

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        parts = [[part.name, part.data.decode()] for part in payload.parts]
        told = {"uri": payload.uri, "body": payload.body.decode(), "json": payload.parsed_json, "parts": parts}
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(json.dumps(told))


@register_calculator
class HttpNotText(_HttpCalculator):
    """Answers with something that is no text."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["HTTP_REQUEST_PAYLOAD"].set(HttpPayload)
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].set_any()

    def answer(self, cc: CalculatorContext, payload: HttpPayload) -> None:
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add({"not": "text"})


@register_calculator
class HttpSlowToLoad(HttpEcho):
    """Takes until the test releases it to be loaded."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        _Gates.current.pass_through()
        super().get_contract(cc)


@register_calculator
class HttpBadPlugIn(HttpEcho):
    """Tries to end the process while it is loaded."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        raise SystemExit(3)


class Models:
    """A model folder that tests fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, calculator: str) -> Path:
        """A graph with one node that speaks HTTP."""
        return self.add_text(
            name,
            'input_stream: "HTTP_REQUEST_PAYLOAD:input"\n'
            'output_stream: "HTTP_RESPONSE_PAYLOAD:output"\n'
            "node {\n"
            f'  name: "only" calculator: "{calculator}"\n'
            '  input_stream: "HTTP_REQUEST_PAYLOAD:input"\n'
            '  output_stream: "HTTP_RESPONSE_PAYLOAD:output"\n'
            "}\n",
        )

    def add_text(self, name: str, text: str) -> Path:
        """A graph file with this text."""
        graph_file = self.folder / name / "graph.pbtxt"
        graph_file.parent.mkdir(parents=True)
        graph_file.write_text(text)
        return graph_file


@pytest.fixture
def models(tmp_path: Path) -> Models:
    folder = tmp_path / "models"
    folder.mkdir()
    return Models(folder)


Client = TestClient[web.Request, web.Application]
Serve = Callable[..., Awaitable[Client]]


@pytest.fixture
def serve(aiohttp_client: AiohttpClient, models: Models) -> Serve:
    """Starts a server for the model folder on the loopback; returns a client when nothing loads any more.

    Unless told otherwise it ends at once, and does not wait for requests that a test has left.
    """

    async def start(*, settled: bool = True, clock: Clock | None = None, **given: Any) -> Client:
        # Only tests of hot reload need the watcher.
        settings = {"file_system_poll_wait_seconds": 0.0, "shutdown_grace_s": 0.0, **given}
        client = await aiohttp_client(build_app(Settings(models=models.folder, **settings), clock))
        if settled:
            await client.app[SERVABLES].settled.wait()
        return client

    return start


StartServer = Callable[..., Server]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts ``graph-runtime serve`` as a process, in a folder of its own."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(Server(*arguments, cwd=tmp_path))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)
