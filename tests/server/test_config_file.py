"""config.json: OVMS's lists, and the section of our own."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from server.config_file import Entry, read_config_file
from server.model_settings import ModelSettings
from server.settings import SettingsError

if TYPE_CHECKING:
    from tests.server.conftest import Models, Serve


def write(folder: Path, content: Any) -> Path:
    (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_models_own_keys_win_over_those_for_all(tmp_path: Path) -> None:
    models = {"a/b": {"quality": {"low": 2}}, "c": {}}
    config = read_config_file(
        write(tmp_path, {"graph_runtime": {"quality": {"low": 9, "high": 90}, "models": models}}) / "config.json"
    )
    assert config.of("a/b") == ModelSettings({"low": 2})
    assert config.of("c") == config.of("unknown") == ModelSettings({"low": 9, "high": 90})


def test_lanes_and_idle_time_of_a_model(tmp_path: Path) -> None:
    section = {"idle_unload_s": 900, "models": {"a": {"lanes": 2}, "b": {"idle_unload_s": 0.5}}}
    config = read_config_file(write(tmp_path, {"graph_runtime": section}) / "config.json")
    assert config.of("a") == ModelSettings(lanes=2, idle_unload_s=900.0)
    assert config.of("b") == ModelSettings(lanes=1, idle_unload_s=0.5)


HUGGING_FACE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}


@pytest.mark.parametrize("content", [None, {}, {"graph_runtime": None}, HUGGING_FACE])
def test_a_file_without_lists_and_section_says_nothing(tmp_path: Path, content: Any) -> None:
    if content is not None:
        write(tmp_path, content)
    read = read_config_file(tmp_path / "config.json")
    assert (read.of("x"), read.entries, read.warnings) == (ModelSettings(), (), ())


def test_the_lists_of_ovms_are_read_in_their_order(tmp_path: Path) -> None:
    text = """{
  "model_config_list": [
    {"config": {"name": "a", "base_path": "/m/a", "target_device": "GPU", "plugin_config": {"NUM_STREAMS": "1"}}}
  ],
  "mediapipe_config_list": [
    {"name": "b", "graph_path": "g.pbtxt"},
    {"name": "c", "base_path": "", "subconfig": "s.json"}
  ]
}"""
    path = write(tmp_path, text) / "config.json"
    assert read_config_file(path).entries == (
        Entry("a", "/m/a", None, None, "GPU", '{"NUM_STREAMS": "1"}', f"{path}:3:6: model_config_list[0].config"),
        Entry("b", None, "g.pbtxt", None, "", "", f"{path}:6:5: mediapipe_config_list[0]"),
        Entry("c", "", None, "s.json", "", "", f"{path}:7:5: mediapipe_config_list[1]"),
    )


def test_lists_that_have_no_effect_are_told_one_by_one(tmp_path: Path) -> None:
    content = {"pipeline_config_list": [{}], "monitoring": {"metrics": {}}}
    warnings = read_config_file(write(tmp_path, content) / "config.json").warnings
    assert [warning.split(": ")[1] for warning in warnings] == [
        "pipeline_config_list has no effect",
        "monitoring has no effect",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", ":1:2: it is no JSON: Expecting property name"),
        ('{"graph_runtime": {},\n "graph_runtime": {}}', ':2:2: the key "graph_runtime" is there twice'),
        ([], ": it has to be an object with model_config_list, mediapipe_config_list or graph_runtime"),
        ({"model_config_lst": []}, ":1:2: model_config_lst: there is no such key; did you mean 'model_config_list'?"),
        ({"model_config_list": {}}, ":1:2: model_config_list: it has to be a list, not an object"),
        (
            {"model_config_list": [{"any": 1}]},
            ':1:24: model_config_list[0]: it has to be an object {"config": {"name":',
        ),
        ({"model_config_list": [{"config": {}}]}, ":1:25: model_config_list[0].config: the name is missing"),
        ({"model_config_list": [{"config": {"nme": "a"}}]}, ".config.nme: there is no such key; did you mean 'name'?"),
        ({"model_config_list": [{"config": {"name": 1}}]}, ".config.name: it has to be a text, not a number"),
        (
            {"mediapipe_config_list": [{"name": "a\0b"}]},
            "[0].name: it has a character that no name and no path can have",
        ),
        (
            {"mediapipe_config_list": [{"name": "\ud800"}]},
            "[0].name: it has a character that no name and no path can have",
        ),
        (
            {"model_config_list": [{"config": {"name": "a", "base_path": "a\0"}}]},
            ".base_path: it has a character that no",
        ),
        ({"mediapipe_config_list": [{"name": "a", "graph_path": "\udfff"}]}, ".graph_path: it has a character that no"),
        ({"model_config_list": [{"config": {"name": "a", "plugin_config": {"x": math.nan}}}]}, "NaN is no JSON number"),
        ({"mediapipe_config_list": [{"name": "a", "nireq": 1}]}, "list[0].nireq: there is no such key; it takes name,"),
        ({"mediapipe_config_list": ["a"]}, "mediapipe_config_list[0]: it has to be an object, not a text"),
        ({"graph_runtime": []}, ":1:2: graph_runtime: it has to be an object, not a list"),
        (
            {"graph_runtime": {"qualty": {}}},
            ":1:20: graph_runtime.qualty: there is no such key; did you mean 'quality'?; it takes quality, lanes, idle_unload_s, ",
        ),
        ({"graph_runtime": {"models": []}}, "graph_runtime.models: it has to be an object of objects"),
        ({"graph_runtime": {"models": {"m": 1}}}, "graph_runtime.models: it has to be an object of objects"),
        ({"graph_runtime": {"models": {"m": {"models": {}}}}}, "graph_runtime.models.m.models: there is no such key"),
        ({"graph_runtime": {"quality": 7}}, 'graph_runtime.quality: it has to be an object, such as {"low": 10}'),
        (
            {"graph_runtime": {"quality": {"low": 0}}},
            '"low" has to be a number of steps, a whole number from 1; it is 0',
        ),
        ({"graph_runtime": {"quality": {"low": True}}}, '"low" has to be a number of steps'),
        ({"graph_runtime": {"quality": {"low": "9"}}}, '"low" has to be a number of steps'),
        ({"graph_runtime": {"quality": {"auto": 9}}}, "auto cannot be given"),
        ({"graph_runtime": {"lanes": 0}}, "graph_runtime.lanes: it has to be a whole number from 1; it is 0"),
        ({"graph_runtime": {"lanes": True}}, "it has to be a whole number from 1; it is true"),
        (
            {"graph_runtime": {"idle_unload_s": 0}},
            "graph_runtime.idle_unload_s: it has to be a number of seconds above 0",
        ),
        ({"graph_runtime": {"models": {"m": {"idle_unload_s": "9"}}}}, "models.m.idle_unload_s: it has to be a number"),
    ],
)
def test_what_cannot_be_is_refused_and_the_key_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_config_file(write(tmp_path, content) / "config.json")
    assert str(caught.value).startswith(str(tmp_path / "config.json"))
    assert message in str(caught.value)


def test_all_problems_of_a_file_are_told_in_one_go(tmp_path: Path) -> None:
    content = {"model_config_list": [{"config": {"name": "a", "x": 1}}, 2], "graph_runtime": {"lanes": 0}}
    with pytest.raises(SettingsError) as caught:
        read_config_file(write(tmp_path, content) / "config.json")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "model_config_list[0].config.x",
        "model_config_list[1]",
        "graph_runtime.lanes",
    ]


async def test_models_that_are_not_served_are_told(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("shapes", "HttpEcho")
    write(models.folder, {"graph_runtime": {"models": {"shapse": {}}}})
    await serve()
    assert "graph_runtime.models names 'shapse', and no such model is served; did you mean 'shapes'?" in caplog.text
