"""config.json: what is served from where, in OVMS's lists, and settings of models, in a section of our own.

::

    {
      "model_config_list": [{"config": {"name": "sd15", "base_path": "OpenVINO/sd15"}}],
      "mediapipe_config_list": [{"name": "cats", "base_path": "graphs", "graph_path": "cats.pbtxt"}],
      "graph_runtime": {
        "quality": {"low": 10, "high": 80},
        "idle_unload_s": 900,
        "models": {"sd15": {"quality": {"low": 2, "high": 8}, "lanes": 2}}
      }
    }

In the section, what stands at the top counts for every model; what ``models`` says of one wins.

Source of the lists: OVMS, ``schema.cpp`` and its documents on configuration files. Its keys that say how classic models are run
are for those alone (``calculators.inference.model_config``); beside a graph they have no effect, and a warning tells it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from graph_runtime.positions import FieldPath, path_text
from server.json_file import JsonFile, read_json_file
from server.model_settings import READERS, ModelSettings
from server.settings import SettingsError

CONFIG_FILE: Final = "config.json"
SECTION: Final = "graph_runtime"
MODELS_LIST: Final = "model_config_list"
GRAPHS_LIST: Final = "mediapipe_config_list"
_MODELS: Final = "models"
_TOP_WITHOUT_EFFECT: Final = {
    "pipeline_config_list": "pipelines of classic models are not served; write a graph.pbtxt",
    "custom_node_library_config_list": "pipelines of classic models are not served; write a graph.pbtxt",
    "custom_loader_config_list": "graphs need no loaders",
    "monitoring": "what is measured is no matter of this file",
}
_KNOWN: Final = (MODELS_LIST, GRAPHS_LIST, SECTION, *_TOP_WITHOUT_EFFECT)
_PATHS: Final = ("base_path", "graph_path", "subconfig")
_FOR_MADE_GRAPHS: Final = ("target_device", "plugin_config")
OF_CLASSIC_MODELS: Final = (
    "batch_size", "model_version_policy", "shape", "layout", "nireq", "allow_cache", "custom_loader_options", "mean", "scale",
    "color_format", "precision",
)  # fmt: skip
# Model folders have a config.json of their own, which Hugging Face's libraries write.
_OF_MODEL_FOLDERS: Final = ("architectures", "model_type", "_class_name", "_diffusers_version", "transformers_version")


@dataclass(frozen=True, slots=True)
class Entry:
    """One servable of the lists.

    Attributes:
        name: the model name of requests.
        base_path, graph_path, subconfig: as they are written; None where they are not.
        target_device, plugin_config: for a graph that is made from a model folder; "" where they are not given.
        place: ``file:line:column: path in the file``, for messages.
        given: all that stands there, as JSON values, and where each key does; for classic models.
        places: key -> its place.
        is_model: whether it stands in the list of models.
    """

    name: str
    base_path: str | None
    graph_path: str | None
    subconfig: str | None
    target_device: str
    plugin_config: str
    place: str
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    is_model: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the file says.

    Attributes:
        path: the file.
        common: the settings that count for every model.
        models: model name -> its own settings.
        entries: what its lists name, in their order.
        warnings: what has no effect, a sentence each.
    """

    path: Path
    common: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()
    warnings: tuple[str, ...] = ()

    def of(self, model: str) -> ModelSettings:
        """The settings of a model."""
        return ModelSettings(**{**self.common, **self.models.get(model, {})})

    def unknown_models(self, served: Iterable[str]) -> list[str]:
        """One sentence for each model that the section names, and that is not served."""
        names = list(served)
        return [
            f"{self.path}: {SECTION}.{_MODELS} names {name!r}, and no such model is served{_near(name, names)}"
            for name in self.models
            if name not in names
        ]


def belongs_to_a_model(content: Mapping[str, Any]) -> bool:
    """Whether a config.json is one that Hugging Face's libraries write into model folders, and says nothing to a server."""
    return not any(key in content for key in _KNOWN) and any(key in content for key in _OF_MODEL_FOLDERS)


def read_config_file(path: Path) -> ConfigFile:
    """Read a config.json; without such a file, an empty one.

    Raises:
        SettingsError: the file cannot be read, or says something that cannot be; the text has a line for each problem, with place
            and key.
    """
    try:
        file = read_json_file(path)
    except FileNotFoundError:
        return ConfigFile(path)
    reader = _Reader(file)
    content = reader.read(path)
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return content


class _Reader:
    def __init__(self, file: JsonFile) -> None:
        self.file = file
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def place(self, *path: str | int) -> str:
        """``file:line:column: key.of[0].the.value``, to stand before what is wrong with it."""
        return ": ".join(filter(None, (self.file.positions.place(*path), path_text(path))))

    def problem(self, path: FieldPath, text: str) -> None:
        self.problems.append(f"{self.place(*path)}: {text}")

    def no_effect(self, path: FieldPath, why: str) -> None:
        self.warnings.append(f"{self.place(*path)} has no effect: {why}")

    def read(self, path: Path) -> ConfigFile:
        content = self.file.value
        if not isinstance(content, dict):
            self.problem((), f"it has to be an object with {MODELS_LIST}, {GRAPHS_LIST} or {SECTION}")
            return ConfigFile(path)
        if belongs_to_a_model(content):
            return ConfigFile(path)
        self.refuse_unknown((), content, _KNOWN)
        for key, why in _TOP_WITHOUT_EFFECT.items():
            if content.get(key):
                self.no_effect((key,), why)
        entries = [self.model_entry((MODELS_LIST, at), item) for at, item in self.items(content, MODELS_LIST)]
        entries += [self.entry((GRAPHS_LIST, at), item, ()) for at, item in self.items(content, GRAPHS_LIST)]
        common, models = self.section(content.get(SECTION))
        return ConfigFile(path, common, models, tuple(filter(None, entries)), tuple(self.warnings))

    def refuse_unknown(self, path: FieldPath, given: Mapping[str, Any], known: Iterable[str]) -> None:
        names = list(known)
        for key in given:
            if key not in names:
                hint = f"{_near(key, names)}; it takes {', '.join(names)}"
                self.problem((*path, key), f"there is no such key{hint}")

    # ---- the lists

    def items(self, content: Mapping[str, Any], key: str) -> Iterable[tuple[int, Any]]:
        value = content.get(key, [])
        if isinstance(value, list):
            return enumerate(value)
        self.problem((key,), f"it has to be a list, not {_kind(value)}")
        return ()

    def model_entry(self, path: FieldPath, item: Any) -> Entry | None:
        if not isinstance(item, dict) or "config" not in item:
            self.problem(path, 'it has to be an object {"config": {"name": ..., "base_path": ...}}')
            return None
        self.refuse_unknown(path, item, ["config"])
        return self.entry((*path, "config"), item["config"], (*_FOR_MADE_GRAPHS, *OF_CLASSIC_MODELS))

    def entry(self, path: FieldPath, given: Any, also: tuple[str, ...]) -> Entry | None:
        if not isinstance(given, dict):
            self.problem(path, f"it has to be an object, not {_kind(given)}")
            return None
        self.refuse_unknown(path, given, ["name", *_PATHS, *also])
        texts = {key: self.text((*path, key), given.get(key)) for key in ("name", *_PATHS, "target_device")}
        if given.get("name") in (None, ""):
            self.problem(path, "the name is missing")
        config = given.get("plugin_config", {})
        if not isinstance(config, dict):
            self.problem(
                (*path, "plugin_config"), f"it has to be an object of OpenVINO properties, not {_kind(config)}"
            )
        return Entry(
            texts["name"] or "",
            texts["base_path"],
            texts["graph_path"],
            texts["subconfig"],
            texts["target_device"] or "",
            json.dumps(config) if config else "",
            self.place(*path),
            given,
            {key: self.place(*path, key) for key in given},
            bool(also),
        )

    def text(self, path: FieldPath, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            self.problem(path, f"it has to be a text, not {_kind(value)}")
            return None
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            self.problem(path, "it has a character that no name and no path can have, NUL or half of a surrogate pair")
        return value

    # ---- the section of our own

    def section(self, section: Any) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
        if section is None:
            return {}, {}
        if not isinstance(section, dict):
            self.problem((SECTION,), f"it has to be an object, not {_kind(section)}")
            return {}, {}
        models = section.get(_MODELS, {})
        common = self.settings((SECTION,), {key: value for key, value in section.items() if key != _MODELS}, [_MODELS])
        if not isinstance(models, dict) or not all(isinstance(value, dict) for value in models.values()):
            self.problem((SECTION, _MODELS), "it has to be an object of objects, one for each model")
            return common, {}
        return common, {name: self.settings((SECTION, _MODELS, name), given, ()) for name, given in models.items()}

    def settings(self, path: FieldPath, given: Mapping[str, Any], also: Iterable[str]) -> dict[str, Any]:
        self.refuse_unknown(path, given, [*READERS, *also])
        read = {}
        for key, value in given.items():
            if key in READERS:
                try:
                    read[key] = READERS[key](value)
                except (TypeError, ValueError) as error:
                    self.problem((*path, key), str(error))
        return read


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(
        type(value), "a number"
    )
