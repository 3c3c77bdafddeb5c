"""Entries of model_config_list: what they say, what is refused, and which version of a model is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from calculators.inference.model_config import ModelConfig, VersionPolicy, read_model_list
from calculators.load_error import LoadError


def entry(folder: Path, **keys: Any) -> tuple[ModelConfig | None, str]:
    """The model of an entry, and why there is none."""
    file = folder / "subconfig.json"
    file.write_text(json.dumps({"model_config_list": [{"config": {"name": "m", **keys}}]}))
    found = read_model_list(file)
    return found.models.get("m"), "\n".join([*found.problems.values(), *found.errors, *found.warnings])


def versions(folder: Path, *numbers: int | str, suffix: str = ".xml") -> None:
    for number in numbers:
        (folder / str(number)).mkdir(parents=True)
        (folder / str(number) / f"m{suffix}").touch()


def test_an_entry_says_where_the_model_is_and_how_it_runs(tmp_path: Path) -> None:
    model, why = entry(
        tmp_path,
        base_path="x/y",
        target_device="AUTO",
        plugin_config={"NUM_STREAMS": 2},
        nireq=4,
        model_version_policy={"specific": {"versions": [3, 1]}},
        shape="(1, 3, -1, 200:500)",
    )
    assert why == ""
    assert model == ModelConfig(
        "m",
        tmp_path / "x/y",
        "",
        "AUTO",
        '{"NUM_STREAMS": "2"}',
        4,
        VersionPolicy(None, (1, 3)),
        (("", "[1,3,?,200..500]"),),
    )


def test_without_a_path_a_model_lies_in_the_folder_of_its_name(tmp_path: Path) -> None:
    model, _ = entry(tmp_path)
    assert model is not None
    assert model.folder == tmp_path / "m"


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"nirek": 1}, 'nirek: there is no such key; did you mean "nireq"?'),
        ({"nireq": -1}, "nireq: it has to be a whole number from 0"),
        ({"mean": "[1,2,3]"}, "mean: it is not supported"),
        ({"layout": "NHWC:NCHW"}, "layout: changing a model's layout is not supported"),
        ({"layout": {"x": "NHWC:NCHW"}}, "layout: changing a model's layout is not supported"),
        ({"shape": "auto"}, 'shape: "auto" is not supported: give -1 for each side that may vary'),
        ({"shape": {"x": "(1,b)"}}, 'shape: "(1,b)" is no shape'),
        ({"base_path": "../m"}, 'base_path: "../m" must not contain ".."'),
        ({"model_version_policy": {"newest": {}}}, 'it has to be one of {"latest"'),
        ({"plugin_config": {"A": [1]}}, "plugin_config: "),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path: Path, keys: dict[str, Any], reason: str) -> None:
    model, why = entry(tmp_path, **keys)
    assert model is None
    assert f"subconfig.json: model_config_list[0].config.{next(iter(keys))}" in why
    assert reason in why


def test_a_layout_that_changes_nothing_and_a_batch_size_are_taken(tmp_path: Path) -> None:
    model, why = entry(tmp_path, layout="NCHW", batch_size="auto")
    assert why == ""
    assert model is not None
    assert model.batch_size == "?"


def test_a_list_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "subconfig.json").write_text("[")
    assert "it is not JSON" in read_model_list(tmp_path / "subconfig.json").errors[0]
    (tmp_path / "subconfig.json").write_text('{"model_config_list": [{"config": {}}, {"config": {"name": "a"}}]}')
    found = read_model_list(tmp_path / "subconfig.json")
    assert list(found.models) == ["a"]
    assert "model_config_list[0].config: it has to be an object with a name" in found.errors[0]


@pytest.mark.parametrize(
    ("policy", "asked", "found"),
    [
        (VersionPolicy(), None, 10),
        (VersionPolicy(2), 9, 9),
        (VersionPolicy(None), 1, 1),
        (VersionPolicy(None, (1, 9)), None, 9),
    ],
)
def test_the_newest_version_counts_unless_one_is_asked_for(
    tmp_path: Path, policy: VersionPolicy, asked: int | None, found: int
) -> None:
    versions(tmp_path, 1, 9, 10, "draft", "011")
    assert ModelConfig("m", tmp_path, "", versions=policy).file_of(asked) == (found, tmp_path / str(found) / "m.xml")


def test_a_version_that_the_policy_leaves_out_is_not_there(tmp_path: Path) -> None:
    versions(tmp_path, 1, 2)
    with pytest.raises(
        LoadError, match=r"no version 1 that may be used; it has 2; model_version_policy says which may"
    ):
        ModelConfig("m", tmp_path, "").file_of(1)
    with pytest.raises(LoadError, match="has no version that may be used: a folder with a number"):
        ModelConfig("m", tmp_path, "", versions=VersionPolicy(None, (7,))).file_of(None)
    with pytest.raises(LoadError, match="cannot be read: No such file"):
        ModelConfig("m", tmp_path / "gone", "").file_of(None)


def test_a_version_with_two_models_is_refused(tmp_path: Path) -> None:
    versions(tmp_path, 1)
    (tmp_path / "1" / "other.onnx").touch()
    with pytest.raises(LoadError, match=r"has several model files \(m\.xml, other\.onnx\); leave one"):
        ModelConfig("m", tmp_path, "").file_of(None)
