"""Graph calls and the list of models."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import FormData
from yarl import URL

from server.keys import BACKEND, SERVABLES

if TYPE_CHECKING:
    from tests.server.conftest import Gate, Models, Serve

PATH = "/v3/images/generations"
KSERVE_GRAPH = """
input_stream: "OVTENSOR:in"
output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
UNREADABLE = 'node { calculator: "HttpEcho" input_strem: "x" }'


@pytest.mark.parametrize("path", ["/v3/images/generations", "/v1/images/generations", "/v1/anything", "/v3/a/b/c"])
async def test_a_call_runs_the_graph_that_the_body_names(serve: Serve, models: Models, path: str) -> None:
    models.add("echo", "HttpEcho")
    models.add("other/nested", "HttpEcho")
    client = await serve()
    for model in ("echo", "other/nested"):
        response = await client.post(path, json={"model": model, "prompt": "\u00e4"})
        assert response.status == 200
        assert response.content_type == "application/json"
        told = await response.json()
        assert (told["uri"], told["json"]) == (path, {"model": model, "prompt": "\u00e4"})


@pytest.mark.parametrize("path", ["/v3/a/b", "/v1/a/b", "/v3/v1/a/b", "/v3/a%2Fb", "/v3/a/b/images/generations?x=1"])
async def test_an_address_names_the_graph_where_the_model_is_empty(serve: Serve, models: Models, path: str) -> None:
    models.add("a", "HttpRefuse")
    models.add("a/b", "HttpWhole")
    client = await serve()
    response = await client.post(URL(path, encoded=True), json={"model": "", "prompt": "x"})
    assert response.status == 200
    told = await response.json()
    assert told["uri"] == path.replace("%2F", "/")
    assert told["json"] == json.loads(told["body"]) == {"model": "a/b", "prompt": "x"}  # as if the body had named it


@pytest.mark.parametrize("fields", [{"model": "", "prompt": "x"}, {"prompt": "x"}], ids=["empty", "absent"])
async def test_an_address_names_the_graph_of_a_multipart_body_without_a_model(
    serve: Serve, models: Models, fields: dict[str, str]
) -> None:
    models.add("echo", "HttpWhole")
    client = await serve()
    response = await client.post("/v3/echo", data=FormData(fields, default_to_multipart=True))
    assert sorted((await response.json())["parts"]) == [["model", "echo"], ["prompt", "x"]]


async def test_a_multipart_body_that_names_two_models_is_refused(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpWhole")
    client = await serve()
    form = FormData([("model", "echo"), ("model", "other")], default_to_multipart=True)
    response = await client.post("/v3/x", data=form)
    assert response.status == 400
    error = (await response.json())["error"]
    assert (error["param"], error["code"]) == ("model", "invalid_value")


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", None])
async def test_an_address_names_the_graph_of_a_body_that_is_neither_json_nor_multipart(
    serve: Serve, models: Models, content_type: str | None
) -> None:
    models.add("echo", "HttpWhole")
    client = await serve()
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.post("/v3/echo", data=b"{not json", headers=headers, skip_auto_headers=["Content-Type"])
    assert await response.json() == {"uri": "/v3/echo", "body": "{not json", "json": None, "parts": []}


async def test_a_model_in_the_body_counts_whatever_the_address_names(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpWhole")
    models.add("refuse", "HttpRefuse")
    client = await serve()
    told = await (await client.post("/v3/refuse", json={"model": "echo"})).json()
    assert told["json"] == {"model": "echo"}


async def test_an_address_of_a_graph_that_was_removed_is_a_404(serve: Serve, models: Models) -> None:
    graph_file = models.add("echo", "HttpWhole")
    client = await serve()
    graph_file.unlink()
    assert (await client.post("/v1/config/reload")).status == 201
    response = await client.post("/v3/echo", data=b"x", headers={"Content-Type": "text/plain"})
    assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")


async def test_the_older_tags_are_taken_too(serve: Serve, models: Models) -> None:
    models.add_text(
        "old",
        'input_stream: "REQUEST_PAYLOAD:in"\noutput_stream: "RESPONSE_PAYLOAD:out"\n'
        'node { calculator: "HttpEcho" input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:out" }',
    )
    client = await serve()
    assert (await client.post(PATH, json={"model": "old"})).status == 200


async def test_an_unknown_model_is_a_404_that_lists_what_there_is(serve: Serve, models: Models) -> None:
    models.add("shapes", "HttpEcho")
    models.add("a/b", "HttpEcho")
    client = await serve()
    response = await client.post(PATH, json={"model": "shapse"})
    assert response.status == 404
    assert await response.json() == {
        "error": {
            "message": "The model 'shapse' does not exist; did you mean 'shapes'? This server has: a/b, shapes",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


async def test_an_unknown_model_with_an_endless_name_gets_a_short_answer(serve: Serve) -> None:
    client = await serve()
    response = await client.post(PATH, json={"model": "\x1b[31m" * 10_000})
    assert response.status == 404
    text = await response.text()
    assert len(text) < 1000
    assert "\x1b" not in text
    assert "this server has no models" in text


async def test_a_refusal_reaches_the_client_whole_and_our_own_faults_the_log_too(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("refuse", "HttpRefuse")
    client = await serve()
    for status in (400, 404, 429, 500, 503):
        response = await client.post(PATH, json={"model": "refuse", "status": status})
        assert response.status == status
        assert response.headers["Retry-After"] == "7"
        assert await response.json() == {
            "error": {
                "message": "steps is too large: 500; the most is 100",
                "type": "invalid_request_error",
                "param": "steps",
                "code": "invalid_value",
            }
        }
        assert ("Traceback" in caplog.text) is (status == 500)
        caplog.clear()


@pytest.mark.parametrize("body", [{}, {"exit": True}], ids=["ValueError", "SystemExit"])
async def test_a_calculator_that_raises_is_a_500_without_details_and_the_server_lives_on(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture, body: dict[str, Any]
) -> None:
    models.add("raise", "HttpRaise")
    models.add("echo", "HttpEcho")
    client = await serve()
    response = await client.post(PATH, json={"model": "raise"} | body, headers={"x-request-id": "mine-1"})
    assert response.status == 500
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-request-id"] == "mine-1"
    assert await response.json() == {
        "error": {
            "message": "The server failed while it worked on this request. "
            "Its log has the reason under the request id mine-1.",
            "type": "server_error",
            "param": None,
            "code": "internal_error",
        }
    }
    assert "request mine-1 failed" in caplog.text
    assert "Traceback" in caplog.text
    assert ("SystemExit" if body else "/secret/path/model.bin is broken") in caplog.text
    assert (await client.post(PATH, json={"model": "echo"})).status == 200


async def test_several_packets_for_who_asks_for_no_stream_are_a_500_that_says_so(serve: Serve, models: Models) -> None:
    models.add("answers", "HttpAnswers")
    client = await serve()
    response = await client.post(PATH, json={"model": "answers", "answers": 2})
    assert (response.status, response.headers["x-should-retry"]) == (500, "false")
    assert (await response.json())["error"] == {
        "message": 'The graph gave 2 packets on its output "output", and an answer without "stream": true is one; '
        "ask for a stream.",
        "type": "server_error",
        "param": "stream",
        "code": "several_answers",
    }


async def test_a_graph_that_gives_no_packet_is_a_fault_of_the_server(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("answers", "HttpAnswers")
    client = await serve()
    assert (await client.post(PATH, json={"model": "answers", "answers": 1})).status == 200
    response = await client.post(PATH, json={"model": "answers", "answers": 0})
    assert response.status == 500
    assert 'output stream "output" gave no packet' in caplog.text


async def test_a_graph_that_answers_with_no_text_is_a_fault_of_the_server(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("not_text", "HttpNotText")
    client = await serve()
    assert (await client.post(PATH, json={"model": "not_text"})).status == 500
    assert 'output stream "output" gave a dict; HTTP answers are str packets with JSON text' in caplog.text


async def test_a_graph_that_does_not_speak_http_says_what_it_has(serve: Serve, models: Models) -> None:
    models.add_text("tensors", KSERVE_GRAPH)
    client = await serve()
    response = await client.post(PATH, json={"model": "tensors"})
    assert response.status == 400
    error = (await response.json())["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_callable")
    assert error["message"].endswith("it has inputs OVTENSOR:in and outputs out.")


async def test_a_graph_that_does_not_speak_http_is_listed_with_a_note(serve: Serve, models: Models) -> None:
    models.add_text("tensors", KSERVE_GRAPH)
    client = await serve()
    (listed,) = (await (await client.get("/v3/models")).json())["data"]
    assert listed["state"] == "AVAILABLE"
    assert listed["note"].startswith("The graph takes no HTTP payload, so that KServe calls alone can use it: ")
    assert "The graph takes no HTTP payload" in await (await client.get("/")).text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "bad/graph.pbtxt: the graph has no node, so that it does nothing; give nodes"),
        (
            'input_stream: "HTTP_REQUEST_PAYLOAD:in"\noutput_stream: "HTTP_RESPONSE_PAYLOAD:outptu"\n'
            'node { calculator: "HttpEcho" '
            'input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:output" }',
            'bad/graph.pbtxt:2:16: the graph\'s output stream "outptu" is made by no node; did you mean "output"?',
        ),
    ],
    ids=["empty", "no answer"],
)
async def test_a_graph_that_could_only_fail_is_not_served(serve: Serve, models: Models, text: str, reason: str) -> None:
    models.add_text("bad", text)
    client = await serve()
    (listed,) = (await (await client.get("/v3/models")).json())["data"]
    assert (listed["state"], listed["reason"]) == ("FAILED", reason)


async def test_a_broken_graph_is_a_503_with_its_reason_and_stops_no_other(serve: Serve, models: Models) -> None:
    models.add("good", "HttpEcho")
    models.add_text("broken", UNREADABLE)
    client = await serve()
    assert (await client.post(PATH, json={"model": "good"})).status == 200
    response = await client.post(PATH, json={"model": "broken"})
    assert response.status == 503
    assert response.headers["x-should-retry"] == "false"
    error = (await response.json())["error"]
    assert (error["type"], error["param"], error["code"]) == ("server_error", "model", "model_load_failed")
    assert error["message"].startswith("The model 'broken' could not be loaded: broken/graph.pbtxt:1:31: ")
    assert str(models.folder) not in error["message"]


async def test_a_request_waits_for_its_model_to_load(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpSlowToLoad")
    models.add("quick", "HttpEcho")
    client = await serve(settled=False)
    waiting = asyncio.create_task(client.post(PATH, json={"model": "slow"}))
    await gate.wait_entered()
    assert (await client.post(PATH, json={"model": "quick"})).status == 200
    assert not waiting.done()
    gate.released.set()
    assert (await waiting).status == 200


async def test_a_request_does_not_wait_for_ever_for_a_model_to_load(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False, load_wait_s=0.0)
    response = await client.post(PATH, json={"model": "slow"})
    assert response.status == 503
    assert response.headers["Retry-After"] == "5"
    assert (await response.json())["error"] == {
        "message": "The model 'slow' is still loading; try again in some seconds.",
        "type": "server_error",
        "param": "model",
        "code": "model_loading",
    }


async def test_models_are_listed_as_openai_does_it_with_their_state(serve: Serve, models: Models, gate: Gate) -> None:
    file = models.add("org/good", "HttpEcho")
    models.add_text("broken", UNREADABLE)
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False)
    for name in ("org/good", "broken"):
        await client.app[SERVABLES].find(name).settled.wait()
    listed = await (await client.get("/v3/models")).json()
    assert listed["object"] == "list"
    broken, good, slow = listed["data"]
    assert good == {
        "id": "org/good",
        "object": "model",
        "created": int(file.stat().st_mtime),
        "owned_by": "graph-runtime",
        "state": "AVAILABLE",
        "graph_runtime": {"state": "AVAILABLE", "graph": "graphs/org/good", "makes_images": False},
    }
    for other in (broken, slow):  # what is not loaded may make pictures: nobody knows
        assert other["graph_runtime"] == {
            "state": other["state"],
            "graph": f"graphs/{other['id']}",
            "makes_images": None,
        }
    assert (broken["id"], broken["state"]) == ("broken", "FAILED")
    assert broken["reason"].startswith("broken/graph.pbtxt:1:31: ")
    assert (slow["id"], slow["state"]) == ("slow", "LOADING")
    for path in ("/v1/models", "/v3/v1/models"):
        assert await (await client.get(path)).json() == listed
    for path in ("/v3/models/org/good", "/v1/models/org%2Fgood", "/v3/v1/models/org/good"):
        assert await (await client.get(path)).json() == good


async def test_an_unknown_model_id_is_a_404(serve: Serve, models: Models) -> None:
    models.add("org/good", "HttpEcho")
    client = await serve()
    response = await client.get("/v1/models/org/god")
    assert response.status == 404
    assert (await response.json())["error"]["message"] == (
        "The model 'org/god' does not exist; did you mean 'org/good'? This server has: org/good"
    )


async def test_an_empty_model_folder_is_served_as_an_empty_list(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = await serve()
    assert await (await client.get("/v3/models")).json() == {"object": "list", "data": []}
    assert "there is nothing to serve" in caplog.text


async def test_paths_and_methods_that_do_not_exist_are_told_in_openais_form(serve: Serve) -> None:
    client = await serve()
    unknown = await client.get("/v4/models")
    assert unknown.status == 404
    assert (await unknown.json())["error"]["code"] == "unknown_path"
    wrong = await client.put("/v3/images/generations", json={})
    assert wrong.status == 405
    assert wrong.headers["Allow"] == "POST"
    assert (await wrong.json())["error"]["message"] == "PUT is not allowed here; use POST."


async def test_more_requests_than_slots_wait_and_are_all_answered(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1)
    asked = [asyncio.create_task(client.post(PATH, json={"model": "block"})) for _ in range(3)]
    await gate.wait_entered()
    handle = client.app[SERVABLES].find("block").handle
    assert handle is not None
    while sum(client.app[BACKEND].occupancy(handle)) < 3:
        assert (await client.get("/v2/health/live")).status == 200  # the other two are still on their way
    assert client.app[BACKEND].occupancy(handle) == (1, 2)
    gate.released.set()
    assert [response.status for response in await asyncio.gather(*asked)] == [200, 200, 200]


async def test_a_blocked_model_holds_up_no_other(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    models.add("echo", "HttpEcho")
    client = await serve(runs_per_servable=2, run_threads=3)
    asked = [asyncio.create_task(client.post(PATH, json={"model": "block"})) for _ in range(4)]
    await gate.wait_entered()
    assert (await client.post(PATH, json={"model": "echo"})).status == 200
    gate.released.set()
    assert [response.status for response in await asyncio.gather(*asked)] == [200] * 4


async def test_every_answer_has_a_request_id_a_plain_one_of_the_client_or_a_new_one(
    serve: Serve, models: Models
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    ids = set()
    for path, given, kept in (
        ("/v3/models", "abc-1.2:3_4", True),
        ("/nowhere", "x" * 128, True),
        ("/v3/models", "x" * 129, False),
        ("/v3/models", "has blank", False),
        ("/", "", False),
    ):
        got = (await client.get(path, headers={"x-request-id": given})).headers["x-request-id"]
        assert (got == given) is kept
        assert kept or re.fullmatch("req_[0-9a-f]{32}", got)
        ids.add(got)
    assert len(ids) == 5


async def test_the_access_log_has_a_line_per_request_and_no_prompt(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    caplog.set_level("DEBUG", logger="graph_runtime")
    await client.post(
        PATH + "?prompt=a-secret-in-the-query",
        json={"model": "echo", "prompt": "a secret"},
        headers={"x-request-id": "id1"},
    )
    (line,) = [record.getMessage() for record in caplog.records if record.name == "graph_runtime.access"]
    assert re.fullmatch(r"POST /v3/images/generations 200 [0-9.]+ ms model=echo id1", line)
    assert "secret" not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("graph_runtime")
    )


async def test_a_path_cannot_forge_lines_in_the_access_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    client = await serve()
    caplog.set_level("INFO", logger="graph_runtime.access")
    await client.get("/x%0AGET%20/forged")
    assert all("\n" not in record.getMessage() for record in caplog.records if record.name == "graph_runtime.access")
