"""``graph-runtime export`` of repositories of the hub, with a small program in the place of optimum-cli."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.conftest import SHAPES, Calls, pipeline, run, tree
from tests.hub.hub import Hub, Repository, files_of


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> Repository:
    """A pipeline of the hub, with weights in other forms as well."""
    files = files_of(pipeline(tmp_path / "source"))
    files["unet/model.fp16.safetensors"] = b"variant"
    files["unet/model.bin"] = b"pickle"
    files["whole.safetensors"] = b"all in one"
    files["README.md"] = b"# Mine"
    hub.repositories["org/mine"] = Repository(files)
    return hub.repositories["org/mine"]


def test_a_repository_is_fetched_without_other_forms_and_exported(
    hub: Hub, repository: Repository, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capfd, "org/mine")
    assert code == 0
    assert "models/org/mine: complete (int8, " in out
    assert "graph-runtime serve --models models\n" in out
    fetched = set(hub.counts())
    assert not [path for path in fetched if path.endswith(("fp16.safetensors", ".bin", "whole.safetensors", ".md"))]
    assert [path.name for path in Path("models/org").iterdir()] == ["mine"]


def test_what_was_fetched_is_not_fetched_again_after_a_failed_export(
    hub: Hub, repository: Repository, calls: Calls, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FAKE_EXPORT", "fail")
    code, _, err = run(capfd, "org/mine")
    assert code == 1
    assert "the pipeline as it was fetched is kept in models/org/.mine.source.partial for another try" in err
    assert [path.name for path in Path("models/org").iterdir()] == [".mine.source.partial"]
    before = hub.counts()
    monkeypatch.delenv("FAKE_EXPORT")
    assert run(capfd, "org/mine")[0] == 0
    assert hub.counts() == before
    assert [path.name for path in Path("models/org").iterdir()] == ["mine"]


def test_a_family_that_cannot_be_run_is_refused_before_its_weights_are_fetched(
    hub: Hub, repository: Repository, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    repository.files["model_index.json"] = b'{"_class_name": "PixArtAlphaPipeline"}'
    code, _, err = run(capfd, "org/mine")
    assert code == 1
    assert 'org/mine could not be served: org/mine/model_index.json: _class_name is "PixArtAlphaPipeline"' in err
    assert not [path for path in hub.counts() if path.endswith(".safetensors")]
    assert tree(Path("models")) == []
    assert calls() == []


def test_a_repository_in_openvino_format_is_to_be_pulled(
    hub: Hub, calls: Calls, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["org/ready"] = Repository(files_of(SHAPES))
    code, _, err = run(capfd, "org/ready")
    assert code == 1
    assert "org/ready is in OpenVINO format already; fetch it with: graph-runtime pull org/ready" in err
    assert run(capfd, "org/nobody")[0] == 1
