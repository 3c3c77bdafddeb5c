"""``graph-runtime serve --source_model``: the model is pulled if it is not there, and served."""

from __future__ import annotations

import base64
import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from server.cli import main
from tests.hub.hub import Hub, Repository, files_of
from tests.server.serving import Server

SHAPES = Path(__file__).parents[2] / "examples" / "models" / "shapes"
NAME = "OpenVINO/shapes"


@pytest.fixture
def repository(hub: Hub) -> Repository:
    hub.repositories[NAME] = Repository({p: c for p, c in files_of(SHAPES).items() if not p.endswith(".pbtxt")})
    return hub.repositories[NAME]


@contextmanager
def serving(folder: Path, *flags: str) -> Iterator[Server]:
    """A server that pulls; it is ended in order."""
    server = Server("--source_model", NAME, "--task", "image_generation", *flags, cwd=folder)
    try:
        lines = server.first_lines()
        assert lines[1] == "Ready. Try:", server.errors()
        yield server
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    finally:
        server.end()


def draw(server: Server) -> tuple[str | None, tuple[int, int]]:
    """A picture's format and size."""
    body = {"model": NAME, "prompt": "a red circle on a blue background", "num_inference_steps": 2}
    request = urllib.request.Request(
        f"{server.url}/v3/images/generations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
    with Image.open(BytesIO(base64.b64decode(told["data"][0]["b64_json"]))) as picture:
        return picture.format, picture.size


@pytest.mark.model
def test_the_model_is_pulled_and_draws_and_a_restart_needs_no_network(
    hub: Hub, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--model_repository_path", "mine", "--default_resolution", "32x32")
    with serving(tmp_path, *flags) as server:
        assert draw(server) == ("PNG", (32, 32))
    place = tmp_path / "mine" / NAME
    assert 'default_resolution: "32x32"' in (place / "graph.pbtxt").read_text()
    calls, before = hub.calls, files_of(place)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with serving(tmp_path, *flags) as server:
        assert draw(server) == ("PNG", (32, 32))
    assert hub.calls == calls
    assert files_of(place) == before


def test_what_cannot_be_pulled_is_told_and_nothing_is_served(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--source_model", "org/none", "--models", str(tmp_path), "--rest_port", "0"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("graph-runtime serve: there is no repository org/none at ")
    assert said.out == ""


@pytest.mark.parametrize("name", ["--source_model", "--model_name"])
def test_with_pull_the_command_ends_when_the_model_is_there(
    name: str, hub: Hub, repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "serve",
        "--pull",
        name,
        NAME,
        "--model_repository_path",
        str(tmp_path),
        "--task",
        "image_generation",
    ]
    assert main(flags) == 0
    assert f"{tmp_path / NAME}: complete" in capsys.readouterr().out
    repository.files["README.md"] = b"new"
    assert main(flags) == 0
    assert (tmp_path / NAME / "README.md").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--task", "embeddings"], "'embeddings' is not served here; there is one task: image_generation"),
        (["--task", "drawing"], "'drawing' is not known; there is one task: image_generation"),
        (["--source_model", "shapes"], "'shapes' is no repository of the Hugging Face hub: give org/name"),
        (["--source_model", NAME, "--model_path", "."], "--source_model and --model_path exclude each other"),
        (["--source_model", NAME, "--config_path", "x.json"], "--source_model and --config_path exclude each other"),
        (
            ["--max_resolution", "64x64", "--pull"],
            "--pull, --max_resolution: this is for a model that is pulled, by --source_model",
        ),
        (["--source_model", NAME, "--max_resolution", "64"], "argument --max_resolution: '64' "),
    ],
)
def test_flags_that_do_not_go_together_are_a_wrong_command_line(
    flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *flags]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.model
def test_a_running_server_sees_a_model_when_it_is_complete_and_draws_on_while_it_changes(
    hub: Hub, repository: Repository, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    server = Server("--models", str(models), cwd=tmp_path)
    try:
        server.first_lines()
        hub.hold["unet/openvino_model.bin"] = 1_000_000
        pulling = threading.Thread(target=main, args=(["pull", NAME, "--models", str(models)],))
        pulling.start()
        assert hub.held.wait(60)
        assert reload(server) == {}
        hub.release()
        pulling.join(60)
        assert set(reload(server)) == {NAME}
        assert draw(server) == ("PNG", (64, 64))
        repository.files["README.md"] = b"a new commit"
        assert main(["pull", NAME, "--models", str(models), "--default_resolution", "32x32"]) == 0
        assert draw(server)[0] == "PNG"
        assert set(reload(server)) == {NAME}
        assert draw(server) == ("PNG", (32, 32))
    finally:
        server.end()


def reload(server: Server) -> Any:
    """Have it look at its folder; the states of its models."""
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/v1/config/reload", method="POST"), timeout=60
    ) as answer:
        return json.load(answer)


def test_a_graph_of_another_release_is_not_written_anew(
    hub: Hub, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["serve", "--pull", "--source_model", NAME, "--models", str(tmp_path), "--max_resolution", "64x64"]
    assert main(flags) == 0
    before = files_of(tmp_path)
    monkeypatch.setattr("calculators.image_gen.graph_text.version", lambda name: "99.0")
    assert main(flags) == 0
    assert files_of(tmp_path) == before
