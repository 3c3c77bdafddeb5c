"""LoRA adapters as models: routing, the list of models, names that clash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from calculators.statistics import ImageStatistics
from graph_runtime import CalculatorGraph, Plan
from server import local_backend
from server.keys import SERVABLES

if TYPE_CHECKING:
    from tests.server.conftest import Gate, Models, Serve

PATH = "/v3/images/generations"


class _Resources:
    """Stands in for loaded models; the aliases are what a file beside the graph says."""

    at_once = None

    def __init__(self, base_dir: Path) -> None:
        file = base_dir / "aliases"
        self.side_packets: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}
        self._aliases = tuple(file.read_text().split()) if file.exists() else ()

    def graph(self, plan: Plan) -> CalculatorGraph:
        return CalculatorGraph(plan)

    def statistics(self) -> dict[str, ImageStatistics]:
        return {}

    def aliases(self) -> tuple[str, ...]:
        return self._aliases

    def trouble(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        closed.append(self._aliases)


closed: list[tuple[str, ...]] = []


@pytest.fixture(autouse=True)
def _resources(monkeypatch: pytest.MonkeyPatch) -> None:
    closed.clear()
    monkeypatch.setattr(local_backend, "load_resources", lambda source, base_dir, **_: _Resources(base_dir))


def add(models: Models, name: str, *aliases: str, calculator: str = "HttpEcho") -> None:
    (models.add(name, calculator).parent / "aliases").write_text(" ".join(aliases))


async def test_an_alias_is_routed_to_its_model_and_listed(serve: Serve, models: Models) -> None:
    add(models, "base", "xray", "blend")
    client = await serve()
    response = await client.post(PATH, json={"model": "xray"})
    assert (await response.json())["json"] == {"model": "xray"}  # the graph is told which one it was
    listed = (await (await client.get("/v3/models")).json())["data"]
    assert [(model["id"], model.get("parent"), model["state"]) for model in listed] == [
        ("base", None, "AVAILABLE"),
        ("blend", "base", "AVAILABLE"),
        ("xray", "base", "AVAILABLE"),
    ]
    assert await (await client.get("/v1/models/xray")).json() == listed[2]
    unknown = await (await client.get("/v1/models/xrya")).json()
    assert unknown["error"]["message"].endswith("did you mean 'xray'? This server has: base, xray, blend")


@pytest.mark.parametrize(
    ("aliases", "reason"),
    [
        (("one", "other"), "a: the adapter alias 'other' is a name of the model 'other' too"),
        (("a",), "a: the adapter alias 'a' is its own name too"),
    ],
)
async def test_an_alias_that_is_a_models_name_is_refused_at_load(
    serve: Serve, models: Models, aliases: tuple[str, ...], reason: str
) -> None:
    add(models, "a", *aliases)
    add(models, "other")
    client = await serve()
    listed = {model["id"]: model for model in (await (await client.get("/v3/models")).json())["data"]}
    assert sorted(listed) == ["a", "other"]
    assert (listed["a"]["state"], listed["other"]["state"]) == ("FAILED", "AVAILABLE")
    assert listed["a"]["reason"].startswith(reason)
    assert aliases in closed  # what had been loaded was given back


async def test_of_two_models_with_one_alias_the_second_is_refused(serve: Serve, models: Models) -> None:
    add(models, "a", "xray")
    add(models, "b", "xray", "more")
    client = await serve()
    states = {servable.name: servable.state for servable in client.app[SERVABLES]}
    assert sorted(states.values()) == ["AVAILABLE", "FAILED"]
    assert len(client.app[SERVABLES].aliases) in (1, 2)
    winner = next(name for name, state in states.items() if state == "AVAILABLE")
    assert client.app[SERVABLES].find("xray").name == winner


async def test_a_name_that_may_be_an_alias_is_not_denied_while_models_load(
    serve: Serve, models: Models, gate: Gate
) -> None:
    add(models, "slow", "xray", calculator="HttpSlowToLoad")
    client = await serve(settled=False)
    await gate.wait_entered()
    response = await client.post(PATH, json={"model": "xray"})
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert (await response.json())["error"]["code"] == "model_loading"
    gate.released.set()
    async with asyncio.timeout(20):
        await client.app[SERVABLES].settled.wait()
    assert (await client.post(PATH, json={"model": "xray"})).status == 200
    assert (await client.post(PATH, json={"model": "nobody"})).status == 404
