"""What is served from where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from server.discovery import bundled_models_dir
from server.repository import Repository, Scan
from server.settings import Settings, SettingsError

SHAPES = bundled_models_dir() / "shapes"


def graph(folder: Path, name: str = "graph.pbtxt", text: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def image_model(folder: Path, class_name: str = "StableDiffusionPipeline") -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "openvino_model.xml").write_text("<net/>")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": class_name}))
    return folder


def config(folder: Path, **content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    return folder / "config.json"


def scan(**settings: Any) -> Scan:
    return Repository(Settings(**settings)).scan()


def names(found: Scan) -> list[str]:
    return [spec.name for spec in found.specs]


# ---- a model folder


def test_an_image_model_without_a_graph_is_served_by_one_that_no_file_holds(tmp_path: Path) -> None:
    folder = image_model(tmp_path / "OpenVINO" / "sd15")
    (spec,) = scan(models=tmp_path).specs
    assert (spec.name, spec.base_dir, spec.graph_file) == ("OpenVINO/sd15", folder, None)
    assert 'models_path: "."' in (spec.graph_text or "")
    assert spec.created == int((folder / "model_index.json").stat().st_mtime)
    assert sorted(path.name for path in folder.iterdir()) == ["model_index.json", "unet"]


def test_an_image_model_that_belongs_to_a_graph_is_not_served_again(tmp_path: Path) -> None:
    image_model(tmp_path / "inside" / "model")
    graph(tmp_path / "inside", text='models_path: "model"')
    weights = image_model(tmp_path / "weights")
    graph(tmp_path / "outside", text=f'models_path: "{weights}"')
    assert names(scan(models=tmp_path)) == ["inside", "outside"]


@pytest.mark.parametrize(
    ("class_name", "reason"), [("LTXPipeline", "no pipeline that makes pictures"), (None, "not in OpenVINO format")]
)
def test_a_model_that_cannot_be_served_is_told_and_stops_no_other(
    tmp_path: Path, class_name: str | None, reason: str
) -> None:
    folder = image_model(tmp_path / "odd", class_name or "FluxPipeline")
    if class_name is None:
        shutil.rmtree(folder / "unet")
    graph(tmp_path / "good")
    found = scan(models=tmp_path)
    assert names(found) == ["good"]
    assert reason in found.warnings[0]


def test_with_lists_in_the_folder_both_are_served_and_each_folder_once(tmp_path: Path) -> None:
    for name in ("listed", "found"):
        graph(tmp_path / "models" / name)
    graph(tmp_path / "elsewhere" / "cat")
    entries = [{"config": {"name": "renamed", "base_path": "listed"}}]
    config(
        tmp_path / "models",
        model_config_list=entries,
        mediapipe_config_list=[{"name": "cat", "base_path": str(tmp_path / "elsewhere" / "cat")}],
        graph_runtime={"models": {"renamed": {"lanes": 3}}},
    )
    found = scan(models=tmp_path / "models")
    assert names(found) == ["cat", "found", "renamed"]
    assert found.specs[2].model.lanes == 3
    assert not found.warnings


def test_a_listed_name_wins_over_a_folder_of_this_name_and_that_is_told(tmp_path: Path) -> None:
    graph(tmp_path / "a")
    graph(tmp_path / "b")
    config(tmp_path, model_config_list=[{"config": {"name": "a", "base_path": "b"}}])
    found = scan(models=tmp_path)
    assert [(spec.name, spec.base_dir) for spec in found.specs] == [("a", tmp_path / "b")]
    assert f"{tmp_path}/a/graph.pbtxt is not served: " in found.errors[0]


def test_nothing_to_serve_is_told(tmp_path: Path) -> None:
    assert "there is nothing to serve" in scan(models=tmp_path).warnings[0]


# ---- the lists


def listed(tmp_path: Path, **entry: str) -> Scan:
    path = config(tmp_path, mediapipe_config_list=[entry])
    return scan(config_path=path)


def test_a_config_file_serves_what_it_lists_alone(tmp_path: Path) -> None:
    graph(tmp_path / "a")
    graph(tmp_path / "b")
    assert names(listed(tmp_path, name="a")) == ["a"]


@pytest.mark.parametrize(
    ("entry", "file", "base"),
    [
        ({}, "a/graph.pbtxt", "a"),
        ({"base_path": ""}, "a/graph.pbtxt", "a"),
        ({"base_path": "m/x"}, "m/x/graph.pbtxt", "m/x"),
        ({"base_path": "TMP/m/x"}, "m/x/graph.pbtxt", "m/x"),
        ({"base_path": "m", "graph_path": "deep/g.pbtxt"}, "m/deep/g.pbtxt", "m"),
        ({"base_path": "m", "graph_path": "TMP/g.pbtxt"}, "g.pbtxt", "m"),
        ({"graph_path": "TMP/w/g.pbtxt"}, "w/g.pbtxt", "w"),
        ({}, "a/1/graph.pbtxt", "a/1"),
    ],
)
def test_paths_of_an_entry(tmp_path: Path, entry: dict[str, str], file: str, base: str) -> None:
    graph((tmp_path / file).parent, (tmp_path / file).name)
    entry = {key: value.replace("TMP", str(tmp_path)) for key, value in entry.items()}
    (spec,) = listed(tmp_path, name="a", **entry).specs
    assert (spec.graph_file, spec.base_dir) == (tmp_path / file, tmp_path / base)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"base_path": "../x"}, 'base_path "../x" must not contain ".."'),
        ({"graph_path": "x/../../g.pbtxt"}, 'graph_path "x/../../g.pbtxt" must not contain ".."'),
        ({"subconfig": "../x.json"}, 'subconfig "../x.json" must not contain ".."'),
        ({"base_path": "gone"}, '"gone": there is no such folder'),
        ({}, '"a": the folder has neither a graph.pbtxt nor a model_index.json'),
        ({"graph_path": "gone.pbtxt"}, 'there is no file "gone.pbtxt" in "a"'),
        ({"base_path": "classic"}, "but versions of a model: list it in model_config_list"),
    ],
)
def test_an_entry_without_a_graph_fails_with_its_place_and_reason_and_stops_no_other(
    tmp_path: Path, entry: dict[str, str], reason: str
) -> None:
    (tmp_path / "a").mkdir()
    graph(tmp_path / "classic" / "1", "model.xml")
    graph(tmp_path / "good")
    path = config(tmp_path, mediapipe_config_list=[{"name": "a", **entry}, {"name": "good"}])
    found = scan(config_path=path)
    assert names(found) == ["good"]
    assert found.failures["a"].startswith("config.json:1:28: mediapipe_config_list[0]: ")
    assert reason in found.failures["a"]
    assert str(tmp_path) not in found.failures["a"]


def test_of_two_entries_of_one_name_the_first_is_served_and_the_other_told(tmp_path: Path) -> None:
    graph(tmp_path / "a")
    graph(tmp_path / "b")
    entries = [{"name": "a"}, {"name": "a", "base_path": "b"}]
    found = scan(config_path=config(tmp_path, mediapipe_config_list=entries))
    assert [spec.base_dir for spec in found.specs] == [tmp_path / "a"]
    assert "mediapipe_config_list[1] is not served: the name 'a' is taken by" in found.errors[0]


def test_device_and_plugin_config_of_an_entry_go_into_the_graph_that_is_made(tmp_path: Path) -> None:
    image_model(tmp_path / "a")
    entry = {"name": "a", "target_device": "GPU", "plugin_config": {"NUM_STREAMS": "1"}}
    (spec,) = scan(config_path=config(tmp_path, model_config_list=[{"config": entry}])).specs
    assert 'device: "GPU"\n          plugin_config: \'{"NUM_STREAMS": "1"}\'' in (spec.graph_text or "")


def test_device_of_an_entry_with_a_graph_of_its_own_has_no_effect_and_that_is_told(tmp_path: Path) -> None:
    graph(tmp_path / "a")
    found = scan(config_path=config(tmp_path, model_config_list=[{"config": {"name": "a", "target_device": "GPU"}}]))
    assert "model_config_list[0].config.target_device has no effect: the graph" in found.warnings[0]


def test_keys_of_classic_models_beside_a_graph_have_no_effect_and_that_is_told(tmp_path: Path) -> None:
    graph(tmp_path / "a")
    entry = {"name": "a", "nireq": 4, "shape": "auto"}
    found = scan(config_path=config(tmp_path, model_config_list=[{"config": entry}]))
    assert [line.split(": ")[1] for line in found.warnings] == [
        "model_config_list[0].config.shape has no effect",
        "model_config_list[0].config.nireq has no effect",
    ]


def test_a_subconfig_that_is_named_and_not_there_is_told(tmp_path: Path) -> None:
    graph(tmp_path / "a")
    assert "subconfig of a has no effect: there is no" in listed(tmp_path, name="a", subconfig="none.json").warnings[0]


# ---- one model


def test_one_model_has_the_name_that_is_given_or_that_of_its_folder(tmp_path: Path) -> None:
    graph(tmp_path / "cat" / "1")
    assert names(scan(model_path=tmp_path / "cat")) == ["cat"]
    (spec,) = scan(model_path=tmp_path / "cat", model_name="OpenVINO/cat").specs
    assert (spec.name, spec.graph_file) == ("OpenVINO/cat", tmp_path / "cat" / "1" / "graph.pbtxt")


def test_one_model_takes_settings_from_a_config_file_beside_it(tmp_path: Path) -> None:
    graph(tmp_path)
    config(tmp_path, graph_runtime={"lanes": 2})
    assert scan(model_path=tmp_path, model_name="x").specs[0].model.lanes == 2


def test_one_model_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    assert scan(model_path=tmp_path / "gone").failures == {"gone": "there is no such folder"}


# ---- which source


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"models": "m", "config_path": "c"}, "--models and --config_path exclude each other"),
        ({"models": "m", "model_path": "p", "model_name": "n"}, "--models and --model_path exclude each other"),
        ({"model_path": "p", "config_path": "c"}, "--model_path and --config_path exclude each other"),
        ({"model_name": "n"}, "--model_name names the model of --model_path, and there is none"),
    ],
)
def test_sources_exclude_each_other(settings: dict[str, str], message: str) -> None:
    given = {key: value if key == "model_name" else Path(value) for key, value in settings.items()}
    with pytest.raises(SettingsError, match=message):
        scan(**given)


def test_a_config_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config file '.*none.json' does not exist"):
        scan(config_path=tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="is a folder; give the file in it"):
        scan(config_path=tmp_path)


def test_a_source_that_is_given_as_a_flag_wins_over_the_environment() -> None:
    environment = {"GRAPH_RUNTIME_MODELS": "/models", "GRAPH_RUNTIME_REST_PORT": "9"}
    settings = Settings.resolve({"config_path": Path("c.json")}, environment)
    assert (settings.models, settings.config_path, settings.rest_port) == (None, Path("c.json"), 9)


# ---- what it tells


def test_a_warning_is_logged_when_it_comes_up_and_not_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    repository = Repository(Settings(models=tmp_path))
    for _ in range(2):
        repository.scan()
    assert len(caplog.records) == 1
    graph(tmp_path / "a")
    repository.scan()
    shutil.rmtree(tmp_path / "a")
    repository.scan()
    assert len(caplog.records) == 2


def test_what_is_watched_is_the_source_and_what_it_lists_elsewhere(tmp_path: Path) -> None:
    graph(tmp_path / "elsewhere")
    path = config(tmp_path / "models", mediapipe_config_list=[{"name": "a", "base_path": str(tmp_path / "elsewhere")}])
    for settings, source in (
        (Settings(models=path.parent), path.parent),
        (Settings(config_path=path), path),
    ):
        repository = Repository(settings)
        repository.scan()
        assert list(repository.watched_paths()) == [source, tmp_path / "elsewhere"]
