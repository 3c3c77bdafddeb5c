"""Which folders are served, and under which names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from server.discovery import bundled_models_dir, find_servables, models_dir


def _graph(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "graph.pbtxt").write_text("")


def _names(folder: Path, told: list[str] | None = None) -> list[str]:
    return [spec.name for spec in find_servables(folder, ([] if told is None else told).append)]


def test_every_folder_with_a_graph_has_its_relative_path_as_name(tmp_path: Path) -> None:
    _graph(tmp_path, "shapes", "OpenVINO/FLUX.1-schnell-int4-ov", "OpenVINO/sd15", "OpenVINO/sd15/variant")
    (tmp_path / "empty").mkdir()
    assert _names(tmp_path) == ["OpenVINO/FLUX.1-schnell-int4-ov", "OpenVINO/sd15", "OpenVINO/sd15/variant", "shapes"]
    spec = find_servables(tmp_path, print)[0]
    assert spec.graph_file == tmp_path / "OpenVINO/FLUX.1-schnell-int4-ov/graph.pbtxt"
    assert spec.base_dir == spec.graph_file.parent
    assert spec.created == int(spec.graph_file.stat().st_mtime)


def test_a_model_folder_given_itself_is_served_under_its_own_name(tmp_path: Path) -> None:
    _graph(tmp_path, "shapes", "shapes/large")
    assert _names(tmp_path / "shapes") == ["large", "shapes"]


def test_a_second_folder_of_the_same_name_is_not_served_and_told(
    tmp_path: Path,
) -> None:
    _graph(tmp_path, "shapes", "shapes/shapes")
    told: list[str] = []
    (spec,) = find_servables(tmp_path / "shapes", told.append)
    assert spec.graph_file == tmp_path / "shapes/graph.pbtxt"
    assert told[0].endswith("has the name 'shapes' already")


def test_hidden_folders_are_left_out(tmp_path: Path) -> None:
    _graph(tmp_path, ".git/hooks", ".cache", "seen")
    assert _names(tmp_path) == ["seen"]


def test_a_folder_named_graph_pbtxt_is_no_graph(tmp_path: Path) -> None:
    (tmp_path / "odd" / "graph.pbtxt").mkdir(parents=True)
    assert _names(tmp_path) == []


def test_links_are_followed_under_each_of_their_names_but_never_in_a_circle(tmp_path: Path) -> None:
    _graph(tmp_path, "v1")
    (tmp_path / "current").symlink_to("v1", target_is_directory=True)
    (tmp_path / "v1" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "gone").symlink_to("nowhere")
    assert _names(tmp_path) == ["current", "v1"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_told_and_stops_no_other(
    tmp_path: Path,
) -> None:
    _graph(tmp_path, "closed/inner", "open")
    (tmp_path / "closed").chmod(0)
    told: list[str] = []
    try:
        assert _names(tmp_path, told) == ["open"]
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert "cannot be searched for graphs: Permission denied" in told[0]


def test_a_name_that_is_not_text_is_told_and_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    name = os.fsdecode(b"bad\xff")
    _graph(tmp_path, name, "good")
    assert _names(tmp_path, told) == ["good"]
    assert "is not served" in told[0]


def test_very_deep_folders_are_told_and_left_out(tmp_path: Path) -> None:
    told: list[str] = []
    _graph(tmp_path, "/".join("abcdefghijklmno"), "/".join("abcdefghijklmnop"))
    assert _names(tmp_path, told) == ["/".join("abcdefghijklmno")]
    assert "more than 16 folders deep" in told[0]


def test_the_given_model_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^model folder '.*nowhere' does not exist$"):
        models_dir(tmp_path / "nowhere")


def test_the_given_model_folder_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "graph.pbtxt").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file; give the folder that holds the model folders"):
        models_dir(tmp_path / "graph.pbtxt")


def test_models_in_the_current_folder_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert models_dir(None) == tmp_path / "models"


def test_without_any_model_folder_it_is_the_model_that_comes_with_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert models_dir(None) == bundled_models_dir()
    assert "shapes" in _names(bundled_models_dir())
