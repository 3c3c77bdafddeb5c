"""Live and ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from calculators import Resources
from server.keys import SERVABLES

if TYPE_CHECKING:
    from tests.server.conftest import Gate, Models, Serve


async def test_a_server_is_live_before_and_ready_after_its_models_are_loaded(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False)
    assert (await client.get("/v2/health/live")).status == 200
    response = await client.get("/v2/health/ready")
    assert response.status == 503
    assert await response.json() == {
        "ready": False,
        "error": "Not ready: slow is still loading",
        "models": [{"name": "slow", "state": "LOADING"}],
    }
    gate.released.set()
    await client.app[SERVABLES].settled.wait()
    response = await client.get("/v2/health/ready")
    assert response.status == 200
    assert await response.json() == {"ready": True, "models": [{"name": "slow", "state": "AVAILABLE"}]}


async def test_a_model_that_failed_is_named_with_its_reason(serve: Serve, models: Models) -> None:
    models.add("good", "HttpEcho")
    models.add("typo", "HttpEchoo")
    client = await serve()
    response = await client.get("/v2/health/ready")
    assert response.status == 503
    told = await response.json()
    good, typo = told["models"]
    assert good == {"name": "good", "state": "AVAILABLE"}
    assert (typo["name"], typo["state"]) == ("typo", "FAILED")
    assert typo["reason"].startswith('typo/graph.pbtxt:4:28: node "only": ')
    assert 'did you mean "HttpEcho"?' in typo["reason"]
    assert told["error"] == f"Not ready: typo failed: {typo['reason']}"


async def test_a_loaded_model_that_cannot_work_any_more_is_not_ready_and_says_why(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add("good", "HttpEcho")
    client = await serve()
    monkeypatch.setattr(Resources, "trouble", lambda self: {"gen": "its engine could not be started again"})
    response = await client.get("/v2/health/ready")
    assert response.status == 503
    reason = 'node "gen": its engine could not be started again'
    assert await response.json() == {
        "ready": False,
        "error": f"Not ready: good failed: {reason}",
        "models": [{"name": "good", "state": "AVAILABLE", "reason": reason}],
    }
    (listed,) = (await (await client.get("/v3/models")).json())["data"]
    assert listed["reason"] == reason
    page = await (await client.get("/")).text()
    assert "0 of 1 model can be used." in page
    assert "its engine could not be started again" in page


async def test_a_plug_in_that_tries_to_end_the_process_is_a_model_that_failed(serve: Serve, models: Models) -> None:
    models.add("good", "HttpEcho")
    models.add("bad", "HttpBadPlugIn")
    client = await serve()
    bad, good = (await (await client.get("/v2/health/ready")).json())["models"]
    assert (bad["name"], bad["state"]) == ("bad", "FAILED")
    assert good["state"] == "AVAILABLE"


async def test_a_server_without_models_is_ready(serve: Serve) -> None:
    client = await serve()
    assert (await client.get("/v2/health/ready")).status == 200


async def test_health_answers_head_too(serve: Serve) -> None:
    client = await serve()
    assert (await client.head("/v2/health/live")).status == 200
