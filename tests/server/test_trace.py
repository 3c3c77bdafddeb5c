"""``graph-runtime trace``: of one run in this process, and of a running server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from server.cli import main
from server.discovery import bundled_models_dir
from tests.graph_runtime.test_inspect import check_trace

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpServer

    from tests.server.conftest import Client, Models, Serve

SUM = """input_stream: "in" output_stream: "out" input_side_packet: "allow"
node { name: "pass" calculator: "PassThroughCalculator" input_stream: "in" output_stream: "same" }
node { name: "gate" calculator: "GateCalculator" input_stream: "same" input_side_packet: "ALLOW:allow" output_stream: "out" }"""

FAILS = """input_stream: "in" output_stream: "out"
node { name: "item" calculator: "GetVectorItemCalculator" input_stream: "VECTOR:in" output_stream: "ITEM:out"
  options { [mediapipe.GetVectorItemCalculatorOptions.ext] { item_index: 5 } } }"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    file = tmp_path / "graph.pbtxt"
    file.write_text(SUM)
    return file


def calls(file: Path) -> list[tuple[str, str, Any]]:
    """The calls in a trace: node, phase, input timestamp."""
    events = check_trace(file.read_text())
    return [(each["name"], each["cat"], each["args"]["input_timestamp"]) for each in events if each["ph"] == "X"]


def test_one_run_of_a_graph_with_packets_and_side_packets(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = graph.with_name("t.json")
    given = ["--input", "in=1", "--input", "in=two", "--input", "allow=true"]
    assert main(["trace", str(graph), *given, "-o", str(file)]) == 0
    assert [each for each in calls(file) if each[1] == "process"] == [
        ("pass", "process", 0), ("gate", "process", 0), ("pass", "process", 1), ("gate", "process", 1),
    ]  # fmt: skip
    assert capsys.readouterr().out == f"{file}: 4 call(s) of 2 node(s)\n"


def test_a_run_that_fails_leaves_its_trace(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph.write_text(FAILS)
    file = graph.with_name("t.json")
    assert main(["trace", str(graph), "--input", "in=[1, 2]", "-o", str(file)]) == 1
    assert 'for node "item" failed' in capsys.readouterr().err
    assert ("item", "process", 0) in calls(file)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--input", "nothing=1"],
            "--input nothing: the graph has no input stream or side packet of this name; it has: allow, in",
        ),
        (["--input", "in"], "'in' is not NAME=VALUE"),
        (["--prompt", "a circle"], "makes no pictures"),
        (["--url", "localhost:8000"], "give it as http://HOST:PORT"),
        (["--url", "http://localhost:8000", "--prompt", "x"], "with --url the server's last runs are written"),
    ],
)
def test_what_cannot_be_done_is_told(
    graph: Path, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(graph.parent)
    assert main(["trace", str(graph), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not Path("trace.json").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(
    graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.write_text(FAILS)
    assert main(["trace", str(graph), "--input", "in=[1, 2]", "-o", "/nowhere/at/all.json"]) == 2
    assert capsys.readouterr().err == "graph-runtime trace: /nowhere/at/all.json: No such file or directory\n"


def test_a_graph_that_is_not_valid_is_told(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph.write_text(SUM.replace("PassThrough", "Nonsense"))
    assert main(["trace", str(graph)]) == 1
    assert f"{graph}:2:" in capsys.readouterr().err
    assert main(["trace", str(graph.with_name("absent"))]) == 2
    assert "does not exist" in capsys.readouterr().err


async def trace_of(client: Client, *arguments: str) -> int:
    return await asyncio.to_thread(main, ["trace", *arguments, "--url", str(client.make_url("/"))])


async def test_the_last_runs_of_a_server(
    serve: Serve, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models.add("org/model", "HttpEcho")
    client = await serve(api_key="secret")
    file = tmp_path / "t.json"
    assert await trace_of(client, "org/model", "-o", str(file)) == 1
    assert "This server asks for an API key" in capsys.readouterr().err
    monkeypatch.setenv("GRAPH_RUNTIME_API_KEY", "secret")
    headers = {"Authorization": "Bearer secret"}
    assert (await client.post("/v3/call", json={"model": "org/model"}, headers=headers)).status == 200
    assert await trace_of(client, "org/model", "-o", str(file)) == 0
    assert capsys.readouterr().out == f"{file}: the last 1 run(s) of org/model\n"
    assert [name for name, phase, _ in calls(file) if phase == "process"] == ["only"]
    assert await trace_of(client, "nothing", "-o", str(file)) == 1
    assert "The model 'nothing' does not exist" in capsys.readouterr().err


async def test_another_server_is_told_from_ours(
    aiohttp_server: AiohttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str | None] = []
    app, other = web.Application(), web.Application()

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Authorization"))
        return web.json_response({"hello": "world"})

    other.router.add_get("/{path:.*}", elsewhere)
    target = await aiohttp_server(other)

    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(target.make_url("/graphs/x/trace"))

    app.router.add_get("/{path:.*}", redirect)
    server = await aiohttp_server(app)
    monkeypatch.setenv("API_KEY", "secret")
    arguments = ["trace", "x", "--url", str(server.make_url("/")), "-o", str(tmp_path / "t.json")]
    assert await asyncio.to_thread(main, arguments) == 1
    assert "there are no traceEvents" in capsys.readouterr().err
    assert asked == [None]  # the key is for the server that was named
    await server.close()
    assert await asyncio.to_thread(main, arguments) == 1
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.model
def test_one_picture_has_its_steps_in_the_trace(tmp_path: Path) -> None:
    shapes = bundled_models_dir() / "shapes"
    quick = f'models_path: "{shapes}" default_num_inference_steps: 3'
    graph, file = tmp_path / "graph.pbtxt", tmp_path / "t.json"
    graph.write_text((shapes / "graph.pbtxt").read_text().replace('models_path: "./"', quick))
    assert main(["trace", str(graph), "--prompt", "a red circle", "-o", str(file)]) == 0
    steps = [each["name"] for each in check_trace(file.read_text()) if each["ph"] == "i"]
    assert steps == [f"ImageGenExecutor: {number} of 3" for number in (1, 2, 3)]
