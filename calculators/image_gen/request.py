"""An images request, as it was sent -> what to draw, and how to answer; every refusal names its field.

One parser serves both endpoints. Field names are those of the OpenAI images API and of OVMS; key phrases of the error texts are
OVMS's, so that clients which look for them go on working. What is accepted although it changes nothing is listed in
``GenerationRequest.ignored``. ``request_fields`` reads the values, ``request_size`` chooses the size, ``uploads`` looks at files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from calculators.http_payload import HttpPayload, RequestError
from calculators.image_gen.adapters import choose_adapters
from calculators.image_gen.generation import GenerationRequest, Kind
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.request_fields import (
    CHOICES,
    IGNORED_IMAGE,
    RANGES,
    Endpoint,
    Form,
    read_json_form,
    read_multipart_form,
)
from calculators.image_gen.request_rules import RequestRules
from calculators.image_gen.request_size import choose_size
from calculators.image_gen.request_values import refuse, shortened
from calculators.image_gen.schedule import steps_to_run
from calculators.image_gen.uploads import read_header

GENERATIONS: Final = "/v3/images/generations"
EDITS: Final = "/v3/images/edits"
_ADDRESS: Final = re.compile(r"/v[13]/(?:[^?]*/)?images/(generations|edits)")
"""Of a call: before ``images`` may stand the name of a model, or another version, as in /v3/v1."""

_LOSSY: Final = ("jpeg", "webp")
_DEFAULT_QUALITY: Final = ("auto", "standard")
"""What clients send who do not care; the steps are then the node's."""
_NO_EFFECT: Final = (IGNORED_IMAGE, "moderation", "safety_identifier", "user")
_PIPELINES: Final[Mapping[Kind, str]] = {
    "text to image": "Text-to-image",
    "image to image": "Image-to-image",
    "inpainting": "Inpainting",
}
_ASK_FOR: Final[Mapping[Kind, str]] = {
    "text to image": "generations",
    "image to image": "edits without a mask",
    "inpainting": "edits with a mask",
}


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """How a request wants its answer.

    Attributes:
        endpoint: where it was sent.
        stream: whether as a stream of events.
        urls: whether with URLs in the place of pictures.
        quality, background: as the request gives them, or None.
        safety_identifier: the caller's name for its user, to be given back.
    """

    endpoint: Endpoint
    stream: bool = False
    urls: bool = False
    quality: str | None = None
    background: str | None = None
    safety_identifier: str | None = None


@dataclass(frozen=True, slots=True)
class ImagesRequest:
    """A request that has passed every check."""

    generation: GenerationRequest
    answer: AnswerForm


def parse_request(payload: HttpPayload, rules: RequestRules) -> ImagesRequest:
    """A request to draw pictures from a text, or from a picture and a text.

    Raises:
        RequestError: 404 for another address, else 400; ``param`` names the field at fault.
    """
    address = _ADDRESS.match(payload.uri)
    if address is None:
        raise RequestError(
            f"Unsupported URI: {shortened(payload.uri)}; this model answers {GENERATIONS} and {EDITS}, also under /v1",
            status=404,
            code="unknown_url",
        )
    return check_form(read_json_form(payload) if address[1] == "generations" else read_multipart_form(payload), rules)


def check_form(form: Form, rules: RequestRules) -> ImagesRequest:
    """Apply the rules to a request whose values have been read.

    Raises:
        RequestError: 400.
    """
    values, model = form.values, rules.model
    if "prompt" not in values:
        body = "JSON" if form.endpoint == "generations" else "multipart"
        refuse("prompt", f"prompt field is missing in {body} body", "missing_required_parameter")
    image, mask = _uploads(form)
    kind: Kind = "text to image" if image is None else "image to image" if mask is None else "inpainting"
    _check_kind(kind, model)
    upload = None if image is None else read_header("image", image, rules.requests)
    if mask is not None:
        read_header("mask", mask, rules.requests)
    guidance = _guidance(values, rules)
    _check_prompts(values, guidance, model)
    length = _sequence_length(values, model)
    ignored = [name for name in _NO_EFFECT if name in values]
    if "max_sequence_length" in values and length is None:
        ignored.append("max_sequence_length")
    if "guidance_scale" in values and not model.uses_guidance:
        ignored.append("guidance_scale")
    adapters = choose_adapters(rules.settings, values.get("model"), values.get("lora_alphas"))
    if values.get("lora_alphas") and not adapters:
        ignored.append("lora_alphas")
    num_images = _num_images(values, rules)
    size = choose_size(values, rules, upload)
    steps = _steps(values, rules)
    strength = _strength(values, kind, steps, model)
    answer = _answer(form, rules)
    output_format = values.get("output_format", "png")
    generation = GenerationRequest(
        prompt=values["prompt"],
        prompt_2=values.get("prompt_2"),
        prompt_3=values.get("prompt_3"),
        negative_prompt=values.get("negative_prompt"),
        negative_prompt_2=values.get("negative_prompt_2"),
        negative_prompt_3=values.get("negative_prompt_3"),
        width=size.width,
        height=size.height,
        num_images=num_images,
        num_inference_steps=steps,
        rng_seed=values.get("rng_seed"),
        guidance_scale=guidance,
        max_sequence_length=length,
        model=values.get("model"),
        image=image,
        mask=mask,
        strength=strength,
        adapters=adapters,
        output_format=output_format,
        output_compression=values.get("output_compression"),
        partial_images=values.get("partial_images", 0),
        ignored=tuple(ignored),
    )
    return ImagesRequest(generation, answer)


# ---- pictures


def _uploads(form: Form) -> tuple[bytes | None, bytes | None]:
    if form.endpoint == "generations":
        return None, None
    if not form.images:
        refuse(
            "image",
            "Image field is missing in multipart body: send the picture to edit as a file part named image",
            "missing_required_parameter",
        )
    if len(form.images) > 1:
        refuse(
            "image", f"{len(form.images)} pictures were sent as image; this model edits 1 at a time", "invalid_value"
        )
    if len(form.masks) > 1:
        refuse("mask", f"{len(form.masks)} masks were sent; an edit takes 1", "invalid_value")
    return form.images[0], form.masks[0] if form.masks else None


def _check_kind(kind: Kind, model: ModelInfo) -> None:
    if kind in model.kinds:
        return
    takes = " and ".join(what for each, what in _ASK_FOR.items() if each in model.kinds)
    why = f" {model.kinds_reason}" if model.kinds_reason else ""
    at_fault = "mask" if kind == "inpainting" or "inpainting" in model.kinds else "image"
    refuse(
        None if kind == "text to image" else at_fault,
        f"{_PIPELINES[kind]} pipeline is not available for this model; it takes {takes}.{why}",
        "unsupported_operation",
    )


def _strength(values: Mapping[str, Any], kind: Kind, steps: int, model: ModelInfo) -> float | None:
    strength: float | None = values.get("strength")
    if strength is None:
        return None
    least, most = RANGES["strength"]
    if strength > most:
        refuse("strength", f"strength is greater than maxStrength: {most}", "decimal_above_max_value")
    if strength < least:
        refuse("strength", f"strength is less than minStrength: {least}", "decimal_below_min_value")
    if kind == "text to image":
        if strength != 1:
            refuse(
                "strength",
                "strength has a meaning for edits alone; for generations it can only be 1, or left out",
                "invalid_value",
            )
        return None
    if not model.family.takes_strength:
        refuse("strength", f"strength has no meaning for {model.family.title}; leave it out", "unsupported_parameter")
    if steps_to_run(model, steps, strength) < 1:
        refuse(
            "strength",
            f"strength {strength:g} leaves none of {steps} steps to draw with; give more of either",
            "decimal_below_min_value",
        )
    return strength


# ---- prompts and guidance


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


def _guidance(values: Mapping[str, Any], rules: RequestRules) -> float | None:
    """What was asked, else what the model was compiled for; None for the family's own."""
    asked: float | None = values.get("guidance_scale")
    static, model = rules.settings.load.static, rules.model
    if static is not None:
        if asked is not None and not math.isclose(asked, static.guidance_scale, rel_tol=1e-6):
            refuse(
                "guidance_scale",
                f"{rules.shape_title} requested guidance_scale doesn't match underlying model shape: "
                f"this model is compiled for {static.guidance_scale:g}",
                "invalid_value",
            )
        return static.guidance_scale
    if model.fixed_guidance is not None:
        used = model.family.guidance_scale if asked is None else asked
        if (used > 1) != model.fixed_guidance:
            need = "above 1" if model.fixed_guidance else "of 1 or less"
            refuse(
                "guidance_scale",
                f"guidance_scale must be {need}: the shapes of this model are fixed so",
                "invalid_value",
            )
    return asked


def _sequence_length(values: Mapping[str, Any], model: ModelInfo) -> int | None:
    length: int | None = values.get("max_sequence_length")
    limit = model.family.max_sequence_length
    if length is None:
        return None
    if length <= 0:
        refuse("max_sequence_length", "max_sequence_length must be higher than 0", "integer_below_min_value")
    if limit is not None and length > limit:
        refuse("max_sequence_length", f"max_sequence_length is greater than {limit}", "integer_above_max_value")
    return None if limit is None else length


# ---- numbers


def _num_images(values: Mapping[str, Any], rules: RequestRules) -> int:
    if "n" in values and "num_images_per_prompt" in values:
        refuse(
            "num_images_per_prompt",
            "Key: num_images_per_prompt already exists in request options. Give n or num_images_per_prompt, not both.",
            "invalid_value",
        )
    static = rules.settings.load.static
    name = "num_images_per_prompt" if "num_images_per_prompt" in values else "n"
    count = int(values.get(name, 1 if static is None else static.num_images))
    limit = rules.settings.max_num_images_per_prompt
    if count <= 0:
        refuse(name, "num_images_per_prompt/n must be higher than 0", "integer_below_min_value")
    if static is not None:
        if count != static.num_images:
            refuse(
                name,
                f"{rules.shape_title} requested num_images_per_prompt doesn't match underlying model shape: "
                f"this model is compiled for {static.num_images}",
                "invalid_value",
            )
        return count
    if count > limit:
        refuse(
            name, f"num_images_per_prompt/n is greater than maxNumImagesPerPrompt: {limit}", "integer_above_max_value"
        )
    fixed = rules.model.fixed_images
    if fixed is not None and count != fixed:
        refuse(name, f"{name} must be {fixed}: the shapes of this model are fixed so", "invalid_value")
    return count


def _steps(values: Mapping[str, Any], rules: RequestRules) -> int:
    """What was asked, as a number or as a preset, else the node's default."""
    name = "num_inference_steps"
    preset = _preset(values, rules)
    if preset is not None:
        if name in values:
            refuse(
                name,
                f"quality is {values['quality']}, which stands for {preset} steps: give quality or {name}, not both",
                "invalid_value",
            )
        name = "quality"
    steps = int(values.get("num_inference_steps", preset or rules.settings.default_num_inference_steps))
    limit = min(rules.settings.max_num_inference_steps, rules.model.num_train_timesteps)
    if steps == 0:
        refuse(name, "num_inference_steps must be higher than 0", "integer_below_min_value")
    if steps > limit:
        refuse(name, f"num_inference_steps is greater than maxNumInferenceSteps: {limit}", "integer_above_max_value")
    return steps


def _preset(values: Mapping[str, Any], rules: RequestRules) -> int | None:
    quality, presets = values.get("quality", "auto"), rules.requests.quality
    if quality in presets:
        return presets[quality]
    if quality not in _DEFAULT_QUALITY:
        possible = ", ".join(dict.fromkeys([*_DEFAULT_QUALITY, *presets]))
        refuse(
            "quality",
            f'quality "{shortened(quality)}" is not supported by this server; possible here: {possible}',
            "unsupported_value",
        )
    return None


# ---- the answer


def _answer(form: Form, rules: RequestRules) -> AnswerForm:
    values = form.values
    for name, possible in CHOICES.items():
        _check_choice(values, name, possible)
    _check_compression(values)
    stream = values.get("stream", False)
    partial_images = values.get("partial_images", 0)
    _check_range("partial_images", partial_images)
    if partial_images and not stream:
        refuse("partial_images", "partial_images come in a stream alone: give stream as true", "invalid_value")
    return AnswerForm(
        form.endpoint,
        stream,
        _wants_urls(values, rules, stream),
        values.get("quality"),
        values.get("background"),
        values.get("safety_identifier", values.get("user")),
    )


def _check_choice(values: Mapping[str, Any], name: str, possible: tuple[str, ...]) -> None:
    value = values.get(name)
    if value is not None and value not in possible:
        refuse(
            name,
            f'{name} "{shortened(value)}" is not supported by this server; possible here: {", ".join(possible)}',
            "unsupported_value",
        )


def _check_range(name: str, value: int) -> None:
    least, most = RANGES[name]
    if not least <= value <= most:
        refuse(name, f"{name} must be from {least} to {most}", "invalid_value")


def _check_compression(values: Mapping[str, Any]) -> None:
    compression = values.get("output_compression")
    if compression is None:
        return
    _check_range("output_compression", compression)
    if values.get("output_format") not in _LOSSY:
        refuse(
            "output_compression",
            f"output_compression is for an output_format of {' or '.join(_LOSSY)} alone",
            "invalid_value",
        )


def _wants_urls(values: Mapping[str, Any], rules: RequestRules, stream: bool) -> bool:
    form = values.get("response_format", "b64_json")
    is_possible = rules.requests.store is not None
    if form != "b64_json" and not (form == "url" and is_possible):
        only = "Possible here: b64_json, url." if is_possible else "Only b64_json is supported."
        hint = " URLs need a server that was started with --image_store." if form == "url" else ""
        refuse("response_format", f"Unsupported response_format: {shortened(form)}. {only}{hint}", "unsupported_value")
    if form == "url" and stream:
        refuse(
            "response_format",
            "a stream carries its pictures itself: give response_format b64_json",
            "invalid_value",
        )
    return bool(form == "url")
