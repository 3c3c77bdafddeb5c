"""/graphs: the pages, the picture, the live state and the last runs of graphs."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from aiohttp import web

from graph_runtime.drawing import MAX_SVG_NODES
from server.app import build_app
from server.keys import BACKEND, SERVABLES
from server.recording import KEPT_CALLS, KEPT_RUNS, WATCHED_S
from server.settings import Settings
from tests.graph_runtime.test_inspect import check_trace

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

    from tests.server.conftest import Client, FakeClock, Gate, Models, Serve

QUICK = """input_stream: "in" output_stream: "out"
node { name: "pass" calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""
INFER = {"inputs": [{"name": "in", "shape": [1], "datatype": "INT64", "data": [1]}]}


async def snapshot(client: Client, name: str, after: int = 0) -> Any:
    response = await client.get(f"/graphs/{name}/snapshot?after={after}")
    assert response.status == 200, await response.text()
    return await response.json()


async def call(client: Client, model: str, **fields: Any) -> int:
    async with client.post("/v3/call", json={"model": model, **fields}) as response:
        await response.read()
        return response.status


async def test_a_snapshot_tells_what_ran_and_how_it_ended(serve: Serve, models: Models) -> None:
    models.add("org/model", "HttpScript")
    client = await serve()
    assert await call(client, "org/model", do=["{}"]) == 200
    assert await call(client, "org/model", do=["refuse"]) == 400
    assert await call(client, "org/model", do=["raise"]) == 500
    told = await snapshot(client, "org/model")
    assert (told["name"], told["state"], told["problem"]) == ("org/model", "AVAILABLE", None)
    assert told["requests"] == {"running": 0, "waiting": 0}
    assert [(run["number"], run["outcome"], run["api"]) for run in told["runs"]] == [
        (1, "done", "V3"), (2, "refused", "V3"), (3, "failed", "V3"),
    ]  # fmt: skip
    (node,) = told["nodes"]
    assert (node["name"], node["calls"], node["running"]) == ("only", 3, 0)
    assert 0 < node["mean_ms"] <= node["longest_ms"]
    assert [each["phase"] for each in told["runs"][0]["calls"]] == ["open", "process", "close"]
    whole = told["runs"][0]["duration_ms"]
    assert all(
        0 <= each["start_ms"] <= each["start_ms"] + each["duration_ms"] <= whole for each in told["runs"][0]["calls"]
    )
    assert "/secret/path" not in str(told)
    assert [run["number"] for run in (await snapshot(client, "org/model", after=2))["runs"]] == [3]


async def test_a_snapshot_tells_of_a_run_that_goes_on_and_how_far_it_is(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("slow", "HttpSteps")
    client = await serve(runs_per_servable=1)
    calls = [asyncio.create_task(call(client, "slow", steps=[[1, 4], [2, 4]])) for _ in range(2)]
    await gate.wait_entered()
    told = await snapshot(client, "slow")
    assert told["requests"] == {"running": 1, "waiting": 1}
    assert len(told["ages_s"]) == 1
    (node,) = told["nodes"]
    assert (node["running"], node["progress"], node["calls"]) == (1, "2 of 4", 0)
    assert node["queues"] == [{"stream": "input", "packets": 0, "most": 0}]
    assert told["runs"] == []
    gate.released.set()
    assert await asyncio.gather(*calls) == [200, 200]
    told = await snapshot(client, "slow")
    assert (told["ages_s"], told["nodes"][0]["running"], told["nodes"][0]["progress"]) == ([], 0, None)
    moments = [each["phase"] for each in told["runs"][0]["calls"] if each["is_moment"]]
    assert moments == ["1 of 4", "2 of 4"]


async def test_a_cancelled_run_is_told_as_such(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpScript")
    client = await serve(runs_per_servable=1)
    asked = client.post("/v3/call", json={"model": "slow", "do": ["wait"]}, headers={"x-request-id": "mine"})
    waiting = asyncio.ensure_future(asked)
    await gate.wait_entered()
    assert (await client.post("/v3/requests/mine/cancel")).status == 200
    assert (await waiting).status == 499
    assert await call(client, "slow", do=["{}"]) == 200  # when the one before has really ended
    told = await snapshot(client, "slow")
    assert [run["outcome"] for run in told["runs"]] == ["cancelled", "done"]
    assert "mine" not in str(told)  # whoever knows an id may cancel its request


async def test_quick_runs_are_recorded_while_somebody_looks(serve: Serve, models: Models, clock: FakeClock) -> None:
    models.add_text("quick", QUICK)
    client = await serve(clock=clock)

    async def infer() -> None:
        assert (await client.post("/v2/models/quick/infer", json=INFER)).status == 200

    await infer()
    told = await snapshot(client, "quick")
    assert (told["always_recorded"], told["recorded"], told["nodes"][0]["calls"]) == (False, 0, 0)
    await infer()
    told = await snapshot(client, "quick")
    assert (told["recorded"], told["nodes"][0]["calls"], told["runs"][0]["api"]) == (1, 1, "KServe")
    clock.advance(WATCHED_S + 1)
    await infer()
    assert (await snapshot(client, "quick"))["recorded"] == 1


async def test_the_last_runs_are_kept_and_counted(serve: Serve, models: Models) -> None:
    models.add("model", "HttpEcho")
    client = await serve()
    for _ in range(KEPT_RUNS + 2):
        assert await call(client, "model") == 200
    told = await snapshot(client, "model")
    assert [run["number"] for run in told["runs"]] == list(range(3, KEPT_RUNS + 3))
    assert (told["recorded"], told["nodes"][0]["calls"]) == (KEPT_RUNS + 2, KEPT_RUNS + 2)


async def test_a_long_run_keeps_its_last_calls(serve: Serve, models: Models) -> None:
    models.add_text(
        "long",
        'input_stream: "in" output_stream: "out"\n'
        'node { calculator: "BeginLoopCalculator" input_stream: "ITERABLE:in"\n'
        '  output_stream: "ITEM:item" output_stream: "BATCH_END:end" }\n'
        'node { name: "each" calculator: "PassThroughCalculator" input_stream: "item" output_stream: "same" }\n'
        'node { calculator: "EndLoopCalculator" input_stream: "ITEM:same" input_stream: "BATCH_END:end"\n'
        '  output_stream: "ITERABLE:out" }\n',
    )
    client = await serve()
    await snapshot(client, "long")
    body = {"inputs": [{"name": "in", "shape": [KEPT_CALLS * 2], "datatype": "INT64", "data": [1] * KEPT_CALLS * 2}]}
    response = await client.post("/v2/models/long/infer", json=body)
    assert response.status == 200, await response.text()
    told = await snapshot(client, "long")
    (run,) = told["runs"]
    assert {node["name"]: node["calls"] for node in told["nodes"]}["each"] == KEPT_CALLS * 2
    assert run["left_out"] > KEPT_CALLS
    trace = await (await client.get("/graphs/long/trace")).json()
    assert len([event for event in trace["traceEvents"] if event["ph"] == "X"]) == KEPT_CALLS


async def test_a_trace_is_a_file_for_perfetto(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("org/model", "HttpSteps")
    gate.released.set()
    client = await serve()
    for _ in range(2):
        assert await call(client, "org/model", steps=[[1, 2]]) == 200
    response = await client.get("/graphs/org/model/trace")
    assert response.headers["Content-Disposition"] == 'attachment; filename="org-model.trace.json"'
    events = check_trace(await response.text())
    assert [event["name"] for event in events if event["ph"] == "b"] == ["run 1", "run 2"]
    assert [event["name"] for event in events if event.get("cat") == "process"] == ["only", "only"]
    assert [event["name"] for event in events if event["ph"] == "i"] == ["only: 1 of 2"] * 2


async def test_the_structure_has_what_is_known_of_each_node(serve: Serve, models: Models) -> None:
    file = models.add_text(
        "gated",
        'input_stream: "in"\noutput_stream: "out"\nnode { calculator: "Inner" input_stream: "in" output_stream: "out" }\n',
    )
    file.with_name("inner.pbtxt").write_text(
        'type: "Inner" input_stream: "in" output_stream: "out"\n'
        'node { name: "gate" calculator: "GateCalculator" input_stream: "in" output_stream: "out"\n'
        "  options { [mediapipe.GateCalculatorOptions.ext] { allow: true } } }\n"
    )
    client = await serve()
    told = await (await client.get("/graphs/gated/graph.json")).json()
    assert told["summary"] == "1 node, 1 stream, 1 subgraph; in: in; out: out"
    (node,) = told["nodes"]
    assert (node["name"], node["calculator"], node["place"]) == (
        "inner__gate",
        "GateCalculator",
        "gated/inner.pbtxt:2:1",
    )
    assert "allow: true" in node["options"]
    assert [(port["of"], port["name"]) for port in node["ports"]] == [("input_stream", "in"), ("output_stream", "out")]
    assert str(models.folder) not in str(told)
    assert node["name"] == (await snapshot(client, "gated"))["nodes"][0]["name"]
    picture = ElementTree.fromstring(await (await client.get("/graphs/gated/graph.svg")).text())
    assert picture.find("{http://www.w3.org/2000/svg}g[@data-node='inner__gate']") is not None


async def test_a_graph_that_failed_is_shown_with_its_problem(serve: Serve, models: Models) -> None:
    models.add("broken", "NoSuchCalculator")
    models.add_text("unreadable", "node {")
    client = await serve()
    told = await snapshot(client, "broken")
    assert (told["state"], told["version"], told["nodes"]) == ("FAILED", 0, [])
    assert told["problem"].startswith('broken/graph.pbtxt:4:28: node "only": No registered object')
    structure = await (await client.get("/graphs/broken/graph.json")).json()
    assert [(node["name"], node["place"]) for node in structure["nodes"]] == [("only", "broken/graph.pbtxt:3:1")]
    assert structure["nodes"][0]["problems"] == [told["problem"].partition('"only": ')[2]]
    assert "No registered object" in await (await client.get("/graphs/broken/graph.svg")).text()
    assert (await client.get("/graphs/broken/trace")).status == 503
    assert (await (await client.get("/graphs/unreadable/graph.json")).json())["nodes"] == []
    assert (await client.get("/graphs/unreadable/graph.svg")).status == 503


async def test_a_newer_version_that_fails_is_told_beside_the_older_one(serve: Serve, models: Models) -> None:
    file = models.add_text("edited", QUICK)
    client = await serve()
    file.write_text(QUICK.replace("PassThrough", "Nonsense"))
    await client.post("/v1/config/reload")
    told = await snapshot(client, "edited")
    assert (told["state"], told["nodes"][0]["name"]) == ("AVAILABLE", "pass")
    assert told["problem"].startswith("The newest version cannot be served: edited/graph.pbtxt:2:")


async def test_a_graph_that_is_too_large_to_be_drawn_is_told_so(serve: Serve, models: Models) -> None:
    nodes = "\n".join(
        f'node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "o{at}" }}'
        for at in range(MAX_SVG_NODES + 1)
    )
    models.add_text("large", f'input_stream: "in" output_stream: "o0"\n{nodes}')
    client = await serve()
    response = await client.get("/graphs/large/graph.svg")
    assert response.status == 422
    assert (await response.json())["error"]["code"] == "graph_too_large"


async def test_who_asks_for_what_is_not_there_or_cannot_be_is_told(serve: Serve, models: Models) -> None:
    models.add("model", "HttpEcho")
    client = await serve()
    for path in ("/graphs/nothing", "/graphs/nothing/snapshot", "/graphs/nothing/graph.svg", "/graphs/nothing/trace"):
        assert (await client.get(path)).status == 404
    for after in ("-1", "x", "9" * 30, "²"):
        response = await client.get("/graphs/model/snapshot", params={"after": after})
        assert (response.status, (await response.json())["error"]["param"]) == (400, "after")


async def test_the_pages_are_open_and_what_they_show_needs_the_key(serve: Serve, models: Models) -> None:
    models.add("model", "HttpEcho")
    client = await serve(api_key="secret")
    for path in ("/graphs", "/graphs/model", "/graphs/nothing/at/all"):  # open pages do not tell what there is
        response = await client.get(path)
        assert response.status == 200
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    for path in ("graph.json", "graph.svg", "snapshot", "trace"):
        assert (await client.get(f"/graphs/model/{path}")).status == 401
        response = await client.get(f"/graphs/model/{path}", headers={"Authorization": "Bearer secret"})
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/graphs/model", "../"),
        ("/graphs/model/", "../../"),
        ("/graphs/org/model", "../../"),
        ("/graphs/org%2Fmodel", "../"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/below/graphs/here"])
async def test_a_page_finds_its_files_wherever_it_is(
    aiohttp_client: AiohttpClient, models: Models, prefix: str, path: str, root: str
) -> None:
    models.add("model", "HttpEcho")
    models.add("org/model", "HttpEcho")
    app = build_app(Settings(models=models.folder, file_system_poll_wait_seconds=0.0, shutdown_grace_s=0.0))
    outer = web.Application()
    if prefix:
        outer.add_subapp(prefix, app)
    client = await aiohttp_client(outer if prefix else app)
    await app[SERVABLES].settled.wait()
    text = await (await client.get(f"{prefix}{path}")).text()
    assert f'src="{root}web/graph.js"' in text
    assert f'href="{root}web/style.css"' in text


async def test_the_list_of_graphs_is_found_with_a_slash_too(serve: Serve) -> None:
    client = await serve(api_key="secret")
    response = await client.get("/graphs/")
    assert (response.status, response.url.path) == (200, "/graphs")
    assert 'src="web/graphs.js"' in await response.text()


async def test_a_graph_whose_name_ends_as_addresses_of_graphs_do_has_a_page(serve: Serve, models: Models) -> None:
    models.add("org", "HttpEcho")
    names = [f"org/{end}" for end in ("trace", "snapshot", "graph.svg", "graph.json")]
    for name in names:
        models.add(name, "HttpEcho")
    client = await serve()
    listed = (await (await client.get("/v3/models")).json())["data"]
    addresses = {model["id"]: model["graph_runtime"]["graph"] for model in listed}
    assert addresses["org"] == "graphs/org"
    front = await (await client.get("/")).text()
    for name in names:
        text = await (await client.get("/" + addresses[name])).text()
        assert f'<main data-graph="{name}">' in text
        assert f'href="{addresses[name]}"' in front
        assert (await snapshot(client, name))["name"] == name
    assert (await snapshot(client, "org"))["name"] == "org"


async def test_names_cannot_leave_their_place_in_the_page(serve: Serve, models: Models) -> None:
    name = """a"><script>alert(1)</script>'&$root"""
    models.add(name, "HttpEcho")
    client = await serve()
    text = await (await client.get("/graphs/" + name.replace("/", "%2F").replace("?", "%3F"))).text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    svg = await (await client.get("/graphs/" + name.replace("/", "%2F") + "/graph.svg")).text()
    assert "<script" not in svg


async def test_what_the_backend_tells_can_be_sent_to_another_process(serve: Serve, models: Models) -> None:
    models.add("model", "HttpEcho")
    client = await serve()
    assert await call(client, "model") == 200
    handle = client.app[SERVABLES].find("model").handle
    assert handle is not None
    backend = client.app[BACKEND]
    for told in (backend.picture(handle), backend.report(handle)):
        assert len(str(pickle.loads(pickle.dumps(told)))) == len(str(told))


async def test_the_snapshot_of_the_docs_is_of_the_form_of_ours(serve: Serve, models: Models) -> None:
    page = (Path(__file__).parents[2] / "docs" / "graph-page.md").read_text(encoding="utf-8")
    (shown,) = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    models.add_text("numbers/pass", QUICK.replace('name: "pass" ', ""))
    client = await serve()
    await snapshot(client, "numbers/pass")
    assert (await client.post("/v2/models/numbers/pass/infer", json=INFER)).status == 200
    assert form(await snapshot(client, "numbers/pass")) == form(shown)


def form(value: Any) -> Any:
    """A JSON value with types for numbers and times, and texts as they are."""
    if isinstance(value, dict):
        return {key: form(each) for key, each in value.items() if key != "began"}
    if isinstance(value, list):
        return [form(each) for each in value]
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else value
