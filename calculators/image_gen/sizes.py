"""Which picture sizes a model can draw.

A size that breaks these rules does not only fail: with some models it crashes the process, so it is refused before OpenVINO GenAI
sees it. The multiple comes from ``model_folder``, which explains it.
"""

from __future__ import annotations

from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.resolution import Resolution


def size_problem(size: Resolution, model: ModelInfo) -> str | None:
    """Why a model cannot draw a size, to complete "the size WxH ..."; None if it can."""
    if model.fixed_size is not None:
        return None if size == model.fixed_size else f"does not fit: this model takes {model.fixed_size} only"
    if min(size) < model.min_side:
        return f"is too small: the shortest side of this model is {model.min_side}"
    multiple = model.size_multiple
    if size.width % multiple or size.height % multiple:
        near = nearest_sizes(size, model)
        return (
            f"does not fit this model: width and height must be multiples of {multiple}, because {model.size_reason}; "
            f"near by: {' or '.join(map(str, near))}"
        )
    return None


def nearest_sizes(size: Resolution, model: ModelInfo) -> list[Resolution]:
    """The fitting sizes just below and just above a size."""
    multiple = model.size_multiple
    below = Resolution(*(max(model.min_side, side // multiple * multiple) for side in size))
    above = Resolution(*(max(model.min_side, -(-side // multiple) * multiple) for side in size))
    return [below] if below == above else [below, above]
