"""``graph-runtime pull`` of repositories that are not in OpenVINO format."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.cli import main
from tests.export.conftest import SHAPES, Calls, pipeline
from tests.hub.hub import Hub, Repository, files_of


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> Repository:
    """The pipeline org/mine."""
    hub.repositories["org/mine"] = Repository(files_of(pipeline(tmp_path / "source")))
    return hub.repositories["org/mine"]


def pull(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["pull", *argv])
    printed = capfd.readouterr()
    return code, printed.out, printed.err


def test_a_pipeline_is_exported_once(
    repository: Repository, hub: Hub, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = pull(capfd, "org/mine", "--weight-format", "int4", "--max_num_images_per_prompt", "2")
    assert code == 0
    assert "models/org/mine: complete (int4, 9.1 MB); serve it with: graph-runtime serve --models models\n" in out
    assert "max_num_images_per_prompt: 2" in Path("models/org/mine/graph.pbtxt").read_text()
    before = hub.counts()
    code, out, _ = pull(capfd, "org/mine")
    assert code == 0
    assert "models/org/mine: up to date (commit " in out
    assert hub.counts() == before
    assert len(calls()) == 1


def test_a_newer_commit_is_exported_where_that_is_asked_for(
    repository: Repository, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    pull(capfd, "org/mine")
    repository.files["unet/config.json"] = b'{"new": true}'
    code, _, err = pull(capfd, "org/mine")
    assert code == 1
    assert "has a newer commit" in err
    assert "--overwrite_models exports it anew" in err
    assert len(calls()) == 1
    assert pull(capfd, "org/mine", "--overwrite_models")[0] == 0
    assert len(calls()) == 2
    assert pull(capfd, "org/mine")[0] == 0


def test_weights_that_are_not_as_they_are_asked_for_are_told(
    repository: Repository, hub: Hub, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    pull(capfd, "org/mine")
    code, _, err = pull(capfd, "org/mine", "--weight-format", "int4")
    assert code == 1
    assert "models/org/mine was exported to int8, and not to int4; --overwrite_models exports it anew" in err
    hub.repositories["org/ready"] = Repository(files_of(SHAPES))
    code, _, err = pull(capfd, "org/ready", "--weight-format", "int4")
    assert code == 1
    assert "org/ready is in OpenVINO format already, and is not exported; leave --weight-format out" in err
    assert not Path("models/org/ready").exists()
