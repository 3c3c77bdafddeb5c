"""The section graph_runtime of config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from server.config_file import ModelSettings, read_config_file
from server.settings import SettingsError

if TYPE_CHECKING:
    from tests.server.conftest import Models, Serve


def write(folder: Path, content: Any) -> Path:
    (folder / "config.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_a_models_own_keys_win_over_those_for_all(tmp_path: Path) -> None:
    models = {"a/b": {"quality": {"low": 2}}, "c": {}}
    config = read_config_file(write(tmp_path, {"graph_runtime": {"quality": {"low": 9, "high": 90}, "models": models}}))
    assert config.of("a/b") == ModelSettings({"low": 2})
    assert config.of("c") == config.of("unknown") == ModelSettings({"low": 9, "high": 90})


def test_lanes_and_idle_time_of_a_model(tmp_path: Path) -> None:
    section = {"idle_unload_s": 900, "models": {"a": {"lanes": 2}, "b": {"idle_unload_s": 0.5}}}
    config = read_config_file(write(tmp_path, {"graph_runtime": section}))
    assert config.of("a") == ModelSettings(lanes=2, idle_unload_s=900.0)
    assert config.of("b") == ModelSettings(lanes=1, idle_unload_s=0.5)


@pytest.mark.parametrize("content", [None, {}, [], {"graph_runtime": None}, {"model_config_list": [{"any": "thing"}]}])
def test_a_file_without_the_section_says_nothing(tmp_path: Path, content: Any) -> None:
    if content is not None:
        write(tmp_path, content)
    assert read_config_file(tmp_path).of("x") == ModelSettings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "config.json cannot be read: Expecting property name"),
        ({"graph_runtime": []}, '"graph_runtime" has to be an object'),
        (
            {"graph_runtime": {"qualty": {}}},
            "graph_runtime has no key 'qualty'; did you mean 'quality'?; it takes quality, lanes, idle_unload_s, ",
        ),
        ({"graph_runtime": {"models": []}}, "graph_runtime.models has to be an object of objects"),
        ({"graph_runtime": {"models": {"m": 1}}}, "graph_runtime.models has to be an object of objects"),
        ({"graph_runtime": {"models": {"m": {"models": {}}}}}, "graph_runtime.models.m has no key 'models'"),
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
        read_config_file(write(tmp_path, content))
    assert str(caught.value).startswith(str(tmp_path / "config.json"))
    assert message in str(caught.value)


async def test_models_that_are_not_served_are_told(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add("shapes", "HttpEcho")
    write(models.folder, {"graph_runtime": {"models": {"shapse": {}}}})
    await serve()
    assert "graph_runtime.models names 'shapse', and no such model is served; did you mean 'shapes'?" in caplog.text
