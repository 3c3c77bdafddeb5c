"""An OpenVINO model as config.json and subconfig.json list it: where its versions are, and how they are run.

Source of the keys: OpenVINO Model Server's ``model_config_list``. Those that would change what a model computes, and that are not
supported here, are refused: an answer that differs in silence is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from calculators.image_gen.plugin_config import as_text, parse_plugin_config
from calculators.load_error import LoadError
from graph_runtime.near_names import did_you_mean

MODELS_LIST: Final = "model_config_list"
SUBCONFIG: Final = "subconfig.json"
KEYS: Final = (
    "name", "base_path", "target_device", "plugin_config", "nireq", "model_version_policy", "shape", "batch_size", "layout",
    "allow_cache", "custom_loader_options", "mean", "scale", "color_format", "precision", "graph_path", "subconfig",
)  # fmt: skip
_REFUSED: Final = {
    "custom_loader_options": "models are read from files",
    "mean": "let the model do it, or a node before it",
    "scale": "let the model do it, or a node before it",
    "color_format": "let the model do it, or a node before it",
    "precision": "let the model do it, or a node before it",
}
_MODEL_FILES: Final = ("*.xml", "*.onnx")
_MOST_REQUESTS: Final = 250  # as many descriptors go into one message between processes
_SIDE: Final = re.compile(r"-1|\?|[1-9]\d*|[1-9]\d*:[1-9]\d*")

Place = Callable[[str], str]
"""A key -> ``file:line:column: path.to.the.key``, or as much of it as is known."""


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions may be used: those of ``specific``, else the newest ``latest`` ones; all where both are None."""

    latest: int | None = 1
    specific: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One entry; two are equal if they run the same.

    Attributes:
        name: by which graphs ask for it.
        folder: where the folders of its versions are.
        place: where the entry stands, for messages.
        device, plugin_config: for OpenVINO; ``plugin_config`` is the text of a JSON object, "" for none.
        requests: how many inferences go on at the same time; None for as many as the device does best.
        versions: which may be used.
        shape: input name -> OpenVINO's text of a shape; the name "" is that of a model's only input.
        batch_size: OpenVINO's text of the first side of all inputs; "" for the model's own.
    """

    name: str
    folder: Path
    place: str = field(compare=False)
    device: str = "CPU"
    plugin_config: str = ""
    requests: int | None = None
    versions: VersionPolicy = VersionPolicy()
    shape: tuple[tuple[str, str], ...] = ()
    batch_size: str = ""

    def available(self) -> dict[int, Path]:
        """Version -> its model file, of all versions that there are and that the policy allows; oldest first.

        Raises:
            LoadError: the folder cannot be read.
        """
        try:
            folders = [each for each in self.folder.iterdir() if re.fullmatch("[1-9][0-9]*", each.name)]
        except OSError as error:
            raise LoadError(f"model {self.name!r}: {self.folder} cannot be read: {error.strerror}") from None
        found = {int(each.name): files[0] for each in folders if (files := _model_files(each))}
        newest = sorted(found)
        if self.versions.specific is not None:
            newest = [version for version in newest if version in self.versions.specific]
        elif self.versions.latest is not None:
            newest = newest[-self.versions.latest :]
        return {version: found[version] for version in newest}

    def file_of(self, version: int | None) -> tuple[int, Path]:
        """The model file of a version, or of the newest; and which version that is.

        Raises:
            LoadError: there is none; the text says what there is.
        """
        found = self.available()
        if not found:
            raise LoadError(
                f"model {self.name!r}: {self.folder} has no version that may be used: a folder with a number as its name, and one "
                f"model file in it ({', '.join(_MODEL_FILES)})"
            )
        chosen = max(found) if version is None else version
        if chosen not in found:
            raise LoadError(
                f"model {self.name!r} has no version {version} that may be used; it has {', '.join(map(str, found))}; "
                "model_version_policy says which may",
                field="servable_version",
            )
        files = _model_files(found[chosen].parent)
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise LoadError(f"model {self.name!r}: {found[chosen].parent} has several model files ({names}); leave one")
        return chosen, found[chosen]


@dataclass(slots=True)
class ModelList:
    """What a list says.

    Attributes:
        models: name -> model.
        problems: name -> why there is no such model, although it is listed.
        errors: what else is wrong; a sentence each.
        warnings: what has no effect; a sentence each.
    """

    models: dict[str, ModelConfig] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def is_classic_model(folder: Path) -> bool:
    """Whether a folder holds versions of a model that nodes can run."""
    return any(any(folder.glob(f"[0-9]*/{pattern}")) for pattern in _MODEL_FILES)


def read_model_list(path: Path) -> ModelList:
    """The models that a subconfig.json, or a config.json, lists; paths in it start at its folder.

    Raises:
        OSError: it cannot be read.
    """
    found = ModelList()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        found.errors.append(f"{path}: it is not JSON: {error}")
        return found
    entries = content.get(MODELS_LIST, []) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        found.errors.append(f"{path}: it has to be an object with the list {MODELS_LIST}")
        return found
    for at, entry in enumerate(entries):
        here = f"{path}: {MODELS_LIST}[{at}].config"
        given = entry.get("config") if isinstance(entry, dict) else None
        if not isinstance(given, dict) or not isinstance(given.get("name"), str) or not given["name"]:
            found.errors.append(
                f'{here}: it has to be an object with a name: {{"config": {{"name": ..., "base_path": ...}}}}'
            )
            continue
        name = given["name"]
        if name in found.models or name in found.problems:
            found.errors.append(f"{here}: the name {name!r} is there twice")
            continue
        add_model(found, given, path.parent, lambda key, here=here: f"{here}.{key}" if key else here)  # type: ignore[misc]
    return found


def add_model(found: ModelList, given: Mapping[str, Any], above: Path, place: Place) -> None:
    """Read an entry with a name, and add what it says to a list.

    Args:
        found: the list.
        given: the entry, as JSON values.
        above: the folder of the file, where relative paths start.
        place: where its keys stand.
    """
    name: str = given["name"]
    unknown = [f"{place(key)}: there is no such key{_near(key)}" for key in given if key not in KEYS]
    refused = [
        f"{place(key)}: it is not supported; {why}"
        for key, why in _REFUSED.items()
        if given.get(key) not in (None, "", {})
    ]
    problems = [*unknown, *refused]
    values: dict[str, Any] = {}
    for key, read in _READERS.items():
        if given.get(key) is None:
            continue
        try:
            values.update(read(given[key]))
        except ValueError as error:
            problems.append(f"{place(key)}: {error}")
    if "shape" in values and values.get("batch_size"):
        values.pop("batch_size")
        found.warnings.append(f"{place('batch_size')} has no effect: the shape says it")
    if "allow_cache" in given:
        found.warnings.append(
            f"{place('allow_cache')} has no effect: --cache_dir says whether compiled models are kept"
        )
    base_path = values.pop("base_path", "") or name
    if problems:
        found.problems[name] = "\n".join(problems)
    else:
        found.models[name] = ModelConfig(name, above / base_path, place(""), **values)


def _base_path(value: Any) -> dict[str, Any]:
    text = _text(value)
    if ".." in Path(text).parts:
        raise ValueError(f'"{text}" must not contain ".."; use an absolute path')
    return {"base_path": text}


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("it has to be a text")
    return value


def _device(value: Any) -> dict[str, Any]:
    return {"device": _text(value)} if value else {}


def _plugin_config(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it has to be an object of OpenVINO properties")
    properties = parse_plugin_config(json.dumps(value))
    return {"plugin_config": as_text(properties) if properties else ""}


def _requests(value: Any) -> dict[str, Any]:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if type(number) is not int or not 0 <= number <= _MOST_REQUESTS:
        raise ValueError(f"it has to be a whole number from 0 (as many as the device does best) to {_MOST_REQUESTS}")
    return {"requests": number or None}


def _policy(value: Any) -> dict[str, Any]:
    match value:
        case {"all": {}} if len(value) == 1:
            return {"versions": VersionPolicy(None)}
        case {"latest": {"num_versions": int(count)}} if len(value) == 1 and count > 0 and count is not True:
            return {"versions": VersionPolicy(count)}
        case {"latest": dict(rest)} if len(value) == 1 and not rest:
            return {}
        case {"specific": {"versions": list(numbers)}} if len(value) == 1 and all(
            type(each) is int for each in numbers
        ):
            return {"versions": VersionPolicy(None, tuple(sorted(set(numbers))))}
    raise ValueError(
        'it has to be one of {"latest": {"num_versions": 1}}, {"specific": {"versions": [1, 3]}} and {"all": {}}'
    )


def _shape(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("it is no JSON object") from None
    if isinstance(value, dict):
        return {"shape": tuple((name, _one_shape(_text(text))) for name, text in value.items())}
    return {"shape": (("", _one_shape(_text(value))),)}


def _one_shape(text: str) -> str:
    """OpenVINO's form of a shape such as ``(1, 3, -1, 200:500)``."""
    if text.strip() == "auto":
        raise ValueError('"auto" is not supported: give -1 for each side that may vary, such as "(-1, 10)"')
    sides = [side.strip() for side in text.strip().strip("()[]").split(",")]
    sides = sides[:-1] if len(sides) > 1 and not sides[-1] else sides
    if not all(map(_SIDE.fullmatch, sides)):
        raise ValueError(
            f'"{text}" is no shape; one looks like (1,3,224,224), with -1 for any side and 1:8 for a range'
        )
    return f"[{','.join(map(_one_side, sides))}]"


def _one_side(text: str) -> str:
    return "?" if text in ("-1", "?") else text.replace(":", "..")


def _batch_size(value: Any) -> dict[str, Any]:
    text = str(value).strip() if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if text == "auto":
        text = "-1"  # whatever comes, as there
    if text == "0":
        return {}
    if not _SIDE.fullmatch(text):
        raise ValueError("it has to be a whole number, -1 for any, or a range such as 1:8")
    return {"batch_size": _one_side(text)}


def _layout(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip().startswith("{"):
        value = json.loads(value)
    if any(":" in str(layout) for layout in (value.values() if isinstance(value, dict) else [value])):
        raise ValueError(
            "changing a model's layout is not supported; convert the model with the layout that clients send"
        )
    return {}


_READERS: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "base_path": _base_path,
    "target_device": _device,
    "plugin_config": _plugin_config,
    "nireq": _requests,
    "model_version_policy": _policy,
    "shape": _shape,
    "batch_size": _batch_size,
    "layout": _layout,
}


def _model_files(folder: Path) -> list[Path]:
    return sorted(file for pattern in _MODEL_FILES for file in folder.glob(pattern))


def _near(key: str) -> str:
    near = did_you_mean(key, KEYS)
    return f"; {near}" if near else ""
