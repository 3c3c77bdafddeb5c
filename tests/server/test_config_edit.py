"""Entries that are added to a config.json and removed from it, while all else stays as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.config_edit import add_to_config, remove_from_config
from server.settings import SettingsError

WRITTEN = """\
{
    "graph_runtime": {"idle_unload_s": 1e3,
                      "models": {"b": {"lanes": 2}}},
    "model_config_list": [
        { "config": {"name": "a",   "base_path": "/a"} },

        {
            "config": {"name": "b", "base_path": "ü"}
        }
    ],
    "mediapipe_config_list": [{"name": "c"}]
}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(WRITTEN)
    return path


def entry(name: str) -> dict[str, Any]:
    return {"name": name, "base_path": f"models/{name}"}


def test_a_new_entry_is_the_only_change(config: Path) -> None:
    add_to_config(config, entry("é"))
    added = ',\n\n        {"config": {"name": "é", "base_path": "models/é"}}'
    end = WRITTEN.index("\n    ],")
    assert config.read_text() == WRITTEN[:end] + added + WRITTEN[end:]


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("a", '{ "config": {"name": "a",   "base_path": "/a"} },\n\n        '),
        ("b", ',\n\n        {\n            "config": {"name": "b", "base_path": "ü"}\n        }'),
        ("c", '{"name": "c"}'),
    ],
)
def test_an_entry_that_goes_is_the_only_change(config: Path, name: str, gone: str) -> None:
    remove_from_config(config, name)
    assert config.read_text() == WRITTEN.replace(gone, "")


def test_a_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    add_to_config(tmp_path / "new.json", entry("a"))
    assert (tmp_path / "new.json").read_text() == (
        '{\n  "model_config_list": [\n    {"config": {"name": "a", "base_path": "models/a"}}\n  ]\n}\n'
    )


def test_a_name_that_is_taken_is_refused_with_its_place(config: Path) -> None:
    for name, line in (("b", 8), ("c", 11)):
        with pytest.raises(SettingsError, match=rf"config\.json:{line}:.*the name '{name}' is taken"):
            add_to_config(config, entry(name))
    assert config.read_text() == WRITTEN


def test_a_name_that_is_not_there_is_refused_with_those_that_are(config: Path) -> None:
    with pytest.raises(SettingsError, match="has no entry with the name 'x'; it has: 'a', 'b', 'c'"):
        remove_from_config(config, "x")
    with pytest.raises(SettingsError, match="does not exist"):
        remove_from_config(config.with_name("other.json"), "x")


def test_a_broken_file_is_not_touched(config: Path) -> None:
    config.write_text('{"model_config_list": [}')
    with pytest.raises(SettingsError, match=r"config\.json:1:24: it is no JSON"):
        add_to_config(config, entry("x"))
    assert config.read_text() == '{"model_config_list": [}'


def test_the_config_of_a_model_is_not_turned_into_a_list(config: Path) -> None:
    config.write_text('{"model_type": "clip"}')
    with pytest.raises(SettingsError, match="is the config.json of a model"):
        add_to_config(config, entry("x"))


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@settings(deadline=None, max_examples=40)  # each writes files
@given(
    st.lists(names, unique=True, max_size=4), st.lists(names, unique=True, max_size=4), names,
    st.sampled_from([None, 0, 2, "\t"]), st.sampled_from(["", "\ufeff"]), st.booleans(), st.randoms(),
)  # fmt: skip
def test_any_file_has_the_same_content_but_for_the_entry(
    tmp_path_factory: pytest.TempPathFactory, models: list[str], graphs: list[str], new: str, indent: int | str | None,
    mark: str, ascii_only: bool, random: Any,
) -> None:  # fmt: skip
    graphs = [name for name in graphs if name not in models]
    content: dict[str, Any] = {
        "graph_runtime": {"lanes": 2},
        "mediapipe_config_list": [{"name": name} for name in graphs],
    }
    if models or random.random() < 0.5:
        content["model_config_list"] = [{"config": entry(name)} for name in models]
    content = {key: content[key] for key in random.sample(sorted(content), random.randint(0, len(content)))}
    path = tmp_path_factory.mktemp("edit") / "config.json"
    path.write_text(mark + json.dumps(content, indent=indent, ensure_ascii=ascii_only))
    there = [each["config"]["name"] for each in content.get("model_config_list", [])]
    there += [each["name"] for each in content.get("mediapipe_config_list", [])]
    if new not in there:
        add_to_config(path, entry(new))
        content.setdefault("model_config_list", []).append({"config": entry(new)})
        assert json.loads(path.read_text()) == content
        there.append(new)
    for name in random.sample(there, len(there)):
        remove_from_config(path, name)
        for key in ("model_config_list", "mediapipe_config_list"):
            if key in content:
                content[key] = [each for each in content[key] if (each.get("config") or each)["name"] != name]
        assert json.loads(path.read_text(encoding="utf-8-sig")) == content
