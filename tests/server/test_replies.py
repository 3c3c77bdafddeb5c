"""Streams of events: what goes over the wire, and when; what is refused before and after they have begun."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from server.replies import KEEP_ALIVE_S

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from tests.server.conftest import Client, FakeClock, Gate, Models, Serve

PATH = "/v3/images/generations"
EARLY = '{"type": "image_generation.partial_image", "b64_json": "eA=="}'
LAST = '{"type": "image_generation.completed"}'
EARLY_LINES = f"event: image_generation.partial_image\ndata: {EARLY}\n\n".encode()
LAST_LINES = f"event: image_generation.completed\ndata: {LAST}\n\n".encode()


async def ask(client: Client, *do: str, **fields: Any) -> ClientResponse:
    return await client.post(PATH, json={"model": "script", "stream": True, "do": list(do), **fields})


@pytest.fixture
async def client(serve: Serve, models: Models, clock: FakeClock) -> Client:
    models.add("script", "HttpScript")
    return await serve(clock=clock)


async def test_each_packet_is_an_event_named_by_its_type(client: Client) -> None:
    response = await ask(client, EARLY, EARLY, LAST)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["x-request-id"]
    assert await response.read() == EARLY_LINES * 2 + LAST_LINES


async def test_an_event_is_sent_while_the_graph_still_works(client: Client, gate: Gate) -> None:
    response = await ask(client, EARLY, "wait", LAST)
    assert await response.content.readexactly(len(EARLY_LINES)) == EARLY_LINES
    await gate.wait_entered()
    gate.released.set()
    assert await response.read() == LAST_LINES


async def test_packets_without_a_type_or_with_lines_are_data_all_the_same(client: Client) -> None:
    response = await ask(client, '{"a": 1}', "two\nlines", '{"type": "no name!"}')
    assert await response.text() == 'data: {"a": 1}\n\ndata: two\ndata: lines\n\ndata: {"type": "no name!"}\n\n'


async def test_only_the_ends_of_lines_that_events_know_divide_a_packet(client: Client) -> None:
    response = await ask(client, '{"a":\r\n"x\u2028y\u0085z",\r"b": 1}\n')
    assert await response.text() == 'data: {"a":\ndata: "x\u2028y\u0085z",\ndata: "b": 1}\ndata: \n\n'


@pytest.mark.parametrize("stream", [False, None])
async def test_without_stream_the_answer_is_json(client: Client, stream: bool | None) -> None:
    response = await ask(client, LAST, stream=stream)
    assert (response.content_type, await response.text()) == ("application/json", LAST)


@pytest.mark.parametrize(("do", "status"), [("refuse", 400), ("raise", 500)])
async def test_an_error_before_the_first_event_is_an_ordinary_one(client: Client, do: str, status: int) -> None:
    response = await ask(client, do)
    assert (response.status, response.content_type) == (status, "application/json")
    assert "error" in await response.json()


async def test_an_error_in_the_middle_is_sent_as_an_event_and_ends_the_stream(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response = await ask(client, EARLY, "raise")
    assert response.status == 200
    begin, end = (await response.text()).split("\n\n", 1)
    assert begin.startswith("event: image_generation.partial_image")
    assert end.startswith("data: ")
    assert end.endswith("\n\n")
    error = json.loads(end.removeprefix("data: "))["error"]
    assert (error["type"], error["code"]) == ("server_error", "internal_error")
    assert "secret" not in error["message"]
    assert "/secret/path/model.bin is broken" in caplog.text
    refused = await ask(client, EARLY, "refuse")
    assert '"param": "steps"' in await refused.text()


async def test_a_stream_without_a_packet_is_a_fault_of_the_server(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(client)).status == 500
    assert 'output stream "output" gave no packet' in caplog.text


async def test_silence_is_filled_with_comments(client: Client, clock: FakeClock, gate: Gate) -> None:
    response = await ask(client, EARLY, "wait", LAST)
    await response.content.readexactly(len(EARLY_LINES))
    for _ in range(3):
        await clock.wait_for_sleep(KEEP_ALIVE_S)
        clock.advance(KEEP_ALIVE_S)
        assert await response.content.readline() == b": waiting\n"
        assert await response.content.readline() == b"\n"
    gate.released.set()
    assert await response.read() == LAST_LINES


async def test_a_long_wait_for_the_first_event_begins_the_stream(client: Client, clock: FakeClock, gate: Gate) -> None:
    asked = asyncio.create_task(ask(client, "wait", "refuse"))
    await gate.wait_entered()
    await clock.wait_for_sleep(KEEP_ALIVE_S)
    clock.advance(KEEP_ALIVE_S)
    response = await asked
    assert response.status == 200
    assert await response.content.readline() == b": waiting\n"
    gate.released.set()
    assert '"param": "steps"' in await response.text()


async def test_a_client_that_leaves_a_stream_cancels_its_run(client: Client, gate: Gate) -> None:
    response = await ask(client, EARLY, "wait", "wait")
    await gate.wait_entered()
    response.close()
    assert await asyncio.to_thread(gate.released.wait, 20)  # HttpScript releases it when it is cancelled


async def test_what_was_ignored_stands_in_a_header(client: Client) -> None:
    ignored = '"ignored_parameters": ["user", "moderation"]}'
    for stream in (True, False):
        response = await ask(client, f'{{"type": "x", {ignored}', stream=stream)
        assert response.headers["x-ignored-parameters"] == "user, moderation"
    for text in (
        '{"ignored_parameters": ["a\\r\\nSet-Cookie: x"]}',
        '["ignored_parameters"]',
        '"ignored_parameters" {',
    ):
        response = await ask(client, text, stream=False)
        assert (response.status, "x-ignored-parameters" in response.headers) == (200, False)


# ---- deadlines


async def test_a_request_that_takes_too_long_is_cancelled(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(clock=clock, request_timeout_s=30.0)
    asked = asyncio.create_task(client.post(PATH, json={"model": "block"}))
    await gate.wait_entered()
    await clock.wait_for_sleep(30.0)
    clock.advance(29.9)
    assert not asked.done()
    clock.advance(0.1)
    response = await asked
    assert response.status == 504
    assert response.headers["x-should-retry"] == "false"
    assert (await response.json())["error"] == {
        "message": "The request was cancelled: it took longer than 30 seconds, the most that the server or the "
        "request itself allows.",
        "type": "server_error",
        "param": None,
        "code": "request_timeout",
    }
    await gate.wait_cancelled()


async def test_the_time_of_a_request_that_waits_for_its_turn_counts(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate
) -> None:
    models.add("stubborn", "HttpStubborn")
    client = await serve(clock=clock, request_timeout_s=30.0, runs_per_servable=1)
    asked = [asyncio.create_task(client.post(PATH, json={"model": "stubborn"})) for _ in range(2)]
    await gate.wait_entered()
    while len([True for seconds, _, _ in clock._sleepers if seconds == 30.0]) < 2:
        await client.get("/v2/health/live")  # the second one is still on its way
    clock.advance(30.0)
    assert [(await each).status for each in asked] == [504, 504]
    assert gate.entries == 1
    gate.released.set()


async def test_a_stream_that_takes_too_long_ends_with_the_error(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate
) -> None:
    models.add("script", "HttpScript")
    client = await serve(clock=clock, request_timeout_s=5.0)
    response = await ask(client, EARLY, "wait", LAST)
    await gate.wait_entered()
    clock.advance(5.0)
    text = await response.text()
    assert '"code": "request_timeout"' in text
    assert LAST not in text
