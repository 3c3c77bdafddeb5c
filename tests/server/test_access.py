"""Who may ask: the API key, and web pages of other origins."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from server.access import api_key
from server.app import build_app
from server.keys import ACCESS
from server.settings import Settings, SettingsError

if TYPE_CHECKING:
    from tests.server.conftest import Models, Serve

PATH = "/v3/images/generations"
ECHO = {"model": "echo"}
KEY = "ABC123"
PAGE = "https://app.example.com"


# ---- API key


async def test_without_the_key_all_but_health_and_the_page_is_401(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(api_key=KEY)
    for method, path in (
        ("POST", PATH),
        ("POST", "/v1/requests/x/cancel"),
        ("GET", "/v3/models"),
        ("GET", "/v1/models/echo"),
        ("GET", "/v1/images/files/x.png"),
        ("GET", "/nowhere"),
        ("DELETE", "/v3/models"),
    ):
        for headers in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": KEY}, {"Authorization": "Bearer"}):
            response = await client.request(method, path, json=ECHO, headers=headers)
            assert response.status == 401, (method, path, headers)
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="graph-runtime"'
            error = (await response.json())["error"]
            assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
            assert KEY not in error["message"]
    assert (await client.get("/v2/health/live")).status == 200
    assert (await client.get("/v2/health/ready")).status == 200
    assert (await client.get("/")).status == 200


@pytest.mark.parametrize("name", ["Authorization", "authorization", "authoriZation"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_with_the_key_everything_is_answered(serve: Serve, models: Models, name: str, scheme: str) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(api_key=KEY)
    assert (await client.post(PATH, json=ECHO, headers={name: f"{scheme} {KEY}"})).status == 200
    assert (await client.get("/v3/models", headers={name: f"{scheme} {KEY}"})).status == 200


async def test_a_right_key_and_a_model_that_is_missing_is_404(serve: Serve) -> None:
    client = await serve(api_key=KEY)
    response = await client.post(PATH, json={"model": "gpt-missing"}, headers={"Authorization": f"Bearer {KEY}"})
    assert response.status == 404


async def test_who_does_not_send_the_key_learns_no_name_of_a_model(serve: Serve, models: Models) -> None:
    models.add("secret-project", "HttpEcho")
    models.add("broken-project", "Typo")
    client = await serve(api_key=KEY)
    for path in ("/", "/v2/health/ready"):
        stranger = await (await client.get(path)).text()
        friend = await (await client.get(path, headers={"Authorization": f"Bearer {KEY}"})).text()
        for name in ("secret-project", "broken-project"):
            assert name not in stranger
            assert name in friend
    page = await (await client.get("/")).text()
    assert "This server asks for an API key" in page
    assert "-H &quot;Authorization: Bearer $API_KEY&quot;" in page


async def test_a_key_is_never_logged(serve: Serve, models: Models, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    models.add("raise", "HttpRaise")
    client = await serve(api_key=KEY)
    for sent in (KEY, "wrong-key"):
        await client.post(PATH, json={"model": "raise"}, headers={"Authorization": f"Bearer {sent}"})
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("graph_runtime"))
    assert "raise" in ours
    assert KEY not in ours
    assert "wrong-key" not in ours
    assert KEY not in repr(client.app[ACCESS])
    assert KEY not in repr(Settings(api_key=KEY))


async def test_bytes_that_are_no_text_are_a_wrong_key(serve: Serve) -> None:
    client = await serve(api_key="k?y")
    for sent in ("Bearer k\udcffy", "Bearer kéy"):
        assert not client.app[ACCESS].knows_key(sent)
    assert client.app[ACCESS].knows_key("Bearer k?y")


def test_the_key_is_the_first_line_of_its_file_without_blanks_at_its_end(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY} \t\r\nsecond line\n")
    assert api_key(Settings(api_key_file=file, api_key="of the environment")) == KEY


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({}, None),
        ({"API_KEY": "reference"}, "reference"),
        ({"GRAPH_RUNTIME_API_KEY": "ours\n"}, "ours"),
        ({"GRAPH_RUNTIME_API_KEY": "ours", "API_KEY": "reference"}, "ours"),
    ],
)
def test_without_a_file_the_key_comes_from_the_environment(environment: dict[str, str], key: str | None) -> None:
    assert api_key(Settings.resolve({}, environment)) == key


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\n", "is empty"),
        (b"  \nkey", "is empty"),
        ("schlüssel".encode(), "cannot stand in a header"),
        (b"\xff", "read"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_told(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=problem) as caught:
        api_key(Settings(api_key_file=file))
    assert str(file) in str(caught.value)


def test_a_key_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: .*No such file"):
        api_key(Settings(api_key_file=tmp_path / "none"))


# ---- CORS


async def test_a_page_of_a_listed_origin_is_echoed_alone(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(allowed_origins=("https://other.example", PAGE))
    for path, status in ((PATH, 200), ("/nowhere", 404)):
        response = await client.post(path, json=ECHO, headers={"Origin": PAGE})
        assert response.status == status
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Vary"] == "Origin"
        assert "x-request-id" in response.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_a_page_of_another_origin_gets_no_header_and_caches_are_told(serve: Serve) -> None:
    client = await serve(allowed_origins=(PAGE,))
    response = await client.get("/v3/models", headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Vary"] == "Origin"


async def test_a_star_lets_all_pages_in(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(allowed_origins=("*",))
    response = await client.post(PATH, json=ECHO, headers={"Origin": "null"})
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_browser_may_ask_for_any_path_without_the_key_and_is_told_by_name_what_it_may_send(
    serve: Serve, models: Models
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve(allowed_origins=(PAGE,), allow_credentials=True, api_key=KEY)
    asked = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    for path in (PATH, "/v3/models", "/nowhere", "/"):
        response = await client.options(path, headers=asked)
        assert response.status == 200, path
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
        assert response.headers["Access-Control-Allow-Methods"] == "POST"
        assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
        assert response.headers["Access-Control-Allow-Credentials"] == "true"


async def test_listed_methods_and_headers_are_what_a_browser_is_told(serve: Serve) -> None:
    client = await serve(
        allowed_origins=("*",), allowed_methods=("GET", "POST"), allowed_headers=("authorization", "content-type")
    )
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "x-other"}
    response = await client.options(PATH, headers=asked)
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert response.headers["Access-Control-Allow-Headers"] == "authorization, content-type"


async def test_a_page_that_is_not_listed_is_told_nothing_it_may_send(serve: Serve) -> None:
    client = await serve(allowed_origins=(PAGE,))
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    response = await client.options(PATH, headers=asked)
    assert not [name for name in response.headers if name.startswith("Access-Control-Allow")]


async def test_unless_told_otherwise_pages_of_others_may_neither_read_nor_send(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    read = await client.get("/v3/models", headers={"Origin": "https://evil.example"})
    assert (read.status, "Access-Control-Allow-Origin" in read.headers) == (200, False)
    sent = await client.post(PATH, data={"model": "echo"}, headers={"Origin": "https://evil.example"})
    assert sent.status == 403
    assert (await sent.json())["error"]["code"] == "origin_not_allowed"
    asked = await client.options(PATH, headers={"Origin": PAGE, "Access-Control-Request-Method": "POST"})
    assert asked.status == 405


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://shapes.example:8000", "Host": "shapes.example:8000"},
        {"Origin": "https://shapes.example", "Host": "10.0.0.7", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=["no page", "own page", "own page behind a proxy"],
)
async def test_programs_and_the_servers_own_pages_may_send(
    serve: Serve, models: Models, headers: dict[str, str]
) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    assert (await client.post(PATH, json=ECHO, headers=headers)).status == 200


async def test_a_page_that_says_its_own_host_but_came_from_elsewhere_may_not_send(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpEcho")
    client = await serve()
    headers = {"Origin": "http://a.example", "Host": "a.example", "Sec-Fetch-Site": "cross-site"}
    assert (await client.post(PATH, json=ECHO, headers=headers)).status == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("10.1.2.3", 200),
        ("api.localhost", 200),
        ("rebound.example", 421),
        ("rebound.example:8000", 421),
        ("localhost.evil.example", 421),
    ],
)
async def test_a_server_for_its_own_machine_answers_to_no_name_that_a_web_page_could_have(
    serve: Serve, host: str, status: int
) -> None:
    client = await serve()
    client.app[ACCESS].local_only = True
    assert (await client.get("/v3/models", headers={"Host": host})).status == status


async def test_a_program_that_sends_no_host_is_answered(serve: Serve) -> None:
    client = await serve()
    client.app[ACCESS].local_only = True
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()


async def test_an_application_whose_settings_do_not_go_together_does_not_start(models: Models) -> None:
    runner = web.AppRunner(build_app(Settings(models=models.folder, allow_credentials=True)))
    with pytest.raises(SettingsError, match="--allow_credentials needs a list of --allowed_origins"):
        await runner.setup()
    await runner.cleanup()
