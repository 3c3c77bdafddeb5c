"""Calculators in a calculators.py beside a graph: off unless allowed, taken up when edited, and each folder's own."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from graph_runtime import GraphError
from server.cli import main
from server.discovery import find_servables, graph_servable
from server.fingerprint import fingerprint
from server.graph_source import calculators_beside, plan_servable
from server.local_backend import LocalBackend
from server.repository import Repository
from server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import Client, Models, Serve

CALL = "/v3/call"
STILL_S = 0.05
PATIENCE_S = 60

SAY = """
from graph_runtime import Calculator, register_calculator

@register_calculator
class SayCalculator(Calculator):
    @classmethod
    def get_contract(cls, cc):
        cc.inputs[0].set_any()
        cc.outputs[0].set(str)

    def process(self, cc):
        cc.outputs[0].add(WORD)

WORD = "WHAT"
"""
GRAPH = """
input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:out"
node { calculator: "SayCalculator" input_stream: "in" output_stream: "out" }
"""


def add(models: Models, name: str, word: str = "hello", code: str = SAY, graph: str = GRAPH) -> Path:
    """A graph with a calculators.py; its folder."""
    folder = models.add_text(name, graph).parent
    (folder / "calculators.py").write_text(code.replace("WHAT", word))
    return folder


async def answer(client: Client, model: str = "own") -> tuple[int, str]:
    response = await client.post(CALL, json={"model": model})
    return response.status, await response.text()


async def until(wanted: str, client: Client) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await answer(client))[1] != wanted:
            pass


async def model(client: Client, name: str = "own") -> Any:
    return await (await client.get(f"/v3/models/{name}")).json()


async def test_a_graph_uses_the_calculators_of_its_folder_and_another_one_has_its_own(
    serve: Serve, models: Models
) -> None:
    add(models, "own", "hello")
    add(models, "deep/other", "goodbye")
    client = await serve(allow_python_nodes=True)
    assert await answer(client) == (200, "hello")
    assert await answer(client, "deep/other") == (200, "goodbye")


async def test_without_the_flag_no_line_of_a_folder_runs_and_the_reason_names_the_flag(
    serve: Serve, models: Models, tmp_path: Path
) -> None:
    trap = tmp_path / "executed"
    code = f"open({str(trap)!r}, 'w').close()\n{SAY}"
    add(models, "own", code=code)
    add(models, "needs_nothing", code=code, graph=GRAPH.replace("SayCalculator", "PassThroughCalculator"))
    client = await serve()
    for name in ("own", "needs_nothing"):
        status, text = await answer(client, name)
        assert status == 503
        assert f"{name}/calculators.py: calculators.py beside the graph is not run" in text
        assert "--allow_python_nodes" in text
        assert str(models.folder) not in text
    await client.post("/v1/config/reload")
    assert main(["check", str(models.folder)]) == 1
    assert main(["generate", "x", "-o", str(tmp_path / "x.png"), "--model", str(models.folder / "own")]) == 1
    assert not trap.exists()


async def test_edits_of_the_file_and_of_what_it_imports_are_taken_up_and_broken_ones_keep_what_serves(
    serve: Serve, models: Models
) -> None:
    folder = add(models, "own", code=SAY.replace('WORD = "WHAT"', "from words import WORD"))
    words = folder / "words.py"
    words.write_text('WORD = "one"')
    client = await serve(file_system_poll_wait_seconds=STILL_S, allow_python_nodes=True)
    assert await answer(client) == (200, "one")
    words.write_text('WORD = "two"')
    await until("two", client)
    words.write_text('\nWORD = word("three")')
    async with asyncio.timeout(PATIENCE_S):
        while "reload_problem" not in await model(client):
            pass
    assert (await model(client))["reload_problem"].endswith(
        "own/words.py:2: NameError: name 'word' is not defined; called from calculators.py:14 in the file"
    )
    assert await answer(client) == (200, "two")
    (folder / "calculators.py").write_text(SAY.replace("WHAT", "four"))
    await until("four", client)


async def test_the_modules_of_a_version_are_forgotten_when_it_is_unloaded(models: Models) -> None:
    add(models, "own")
    (spec,) = find_servables(models.folder, print)
    backend = LocalBackend(Settings(allow_python_nodes=True))
    before = set(sys.modules)
    handle = await backend.load(spec)
    assert [name.partition(".")[2] for name in sorted(set(sys.modules) - before)] == ["", "calculators"]
    old = weakref.ref(sys.modules[max(set(sys.modules) - before)].SayCalculator)
    await backend.unload(handle)
    assert set(sys.modules) == before
    async with asyncio.timeout(PATIENCE_S):
        while old() is not None:  # threads that end still hold it for a moment
            gc.collect()
            await asyncio.sleep(0)
    (spec.base_dir / "calculators.py").write_text("1 / 0")
    with pytest.raises(GraphError, match="ZeroDivisionError"):
        await backend.load(spec)
    assert set(sys.modules) == before
    await backend.close()


async def test_a_file_that_ends_the_process_ends_its_own_load_alone(serve: Serve, models: Models) -> None:
    add(models, "own")
    add(models, "bad", code="import sys\nsys.exit(3)")
    client = await serve(allow_python_nodes=True)
    assert await answer(client) == (200, "hello")
    status, text = await answer(client, "bad")
    assert (status, "bad/calculators.py:2: SystemExit: 3" in text) == (503, True)


def test_subgraphs_beside_the_graph_use_its_calculators_too(models: Models) -> None:
    folder = add(models, "own", graph=GRAPH.replace("SayCalculator", "Inner"))
    inner = GRAPH.replace("HTTP_REQUEST_PAYLOAD:", "").replace("HTTP_RESPONSE_PAYLOAD:", "")
    (folder / "inner.pbtxt").write_text(f'type: "Inner" {inner}')
    spec = graph_servable("own", folder / "graph.pbtxt")
    own = calculators_beside(spec, allowed=True)
    assert own is not None
    with own:
        assert [node.calculator.__name__ for node in plan_servable(spec, own=own).nodes] == ["SayCalculator"]


def test_the_calculators_beside_a_graph_in_another_folder_than_its_base_are_its_own_and_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "base" / "graphs"
    folder.mkdir(parents=True)
    (folder / "main.pbtxt").write_text(GRAPH)
    code = folder / "calculators.py"
    code.write_text(SAY)
    listed = '{"mediapipe_config_list": [{"name": "own", "base_path": "base", "graph_path": "graphs/main.pbtxt"}]}'
    (tmp_path / "config.json").write_text(listed)
    repository = Repository(Settings(config_path=tmp_path / "config.json"))
    (before,) = repository.scan().specs
    own = calculators_beside(before, allowed=True)
    assert own is not None
    own.close()
    code.write_text(SAY + "\n")
    assert repository.scan().specs[0].fingerprint != before.fingerprint
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert fingerprint("", "", elsewhere, (), folder) != fingerprint("", "", elsewhere)


def test_check_runs_the_file_with_the_flag_and_says_so_without_it(
    models: Models, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = add(models, "own")
    assert main(["check", str(folder)]) == 1
    assert capsys.readouterr().out == (
        f"{folder}/calculators.py: calculators.py beside the graph is not run: code of model folders is not allowed; "
        "give --allow_python_nodes if you trust whoever can write to this folder, or remove the file\n"
    )
    assert main(["check", "--allow_python_nodes", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}/graph.pbtxt: ok\n"
    monkeypatch.setenv("GRAPH_RUNTIME_ALLOW_PYTHON_NODES", "true")
    assert main(["check", str(folder)]) == 0
    monkeypatch.setenv("GRAPH_RUNTIME_ALLOW_PYTHON_NODES", "maybe")
    assert main(["check", str(folder)]) == 2
    assert "GRAPH_RUNTIME_ALLOW_PYTHON_NODES" in capsys.readouterr().err
    (folder / "calculators.py").write_text(SAY.replace("@register_calculator\n", ""))
    assert main(["check", "--allow_python_nodes", str(folder)]) == 1
    missing, forgotten = capsys.readouterr().out.splitlines()
    assert missing.endswith('Unable to find Calculator "SayCalculator"')
    assert forgotten == (
        f"{folder}/calculators.py: the class SayCalculator is not registered; write @register_calculator above it"
    )
    (folder / "calculators.py").write_text(SAY.replace("class Say", "class Sayy"))
    assert main(["check", str(folder), "--allow-python-nodes"]) == 1
    assert 'did you mean "SayyCalculator"?' in capsys.readouterr().out
