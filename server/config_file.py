"""The section ``graph_runtime`` of DIR/config.json: settings of models that graph.pbtxt has no field for.

::

    {
      "graph_runtime": {
        "quality": {"low": 10, "high": 80},
        "idle_unload_s": 900,
        "models": {"OpenVINO/FLUX.1-schnell-int4-ov": {"quality": {"low": 2, "high": 8}, "lanes": 2}}
      }
    }

What stands at the top counts for every model; what ``models`` says of one wins. Everything else in the file is left alone.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

from server.settings import SettingsError

CONFIG_FILE: Final = "config.json"
SECTION: Final = "graph_runtime"
_MODELS: Final = "models"


def _presets(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise TypeError('it has to be an object, such as {"low": 10}')
    for name, steps in value.items():
        if name == "auto":
            raise ValueError("auto cannot be given: it stands for the graph's own number of steps")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f'"{name}" has to be a number of steps, a whole number from 1; it is {json.dumps(steps)}')
    return value


def _count(value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"it has to be a whole number from {least}; it is {json.dumps(value)}")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ValueError(f"it has to be a number of seconds above 0; it is {json.dumps(value)}")
    return float(value)


def _setting(read: Callable[[Any], Any]) -> dict[str, Any]:
    return {"read": read}


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The settings of one model; each field is a key of the file. Picklable.

    Attributes:
        quality: preset, as requests name it in ``quality`` -> its number of steps.
        lanes: copies of the model; that many generations go on at once.
        idle_unload_s: seconds without a request after which the model's memory is given back; None for never.
        runs_at_once: graph runs at the same time, instead of the server's ``runs_per_servable``.
        queue_size: requests that may wait, instead of the server's.
        request_timeout_s: how long a request may take, instead of the server's limit.
    """

    quality: Mapping[str, int] = field(default_factory=dict, metadata=_setting(_presets))
    lanes: int = field(default=1, metadata=_setting(_count))
    idle_unload_s: float | None = field(default=None, metadata=_setting(_seconds))
    runs_at_once: int | None = field(default=None, metadata=_setting(_count))
    queue_size: int | None = field(default=None, metadata=_setting(partial(_count, least=0)))
    request_timeout_s: float | None = field(default=None, metadata=_setting(_seconds))


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What the section says.

    Attributes:
        path: the file.
        common: the keys that count for every model.
        models: model name -> its own keys.
    """

    path: Path
    common: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, model: str) -> ModelSettings:
        """The settings of a model."""
        return ModelSettings(**{**self.common, **self.models.get(model, {})})

    def unknown_models(self, served: Iterable[str]) -> list[str]:
        """One sentence for each model that the file names, and that is not served."""
        names = list(served)
        return [
            f"{self.path}: {SECTION}.{_MODELS} names {name!r}, and no such model is served{_near(name, names)}"
            for name in self.models
            if name not in names
        ]


def read_config_file(folder: Path) -> ConfigFile:
    """The section of the config.json in a model folder; an empty one where there is no such file or section.

    Raises:
        SettingsError: the file cannot be read, or the section says something that cannot be; the text names the key.
    """
    path = folder / CONFIG_FILE
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return ConfigFile(path)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from None
    section = content.get(SECTION) if isinstance(content, dict) else None
    if section is None:
        return ConfigFile(path)
    if not isinstance(section, dict):
        raise SettingsError(f'{path}: "{SECTION}" has to be an object')
    models = section.get(_MODELS, {})
    if not isinstance(models, dict) or not all(isinstance(value, dict) for value in models.values()):
        raise SettingsError(f"{path}: {SECTION}.{_MODELS} has to be an object of objects, one for each model")
    common = {key: value for key, value in section.items() if key != _MODELS}
    return ConfigFile(
        path,
        _read(path, SECTION, common, also=(_MODELS,)),
        {name: _read(path, f"{SECTION}.{_MODELS}.{name}", value) for name, value in models.items()},
    )


def _read(path: Path, where: str, given: Mapping[str, Any], also: Iterable[str] = ()) -> dict[str, Any]:
    readers = {each.name: each.metadata["read"] for each in fields(ModelSettings)}
    read = {}
    for key, value in given.items():
        if key not in readers:
            known = [*readers, *also]
            raise SettingsError(f"{path}: {where} has no key {key!r}{_near(key, known)}; it takes {', '.join(known)}")
        try:
            read[key] = readers[key](value)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{path}: {where}.{key}: {error}") from None
    return read


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
