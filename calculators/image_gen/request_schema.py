"""Images requests and their answers as JSON Schema, made from the tables by which requests are read.

What a schema cannot say is said by the refusal: which fields exclude each other, and what a model or a server does not allow.
"""

from __future__ import annotations

from typing import Any, Final

from calculators.image_gen.request_fields import CHOICES, FIELDS, IGNORED_IMAGE, RANGES, UPLOADS

Schema = dict[str, Any]

_MEANINGS: Final = {
    "model": "a model, or one of its LoRA adapters; GET /v1/models lists them",
    "prompt": "what to draw",
    "prompt_2": "for a model's second text encoder; prompt unless given",
    "prompt_3": "for a model's third text encoder; prompt unless given",
    "negative_prompt": "what not to draw; needs a guidance_scale above 1",
    "negative_prompt_2": "for a model's second text encoder",
    "negative_prompt_3": "for a model's third text encoder",
    "n": "how many pictures",
    "num_images_per_prompt": "another name of n; one of them can be given",
    "size": "WIDTHxHEIGHT in pixels, or auto",
    "width": "pixels, in the place of size",
    "height": "pixels, in the place of size",
    "num_inference_steps": "denoising steps",
    "quality": "auto, standard, or a preset of the server, which stands for a number of steps",
    "rng_seed": "same seed, same picture; a random one, which the answer tells, unless given",
    "guidance_scale": "how closely to follow the text",
    "strength": "edits: how far to go from the picture",
    "max_sequence_length": "tokens that a long text encoder reads",
    "lora_alphas": "weights of LoRA adapters, by their names",
    "response_format": "b64_json; or url, where the server keeps pictures",
    "output_format": "of the picture files",
    "output_compression": "quality of a jpeg or webp",
    "background": "changes nothing",
    "stream": "true for an event stream",
    "partial_images": "how many pictures on the way a stream shows, at most",
    "moderation": "changes nothing",
    "user": "given back as safety_identifier",
    "safety_identifier": "given back",
}
_FILES: Final = {
    "image": "the picture to start from: PNG, JPEG or WebP",
    "image[]": "the same as image",
    "mask": "what to draw anew: what is transparent, or in a file without transparency what is white",
}
EXAMPLE: Final = {"model": "shapes", "prompt": "a red circle on a blue background"}


def field_schema(name: str) -> Schema:
    """The values of a field that is not left open."""
    schema = dict(FIELDS[name].schema)
    if name in CHOICES:
        schema["enum"] = list(CHOICES[name])
    if name in RANGES:
        schema["minimum"], schema["maximum"] = RANGES[name]
    return schema


def generations_schema() -> Schema:
    """The JSON body of /images/generations; null means absent."""
    fields = {
        name: {"description": _MEANINGS[name], "anyOf": [field_schema(name), {"type": "null"}]}
        if name not in ("model", "prompt")
        else {"description": _MEANINGS[name], **field_schema(name)}
        for name in FIELDS
    }
    fields[IGNORED_IMAGE] = {"description": "accepted, and changes nothing"}
    return _object(fields, ("model", "prompt")) | {"examples": [EXAMPLE]}


def edits_schema() -> Schema:
    """The parts of a multipart/form-data body of /images/edits; an empty one means absent."""
    files: dict[str, Schema] = {
        name: {"description": _FILES[name], "type": "string", "contentMediaType": "application/octet-stream"}
        for name in UPLOADS
    }
    fields = {name: {"description": _MEANINGS[name], **field_schema(name)} for name in FIELDS}
    schema = _object({**files, **fields}, ("model", "prompt"))
    return schema | {"anyOf": [{"required": ["image"]}, {"required": ["image[]"]}]}


def images_schema() -> Schema:
    """The JSON answer: OpenAI's ``ImagesResponse`` with ``seed``, ``num_inference_steps`` and ``ignored_parameters``."""
    picture = _object(
        {"b64_json": {"type": "string", "contentEncoding": "base64"}, "url": {"type": "string"}, "seed": _WHOLE},
        ("seed",),
    )
    usage = _object(
        {
            "input_tokens": _WHOLE,
            "input_tokens_details": _object(
                {"text_tokens": _WHOLE, "image_tokens": _WHOLE}, ("text_tokens", "image_tokens")
            ),
            "output_tokens": _WHOLE,
            "total_tokens": _WHOLE,
        },
        ("input_tokens", "input_tokens_details", "output_tokens", "total_tokens"),
    )
    return _object(
        {
            "created": _WHOLE,
            "data": {"type": "array", "items": picture},
            "output_format": field_schema("output_format"),
            "size": {"type": "string", "pattern": "^[0-9]+x[0-9]+$"},
            "quality": {"type": "string"},
            "background": field_schema("background"),
            "safety_identifier": {"type": "string"},
            "usage": usage,
            "seed": _WHOLE,
            "num_inference_steps": _WHOLE,
            "ignored_parameters": {"type": "array", "items": {"type": "string"}},
        },
        ("created", "data", "output_format", "size", "seed", "num_inference_steps"),
    )


_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}


def _object(properties: Schema, required: tuple[str, ...]) -> Schema:
    """Nothing else may stand in it."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
