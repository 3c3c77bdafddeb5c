"""Every field of an images request: on which endpoint it means something, how its value is read, what it does.

``docs/images-api.md`` has this table for people; a test compares the two.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn

from calculators.http_payload import HttpPayload, Part, RequestError
from calculators.image_gen.request_values import (
    BOOLEAN,
    FLOAT,
    INT32,
    INT64,
    SIZE_T,
    TEXT,
    WEIGHTS,
    ValueType,
    refuse,
    shortened,
)

Endpoint = Literal["generations", "edits"]

UPLOADS: Final = ("image", "image[]", "mask")
"""The file parts of an edit."""

IGNORED_IMAGE: Final = "image"
"""A field of generations that OVMS accepts there, without any effect."""

FIELDS: Final[Mapping[str, ValueType]] = MappingProxyType(
    {
        "model": TEXT,
        "prompt": TEXT,
        "prompt_2": TEXT,
        "prompt_3": TEXT,
        "negative_prompt": TEXT,
        "negative_prompt_2": TEXT,
        "negative_prompt_3": TEXT,
        "n": INT32,
        "num_images_per_prompt": INT32,
        "size": TEXT,
        "width": INT64,
        "height": INT64,
        "num_inference_steps": SIZE_T,
        "quality": TEXT,
        "rng_seed": SIZE_T,
        "guidance_scale": FLOAT,
        "strength": FLOAT,
        "max_sequence_length": INT32,
        "lora_alphas": WEIGHTS,
        "response_format": TEXT,
        "output_format": TEXT,
        "output_compression": INT32,
        "background": TEXT,
        "stream": BOOLEAN,
        "partial_images": INT32,
        "moderation": TEXT,
        "user": TEXT,
        "safety_identifier": TEXT,
    }
)
"""Every field with a meaning on both endpoints -> the type of its value. All others are refused."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "output_format": ("png", "jpeg", "webp"),
        "background": ("auto", "opaque"),
        "moderation": ("auto", "low"),
    }
)
"""The values of fields that take a few words, whatever the model and the server."""

RANGES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"output_compression": (0, 100), "partial_images": (0, 3), "strength": (0, 1)}
)
"""The least and the greatest value of numbers that have them, whatever the model and the server."""

_NOT_HERE: Final = "it is not supported by this server"
JSON: Final = "application/json"
_TO_EDITS: Final = "pictures and masks are sent to /v3/images/edits, as multipart/form-data"
_UNSUPPORTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "complexity": _NOT_HERE,
        "frame_count": _NOT_HERE,
        "frame_duration_ms": _NOT_HERE,
        "image[]": _TO_EDITS,
        "input_fidelity": f"{_NOT_HERE}; strength says how far an edit may go from the picture",
        "markup": f"{_NOT_HERE}; mask says what of the picture is drawn anew",
        "mask": _TO_EDITS,
        "style": f"{_NOT_HERE}; say it in the prompt",
        "svg": _NOT_HERE,
    }
)
"""Fields of the OpenAI API that have no meaning where they stand -> why, and what to do. Without a value they are accepted."""

_MISTAKEN: Final = MappingProxyType(
    {
        "seed": "rng_seed",
        "steps": "num_inference_steps",
        "num_steps": "num_inference_steps",
        "cfg_scale": "guidance_scale",
        "images": "image",
    }
)


@dataclass(frozen=True, slots=True)
class Form:
    """What a request holds, with every value read and no rule applied.

    Attributes:
        endpoint: where it was sent.
        values: field -> value, without those that were left open.
        images, masks: uploaded files, without empty ones.
    """

    endpoint: Endpoint
    values: Mapping[str, Any]
    images: Sequence[bytes] = ()
    masks: Sequence[bytes] = ()


def read_json_form(payload: HttpPayload) -> Form:
    """The fields of a request for generations. null means absent: clients of OpenAI's API write out what they leave open.

    Raises:
        RequestError: 400; no JSON object, an unknown field, or a value of the wrong type. 415; the body says that it is no JSON:
            what stands in it could not be known to be meant for the adapter that an address names.
    """
    if payload.parts:
        refuse_body(
            "Failed to parse JSON: the body is multipart/form-data. Send generations as application/json; uploads "
            "belong to /v3/images/edits."
        )
    content_type = payload.headers.get("Content-Type", JSON)
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise RequestError(
            f"Content-Type {shortened(content_type)} is not accepted; send generations as {JSON}.",
            status=415,
            code="unsupported_media_type",
        )
    values = {}
    for name, value in payload.json_object().items():
        if name not in FIELDS and name != IGNORED_IMAGE:
            _refuse_unknown(name, value is None)
        elif value is not None:
            values[name] = FIELDS[name].json(name, value) if name in FIELDS else value
    return Form("generations", values)


def read_multipart_form(payload: HttpPayload) -> Form:
    """The fields and files of a request for edits. An empty part means absent.

    Raises:
        RequestError: 400; no multipart body, an unknown field, one that comes twice, or a value of the wrong type.
    """
    if not payload.parts:
        refuse_body(
            "Failed to parse multipart data: send edits as multipart/form-data, with the parts prompt and image."
        )
    values: dict[str, Any] = {}
    files: dict[str, list[bytes]] = {name: [] for name in UPLOADS}
    seen: set[str] = set()
    for part in payload.parts:
        name = part.name
        if name in files:
            if part.data:
                files[name].append(part.data)
        elif name not in FIELDS:
            _refuse_unknown(name, not part.data)
        elif name in seen:
            refuse(name, f"{name} field is given twice; give it once", "invalid_value")
        elif part.data:
            values[name] = FIELDS[name].text(name, _text(part))
        seen.add(name)
    return Form("edits", values, [*files["image"], *files["image[]"]], files["mask"])


def refuse_body(message: str) -> NoReturn:
    """Refuse a body as a whole."""
    refuse(None, message, "invalid_body")


def _text(part: Part) -> str:
    try:
        return part.data.decode()
    except UnicodeDecodeError:
        refuse(part.name, f"{part.name} field is not UTF-8 text", "invalid_value")


def _refuse_unknown(name: str, is_empty: bool) -> None:
    if name in _UNSUPPORTED:
        if is_empty:
            return
        refuse(name, f"Unhandled parameter: {name}; {_UNSUPPORTED[name]}", "unsupported_parameter")
    near = _MISTAKEN.get(name) or next(iter(difflib.get_close_matches(name[:100], FIELDS, n=1, cutoff=0.7)), None)
    name = shortened(name)
    refuse(name, f"Unhandled parameter: {name}" + (f"; did you mean {near}?" if near else ""), "unknown_parameter")
