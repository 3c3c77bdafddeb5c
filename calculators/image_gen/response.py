"""GenerationResult -> the JSON text that answers an images request.

The shape is OpenAI's ``ImagesResponse`` (``created``, ``data[].b64_json``, ``output_format``, ``size``); ``seed``,
``num_inference_steps`` and ``ignored_parameters`` are ours. ``data[k].seed`` asked for alone, with the other values unchanged,
gives picture k again.
"""

from __future__ import annotations

import base64
import json

from calculators.image_gen.generation import GenerationRequest, GenerationResult


def response_text(request: GenerationRequest, result: GenerationResult, *, created: int) -> str:
    """The answer to a request.

    Args:
        request: what was asked.
        result: what was made of it.
        created: seconds since 1970.
    """
    answer: dict[str, object] = {
        "created": created,
        "data": [
            {"b64_json": base64.b64encode(image).decode("ascii"), "seed": seed}
            for image, seed in zip(result.images, result.seeds, strict=True)
        ],
        "output_format": result.output_format,
        "size": f"{result.width}x{result.height}",
        "seed": result.seeds[0],
        "num_inference_steps": result.num_inference_steps,
    }
    if request.ignored:
        answer["ignored_parameters"] = list(request.ignored)
    return json.dumps(answer)
