"""What counts as a change of a servable, and what does not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.discovery import ServableSpec
from server.repository import Repository
from server.settings import Settings

GRAPH = 'input_stream: "in"  node { calculator: "X" options { models_path: "./" plugin_config: "{CONFIG}" } }'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "cat"
    for name in ("unet/openvino_model.bin", "model_index.json", "lora.safetensors", "sub.pbtxt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "graph.pbtxt").write_text(GRAPH)
    return folder


def spec(folder: Path, **settings: Any) -> ServableSpec:
    (found,) = [
        each for each in Repository(Settings(models=folder.parent, **settings)).scan().specs if each.name == "cat"
    ]
    return found


def write(name: str, content: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)

    return change


def later(folder: Path) -> None:
    os.utime(folder / "unet" / "openvino_model.bin", ns=(0, 1))


def remove(folder: Path) -> None:
    (folder / "lora.safetensors").unlink()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(write("graph.pbtxt", GRAPH.replace("./", ".")), id="the graph"),
        pytest.param(write("sub.pbtxt", "longer than before"), id="a subgraph"),
        pytest.param(write("unet/openvino_model.bin", "weights"), id="a model's weights"),
        pytest.param(later, id="the date of a file"),
        pytest.param(write("unet/new.json", ""), id="a new file"),
        pytest.param(remove, id="a file that is gone"),
        pytest.param(write("../config.json", '{"graph_runtime": {"lanes": 2}}'), id="the model's settings"),
    ],
)
def test_a_change_of_what_is_loaded_is_noticed(folder: Path, change: Callable[[Path], None]) -> None:
    before = spec(folder)
    assert spec(folder) == before
    change(folder)
    assert spec(folder) != before
    assert spec(folder).fingerprint != before.fingerprint


def touch_graph(folder: Path) -> None:
    os.utime(folder / "graph.pbtxt", (0, 0))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(touch_graph, id="a new date of the same graph"),
        pytest.param(write(".git/index", "hidden"), id="hidden files"),
        pytest.param(write("__pycache__/x.pyc", "compiled"), id="compiled Python"),
        pytest.param(write("cache/1234.blob", "compiled"), id="compiled models"),
        pytest.param(write("unet/openvino_model.bin.part", "half"), id="unfinished downloads"),
        pytest.param(write("variant/graph.pbtxt", "another"), id="a servable in a folder below"),
        pytest.param(write("../dog/graph.pbtxt", "another"), id="another servable"),
        pytest.param(
            write("../config.json", '{"graph_runtime": {"models": {"dog": {"lanes": 2}}}}'), id="another one's settings"
        ),
    ],
)
def test_what_is_not_loaded_changes_nothing(folder: Path, change: Callable[[Path], None]) -> None:
    before = spec(folder)
    change(folder)
    assert spec(folder) == before


def test_caches_below_the_folder_change_nothing(folder: Path) -> None:
    folder.joinpath("graph.pbtxt").write_text(GRAPH.replace("{CONFIG}", f"{{'CACHE_DIR': '{folder}/own'}}"))
    before = spec(folder, cache_dir=folder / "all", image_store=folder / "store")
    for name in ("own/x.bin", "all/x.bin", "store/x.png"):
        write(name, "")(folder)
    assert spec(folder, cache_dir=folder / "all", image_store=folder / "store") == before
    write("others/x.bin", "")(folder)
    assert spec(folder, cache_dir=folder / "all", image_store=folder / "store") != before


def test_models_and_files_elsewhere_that_the_graph_names_count_and_are_watched(folder: Path, tmp_path: Path) -> None:
    model, adapter, big = tmp_path / "weights", tmp_path / "a.safetensors", tmp_path / "big"
    write("model_index.json", "{}")(model)
    write("x", "")(big)
    adapter.write_text("")
    options = f"models_path: '{model}' lora_adapters {{ path: \"{adapter}\" }} root_path: '{big}' path: '/none'"
    (folder / "graph.pbtxt").write_text(GRAPH.replace('models_path: "./"', options))
    repository = Repository(Settings(models=folder.parent))

    def look() -> str:
        (found,) = repository.scan().specs
        return found.fingerprint

    seen = [look()]
    assert set(repository.watched_paths()) == {folder.parent, model, adapter, big}
    for place, name in ((model, "unet/config.json"), (tmp_path, "a.safetensors")):
        write(name, "changed")(place)
        seen.append(look())
    assert len(set(seen)) == 3
    write("inner", "not searched: it is no model, and may be the whole disk")(big)
    assert look() == seen[-1]


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "unet" / "up").symlink_to(folder, target_is_directory=True)
    assert spec(folder).fingerprint


def test_a_spec_pickles(folder: Path) -> None:
    assert pickle.loads(pickle.dumps(spec(folder))) == spec(folder)
