"""The fields of an images request -> one GenerationRequest; every refusal names its field.

Field names are those of the OpenAI images API and of OVMS; key phrases of the error texts are OVMS's, so that clients which
look for them go on working. What is accepted although it changes nothing is listed in ``GenerationRequest.ignored``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn

from calculators.image_gen.generation import GenerationRequest
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import NodeSettings
from calculators.image_gen.request_values import (
    read_any,
    read_boolean,
    read_float,
    read_int,
    read_int64,
    read_seed,
    read_size_t,
    read_text,
    refuse,
    shortened,
)
from calculators.image_gen.resolution import Resolution, parse_resolution
from calculators.image_gen.sizes import size_problem


@dataclass(frozen=True, slots=True)
class RequestRules:
    """What a node allows: its settings and its model."""

    settings: NodeSettings
    model: ModelInfo


_READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = MappingProxyType(
    {
        "model": read_text,
        "prompt": read_text,
        "prompt_2": read_text,
        "prompt_3": read_text,
        "negative_prompt": read_text,
        "negative_prompt_2": read_text,
        "negative_prompt_3": read_text,
        "size": read_text,
        "width": read_int64,
        "height": read_int64,
        "n": read_int,
        "num_images_per_prompt": read_int,
        "num_inference_steps": read_size_t,
        "rng_seed": read_seed,
        "guidance_scale": read_float,
        "strength": read_float,
        "max_sequence_length": read_int,
        "response_format": read_text,
        "lora_alphas": read_any,
        "image": read_any,
        "quality": read_text,
        "background": read_text,
        "output_format": read_text,
        "output_compression": read_int,
        "style": read_text,
        "moderation": read_text,
        "user": read_text,
        "safety_identifier": read_text,
        "stream": read_boolean,
        "partial_images": read_int,
    }
)
"""Every field with a meaning here -> how its value is read. All others are refused."""

_SAME_AS_OURS: Final[Mapping[str, frozenset[Any]]] = MappingProxyType(
    {
        "quality": frozenset({"auto", "standard"}),
        "background": frozenset({"auto", "opaque"}),
        "output_format": frozenset({"png"}),
        "output_compression": frozenset(),
        "style": frozenset(),
        "stream": frozenset({False}),
        "partial_images": frozenset({0}),
    }
)
"""OpenAI fields of which only those values are accepted that mean what is done anyway."""

_OF_OTHERS: Final = frozenset(
    {"complexity", "frame_count", "frame_duration_ms", "input_fidelity", "markup", "mask", "svg"}
)
"""OpenAI fields that have no meaning here."""

_MODERATION: Final = frozenset({"auto", "low"})
_NO_EFFECT: Final = ("image", "moderation", "safety_identifier", "user")
_MISTAKEN: Final = MappingProxyType(
    {
        "seed": "rng_seed",
        "steps": "num_inference_steps",
        "num_steps": "num_inference_steps",
        "cfg_scale": "guidance_scale",
    }
)


def parse_generation(body: Mapping[str, Any], rules: RequestRules) -> GenerationRequest:
    """A request to make pictures from a text, from the JSON object that was sent.

    Raises:
        RequestError: 400; ``param`` names the field at fault.
    """
    for name in body:
        if name not in _READERS and (name not in _OF_OTHERS or body[name] is not None):
            _refuse_unknown(name)
    # null means absent: clients of OpenAI's API write out what they leave open.
    given = {name: value for name, value in body.items() if name in _READERS and value is not None}
    if "prompt" not in given:
        refuse("prompt", "prompt field is missing in JSON body", "missing_required_parameter")
    values = {name: _READERS[name](name, value) for name, value in given.items()}
    _check_openai_values(values)
    _check_strength(values)
    _check_lora(values)
    guidance = values.get("guidance_scale")
    _check_prompts(values, guidance, rules.model)
    size = _size(values, rules)
    length = _sequence_length(values, rules.model)
    ignored: list[str] = [name for name in _NO_EFFECT if name in values]
    if "max_sequence_length" in values and length is None:
        ignored.append("max_sequence_length")
    if guidance is not None and not rules.model.uses_guidance:
        ignored.append("guidance_scale")
    return GenerationRequest(
        prompt=values["prompt"],
        prompt_2=values.get("prompt_2"),
        prompt_3=values.get("prompt_3"),
        negative_prompt=values.get("negative_prompt"),
        negative_prompt_2=values.get("negative_prompt_2"),
        negative_prompt_3=values.get("negative_prompt_3"),
        width=size.width,
        height=size.height,
        num_images=_num_images(values, rules),
        num_inference_steps=_steps(values, rules),
        rng_seed=values.get("rng_seed"),
        guidance_scale=_guidance(guidance, rules.model),
        max_sequence_length=length,
        model=values.get("model"),
        ignored=tuple(ignored),
    )


# ---- rules


def _refuse_unknown(name: str) -> NoReturn:
    if name in _OF_OTHERS:
        refuse(name, f"Unhandled parameter: {name}; it is not supported by this server", "unsupported_parameter")
    near = _MISTAKEN.get(name) or next(iter(difflib.get_close_matches(name[:100], _READERS, n=1, cutoff=0.7)), None)
    name = shortened(name)
    refuse(name, f"Unhandled parameter: {name}" + (f"; did you mean {near}?" if near else ""), "unknown_parameter")


def _check_openai_values(values: Mapping[str, Any]) -> None:
    for name, accepted in _SAME_AS_OURS.items():
        if name in values and values[name] not in accepted:
            possible = f"; possible here: {', '.join(map(_shown, sorted(accepted)))}" if accepted else "; leave it out"
            refuse(
                name, f"{name} {_shown(values[name])} is not supported by this server{possible}", "unsupported_value"
            )
    if values.get("moderation", "auto") not in _MODERATION:
        refuse(
            "moderation", f"moderation {_shown(values['moderation'])} is unknown; possible: auto, low", "invalid_value"
        )
    form = values.get("response_format", "b64_json")
    if form != "b64_json":
        refuse(
            "response_format",
            f"Unsupported response_format: {shortened(form)}. Only b64_json is supported.",
            "unsupported_value",
        )


def _shown(value: Any) -> str:
    return f'"{shortened(value)}"' if isinstance(value, str) else str(value).lower()


def _check_strength(values: Mapping[str, Any]) -> None:
    strength = values.get("strength", 1.0)
    if strength > 1:
        refuse("strength", "strength is greater than maxStrength: 1", "decimal_above_max_value")
    if strength < 0:
        refuse("strength", "strength is less than minStrength: 0", "decimal_below_min_value")
    if strength != 1:
        refuse(
            "strength",
            "strength has a meaning for edits alone; for generations it can only be 1, or left out",
            "invalid_value",
        )


def _check_lora(values: Mapping[str, Any]) -> None:
    if "lora_alphas" not in values:
        return
    if not isinstance(values["lora_alphas"], dict):
        refuse("lora_alphas", "lora_alphas must be an object", "invalid_type")
    refuse(
        "lora_alphas",
        "lora_alphas is not supported when no dynamic LoRA adapters are available.",
        "unsupported_parameter",
    )


def _check_prompts(values: Mapping[str, Any], guidance: float | None, model: ModelInfo) -> None:
    """Which prompts the model reads; a negative prompt works through guidance, that is, with a scale above 1."""
    family = model.family
    for count, suffix in enumerate(("", "_2", "_3"), 1):
        for stem, available in (("prompt", family.prompts), ("negative_prompt", model.negative_prompts)):
            name = stem + suffix
            if name in values and count > available:
                reads = f"reads {available}" if available else "reads none"
                refuse(name, f"{name} is not used: of {stem}s, {family.title} {reads}", "unsupported_parameter")
        name = "negative_prompt" + suffix
        if name in values and guidance is not None and guidance <= 1:
            refuse(name, f"{name} needs a guidance_scale above 1; guidance_scale is {guidance:g}", "invalid_value")


def _guidance(guidance: float | None, model: ModelInfo) -> float | None:
    if model.fixed_guidance is None:
        return guidance
    used = model.family.guidance_scale if guidance is None else guidance
    if (used > 1) != model.fixed_guidance:
        need = "above 1" if model.fixed_guidance else "of 1 or less"
        refuse(
            "guidance_scale", f"guidance_scale must be {need}: the shapes of this model are fixed so", "invalid_value"
        )
    return guidance


def _num_images(values: Mapping[str, Any], rules: RequestRules) -> int:
    if "n" in values and "num_images_per_prompt" in values:
        refuse(
            "num_images_per_prompt",
            "Key: num_images_per_prompt already exists in request options. Give n or num_images_per_prompt, not both.",
            "invalid_value",
        )
    name = "num_images_per_prompt" if "num_images_per_prompt" in values else "n"
    count = int(values.get(name, 1))
    limit = rules.settings.max_num_images_per_prompt
    if count <= 0:
        refuse(name, "num_images_per_prompt/n must be higher than 0", "integer_below_min_value")
    if count > limit:
        refuse(
            name, f"num_images_per_prompt/n is greater than maxNumImagesPerPrompt: {limit}", "integer_above_max_value"
        )
    fixed = rules.model.fixed_images
    if fixed is not None and count != fixed:
        refuse(name, f"{name} must be {fixed}: the shapes of this model are fixed so", "invalid_value")
    return count


def _steps(values: Mapping[str, Any], rules: RequestRules) -> int:
    steps = int(values.get("num_inference_steps", rules.settings.default_num_inference_steps))
    limit = min(rules.settings.max_num_inference_steps, rules.model.num_train_timesteps)
    if steps == 0:
        refuse("num_inference_steps", "num_inference_steps must be higher than 0", "integer_below_min_value")
    if steps > limit:
        refuse(
            "num_inference_steps",
            f"num_inference_steps is greater than maxNumInferenceSteps: {limit}",
            "integer_above_max_value",
        )
    return steps


def _sequence_length(values: Mapping[str, Any], model: ModelInfo) -> int | None:
    length = values.get("max_sequence_length")
    limit = model.family.max_sequence_length
    if length is None:
        return None
    if length <= 0:
        refuse("max_sequence_length", "max_sequence_length must be higher than 0", "integer_below_min_value")
    if limit is not None and length > limit:
        refuse("max_sequence_length", f"max_sequence_length is greater than {limit}", "integer_above_max_value")
    return None if limit is None else int(length)


def _size(values: Mapping[str, Any], rules: RequestRules) -> Resolution:
    """The size to draw: what was asked, else default_resolution, else the model's own; a single side is completed by the last."""
    width, height = _asked_size(values)
    model = rules.model
    size: Resolution | None
    if width is None and height is None:
        size = rules.settings.default_resolution or model.default_size
    else:
        size = _completed(width, height, model.default_size)
    sides = [name for name in ("width", "height") if name in values]
    if size is None:
        refuse(
            sides[0] if sides else "size",
            "this model does not say which size it draws: give size, as WxH",
            "invalid_value",
        )
    limit = rules.settings.max_resolution
    if not size.fits_in(limit):
        param = _side_at_fault(sides, size.width > limit.width)
        whose = "size" if "size" in values or sides else "no size was given, and the model's own size"
        refuse(param, f"{whose} {size} exceeds the maximum resolution {limit}", "integer_above_max_value")
    reason = size_problem(size, model)
    if reason is not None:
        square = Resolution(size.width, size.width)  # tells which side is at fault, unless one size only fits
        refuse(_side_at_fault(sides, size_problem(square, model) is not None), f"size {size} {reason}", "invalid_value")
    return size


def _side_at_fault(sides: list[str], width_is: bool) -> str:
    """The field to name: the side at fault if the request names it, else the other one, or size."""
    if not sides:
        return "size"
    side = "width" if width_is else "height"
    return side if side in sides else sides[0]


def _asked_size(values: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Width and height as far as they were asked for."""
    size = None
    if "size" in values:
        try:
            size = parse_resolution(values["size"])
        except ValueError as error:
            refuse("size", f"size field {error}", "invalid_value")
    for name in ("width", "height"):
        if name in values:
            if size is not None:
                refuse(
                    name,
                    f"Key: {name} already exists in request options. Give size, or width and height.",
                    "invalid_value",
                )
            if values[name] <= 0:
                refuse(name, f"{name} must be higher than 0", "integer_below_min_value")
    return size or (values.get("width"), values.get("height"))


def _completed(width: int | None, height: int | None, own: Resolution | None) -> Resolution | None:
    if own is not None:
        return Resolution(own.width if width is None else width, own.height if height is None else height)
    return None if width is None or height is None else Resolution(width, height)
