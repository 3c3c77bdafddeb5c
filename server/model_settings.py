"""Settings of one model that graph.pbtxt has no field for; each is a key of the section ``graph_runtime`` of config.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Final


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


READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    each.name: each.metadata["read"] for each in fields(ModelSettings)
}
"""Key -> what reads its JSON value, or raises TypeError or ValueError with what is wrong."""
