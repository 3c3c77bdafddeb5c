"""Whether a folder holds a model that makes pictures, from the few files that say what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from calculators.image_gen.families import FAMILIES
from calculators.image_gen.model_folder import MODEL_INDEX

# Source: OVMS, how it finds the task of a folder for which none is given.
_ARCHITECTURES: Final = frozenset({"CLIPTextModel", "UNet2DConditionModel", "AutoencoderKL"})
_ARCHITECTURE_SUFFIX: Final = "Transformer2DModel"
_PIPELINES: Final = ("StableDiffusion", "Flux")


def is_image_model(folder: Path) -> bool:
    """Whether model_index.json names a pipeline that makes pictures, or config.json an architecture of its parts.

    The families that OpenVINO GenAI runs count beside those that OVMS looks for. That it can be loaded is not said.
    """
    pipeline = _read(folder / MODEL_INDEX).get("_class_name")
    if isinstance(pipeline, str) and (pipeline in FAMILIES or any(part in pipeline for part in _PIPELINES)):
        return True
    architectures = _read(folder / "config.json").get("architectures")
    return isinstance(architectures, list) and any(
        isinstance(name, str) and (name in _ARCHITECTURES or name.endswith(_ARCHITECTURE_SUFFIX))
        for name in architectures
    )


def is_openvino_model(folder: Path) -> bool:
    """Whether one of the folder's own folders holds a model in OpenVINO format, as exports of diffusers pipelines do."""
    return any(folder.glob("*/openvino_model.xml"))


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
