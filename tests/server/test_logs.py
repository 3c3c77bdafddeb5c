"""The log: what machines read of it, and what never stands in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import FormData

from calculators.image_gen.generation import GenerationRequest
from server.logs import JsonFormatter

if TYPE_CHECKING:
    from tests.server.conftest import Models, Serve


class Lines(logging.StreamHandler[io.StringIO]):
    """What is logged from level DEBUG on, formatted."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(io.StringIO())
        self.setFormatter(formatter)

    def text(self) -> str:
        return self.stream.getvalue()

    def objects(self, logger: str) -> list[dict[str, Any]]:
        """Those of a logger."""
        told = [json.loads(line) for line in self.text().splitlines()]
        return [each for each in told if each["logger"] == logger]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines(JsonFormatter())
    handler.addFilter(lambda record: record.name != "aiohttp.access")  # of the tests' server; ours has none
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def test_a_failed_request_is_one_story_that_its_id_finds(serve: Serve, models: Models, lines: Lines) -> None:
    models.add("broken", "HttpRaise")
    client = await serve()
    await client.post("/v3/call", json={"model": "broken"}, headers={"x-request-id": "mine"})
    (failed,) = [each for each in lines.objects("graph_runtime.server") if each.get("request_id") == "mine"]
    assert (failed["level"], failed["model"], failed["path"]) == ("ERROR", "broken", "/v3/call")
    assert "/secret/path/model.bin is broken" in failed["exception"]
    (access,) = lines.objects("graph_runtime.access")
    assert access["ms"] > 0
    assert datetime.fromisoformat(access["time"]).tzinfo is not None
    told = {name: access[name] for name in ("level", "request_id", "method", "path", "model", "status", "code")}
    assert told == {
        "level": "INFO", "request_id": "mine", "method": "POST", "path": "/v3/call", "model": "broken", "status": 500,
        "code": "internal_error",
    }  # fmt: skip


async def test_a_refusal_stands_in_the_access_log_with_its_code_and_without_what_was_sent(
    serve: Serve, models: Models, lines: Lines
) -> None:
    models.add("refuse", "HttpRefuse")
    client = await serve()
    await client.post("/v3/call", json={"model": "refuse"})
    await client.post("/v3/call", json={"model": "not-there"})
    codes = [each["code"] for each in lines.objects("graph_runtime.access")]
    assert codes == ["invalid_value", "model_not_found"]
    assert "not-there" not in lines.text()


async def test_an_error_in_a_stream_that_began_has_its_code_in_the_access_log(
    serve: Serve, models: Models, lines: Lines
) -> None:
    models.add("script", "HttpScript")
    client = await serve()
    answer = await client.post("/v3/call", json={"model": "script", "stream": True, "do": ["{}", "refuse"]})
    assert answer.status == 200
    await answer.read()
    (access,) = lines.objects("graph_runtime.access")
    assert (access["status"], access["code"]) == (200, "invalid_value")


async def test_no_body_header_or_query_is_logged_at_any_level(serve: Serve, models: Models, lines: Lines) -> None:
    models.add("echo", "HttpEcho")
    models.add("broken", "HttpRaise")
    client = await serve()
    secret = {"Authorization": "Bearer s3cret"}
    for model in ("echo", "broken", "nobody"):
        await client.post("/v3/call?key=s3cret", json={"model": model, "prompt": "s3cret"}, headers=secret)
    form = FormData({"model": "echo", "prompt": "s3cret"}, default_to_multipart=True)
    await client.post("/v3/call", data=b'{"model": s3cret', headers={"Content-Type": "application/json"})
    await client.post("/v3/call", data=form)
    assert lines.text().count('"logger": "graph_runtime.access"') == 5
    assert "s3cret" not in lines.text()


def test_a_generation_request_does_not_show_its_prompts() -> None:
    texts = dict.fromkeys(
        ("prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"), "s3cret"
    )
    shown = repr(GenerationRequest("s3cret", 64, 64, 1, 20, image=b"s3cret", **texts))  # type: ignore[arg-type]  # names of texts
    assert "s3cret" not in shown
    assert "width=64" in shown
