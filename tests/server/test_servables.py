"""Servables while requests run: leases, new versions, broken ones, names that go and come, clashes of names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from calculators.http_payload import RequestError
from calculators.statistics import ImageStatistics
from graph_runtime import GraphError
from server.backend import Event, Feed, Handle, Occupancy, Refused, RunProgress, RunRequest
from server.discovery import ServableSpec
from server.graph_report import GraphPicture, GraphReport
from server.interface import GraphInterface
from server.repository import Scan
from server.servables import Servable, Servables, State

PATIENCE_S = 20.0
NOTHING = GraphInterface((), (), frozenset())


class FakeBackend:
    """Loads what the test says, when it says so; runs nothing. A text of a graph may be ``broken`` or a list of aliases."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        """The texts of the graphs whose load has begun."""
        self.loaded: list[Handle] = []
        self.unloaded: list[Handle] = []
        self.held: dict[str, asyncio.Event] = {}
        """Text -> what a load of it waits for."""
        self.unload_problem: Exception | None = None
        self.unload_begun = asyncio.Event()
        self.unload_held = asyncio.Event()
        """Unloading waits for it; set unless a test holds it."""
        self.unload_held.set()
        self.changed = asyncio.Event()
        """Set whenever a load begins and whenever something was unloaded."""

    def hold(self, text: str) -> None:
        self.held[text] = asyncio.Event()

    async def begin(self, count: int) -> None:
        """Return when so many loads have begun."""
        while len(self.begun) < count:
            self.changed.clear()
            await self.changed.wait()

    async def unload_of(self, handle: Handle) -> None:
        """Return when a handle was unloaded."""
        while handle not in self.unloaded:
            self.changed.clear()
            await self.changed.wait()

    async def load(self, spec: ServableSpec) -> Handle:
        text = spec.graph_text or ""
        self.begun.append(text)
        self.changed.set()
        if text in self.held:
            await self.held[text].wait()
        if text.startswith("broken"):
            raise GraphError(f"{text} graph")
        handle = Handle(spec.name, len(self.loaded), NOTHING, tuple(text.split()) if text.startswith("alias") else ())
        self.loaded.append(handle)
        return handle

    async def unload(self, handle: Handle) -> None:
        self.unload_begun.set()
        await self.unload_held.wait()
        self.unloaded.append(handle)
        self.changed.set()
        if self.unload_problem is not None:
            raise self.unload_problem

    async def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        raise NotImplementedError
        yield

    def run_now(self, handle: Handle, request: RunRequest) -> list[Event]:
        raise NotImplementedError

    async def converse(
        self, handle: Handle, request: RunRequest, feeds: AsyncIterator[Feed | Refused]
    ) -> AsyncGenerator[Event | Refused, None]:
        raise NotImplementedError
        yield

    def cancel(self, run_id: str, reason: str) -> int:
        return 0

    def progress(self, run_id: str) -> RunProgress | None:
        return None

    def occupancy(self, handle: Handle) -> Occupancy:
        return Occupancy(0, 0)

    def picture(self, handle: Handle) -> GraphPicture:
        raise NotImplementedError

    def report(self, handle: Handle) -> GraphReport:
        raise NotImplementedError

    def statistics(self) -> dict[str, dict[str, ImageStatistics]]:
        return {}

    def trouble(self, handle: Handle) -> str | None:
        return None

    def stop(self, reason: str) -> None: ...

    async def close(self) -> list[str]:
        return []


@pytest.fixture
async def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def servables(backend: FakeBackend) -> Servables:
    return Servables(backend, load_wait_s=60)


def scan(**texts: str) -> Scan:
    """What a repository holds: name -> text of the graph."""
    return Scan(
        tuple(ServableSpec(name, Path("/models") / name, None, 1, graph_text=text) for name, text in texts.items())
    )


def only(servables: Servables) -> Servable:
    (servable,) = servables
    return servable


def states(servables: Servables) -> dict[str, str]:
    return {servable.name: servable.state for servable in servables}


async def handle_of(servables: Servables, name: str) -> Handle:
    async with servables.lease(name) as handle:
        return handle


async def refusal(servables: Servables, name: str) -> tuple[int, str | None]:
    with pytest.raises(RequestError) as refused:
        await handle_of(servables, name)
    return refused.value.status, refused.value.code


async def test_a_lease_gives_the_handle_of_a_loaded_servable(backend: FakeBackend, servables: Servables) -> None:
    assert await servables.update(scan(a="one"))
    async with servables.lease("a") as handle, servables.lease("a") as same:
        assert handle is same is backend.loaded[0]


async def test_a_lease_waits_for_a_servable_that_is_loading(backend: FakeBackend, servables: Servables) -> None:
    backend.hold("one")
    servables.apply(scan(a="one"))
    asking = asyncio.create_task(handle_of(servables, "a"))
    await backend.begin(1)
    backend.held["one"].set()
    assert (await asking).name == "a"


async def test_a_lease_of_a_servable_that_loads_too_long_is_refused(backend: FakeBackend) -> None:
    servables = Servables(backend, load_wait_s=0)
    backend.hold("one")
    servables.apply(scan(a="one"))
    assert await refusal(servables, "a") == (503, "model_loading")
    assert await refusal(servables, "perhaps_an_alias") == (503, "model_loading")
    await servables.close()


async def test_a_lease_of_a_servable_that_failed_is_refused_with_the_reason(servables: Servables) -> None:
    await servables.update(scan(a="broken"))
    assert await refusal(servables, "a") == (503, "model_load_failed")
    assert only(servables).reason == "broken graph"
    assert not servables.ready


async def test_what_has_not_changed_is_not_loaded_again(backend: FakeBackend, servables: Servables) -> None:
    await servables.update(scan(a="one", b="broken"))
    assert not await servables.update(scan(a="one", b="broken"))
    assert backend.begun == ["one", "broken"]


async def test_a_new_version_is_loaded_beside_the_old_one_which_is_unloaded_after_its_last_lease(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="one"))
    backend.hold("two")
    async with servables.lease("a") as old:
        servables.apply(scan(a="two"))
        await backend.begin(2)
        assert await handle_of(servables, "a") is old  # while the new one loads
        assert (only(servables).state, servables.ready) == (State.AVAILABLE, True)
        backend.held["two"].set()
        await servables.settled.wait()
        assert await handle_of(servables, "a") is backend.loaded[1]
        assert backend.unloaded == []
    await backend.unload_of(old)
    assert await handle_of(servables, "a") is backend.loaded[1]
    assert backend.unloaded == [old]


async def test_a_broken_new_version_leaves_the_old_one_serving_and_says_why(
    backend: FakeBackend, servables: Servables, caplog: pytest.LogCaptureFixture
) -> None:
    await servables.update(scan(a="one"))
    assert await servables.update(scan(a="broken"))
    assert (only(servables).state, only(servables).reload_problem) == (State.AVAILABLE, "broken graph")
    assert await handle_of(servables, "a") is backend.loaded[0]
    assert (servables.ready, backend.unloaded) == (True, [])
    assert "model a cannot be served anew, its old version goes on: broken graph" in caplog.text
    await servables.update(scan(a="two"))
    assert only(servables).reload_problem is None
    assert await handle_of(servables, "a") is backend.loaded[1]


async def test_going_back_to_the_version_that_serves_loads_nothing_and_forgets_the_problem(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="one"))
    await servables.update(scan(a="broken"))
    await servables.update(scan(a="one"))
    assert backend.begun == ["one", "broken"]
    assert only(servables).reload_problem is None


async def test_what_failed_is_tried_again_when_it_changes_or_when_asked(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="broken", b="one"))
    await servables.update(scan(a="broken", b="one"), retry=True)
    assert backend.begun == ["broken", "one", "broken"]
    await servables.update(scan(a="two", b="one"))
    assert states(servables) == {"a": "AVAILABLE", "b": "AVAILABLE"}


async def test_a_broken_new_version_is_tried_again_when_asked(backend: FakeBackend, servables: Servables) -> None:
    await servables.update(scan(a="one"))
    await servables.update(scan(a="broken"))
    await servables.update(scan(a="broken"), retry=True)
    assert backend.begun == ["one", "broken", "broken"]


async def test_a_change_that_comes_while_a_model_loads_is_taken_up_after_it(
    backend: FakeBackend, servables: Servables
) -> None:
    backend.hold("one")
    servables.apply(scan(a="one"))
    await backend.begin(1)
    servables.apply(scan(a="two"))
    servables.apply(scan(a="three"))
    backend.held["one"].set()
    await servables.settled.wait()
    assert backend.begun == ["one", "three"]  # one after the other, and none that was not wanted any more
    assert await handle_of(servables, "a") is backend.loaded[1]
    await backend.unload_of(backend.loaded[0])


async def test_a_first_version_that_fails_is_not_told_of_when_a_newer_one_is_there(
    backend: FakeBackend, servables: Servables
) -> None:
    backend.hold("broken")
    servables.apply(scan(a="broken"))
    await backend.begin(1)
    servables.apply(scan(a="two"))
    asking = asyncio.create_task(handle_of(servables, "a"))
    backend.held["broken"].set()
    assert (await asking).name == "a"
    assert only(servables).state is State.AVAILABLE


async def test_a_servable_that_is_gone_is_a_404_and_stays_known(backend: FakeBackend, servables: Servables) -> None:
    await servables.update(scan(a="one", b="two"))
    async with servables.lease("a") as handle:
        assert await servables.update(scan(b="two"))
        assert states(servables) == {"b": "AVAILABLE"}
        assert await refusal(servables, "a") == (404, "model_not_found")
        assert {name: each.state for name, each in servables.ended.items()} == {"a": State.END}
        assert backend.unloaded == []
    await backend.unload_of(handle)
    await servables.update(scan(a="one", b="two"))
    assert states(servables) == {"a": "AVAILABLE", "b": "AVAILABLE"}
    assert servables.ended == {}
    assert await handle_of(servables, "a") is backend.loaded[2]


async def test_a_servable_that_is_removed_while_it_loads_never_serves_and_who_waits_gets_a_404(
    backend: FakeBackend, servables: Servables
) -> None:
    backend.hold("one")
    servables.apply(scan(a="one"))
    await backend.begin(1)
    asking = asyncio.create_task(refusal(servables, "a"))
    await asyncio.sleep(0)  # it waits
    servables.apply(scan())
    assert await asking == (404, "model_not_found")
    assert servables.settled.is_set()
    backend.held["one"].set()
    await servables.update(scan(a="two"))
    assert [handle.key for handle in backend.loaded] == [0]
    assert await handle_of(servables, "a") is backend.loaded[0]


async def test_a_name_without_anything_to_load_fails_with_the_scans_reason(
    backend: FakeBackend, servables: Servables, caplog: pytest.LogCaptureFixture
) -> None:
    missing = Scan((), {"a": "its folder is missing"})
    assert await servables.update(missing)
    assert (only(servables).state, only(servables).reason) == (State.FAILED, "its folder is missing")
    assert only(servables).created == 0
    assert not await servables.update(missing)
    assert caplog.text.count("its folder is missing") == 1
    await servables.update(scan(a="one"))
    assert only(servables).state is State.AVAILABLE
    await servables.update(missing)
    assert (only(servables).state, only(servables).reload_problem) == (State.AVAILABLE, "its folder is missing")
    await servables.update(scan(a="one"))
    assert only(servables).reload_problem is None
    assert backend.begun == ["one"]


async def test_a_scan_that_fails_for_a_name_stops_its_load(backend: FakeBackend, servables: Servables) -> None:
    backend.hold("one")
    servables.apply(scan(a="one"))
    await backend.begin(1)
    await servables.update(Scan((), {"a": "its folder is missing"}))
    assert only(servables).state is State.FAILED
    assert backend.loaded == []


async def test_names_that_are_to_be_left_are_neither_loaded_nor_ended(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="one", b="two"))
    assert not servables.apply(scan(b="three", c="four"), leave={"a", "b", "c"})
    assert states(servables) == {"a": "AVAILABLE", "b": "AVAILABLE"}
    assert backend.begun == ["one", "two"]


async def test_a_new_model_does_not_take_readiness_away_until_it_could_be_used_once(
    backend: FakeBackend, servables: Servables, monkeypatch: pytest.MonkeyPatch
) -> None:
    await servables.update(scan(a="one"))
    backend.hold("two")
    servables.apply(scan(a="one", b="two", c="broken"))
    await backend.begin(3)
    assert servables.ready
    backend.held["two"].set()
    await servables.settled.wait()
    assert (states(servables)["c"], servables.ready) == ("FAILED", True)
    monkeypatch.setattr(backend, "trouble", lambda handle: "no engine" if handle.name == "b" else None)
    assert not servables.ready


async def test_aliases_are_swapped_with_the_version_and_go_with_it(servables: Servables) -> None:
    await servables.update(scan(a="alias1 alias2"))
    old = await handle_of(servables, "alias1")
    await servables.update(scan(a="alias2 alias3"))
    assert sorted(servables.aliases) == ["alias2", "alias3"]
    assert (await refusal(servables, "alias1"))[0] == 404
    assert await handle_of(servables, "alias2") is not old
    await servables.update(scan())
    assert servables.aliases == {}
    assert (await refusal(servables, "alias2"))[0] == 404


async def test_a_new_version_with_an_alias_of_another_model_is_refused_and_the_old_one_goes_on(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="alias1", b="alias2"))
    await servables.update(scan(a="alias1", b="alias1"))
    b = servables.find("b")
    assert b.reload_problem == (
        "b: the adapter alias 'alias1' is a name of the model 'a' too; requests choose by these names, so that each can be "
        "there once"
    )
    assert servables.find("alias1").name == "a"
    assert servables.find("alias2") is b
    assert backend.unloaded == [backend.loaded[2]]


async def test_a_version_that_was_refused_is_unloaded_wholly_when_its_model_is_removed_meanwhile(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="alias1"))
    backend.unload_held.clear()
    servables.apply(scan(a="alias1", b="alias1"))
    await backend.unload_begun.wait()
    servables.apply(scan(a="alias1"))
    await asyncio.sleep(0)  # who waited for the end of it is told to give up
    backend.unload_held.set()
    async with asyncio.timeout(PATIENCE_S):
        await backend.unload_of(backend.loaded[1])


async def test_a_model_that_wanted_a_name_of_another_is_loaded_when_the_name_is_free(
    servables: Servables,
) -> None:
    await servables.update(scan(a="alias1"))
    await servables.update(scan(a="alias1", b="alias1"))
    assert states(servables) == {"a": "AVAILABLE", "b": "FAILED"}
    await servables.update(scan(a="alias2", b="alias1"))
    assert states(servables) == {"a": "AVAILABLE", "b": "AVAILABLE"}
    assert servables.find("alias1").name == "b"


async def test_a_new_model_with_the_name_of_an_alias_is_refused_and_takes_no_requests(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="alias1"))
    await servables.update(scan(a="alias1", alias1="one"))
    assert states(servables) == {"a": "AVAILABLE", "alias1": "FAILED"}
    assert (await handle_of(servables, "alias1")).name == "a"
    await servables.update(scan(a="alias1 alias2", alias1="one"))
    assert servables.find("a").reload_problem is None  # its own alias is no clash with who came later
    await servables.update(scan(alias1="one"))
    assert (await handle_of(servables, "alias1")).name == "alias1"


async def test_an_old_version_that_cannot_be_unloaded_is_logged(
    backend: FakeBackend, servables: Servables, caplog: pytest.LogCaptureFixture
) -> None:
    backend.unload_problem = RuntimeError("stuck")
    await servables.update(scan(a="one"))
    await servables.update(scan(a="two"))
    await backend.unload_of(backend.loaded[0])
    assert "unloading an old version of a failed" in caplog.text
    assert only(servables).state is State.AVAILABLE


async def test_a_model_that_fails_in_an_unexpected_way_is_no_end_of_the_others(
    backend: FakeBackend, servables: Servables, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load = backend.load

    async def load_or_fail(spec: ServableSpec) -> Handle:
        if spec.name == "a":
            raise MemoryError("/secret/path")
        return await load(spec)

    monkeypatch.setattr(backend, "load", load_or_fail)
    await servables.update(scan(a="one", b="two"))
    assert states(servables) == {"a": "FAILED", "b": "AVAILABLE"}
    assert servables.find("a").reason == "an unexpected MemoryError; the server's log says more"
    assert "/secret/path" in caplog.text


async def test_no_more_than_two_models_load_at_once(backend: FakeBackend, servables: Servables) -> None:
    for text in ("one", "two", "three"):
        backend.hold(text)
    servables.apply(scan(a="one", b="two", c="three"))
    await backend.begin(2)
    await asyncio.sleep(0)
    assert backend.begun == ["one", "two"]
    backend.held["one"].set()
    await backend.begin(3)
    await servables.close()


async def test_closing_gives_up_what_loads_and_does_not_wait_for_leases(
    backend: FakeBackend, servables: Servables
) -> None:
    await servables.update(scan(a="one"))
    backend.hold("three")
    async with servables.lease("a"):
        await servables.update(scan(a="two"))
        servables.apply(scan(a="two", b="three"))
        await backend.begin(3)
        async with asyncio.timeout(20):
            await servables.close()
    assert len(backend.loaded) == 2
