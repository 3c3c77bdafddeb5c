"""Versions of servables, and who keeps them loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from calculators.http_payload import RequestError
from graph_runtime import GraphError
from server.backend import Event, Feed, Handle, Occupancy, Refused, RunRequest
from server.discovery import ServableSpec
from server.interface import GraphInterface
from server.servables import Servables

NOTHING = GraphInterface((), (), frozenset())


class FakeBackend:
    """Loads what the test says, when it says so; runs nothing."""

    def __init__(self) -> None:
        self.loaded: list[Handle] = []
        self.unloaded: list[Handle] = []
        self.broken: set[str] = set()
        self.held: dict[str, asyncio.Event] = {}
        """Name -> what a load of it waits for."""

    async def load(self, spec: ServableSpec) -> Handle:
        if spec.name in self.held:
            await self.held[spec.name].wait()
        if spec.name in self.broken:
            raise GraphError(f"{spec.name} is broken")
        handle = Handle(spec.name, len(self.loaded), NOTHING)
        self.loaded.append(handle)
        return handle

    async def unload(self, handle: Handle) -> None:
        self.unloaded.append(handle)

    async def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        raise NotImplementedError
        yield

    async def converse(
        self, handle: Handle, request: RunRequest, feeds: AsyncIterator[Feed | Refused]
    ) -> AsyncGenerator[Event | Refused, None]:
        raise NotImplementedError
        yield

    def cancel(self, run_id: str, reason: str) -> int:
        return 0

    def occupancy(self, handle: Handle) -> Occupancy:
        return Occupancy(0, 0)

    def trouble(self, handle: Handle) -> str | None:
        return None

    def stop(self, reason: str) -> None: ...

    async def close(self) -> list[str]:
        return []


@pytest.fixture
async def backend() -> FakeBackend:
    return FakeBackend()


def spec(name: str) -> ServableSpec:
    folder = Path("/models") / name
    return ServableSpec(name, folder, folder / "graph.pbtxt", 1_790_000_000)


async def test_a_lease_gives_the_handle_of_a_loaded_servable(backend: FakeBackend) -> None:
    servables = Servables(backend, [spec("a")], load_wait_s=0)
    await servables.load_all()
    async with servables.lease("a") as handle, servables.lease("a") as same:
        assert handle is same is backend.loaded[0]


async def test_a_lease_waits_for_a_servable_that_is_loading(backend: FakeBackend) -> None:
    backend.held["a"] = asyncio.Event()
    servables = Servables(backend, [spec("a")], load_wait_s=60)
    loading = asyncio.create_task(servables.load_all())

    async def ask() -> str:
        async with servables.lease("a") as handle:
            return handle.name

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    backend.held["a"].set()
    assert await asking == "a"
    await loading


async def test_a_lease_of_a_servable_that_loads_too_long_is_refused(backend: FakeBackend) -> None:
    backend.held["a"] = asyncio.Event()
    servables = Servables(backend, [spec("a")], load_wait_s=0)
    loading = asyncio.create_task(servables.load_all())
    with pytest.raises(RequestError, match="'a' is still loading") as refused:
        async with servables.lease("a"):
            pass
    assert (refused.value.status, refused.value.code) == (503, "model_loading")
    backend.held["a"].set()
    await loading


async def test_a_lease_of_a_servable_that_failed_is_refused_with_the_reason(backend: FakeBackend) -> None:
    backend.broken.add("a")
    servables = Servables(backend, [spec("a")], load_wait_s=0)
    await servables.load_all()
    with pytest.raises(RequestError, match="'a' could not be loaded: a is broken") as refused:
        async with servables.lease("a"):
            pass
    assert (refused.value.status, refused.value.code) == (503, "model_load_failed")
