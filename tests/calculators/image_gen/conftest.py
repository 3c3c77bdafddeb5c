"""The model that the tests draw with, copies of it to break, and facts about models that exist in name only."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from calculators.image_gen.families import FAMILIES
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings, NodeSettings
from calculators.image_gen.request_rules import RequestRules, RequestSettings
from calculators.image_gen.resolution import Resolution

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def shapes() -> Path:
    """The model folder that comes with the project."""
    return REPOSITORY / "examples" / "models" / "shapes"


@pytest.fixture(scope="session")
def phosphor(shapes: Path) -> Path:
    """A LoRA adapter for it, with the names of kohya's trainer: everything becomes green on black."""
    return shapes / "adapters" / "phosphor.safetensors"


@pytest.fixture
def copy_of_shapes(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to change; files are links until ``edit_json`` or a test replaces them.

    Not in ``tmp_path``: that has the test's name in it, and "text_encoder" must not stand in a model's path.
    """
    folder = tmp_path_factory.mktemp("copy") / "model"
    shutil.copytree(shapes, folder, copy_function=os.symlink)
    return folder


EditJson = Callable[..., None]


@pytest.fixture
def edit_json() -> EditJson:
    """``edit_json(path, key=value)``: replace values of a JSON file; the value ``...`` removes the key."""

    def edit(path: Path, **changes: Any) -> None:
        content = json.loads(path.read_text())
        content.update(changes)
        path.unlink()
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))

    return edit


MakeModel = Callable[..., ModelInfo]
MakeRules = Callable[..., RequestRules]


@pytest.fixture
def make_model() -> MakeModel:
    """``make_model(class_name=..., field=value)``: what a folder would say; Stable Diffusion at 512x512 unless told otherwise."""

    def make(class_name: str = "StableDiffusionPipeline", **changes: Any) -> ModelInfo:
        family = FAMILIES[class_name]
        values: dict[str, Any] = {
            "class_name": class_name,
            "family": family,
            "scheduler": "EulerDiscreteScheduler",
            "timestep_spacing": "leading",
            "num_train_timesteps": 1000,
            "default_size": Resolution(512, 512),
            "size_multiple": 64,
            "size_reason": "it is so",
            "negative_prompts": family.negative_prompts,
            "kinds": family.kinds,
        }
        return ModelInfo(**{**values, **changes})

    return make


@pytest.fixture
def make_rules(make_model: MakeModel) -> MakeRules:
    """``make_rules(model=..., setting=value)``: rules with the default settings unless told otherwise."""

    def make(
        model: ModelInfo | None = None, *, requests: RequestSettings | None = None, **changes: Any
    ) -> RequestRules:
        values: dict[str, Any] = {
            "load": LoadSettings("/models/m", ("CPU",)),
            "max_resolution": Resolution(4096, 4096),
            "default_resolution": None,
            "max_num_images_per_prompt": 10,
            "default_num_inference_steps": 50,
            "max_num_inference_steps": 100,
        }
        return RequestRules(NodeSettings(**{**values, **changes}), model or make_model(), requests or RequestSettings())

    return make


MakePicture = Callable[..., bytes]


@pytest.fixture
def make_picture() -> MakePicture:
    """``make_picture(width, height, form="PNG")``: an uploaded file."""

    def make(width: int = 128, height: int = 64, form: str = "PNG") -> bytes:
        file = io.BytesIO()
        Image.new("RGB", (width, height), "red").save(file, form)
        return file.getvalue()

    return make
