"""A model folder -> the pipelines of OpenVINO GenAI, its weights loaded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import openvino_genai

from calculators.image_gen.engine.devices import chosen_devices
from calculators.image_gen.engine.reasons import keys_at_fault
from calculators.image_gen.generation import Kind
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.plugin_config import parse_plugin_config
from calculators.load_error import LoadError
from calculators.openvino_errors import readable

_CLASSES: Final[Mapping[Kind, Any]] = {
    "inpainting": openvino_genai.InpaintingPipeline,
    "image to image": openvino_genai.Image2ImagePipeline,
    "text to image": openvino_genai.Text2ImagePipeline,
}
_DERIVED_FROM: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    "inpainting": (),
    "image to image": ("inpainting",),
    "text to image": ("image to image", "inpainting"),
}
"""Kind -> what it can be made of, best first; in the order in which they are loaded (source: OVMS)."""


@dataclass(slots=True)
class LoadedPipelines:
    """What of a model was loaded.

    Attributes:
        by_kind: kind of request -> pipeline; those of one model share their weights.
        devices: what they were compiled for.
        notes: what could not be loaded, and why.
    """

    by_kind: dict[Kind, Any]
    devices: tuple[str, ...]
    notes: list[str]


def load_pipelines(load: LoadSettings, model: ModelInfo, adapters: Mapping[str, Any]) -> LoadedPipelines:
    """Load from the folder once, and make the other kinds of what was loaded; where that fails, from the folder again.

    Args:
        load: what to load, and how.
        model: what the folder says.
        adapters: the argument for LoRA adapters, or nothing.

    Raises:
        LoadError: nothing can be loaded, or a device is not there.
    """
    loaded = LoadedPipelines({}, chosen_devices(load.devices), [])
    errors: list[LoadError] = []
    for kind, sources in _DERIVED_FROM.items():
        if kind not in model.kinds:
            continue
        try:
            loaded.by_kind[kind] = _derived(kind, sources, load, loaded) or _from_folder(
                kind, load, loaded.devices, adapters
            )
        except LoadError as error:
            errors.append(error)
            loaded.notes.append(f"{kind}: {error.message}")
    if not loaded.by_kind:
        raise _joined(errors)
    return loaded


def _derived(kind: Kind, sources: tuple[Kind, ...], load: LoadSettings, loaded: LoadedPipelines) -> Any:
    scheduler = Path(load.models_path) / "scheduler" / "scheduler_config.json"
    for source in sources:
        if source in loaded.by_kind:
            try:
                pipeline = _CLASSES[kind](loaded.by_kind[source])
                # GenAI gives SD3, FLUX and Qwen-Image pipelines no scheduler then, and crashes when they draw.
                pipeline.set_scheduler(openvino_genai.Scheduler.from_config(scheduler))
                return pipeline
            except Exception as error:
                loaded.notes.append(f"{kind}: cannot be made of {source}, and is loaded by itself: {readable(error)}")
    return None


def _from_folder(kind: Kind, load: LoadSettings, devices: tuple[str, ...], adapters: Mapping[str, Any]) -> Any:
    properties: dict[str, Any] = dict(parse_plugin_config(load.plugin_config))
    try:
        pipeline = _CLASSES[kind](Path(load.models_path))
        if load.static is not None:
            shape = load.static
            pipeline.reshape(shape.num_images, shape.size.height, shape.size.width, shape.guidance_scale)
        pipeline.compile(*devices, **properties, **adapters)
        return pipeline
    except Exception as error:
        text = readable(error)
        wrong = ", ".join(f'"{key}"' for key in keys_at_fault(properties, text))
        if wrong or (properties and "propert" in text):
            raise LoadError(
                f"OpenVINO refuses {wrong or 'a property'} of plugin_config: {text}", field="plugin_config"
            ) from error
        raise LoadError(f"OpenVINO GenAI cannot load the model: {text}", field="models_path") from error


def _joined(errors: list[LoadError]) -> LoadError:
    """One error of several; the same reason is told once."""
    if not errors:
        return LoadError("there is nothing in the model folder that OpenVINO GenAI could load", field="models_path")
    messages = dict.fromkeys(error.message for error in errors)
    return LoadError("; ".join(messages), field=errors[-1].field, code=errors[-1].code)
