"""/v1/config and /v1/config/reload."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from calculators import Resources
from server.keys import SERVABLES
from server.servables import State

if TYPE_CHECKING:
    from tests.server.conftest import Client, Gate, Models, Serve

CALL = "/v3/call"
RELOAD = "/v1/config/reload"


async def config(client: Client) -> Any:
    """Name -> (state, error code, error message), by GET /v1/config."""
    response = await client.get("/v1/config")
    assert (response.status, response.content_type) == (200, "application/json")
    return flat(await response.json())


def flat(told: Any) -> dict[str, tuple[str, str, str]]:
    found = {}
    for name, value in told.items():
        (version,) = value["model_version_status"]
        assert version["version"] == "1"
        found[name] = (version["state"], version["status"]["error_code"], version["status"]["error_message"])
    return found


def edit(models: Models, name: str, calculator: str) -> None:
    shutil.rmtree(models.folder / name)
    models.add(name, calculator)


async def test_the_states_are_printed_to_the_blank_as_ovms_prints_them(serve: Serve, models: Models) -> None:
    client = await serve()
    assert await (await client.get("/v1/config")).text() == "{}"
    models.add("b/c", "HttpEcho")
    models.add("a", "HttpEcho")
    text = """{
"a" : 
{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": "OK"
   }
  }
 ]
},
"b/c" : 
{
 "model_version_status": [
  {
   "version": "1",
   "state": "AVAILABLE",
   "status": {
    "error_code": "OK",
    "error_message": "OK"
   }
  }
 ]
}
}"""  # noqa: W291  # the blanks at the ends of lines are OVMS's
    reloaded = await client.post(RELOAD)
    assert (reloaded.status, await reloaded.text()) == (201, text)
    assert await (await client.get("/v1/config")).text() == text


async def test_each_state_of_a_model_has_the_words_of_ovms(
    serve: Serve, models: Models, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, calculator in {
        "good": "HttpEcho",
        "typo": "HttpEchoo",
        "slow": "HttpSlowToLoad",
        "old": "HttpEcho",
    }.items():
        models.add(name, calculator)
    client = await serve(settled=False)
    await gate.wait_entered()
    assert (await config(client))["slow"] == ("LOADING", "OK", "OK")
    gate.released.set()
    await client.app[SERVABLES].settled.wait()
    edit(models, "good", "HttpEchoo")
    shutil.rmtree(models.folder / "old")
    await client.post(RELOAD)
    told = await config(client)
    assert told["slow"] == ("AVAILABLE", "OK", "OK")
    assert told["old"] == ("END", "OK", "OK")
    assert told["typo"][:2] == ("LOADING", "FAILED_PRECONDITION")
    assert told["typo"][2].startswith('typo/graph.pbtxt:4:28: node "only": ')
    assert told["good"][:2] == ("AVAILABLE", "OK")
    assert told["good"][2].startswith(
        'The version before the newest is served; the newest cannot be loaded: good/graph.pbtxt:4:28: node "only": '
    )
    monkeypatch.setattr(Resources, "trouble", lambda self: {"gen": "no engine"})
    assert (await config(client))["slow"] == ("AVAILABLE", "FAILED_PRECONDITION", 'node "gen": no engine')


async def test_a_reload_takes_up_what_is_new_has_changed_and_is_gone(serve: Serve, models: Models) -> None:
    models.add("changed", "HttpEcho")
    models.add("gone", "HttpEcho")
    client = await serve()
    assert (await client.post(RELOAD)).status == 200  # nothing to do
    edit(models, "changed", "HttpParts")
    models.add("new", "HttpEcho")
    shutil.rmtree(models.folder / "gone")
    response = await client.post(RELOAD)
    assert response.status == 201
    assert {name: told[0] for name, told in flat(await response.json()).items()} == {
        "changed": "AVAILABLE",
        "gone": "END",
        "new": "AVAILABLE",
    }
    assert "parts" in await (await client.post(CALL, json={"model": "changed"})).json()
    assert (await client.post(CALL, json={"model": "new"})).status == 200
    refused = await client.post(CALL, json={"model": "gone"})
    assert refused.status == 404
    assert (await refused.json())["error"] == {
        "message": "The model 'gone' is not served any more: its graph was removed.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    listed = (await (await client.get("/v3/models")).json())["data"]
    assert [model["id"] for model in listed] == ["changed", "new"]
    assert (await client.get("/v3/models/gone")).status == 404


async def test_a_reload_answers_when_everything_is_loaded(serve: Serve, models: Models, gate: Gate) -> None:
    client = await serve()
    models.add("slow", "HttpSlowToLoad")
    reloading = asyncio.create_task(client.post(RELOAD))
    await gate.wait_entered()
    assert client.app[SERVABLES].find("slow").state is State.LOADING
    assert not reloading.done()
    gate.released.set()
    assert (await reloading).status == 201
    assert (await client.post(CALL, json={"model": "slow"})).status == 200


async def test_a_broken_new_version_is_told_everywhere_and_the_old_one_serves(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    edit(models, "echo", "HttpEchoo")
    response = await client.post(RELOAD)
    assert response.status == 500
    text = await response.text()
    assert text.startswith('{\n\t"error": "Reloading models versions failed. Check server logs for more info.",\n')
    reason = 'echo/graph.pbtxt:4:28: node "only": '
    assert json.loads(text)["reason"].startswith(f"echo: {reason}")
    assert (await client.post(CALL, json={"model": "echo"})).status == 200
    ready = await client.get("/v2/health/ready")
    (model,) = (await ready.json())["models"]
    assert (ready.status, model["state"]) == (200, "AVAILABLE")
    (listed,) = (await (await client.get("/v3/models")).json())["data"]
    assert listed["state"] == "AVAILABLE"
    assert listed["reload_problem"] == model["reload_problem"]
    assert listed["reload_problem"].startswith(reason)
    assert "The newest version cannot be served: echo/graph.pbtxt" in await (await client.get("/")).text()
    edit(models, "echo", "HttpEcho")
    assert (await client.post(RELOAD)).status == 201
    assert "reload_problem" not in await (await client.get("/v3/models/echo")).json()


async def test_a_reload_with_a_broken_config_changes_nothing_and_says_what_is_wrong(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    file = models.folder / "config.json"
    file.write_text('{"graph_runtime": {"lane')
    shutil.rmtree(models.folder / "echo")
    response = await client.post(RELOAD)
    assert response.status == 500
    told = await response.json()
    assert told["error"] == "Reloading config file failed. Check server logs for more info."
    assert told["reason"].startswith("config.json:1:20: ")  # and not where on the disk it is
    assert f"{models.folder}/{told['reason']}" in caplog.text
    assert await config(client) == {"echo": ("AVAILABLE", "OK", "OK")}


async def test_a_reload_without_the_model_folder_says_so(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    shutil.rmtree(models.folder)
    response = await client.post(RELOAD)
    assert response.status == 500
    assert await response.json() == {
        "error": "Config file not found or cannot open.",
        "reason": "model folder 'models' does not exist",
    }
    assert await config(client) == {"echo": ("AVAILABLE", "OK", "OK")}


@pytest.mark.parametrize(("method", "path", "allowed"), [("POST", "/v1/config", "GET"), ("GET", RELOAD, "POST")])
async def test_no_graph_is_called_by_the_paths_of_the_configuration(
    serve: Serve, models: Models, method: str, path: str, allowed: str
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.request(method, path, json={"model": "echo"})
    assert (response.status, response.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/v1/models/", "/v3/models/", "/v3/v1/models/"])
async def test_the_list_of_models_with_a_slash_too_many_is_a_404_that_says_so(serve: Serve, path: str) -> None:
    client = await serve()
    response = await client.get(path)
    assert response.status == 404
    assert "GET /v3/models, without the slash" in (await response.json())["error"]["message"]


async def test_a_reload_tells_of_a_name_that_is_there_twice(serve: Serve, models: Models) -> None:
    models.add("a", "HttpEcho")
    client = await serve()
    entries = [{"config": {"name": "x", "base_path": "a"}}, {"config": {"name": "x", "base_path": "a"}}]
    (models.folder / "config.json").write_text(json.dumps({"model_config_list": entries}))
    response = await client.post(RELOAD)
    assert response.status == 500
    reason = (await response.json())["reason"]
    assert "the name 'x' is taken" in reason
    assert str(models.folder) not in reason
    assert (await client.post(CALL, json={"model": "x"})).status == 200
