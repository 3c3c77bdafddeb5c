"""``graph-runtime serve`` as a process: its first lines, its port, its signals."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.cli import main
from server.discovery import bundled_models_dir
from tests.server.serving import Asker, Server

if TYPE_CHECKING:
    from tests.server.conftest import Models, StartServer


def test_it_says_where_and_what_and_how_to_call_and_ends_with_0_at_a_signal(
    start_server: StartServer, models: Models
) -> None:
    models.add("echo", "Echo")
    models.add("a/b", "Echo")
    server = start_server("--models", str(models.folder))
    first, second, third = server.first_lines()
    assert first == f"graph-runtime is at {server.url} and serves a/b, echo, from {models.folder}"
    assert server.url.startswith("http://127.0.0.1:")
    assert second == "Ready. Try:"
    assert third == f"  curl {server.url}/v3/models"
    assert server.post({"model": "echo"}) == {"echo": True}
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert "Traceback" not in server.errors()


def test_models_in_the_current_folder_are_served_without_any_flag(start_server: StartServer, models: Models) -> None:
    models.add("echo", "Echo")
    first, _, _ = start_server().first_lines()
    assert first.endswith(f"serves echo, from {models.folder}")


def test_a_model_that_fails_is_told_at_start_and_the_others_are_served(
    start_server: StartServer, models: Models
) -> None:
    models.add("echo", "Echo")
    models.add("typo", "Ehco")
    server = start_server("--models", str(models.folder))
    _, second, _ = server.first_lines()
    assert second == f"Not ready: typo failed to load; {server.url}/v2/health/ready says why. Try:"
    assert server.post({"model": "echo"}) == {"echo": True}
    assert 'model typo cannot be served: typo/graph.pbtxt:4:28: node "only": ' in server.errors()


def test_one_model_is_served_alone_and_under_the_name_that_is_given(start_server: StartServer, models: Models) -> None:
    models.add("echo", "Echo")
    models.add("other", "Ehco")
    server = start_server("--model_path", "models/echo", "--model_name", "a/b")
    first, second, _ = server.first_lines()
    assert first.endswith(f"serves a/b, from {models.folder / 'echo'}")
    assert second == "Ready. Try:"
    assert server.post({"model": "a/b"}) == {"echo": True}


def test_one_model_that_cannot_be_loaded_ends_the_server_with_the_reason(
    start_server: StartServer, models: Models
) -> None:
    models.add("typo", "Ehco")
    server = start_server("--model_path", "models/typo")
    assert server.process.wait(60) == 1
    assert "graph-runtime serve: the model 'typo' cannot be served: typo/graph.pbtxt:4:28: node" in server.errors()


def test_one_model_that_is_not_there_is_told_before_the_port_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--model_path", str(tmp_path / "cat"), "--rest_port", "0"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "graph-runtime serve: the model 'cat' cannot be served: there is no such folder\n"


def test_what_a_config_file_lists_is_served_and_an_entry_without_a_graph_is_told(
    start_server: StartServer, models: Models, tmp_path: Path
) -> None:
    models.add("echo", "Echo")
    models.add("other", "Echo")
    entries = [{"config": {"name": "listed", "base_path": "models/echo"}}, {"config": {"name": "gone"}}]
    (tmp_path / "c.json").write_text(json.dumps({"model_config_list": entries}))
    server = start_server("--config-path", "c.json")
    first, second, _ = server.first_lines()
    assert first.endswith(f"serves gone, listed, from {tmp_path}/c.json")
    assert second.startswith("Not ready: gone failed to load")
    assert server.post({"model": "listed"}) == {"echo": True}


def test_a_config_file_that_cannot_be_read_ends_the_start_with_every_problem(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    config = models.folder / "config.json"
    config.write_text('{"model_config_lst": [],\n "graph_runtime": {"lanes": 0}}')
    assert main(["serve", "--model_repository_path", str(models.folder), "--rest_port", "0"]) == 2
    assert [line.split(": ")[-2] for line in capsys.readouterr().err.splitlines()] == [
        "model_config_lst",
        "graph_runtime.lanes",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_that_runs_when_the_grace_is_over_is_cancelled_and_its_client_told(
    start_server: StartServer, models: Models, number: signal.Signals
) -> None:
    models.add("wait", "Wait")
    server = start_server("--models", str(models.folder), "--shutdown_grace_s", "0")
    server.first_lines()
    client = Asker(server, {"model": "wait"})
    assert server.line() == "waiting"
    server.process.send_signal(number)
    assert server.line() == "cancelled"
    assert server.process.wait(30) == 0
    assert client.status() == 503


def test_a_run_that_ignores_everything_does_not_keep_the_process_alive(
    start_server: StartServer, models: Models
) -> None:
    models.add("deaf", "Deaf")
    server = start_server("--models", str(models.folder), "--shutdown_grace_s", "0", "--cancel_grace_s", "0.1")
    server.first_lines()
    client = Asker(server, {"model": "deaf"})
    assert server.line() == "waiting"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert client.status() == 503
    assert "1 graph run(s) ignore that they were cancelled; leaving without them" in server.errors()


def test_an_empty_model_folder_is_told_with_where_the_bundled_model_is(
    start_server: StartServer, models: Models
) -> None:
    first, second, third = start_server().first_lines()
    assert first.endswith(f"serves nothing, from {models.folder}")
    assert second == (
        f"There is no graph.pbtxt and no model_index.json in {models.folder}: nothing is served. Put a model's folder there, "
        "or serve the model that comes with graph-runtime:"
    )
    assert third == f"  graph-runtime serve --models {bundled_models_dir()}"


def _exchange(server: Server, sent: bytes) -> tuple[str, str]:
    """The head and the body of the answer to some bytes."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return head, body


def test_what_is_no_http_gets_our_form_of_error_and_one_line_in_the_log(
    start_server: StartServer, models: Models
) -> None:
    models.add("echo", "Echo")
    server = start_server("--models", str(models.folder))
    server.first_lines()
    damaged = (
        b"POST /v3/call HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
        b"Connection: close\r\nContent-Length: 8\r\n\r\nnot gzip"
    )
    for sent, code in (
        (b"\x16\x03\x01garbage\r\n\r\n", "invalid_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbad header line\r\n\r\n", "invalid_http"),
        (b"GET / HTTP/9.9.9\r\nHost: x\r\n\r\n", "invalid_http"),
        (b"GET /?q=a+secret" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", "invalid_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: a+secret" + b"x" * 20_000 + b"\r\n\r\n", "invalid_http"),
        (damaged, "invalid_body"),
    ):
        head, body = _exchange(server, sent)
        assert head.split()[1] == "400", (sent, head)
        assert "Server: graph-runtime\r\n" in head + "\r\n"
        assert "aiohttp" not in head
        assert json.loads(body)["error"]["code"] == code
        assert "secret" not in body
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    log = server.errors()
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert "secret" not in log
    assert log.count("is not HTTP: ") == 5
    assert log.count("is not HTTP: a line has more than 8190 bytes") == 2


def test_several_addresses_share_one_port_and_are_told(start_server: StartServer, models: Models) -> None:
    models.add("echo", "Echo")
    server = start_server("--models", str(models.folder), "--rest_bind_address", "127.0.0.1,127.0.0.2,127.0.0.1")
    first, _, _ = server.first_lines()
    port = server.url.rpartition(":")[2]
    assert f" is at http://127.0.0.1:{port} and http://127.0.0.2:{port} " in first
    for address in ("127.0.0.1", "127.0.0.2"):
        with urllib.request.urlopen(f"http://{address}:{port}/v2/health/live", timeout=30) as response:
            assert response.status == 200


def test_the_log_goes_to_a_file_too(start_server: StartServer, models: Models, tmp_path: Path) -> None:
    models.add("echo", "Echo")
    server = start_server("--models", str(models.folder), "--log_path", str(tmp_path / "server.log"))
    server.first_lines()
    server.post({"model": "echo"})
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    written = (tmp_path / "server.log").read_text()
    assert "POST /v3/call 200" in written
    assert written == server.errors()


@pytest.mark.parametrize("setting", ["log_path", "image_store"])
def test_a_place_that_cannot_be_written_is_told_with_its_setting(
    models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    (tmp_path / "file").touch()
    place = str(tmp_path / "file" / "below")
    assert main(["serve", "--models", str(models.folder), "--rest_port", "0", f"--{setting}", place]) == 2
    assert capsys.readouterr().err == f"graph-runtime serve: {setting} {place} cannot be written: Not a directory\n"


@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
def test_a_server_that_is_open_to_the_network_without_a_key_says_so(
    start_server: StartServer, models: Models, address: str
) -> None:
    models.add("echo", "Echo")
    server = start_server("--models", str(models.folder), "--rest_bind_address", address)
    server.first_lines()
    assert ("everybody who reaches this port may use the server" in server.errors()) is (address == "0.0.0.0")


def test_a_cache_that_cannot_be_written_is_told_and_the_server_starts(
    start_server: StartServer, models: Models, tmp_path: Path
) -> None:
    models.add("echo", "Echo")
    (tmp_path / "file").touch()
    for place, warned in ((tmp_path / "new" / "cache", False), (tmp_path / "file" / "cache", True)):
        server = start_server("--models", str(models.folder), "--cache_dir", str(place))
        server.first_lines()
        assert (f"cache_dir {place} cannot be written by this user" in server.errors()) is warned


def test_more_connections_than_open_files_are_one_line_in_the_log_and_the_server_goes_on(
    start_server: StartServer, models: Models
) -> None:
    models.add("echo", "Echo")
    server = start_server("--models", str(models.folder))
    server.first_lines()
    open_files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
    limit = open_files + 4
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
    host, port = server.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened:
        for _ in range(40):
            opened.enter_context(socket.create_connection((host, int(port)), timeout=30))
    assert server.post({"model": "echo"}) == {"echo": True}
    assert server.errors().count("no more connections can be taken: Too many open files") == 1
    assert "Traceback" not in server.errors()


def test_an_api_key_file_that_cannot_be_read_is_told(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["serve", "--models", str(models.folder), "--rest_port", "0", "--api_key_file", "/nowhere/key"]
    assert main(arguments) == 2
    assert "api_key_file /nowhere/key cannot be read" in capsys.readouterr().err


def test_a_busy_port_is_told_before_anything_is_loaded(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert main(["serve", "--models", str(models.folder), "--rest_port", str(port)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"graph-runtime serve: port {port} on 127.0.0.1 is in use by another program; "
        "choose one with --rest_port (0 takes any free one)\n"
    )


def test_an_address_of_another_machine_is_told(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["serve", "--models", str(models.folder), "--rest_port", "0", "--rest_bind_address", "192.0.2.1"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        "graph-runtime serve: '192.0.2.1' is not an address of this machine (Cannot assign requested address); give one with "
        "--rest_bind_address\n"
    )


def test_a_model_folder_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--models", str(tmp_path / "nowhere"), "--rest_port", "0"]) == 2
    assert capsys.readouterr().err == f"graph-runtime serve: model folder '{tmp_path}/nowhere' does not exist\n"


def test_an_options_file_that_cannot_be_used_is_told(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["serve", "--models", str(models.folder), "--rest_port", "0", "--options_proto", "none.proto"]
    assert main(arguments) == 2
    assert capsys.readouterr().err.endswith("graph-runtime serve: The path does not exist: none.proto\n")
