"""Loads the model that comes with the project, asks it for pictures, and judges them; for the tests beside this file."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from calculators.image_gen.generation import GenerationRequest, GenerationResult, OnPartial, OnStep
from calculators.image_gen.model_folder import ModelInfo, read_model_folder
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.plugin_config import as_text

EditJson = Callable[..., None]

RED_ON_BLUE = "a red circle on a blue background"


def load(folder: Path, devices: tuple[str, ...] = ("CPU",), **properties: Any) -> Any:
    return load_with(LoadSettings(str(folder), devices, as_text(properties)))


def load_with(settings: LoadSettings) -> Any:
    from calculators.image_gen.engine import Engine  # late: test modules are imported without OpenVINO, too

    return Engine(settings, model_of(Path(settings.models_path)))


def model_of(folder: Path) -> ModelInfo:
    reports: list[str] = []
    model = read_model_folder(folder, reports.append)
    assert model is not None, reports
    return model


def request(prompt: str = RED_ON_BLUE, **changes: Any) -> GenerationRequest:
    values: dict[str, Any] = {
        "width": 64, "height": 64, "num_images": 1, "num_inference_steps": 20, "rng_seed": 7, "guidance_scale": 3.5
    }  # fmt: skip
    return GenerationRequest(prompt=prompt, **{**values, **changes})


def draw(
    engine: Any,
    asked: GenerationRequest | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    on_step: OnStep = lambda done, total: None,
    on_partial: OnPartial = lambda partial: None,
) -> GenerationResult:
    result: GenerationResult = engine.generate(
        asked or request(), cancelled=cancelled, on_step=on_step, on_partial=on_partial
    )
    return result


def pixels(image: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.asarray(Image.open(io.BytesIO(image))).astype(np.int16)


def is_red_circle_on_blue(image: bytes) -> bool:
    """Red where the circle must be, blue in the four corners; noise and flat pictures are neither."""
    picture = pixels(image)
    height, width, _ = picture.shape
    middle = picture[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4].reshape(-1, 3)
    corners = np.concatenate(
        [picture[y : y + 6, x : x + 6].reshape(-1, 3) for y in (0, height - 6) for x in (0, width - 6)]
    )
    red, green, blue = middle.mean(axis=0)
    return bool(
        red > 100 and red > green + 60 and red > blue + 60
        and corners[:, 2].mean() > 120 and (corners[:, 2] > corners[:, 0] + 60).mean() > 0.9
    )  # fmt: skip


def scheduler(folder: Path, edit_json: EditJson, **changes: Any) -> Path:
    edit_json(folder / "scheduler" / "scheduler_config.json", **changes)
    return folder
