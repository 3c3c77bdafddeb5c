"""What to load, in a form that goes to another process, and by which two equal models are loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calculators.inference.model_config import ModelConfig


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """A version of a model; fields as in ``ModelConfig``.

    Attributes:
        name, device, plugin_config, requests, shape, batch_size: as there.
        file: the model.
        stamp: changes when the files do.
        cache_dir: where OpenVINO keeps compiled models; "" for nowhere.
    """

    name: str
    file: str
    device: str
    plugin_config: str
    requests: int | None
    shape: tuple[tuple[str, str], ...]
    batch_size: str
    stamp: str = ""
    cache_dir: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelLoad:
        """What ``to_json`` gave."""
        return cls(**{**values, "shape": tuple((name, text) for name, text in values["shape"])})


def model_load(config: ModelConfig, version: int | None, cache_dir: str | None) -> ModelLoad:
    """What to load for a version of a model, or for the newest.

    Raises:
        LoadError: there is no such version.
    """
    _, file = config.file_of(version)
    return ModelLoad(
        config.name, str(file), config.device, config.plugin_config, config.requests, config.shape, config.batch_size,
        stamp_of(file), cache_dir or "",
    )  # fmt: skip


def stamp_of(file: Path) -> str:
    """A text that changes when a model's files do: sizes and dates of the model and of its weights."""
    stamps = []
    for each in (file, file.with_suffix(".bin")):
        try:
            status = each.stat()
        except OSError:
            continue  # small models have no weights; a model that is gone fails when it is loaded
        stamps.append(f"{each.name} {status.st_size} {status.st_mtime_ns}")
    return "; ".join(stamps)
