"""/metrics: what is counted, under which names and labels, and that nothing of what clients send is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from calculators.statistics import ImageStatistics
from server import cli
from server.admission import Outcome
from server.backend import Origin
from server.metric_families import FAMILIES, NOT_FOR_GRAPHS
from server.metrics import Metrics
from server.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tests.server.conftest import Client, FakeClock, Gate, Models, Serve

PATIENCE_S = 20
V3 = {"api": "V3", "method": "Unary", "interface": "REST"}


class Scraped:
    """What /metrics told."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, sample: str, **labels: str) -> float | None:
        """The one with exactly these labels; None if there is none."""
        names = (sample, f"{sample}_total")  # the parser puts _total behind the names of all counters
        values = [each.value for each in self._samples if each.name in names and each.labels == labels]
        assert len(values) < 2, f"{sample} is there twice"
        return values[0] if values else None


async def scrape(client: Client) -> Scraped:
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return Scraped(await answer.text())


async def call(client: Client, model: str, **fields: Any) -> int:
    async with client.post("/v3/call", json={"model": model, **fields}) as answer:
        return answer.status


async def test_requests_are_counted_under_the_names_and_labels_of_the_reference(serve: Serve, models: Models) -> None:
    models.add("answers", "HttpAnswers")
    models.add("refuse", "HttpRefuse")
    models.add("broken", "HttpRaise")
    client = await serve()
    assert [await call(client, "answers", answers=1) for _ in range(3)] == [200] * 3
    assert await call(client, "answers", answers=2, stream=True) == 200
    assert await call(client, "refuse") == 400
    assert await call(client, "broken") == 500
    scraped = await scrape(client)
    line = 'ovms_requests_accepted{api="V3",interface="REST",method="Unary",name="answers"} 3.0'
    assert line in scraped.text.splitlines()
    assert scraped.value("ovms_responses", name="answers", **V3) == 3
    assert scraped.value("ovms_responses", name="answers", **(V3 | {"method": "Stream"})) == 2
    assert scraped.value("ovms_graph_error", name="answers", **V3) == 0
    assert scraped.value("ovms_graph_error", name="refuse", **V3) == 1
    assert scraped.value("ovms_graph_error", name="broken", **V3) == 1
    assert scraped.value("ovms_graph_processing_time_us_count", name="answers", method="Unary") == 3
    assert scraped.value("graph_runtime_requests_total", name="refuse", outcome="refused", **V3) == 1
    assert scraped.value("graph_runtime_requests_total", name="broken", outcome="failed", **V3) == 1
    assert scraped.value("graph_runtime_requests_total", name="answers", outcome="ok", **V3) == 3


async def test_what_does_not_fit_a_graph_is_a_rejection_and_questions_are_successes_or_fails(
    serve: Serve, models: Models
) -> None:
    models.add_text(
        "pass",
        'input_stream: "a" output_stream: "b" node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b" }',
    )
    models.add_text("bad", "nonsense")
    client = await serve()
    one = {"name": "a", "shape": [1], "datatype": "FP32", "data": [1.5]}
    statuses = []
    for inputs in ([one], [one | {"name": "x"}]):
        answer = await client.post("/v2/models/pass/infer", json={"inputs": inputs})
        statuses.append(answer.status)
    statuses.append(await call(client, "pass"))  # a graph without HTTP
    for path in ("pass", "pass/ready", "bad/ready", "nobody/ready", "nobody"):
        statuses.append((await client.get(f"/v2/models/{path}")).status)
    assert statuses == [200, 400, 400, 200, 200, 503, 404, 404]
    scraped = await scrape(client)
    infer = {"api": "KServe", "method": "ModelInfer", "interface": "REST"}
    assert scraped.value("ovms_requests_accepted", name="pass", **infer) == 1
    assert scraped.value("ovms_requests_rejected", name="pass", **infer) == 1
    assert scraped.value("ovms_requests_rejected", name="pass", **V3) == 1
    assert scraped.value("ovms_requests_success", name="pass", **infer | {"method": "ModelMetadata"}) == 1
    assert scraped.value("ovms_requests_success", name="pass", **infer | {"method": "ModelReady"}) == 1
    assert scraped.value("ovms_requests_fail", name="bad", **infer | {"method": "ModelReady"}) == 1
    assert "nobody" not in scraped.text


async def test_every_family_is_told_with_its_type_although_nothing_has_happened(serve: Serve) -> None:
    text = (await scrape(await serve())).text
    for family in FAMILIES.values():
        assert f"# HELP {family.name} {family.meaning}\n" in text
        assert f"# TYPE {family.name} {family.kind}\n" in text
    assert "process_resident_memory_bytes" in text


async def test_who_runs_and_who_waits_can_be_seen_and_a_full_queue_is_a_rejection(
    serve: Serve, models: Models, gate: Gate, clock: FakeClock
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1, queue_size=1, clock=clock)
    first = asyncio.create_task(call(client, "block"))
    await gate.wait_entered()
    second = asyncio.create_task(call(client, "block"))
    async with asyncio.timeout(PATIENCE_S):
        while (waiting := await scrape(client)).value("graph_runtime_requests_waiting", name="block") != 1:
            pass
    assert waiting.value("graph_runtime_requests_running", name="block") == 1
    assert waiting.value("ovms_current_graphs", name="block") == 1
    assert await call(client, "block") == 429
    clock.advance(3.0)
    gate.released.set()
    assert [await first, await second] == [200, 200]
    after = await scrape(client)
    assert after.value("graph_runtime_requests_waiting", name="block") == 0
    assert after.value("ovms_requests_accepted", name="block", **V3) == 2
    assert after.value("ovms_requests_rejected", name="block", **V3) == 1
    assert after.value("graph_runtime_queue_wait_seconds_sum", name="block") == 3.0
    assert after.value("graph_runtime_request_seconds_sum", name="block") == 6.0


async def test_states_of_servables_are_told(serve: Serve, models: Models) -> None:
    models.add("good", "HttpEcho")
    models.add_text("bad", "nonsense")
    scraped = await scrape(await serve())
    state = "graph_runtime_servable_state"
    assert [scraped.value(state, name="good", state=each) for each in ("LOADING", "AVAILABLE", "FAILED")] == [0, 1, 0]
    assert [scraped.value(state, name="bad", state=each) for each in ("LOADING", "AVAILABLE", "FAILED")] == [0, 0, 1]


async def test_http_answers_are_counted_by_route_and_status(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    await call(client, "echo")
    await call(client, "nobody")
    await client.get("/v2/health/live")
    await client.request("PROPFIND", "/coffee")
    scraped = await scrape(client)
    total = "graph_runtime_http_requests_total"
    assert scraped.value(total, method="POST", route="/{version}/{call}", status="200") == 1
    assert scraped.value(total, method="POST", route="/{version}/{call}", status="404") == 1
    assert scraped.value(total, method="GET", route="/v2/health/live", status="200") == 1
    assert scraped.value(total, method="other", route="", status="404") == 1


async def test_nothing_that_clients_send_is_told(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    await client.post("/v3/mine", json={"model": "mine", "prompt": "mine"}, headers={"x-request-id": "mine"})
    await client.post("/v3/mine", json={"model": "echo", "prompt": "mine"}, headers={"x-request-id": "mine"})
    await client.get("/v3/models/mine")
    await client.get("/mine?mine=mine")
    assert "mine" not in (await scrape(client)).text


class Backend:
    """Tells what a test says."""

    def __init__(self, told: Mapping[str, Mapping[str, ImageStatistics]]) -> None:
        self._told = told

    def statistics(self) -> Mapping[str, Mapping[str, ImageStatistics]]:
        return self._told


def test_what_models_have_done_is_read_when_somebody_asks() -> None:
    lanes = {"busy": 1, "unloaded": 1, "closed": 1}
    record = ImageStatistics(lanes=lanes, restarts=4, memory_bytes=1 << 20)
    record = record.after_pictures(2, 30, {"denoise": 6.0, "write": 0.02}).after_request("cancelled", 7)
    metrics = Metrics()
    metrics.watch(Backend({'a "quoted" name': {"gen": record}}), ())  # type: ignore[arg-type]  # all that is asked of them
    scraped = Scraped(metrics.text())
    model = {"name": 'a "quoted" name', "node": "gen"}
    image = "graph_runtime_image"
    assert scraped.value(f"{image}s_total", **model) == 2
    assert scraped.value(f"{image}_steps_total", **model) == 37
    assert scraped.value(f"{image}_lane_restarts_total", **model) == 4
    assert scraped.value(f"{image}_memory_bytes", **model) == 1 << 20
    assert scraped.value(f"{image}_steps_per_second_sum", **model) == 5.0
    assert scraped.value(f"{image}_stage_seconds_sum", stage="denoise", **model) == 6.0
    assert scraped.value(f"{image}_stage_seconds_bucket", stage="denoise", le="5", **model) == 0
    assert scraped.value(f"{image}_stage_seconds_bucket", stage="denoise", le="10", **model) == 1
    assert scraped.value(f"{image}_stage_seconds_bucket", stage="denoise", le="+Inf", **model) == 1
    states = ("busy", "idle", "unloaded", "broken")
    assert [scraped.value(f"{image}_lanes", state=state, **model) for state in states] == [1, 0, 1, 0]
    ends = ("done", "refused", "failed", "cancelled")
    assert [scraped.value(f"{image}_requests_total", outcome=end, **model) for end in ends] == [1, 0, 0, 1]


def test_the_processing_time_has_the_buckets_of_the_reference() -> None:
    metrics = Metrics()
    metrics.ended("graph", Origin(), Outcome.OK, 0.75, 0.25)
    name = "ovms_graph_processing_time_us"
    bounds = [
        line.split('le="')[1].split('"')[0] for line in metrics.text().splitlines() if line.startswith(f"{name}_bucket")
    ]
    assert bounds[:5] == ["10", "18", "32", "58", "104"]
    assert len(bounds) == 34  # the last one has what is above all 33
    assert bounds[-2:] == [str(int(10 * 1.8**32)), "+Inf"]
    assert f'{name}_sum{{method="Unary",name="graph"}} 500000.0' in metrics.text()


async def test_only_the_families_that_were_asked_for_are_told(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(metrics_list=("ovms_requests_accepted", "ovms_streams"))
    await call(client, "echo")
    told = [line for line in (await scrape(client)).text.splitlines() if not line.startswith("#")]
    assert told == ['ovms_requests_accepted{api="V3",interface="REST",method="Unary",name="echo"} 1.0']


async def test_metrics_can_be_switched_off(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(metrics_enable=False)
    assert await call(client, "echo") == 200
    answer = await client.get("/metrics")
    assert answer.status == 404
    assert (await answer.json())["error"]["code"] == "metrics_disabled"


def test_an_unknown_family_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(SettingsError, match="did you mean ovms_requests_accepted"):
        Settings.resolve({}, {"GRAPH_RUNTIME_METRICS_LIST": "ovms_current_graphs, ovms_request_accepted"})
    settings = Settings.resolve({}, {"GRAPH_RUNTIME_METRICS_LIST": ",".join([*FAMILIES, *NOT_FOR_GRAPHS])})
    assert set(settings.metrics_list) == FAMILIES.keys() | NOT_FOR_GRAPHS
    with pytest.raises(SettingsError, match="--metrics_list needs --metrics_enable"):
        Settings.resolve({"metrics_enable": False, "metrics_list": ["ovms_responses"]}, {})


def test_a_switch_can_be_written_without_a_value_as_for_the_reference() -> None:
    parsed = cli._parser().parse_args(["serve", "--metrics_enable", "--rest_port", "0", "--allow_credentials=false"])
    assert (parsed.metrics_enable, parsed.allow_credentials, parsed.rest_port) == (True, False, 0)
