"""Scores model folders with the judge, drawing through OpenVINO GenAI just as a server would."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino_genai
from PIL import Image

from .drawing import Picture
from .grammar import sample_prompts
from .judge import judge

SHEET_CAPTIONS = (
    "a red circle on a blue background",
    "a yellow star on a black background",
    "a pink heart on a white background",
    "a green triangle on an orange background",
    "a purple ring on a yellow background",
    "a white cross on a red background",
    "a cyan diamond on a brown background",
    "a black square on a gray background",
    "a small pink square on a green background",
    "a large orange circle on a purple background",
    "a blue star in the top left on a white background",
    "a red circle and a blue star on a white background",
)


@dataclass(frozen=True)
class Setting:
    """How pictures are drawn for a score."""

    steps: int
    guidance: float
    width: int = 64
    height: int = 64

    def __str__(self) -> str:
        return f"{self.steps} steps, guidance {self.guidance:g}, {self.width}x{self.height}"


STANDARD_SETTINGS: tuple[Setting, ...] = (
    Setting(10, 3.5),
    Setting(20, 3.5),
    Setting(20, 7.5),
    Setting(50, 7.5),
    Setting(20, 3.5, 96, 96),
)


def draw_with(
    pipeline: openvino_genai.Text2ImagePipeline, captions: Sequence[str], setting: Setting, first_seed: int = 1000
) -> list[Picture]:
    """Draws one picture for each caption, uint8 [height, width, 3]; caption k with the seed first_seed + k."""
    pictures: list[Picture] = []
    for number, caption in enumerate(captions):
        result = pipeline.generate(
            caption,
            num_inference_steps=setting.steps,
            guidance_scale=setting.guidance,
            width=setting.width,
            height=setting.height,
            rng_seed=first_seed + number,
        )
        # The next call writes into the same memory.
        pictures.append(np.array(result.data[0], dtype=np.uint8))
    return pictures


def evaluate_folders(folders: Sequence[Path], settings: Sequence[Setting], count: int) -> str:
    """Scores every folder with the same captions and seeds; returns the lines of a Markdown table."""
    prompts = sample_prompts(count)
    captions = [prompt.text for prompt in prompts]
    titles = ("model", "setting", "background", "colour", "shape", "all three", "ms a picture")
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for folder in folders:
        pipeline = openvino_genai.Text2ImagePipeline(str(folder), "CPU")
        for setting in settings:
            began = time.monotonic()
            pictures = draw_with(pipeline, captions, setting)
            spent_ms = 1000 * (time.monotonic() - began) / count
            score = judge(pictures, prompts)[0]
            shares = " | ".join(f"{x:.2f}" for x in (score.background, score.colour, score.shape, score.all_three))
            lines.append(f"| {folder.name} | {setting} | {shares} | {spent_ms:.0f} |")
    return "\n".join(lines)


def write_sheet(folders: Sequence[Path], path: Path, setting: Setting = STANDARD_SETTINGS[1]) -> None:
    """Writes one picture with a row for each folder and a column for each of `SHEET_CAPTIONS`."""
    rows = []
    for folder in folders:
        pipeline = openvino_genai.Text2ImagePipeline(str(folder), "CPU")
        pictures = draw_with(pipeline, SHEET_CAPTIONS, setting)
        rows.append(np.concatenate([np.pad(p, ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in pictures], 1))
    Image.fromarray(np.concatenate(rows, 0)).save(path)
