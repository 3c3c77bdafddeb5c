"""Hot reload by what happens in the file system, with a real server and real files."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import watchfiles
from watchfiles import Change

from calculators import HttpPayload
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, register_calculator
from graph_runtime._pb.mediapipe.calculators.core.packet_thinner_calculator_pb2 import PacketThinnerCalculatorOptions
from server import watch
from server.discovery import ServableSpec
from server.keys import SERVABLES
from server.repository import Repository, Scan
from server.servables import Servables
from server.settings import Settings, SettingsError
from server.watch import Reloader
from tests.server.test_servables import FakeBackend

if TYPE_CHECKING:
    from tests.server.conftest import Client, Models, Serve

CALL = "/v3/call"
STILL_S = 0.05
PATIENCE_S = 60


@register_calculator
class HttpTellPeriod(Calculator):
    """Answers with one of its options."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["HTTP_REQUEST_PAYLOAD"].set(HttpPayload)
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].set(str)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(str(cc.options(PacketThinnerCalculatorOptions).period))


def graph(period: int) -> str:
    return (
        'input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:out"\n'
        'node { calculator: "HttpTellPeriod" input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:out"\n'
        f"  options {{ [mediapipe.PacketThinnerCalculatorOptions.ext] {{ period: {period} }} }} }}\n"
    )


async def answer(client: Client, model: str = "told") -> str:
    """What the graph says; "404" and the like where it says nothing."""
    response = await client.post(CALL, json={"model": model})
    return await response.text() if response.status == 200 else str(response.status)


async def until(wanted: str, ask: Callable[[], Awaitable[str]]) -> None:
    """Ask until the answer is the wanted one."""
    last = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (last := await ask()) != wanted:
                pass
    except TimeoutError:
        pytest.fail(f"the answer never was {wanted}; the last one was {last}")


async def model(client: Client, name: str = "told") -> Any:
    return await (await client.get(f"/v3/models/{name}")).json()


async def test_an_edit_under_load_fails_no_request_and_a_broken_one_keeps_the_version_that_serves(
    serve: Serve, models: Models
) -> None:
    file = models.add_text("told", graph(1))
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    answers: list[str] = []
    done = asyncio.Event()

    async def ask_and_ask() -> None:
        of_mine = []
        while not done.is_set():
            of_mine.append(await answer(client))
            answers.append(of_mine[-1])
        assert of_mine == sorted(of_mine)  # no old version after a new one

    async def last_answer() -> str:
        await asyncio.sleep(0)
        return answers[-1] if answers else ""

    async def has_problem() -> str:
        return "reload_problem" if "reload_problem" in await model(client) else ""

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(ask_and_ask())
        await until("1", last_answer)
        file.write_text(graph(2))
        await until("2", last_answer)
        file.write_text(graph(3).replace("calculator", "calculater", 1))
        await until("reload_problem", has_problem)
        broken_from = len(answers)
        for _ in range(20):
            assert await answer(client) == "2"
        assert "told/graph.pbtxt:2:" in (await model(client))["reload_problem"]
        ready = await client.get("/v2/health/ready")
        assert (ready.status, "calculater" in await ready.text()) == (200, True)
        assert set(answers[broken_from:]) <= {"2"}
        file.write_text(graph(4))
        await until("4", last_answer)
        assert await has_problem() == ""
        done.set()
    assert set(answers) == {"1", "2", "4"}  # every one a 200


async def test_new_and_removed_folders_are_taken_up(serve: Serve, models: Models) -> None:
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    models.add_text("told", graph(1))
    await until("1", lambda: answer(client))
    models.add_text("deep/er/told", graph(2))
    await until("2", lambda: answer(client, "deep/er/told"))
    shutil.rmtree(models.folder / "told")
    await until("404", lambda: answer(client))
    models.add_text("told", graph(3))
    await until("3", lambda: answer(client))


async def test_settings_in_config_json_are_taken_up_and_a_broken_one_changes_nothing(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add_text("told", graph(1))
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    config = models.folder / "config.json"

    async def handle_key() -> str:
        handle = client.app[SERVABLES].find("told").handle
        assert handle is not None
        await asyncio.sleep(0)
        return str(handle.key)

    config.write_text('{"graph_runtime": {"quality": {"low": 10}}}')
    await until("2", handle_key)
    config.write_text('{"graph_runtime": {"quality"')

    async def told() -> str:
        await asyncio.sleep(0)
        return str("what is served stays as it is, since it cannot be looked at" in caplog.text)

    await until("True", told)
    assert await answer(client) == "1"
    assert await handle_key() == "2"


async def test_a_folder_that_config_json_names_is_taken_up_when_it_comes(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = asyncio.Event()
    look = Reloader.look_until_still

    async def look_and_tell(reloader: Reloader, pause: Callable[[], Awaitable[None]]) -> None:
        await look(reloader, pause)
        looked.set()

    monkeypatch.setattr(Reloader, "look_until_still", look_and_tell)
    late = models.folder.with_name("late")
    entries = [{"config": {"name": "told", "base_path": str(late)}}]
    (models.folder / "config.json").write_text(json.dumps({"model_config_list": entries}))
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    await looked.wait()  # from now on it has to be looked for
    assert (await model(client))["state"] == "FAILED"
    late.mkdir()
    (late / "graph.pbtxt").write_text(graph(1))
    await until("1", lambda: answer(client))
    (late / "graph.pbtxt").write_text(graph(2))
    await until("2", lambda: answer(client))


async def test_another_folder_in_the_place_of_the_model_folder_is_taken_up(serve: Serve, models: Models) -> None:
    models.add_text("told", graph(1))
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    other = models.folder.with_name("other")
    shutil.copytree(models.folder, other)
    (other / "told" / "graph.pbtxt").write_text(graph(2))
    models.folder.rename(models.folder.with_name("old"))
    assert await answer(client) == "1"  # a folder that is missing ends nothing
    other.rename(models.folder)
    await until("2", lambda: answer(client))
    (models.folder / "told" / "graph.pbtxt").write_text(graph(3))
    await until("3", lambda: answer(client))


async def test_a_folder_that_a_link_leads_to_is_swapped_as_kubernetes_does_it(serve: Serve, models: Models) -> None:
    folder = models.folder / "told"
    for number in (1, 2):
        (folder / f"..{number}").mkdir(parents=True)
        (folder / f"..{number}" / "graph.pbtxt").write_text(graph(number))
    (folder / "..data").symlink_to("..1")
    (folder / "graph.pbtxt").symlink_to("..data/graph.pbtxt")
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    assert await answer(client) == "1"
    (folder / "..data_tmp").symlink_to("..2")
    (folder / "..data_tmp").rename(folder / "..data")
    await until("2", lambda: answer(client))


async def test_without_notifications_changes_are_found_by_looking(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    models.add_text("told", graph(1))

    async def no_notifications(*paths: Path, force_polling: bool | None, **rest: Any) -> AsyncIterator[Any]:
        if not force_polling:
            raise OSError("OS file watch limit reached")
        async for changes in watchfiles.awatch(*paths, force_polling=True, **rest):
            yield changes

    monkeypatch.setattr(watch, "awatch", no_notifications)
    client = await serve(file_system_poll_wait_seconds=STILL_S)
    (models.folder / "told" / "graph.pbtxt").write_text(graph(2))
    await until("2", lambda: answer(client))
    assert caplog.text.count("OS file watch limit reached") == 1


async def test_with_0_seconds_only_the_reload_call_takes_changes_up(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "awatch", None)  # whoever watches fails
    file = models.add_text("told", graph(1))
    client = await serve(file_system_poll_wait_seconds=0.0)
    file.write_text(graph(2))
    assert await answer(client) == "1"
    assert (await client.post("/v1/config/reload")).status == 201
    assert await answer(client) == "2"


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("/m/.hidden/a/graph.pbtxt", True),
        ("/m/.hidden/config.json", True),
        ("/m/.hidden/a/..data", True),
        ("/m/.hidden/a/.graph.pbtxt.swp", False),
        ("/m/.hidden/a/.git/index", False),
        ("/m/.hidden/a/__pycache__/x.pyc", False),
        ("/m/.hidden/pictures/x.png", False),
        ("/m/.hidden/cache/1.blob", False),
        ("/m/.hidden/server.log", False),
        ("/elsewhere/model.bin", True),
    ],
)
def test_hidden_files_and_what_the_server_writes_itself_need_no_look(changed: str, counts: bool) -> None:
    root = Path("/m/.hidden")
    settings = Settings(image_store=root / "pictures", cache_dir=root / "cache", log_path=root / "server.log")
    assert watch._filter([root], settings)(Change.modified, changed) is counts


class ScriptedRepository(Repository):
    """Finds what the test says, one thing after the other, and the last one for ever."""

    def __init__(self, *found: Scan | Exception) -> None:
        self.found = list(found)
        self.looks = 0
        self.at_once = 0
        self.most_at_once = 0
        self.entered = threading.Event()
        self.released = threading.Event()
        self.released.set()

    def scan(self, *, quiet: bool = False) -> Scan:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.looks += 1
        self.entered.set()
        assert self.released.wait(PATIENCE_S)
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        self.at_once -= 1
        if isinstance(found, Exception):
            raise found
        return found


def scan(**fingerprints: str) -> Scan:
    return Scan(
        tuple(
            ServableSpec(name, Path("/models") / name, None, 1, graph_text="", fingerprint=fingerprint)
            for name, fingerprint in fingerprints.items()
        )
    )


async def no_pause() -> None:
    """Between two looks of a test no time has to pass."""


@pytest.fixture
async def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
async def servables(backend: FakeBackend) -> Servables:
    return Servables(backend, load_wait_s=60)


async def test_a_model_is_loaded_when_its_files_are_still_and_others_do_not_wait_for_it(
    backend: FakeBackend, servables: Servables
) -> None:
    looks = [scan(copied="1 file"), scan(copied="2 files", quick="1 file"), scan(copied="3 files", quick="1 file")]
    begun: list[list[str]] = []

    async def pause() -> None:
        await servables.settled.wait()
        begun.append([handle.name for handle in backend.loaded])

    servables.apply(Scan(()))
    await Reloader(ScriptedRepository(*looks), servables).look_until_still(pause)
    await servables.settled.wait()
    begun.append([handle.name for handle in backend.loaded])
    assert begun == [[], [], ["quick"], ["quick", "copied"]]
    assert servables.find("copied").wanted == looks[-1].specs[0]


async def test_a_config_that_is_half_written_for_a_moment_is_not_complained_of(
    servables: Servables, caplog: pytest.LogCaptureFixture
) -> None:
    broken = SettingsError("config.json cannot be read")
    repository = ScriptedRepository(scan(a="1"), broken, scan(a="2"))
    reloader = Reloader(repository, servables)
    await reloader.look()
    await reloader.look_until_still(no_pause)
    await servables.settled.wait()
    assert "config.json" not in caplog.text
    assert servables.find("a").wanted == scan(a="2").specs[0]


async def test_a_config_that_stays_broken_is_logged_once_and_keeps_everything(
    servables: Servables, caplog: pytest.LogCaptureFixture
) -> None:
    repository = ScriptedRepository(scan(a="1"), SettingsError("config.json cannot be read"))
    reloader = Reloader(repository, servables)
    await reloader.look()
    for _ in range(3):
        await reloader.look_until_still(no_pause)
    assert caplog.text.count("config.json cannot be read") == 1
    assert [each.name for each in servables] == ["a"]


async def test_two_looks_never_happen_at_once_also_when_whoever_asked_for_one_has_left(servables: Servables) -> None:
    repository = ScriptedRepository(scan(a="1"), scan(a="2"))
    reloader = Reloader(repository, servables)
    repository.released.clear()
    first = asyncio.create_task(reloader.look())
    assert await asyncio.to_thread(repository.entered.wait, PATIENCE_S)
    second = asyncio.create_task(reloader.look())
    first.cancel()
    await asyncio.sleep(0)
    assert (first.done(), repository.looks) == (False, 1)
    repository.released.set()
    await second
    assert first.cancelled()
    assert repository.most_at_once == 1
    assert servables.find("a").wanted == scan(a="2").specs[0]
