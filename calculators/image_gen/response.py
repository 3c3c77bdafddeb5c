"""GenerationResult -> the JSON text that answers an images request, or the events of a stream.

The shapes are OpenAI's ``ImagesResponse`` and image events; ``seed``, ``num_inference_steps`` and ``ignored_parameters`` are ours.
``data[k].seed`` asked for alone, with the other values unchanged, gives picture k again.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from calculators.image_gen.generation import GenerationResult, PartialImage
from calculators.image_gen.request import ImagesRequest
from calculators.image_gen.request_fields import Endpoint
from calculators.image_gen.request_rules import ImageStore

FILES_PATH: Final = "/v1/images/files/"
"""Where a server has the pictures of an ``ImageStore``, below its base URL."""

_EVENTS: Final[dict[Endpoint, str]] = {"generations": "image_generation", "edits": "image_edit"}


def response_text(
    request: ImagesRequest,
    result: GenerationResult,
    *,
    created: int,
    store: ImageStore | None = None,
    base_url: str = "",
) -> str:
    """The answer to a request that wants no stream.

    Args:
        request: what was asked.
        result: what was made of it.
        created: seconds since 1970.
        store: keeps the pictures of a request for URLs.
        base_url: what URLs begin with, such as ``http://localhost:8000``.

    Raises:
        OSError: a picture could not be stored.
    """
    form = request.answer
    data: list[dict[str, Any]] = []
    for image, seed in zip(result.images, result.seeds, strict=True):
        if form.urls and store is not None:
            name = store.put(image, result.output_format)
            data.append({"url": f"{base_url}{FILES_PATH}{name}", "seed": seed})
        else:
            data.append({"b64_json": _base64(image), "seed": seed})
    answer: dict[str, Any] = {
        "created": created,
        "data": data,
        "output_format": result.output_format,
        "size": f"{result.width}x{result.height}",
        "quality": form.quality,
        "background": form.background,
        "safety_identifier": form.safety_identifier,
        "usage": _usage(result.prompt_tokens),
        "seed": result.seeds[0],
        "num_inference_steps": result.num_inference_steps,
        "ignored_parameters": list(request.generation.ignored) or None,
    }
    return json.dumps({name: value for name, value in answer.items() if value is not None})


def partial_event(request: ImagesRequest, partial: PartialImage, *, created: int) -> str:
    """The event of a picture on its way, as JSON text."""
    return _event(
        request,
        "partial_image",
        partial.image,
        partial.picture,
        created,
        partial_image_index=partial.index,
        output_format=request.generation.output_format,
        size=f"{request.generation.width}x{request.generation.height}",
    )


def completed_events(request: ImagesRequest, result: GenerationResult, *, created: int) -> list[str]:
    """The events of the finished pictures, one each, in order.

    The tokens of the prompt were read once for all of them: the first event counts them, so that the sum is right.
    """
    return [
        _event(
            request,
            "completed",
            image,
            position,
            created,
            output_format=result.output_format,
            size=f"{result.width}x{result.height}",
            usage=_usage(result.prompt_tokens if position == 0 or result.prompt_tokens is None else 0),
            seed=seed,
            num_inference_steps=result.num_inference_steps,
        )
        for position, (image, seed) in enumerate(zip(result.images, result.seeds, strict=True))
    ]


def _event(request: ImagesRequest, name: str, image: bytes, position: int, created: int, **more: Any) -> str:
    form = request.answer
    event: dict[str, Any] = {
        "type": f"{_EVENTS[form.endpoint]}.{name}",  # first: a server looks for it at the beginning of the text
        "created_at": created,
        "quality": form.quality or "auto",
        "background": form.background or "opaque",
        **more,
    }
    if request.generation.num_images > 1:
        event["image_index"] = position  # OpenAI's events do not say it
    if form.safety_identifier is not None and name == "completed":
        event["safety_identifier"] = form.safety_identifier
    if request.generation.ignored:
        event["ignored_parameters"] = list(request.generation.ignored)
    return json.dumps({**event, "b64_json": _base64(image)})


def _usage(prompt_tokens: int | None) -> dict[str, Any] | None:
    """Text tokens as the model's tokenizer counts them; pictures are not made of tokens here. None where nobody counted."""
    if prompt_tokens is None:
        return None
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"text_tokens": prompt_tokens, "image_tokens": 0},
        "output_tokens": 0,
        "total_tokens": prompt_tokens,
    }


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode("ascii")
