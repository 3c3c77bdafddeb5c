"""What OVMS accepts and refuses of images requests, case by case.

``OURS`` is every case that has another outcome here, with its reason; each is a row of ``docs/differences.md``.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image
from pytest_aiohttp.plugin import AiohttpClient

from calculators.http_payload import HttpPayload, Part, RequestError, parse_json
from calculators.image_gen.adapters import Adapter, choose_adapters
from calculators.image_gen.families import FAMILIES
from calculators.image_gen.generation import GenerationRequest, GenerationResult
from calculators.image_gen.images import encode_image
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings, NodeSettings, StaticShape
from calculators.image_gen.request import AnswerForm, ImagesRequest, parse_request
from calculators.image_gen.request_rules import RequestRules
from calculators.image_gen.request_values import FLOAT, INT32, INT64, SIZE_T, TEXT, WEIGHTS, ValueType
from calculators.image_gen.resolution import Resolution, parse_resolution
from calculators.image_gen.response import response_text
from server.app import build_app
from server.payload import parse_object
from server.settings import Settings

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "ovms_cases.json").read_text(encoding="utf-8"))[
    "cases"
]

OURS: Final = {
    "field_getter-030": "null means absent",
    "field_getter-048": "null means absent",
    "field_getter-067": "a JSON integer is a number too",
    "source_derived-001": "a JSON integer is a number too",
    "source_derived-006": "null means absent",
    "generation_request-019": "user is accepted, and listed as ignored",
}
"""Case -> why it is accepted here. In all others the outcome is OVMS's."""

TYPES: Final = {"string": TEXT, "int32": INT32, "int64": INT64, "uint64": SIZE_T, "size_t": SIZE_T, "float": FLOAT}


def cases(*kinds: str, has: Callable[[dict[str, Any]], bool] = lambda case: True) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["kind"] in kinds and has(case)]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["id"])


def check(case: dict[str, Any], act: Callable[[], Any]) -> Any:
    """What ``act`` gives where the case is accepted; where it is refused, whether the texts fit."""
    expect = case["expect"]
    if expect["result"] == "accept" or case["id"] in OURS:
        return act()
    with pytest.raises(RequestError) as caught:
        act()
    assert caught.value.status == 400
    for part in [*expect.get("message_contains", []), *([expect["message"]] if "message" in expect else [])]:
        assert part in caught.value.message
    return None


# ---- single values


def read(kind: ValueType, case: dict[str, Any], raw: Any) -> Any:
    """A value as a request carries it: JSON text, or the text of a part; None where the field is absent."""
    name = case["input"].get("field", "some_field")
    if case["input"]["via"] == "multipart":
        return kind.text(name, raw) if raw else None
    value = None if raw is None else parse_json(raw.encode())
    return None if value is None else kind.json(name, value)


@cases("field_getter")
def test_single_values(case: dict[str, Any]) -> None:
    asked, expect = case["input"], case["expect"]
    found = check(case, lambda: read(TYPES[asked["type"]], case, asked["raw"]))
    if expect["result"] == "accept":
        assert found == (
            None
            if expect["parsed"] is None
            else pytest.approx(expect["parsed"])
            if asked["type"] == "float"
            else expect["parsed"]
        )


@cases("size_parse")
def test_sizes(case: dict[str, Any]) -> None:
    text = case["input"]["fields"].get("size")
    if case["expect"]["result"] == "reject":
        with pytest.raises(ValueError, match="correct format|greater than 0"):
            parse_resolution(text)
    else:
        parsed = case["expect"]["parsed"]
        found = None if text is None else parse_resolution(text)
        assert found == (None if parsed is None else tuple(parsed) if isinstance(parsed, list) else parsed)


# ---- whole requests


def model() -> ModelInfo:
    """A model that draws every size which the cases ask for."""
    family = FAMILIES["StableDiffusion3Pipeline"]  # reads every prompt
    kinds = frozenset({"text to image", "image to image", "inpainting"})
    return ModelInfo(
        "StableDiffusion3Pipeline", family, "FlowMatchEulerDiscreteScheduler", "", 1000, Resolution(512, 512), 8,
        "it is so", family.negative_prompts, kinds=kinds,  # type: ignore[arg-type]  # literals in a set are plain strings
    )  # fmt: skip


def size_of(text: str | None) -> Resolution | None:
    return None if text is None else parse_resolution(text)


def rules_of(case: dict[str, Any]) -> RequestRules:
    """The node that a case is about."""
    args = {"base": case["args"]} if isinstance(case.get("args"), str) else dict(case.get("args") or {})
    sizes = tuple(filter(None, map(size_of, args.get("static_resolutions", []))))
    static = (
        StaticShape(sizes[0], args.get("static_num_images_per_prompt", 1), args.get("static_guidance_scale", 7.5))
        if len(sizes) == 1
        else None
    )
    adapters = (Adapter("xray", "/xray.safetensors"),) if case.get("has_dynamic_adapters") else ()
    load = LoadSettings("/m", tuple(args.get("device") or ["CPU"]), adapters=adapters, static=static)
    settings = NodeSettings(
        load,
        size_of(args.get("max_resolution")) or Resolution(4096, 4096),
        size_of(args.get("default_resolution")) or (sizes[0] if sizes else None),
        args.get("max_num_images_per_prompt", 10),
        args.get("default_num_inference_steps", 10),
        args.get("max_num_inference_steps", 10),
        sizes,
    )
    return RequestRules(settings, model())


def payload_of(asked: dict[str, Any]) -> HttpPayload:
    """The request of a case. Cases of edits leave the picture out, or stand a word in its place: a file is put there."""
    if "multipart" not in asked:
        return HttpPayload.json(asked.get("endpoint", "/v3/images/generations"), asked["json"])
    file = io.BytesIO()
    Image.new("RGB", (512, 512)).save(file, "PNG")
    fields = {name: value for name, value in asked["multipart"].items() if name not in ("image", "mask")}
    files = [
        Part(name, file.getvalue(), name) for name in ("image", "mask") if name == "image" or name in asked["multipart"]
    ]
    return HttpPayload.multipart("/v3/images/edits", fields, files)


def is_request(case: dict[str, Any]) -> bool:
    """Of the cases that are read from the source: those about requests to the calculator."""
    asked = case["input"]
    about_model = "model field" in case["expect"].get("message", "")
    return case["kind"] != "source_derived" or (("json" in asked or "multipart" in asked) and not about_model)


@cases("generation_request", "edit_request", "source_derived", has=is_request)
def test_requests(case: dict[str, Any]) -> None:
    found = check(case, lambda: parse_request(payload_of(case["input"]), rules_of(case)))
    if case["expect"]["result"] == "reject":
        if case["id"] == "generation_request-019":
            assert "user" in found.generation.ignored
        return
    request: GenerationRequest = found.generation
    names = {"num_images_per_prompt": "num_images"}
    for name, value in case["expect"]["parsed"].items():
        assert getattr(request, names.get(name, name)) == value, name


# ---- LoRA


@cases("lora_alphas_parse")
def test_weights_of_adapters(case: dict[str, Any]) -> None:
    asked = case["input"]
    raw = asked["lora_alphas_raw"]
    text = json.dumps(raw) if asked["via"] == "json" else raw
    found = check(case, lambda: read(WEIGHTS, {"input": {**asked, "field": "lora_alphas"}}, text))
    if case["expect"]["result"] == "accept":
        assert found == case["expect"]["parsed"]


def settings_with(adapters: list[Adapter], composites: dict[str, dict[str, float]]) -> NodeSettings:
    blends = {alias: tuple(parts.items()) for alias, parts in composites.items()}
    load = LoadSettings("/m", ("CPU",), adapters=tuple(adapters))
    return NodeSettings(load, Resolution(64, 64), None, 1, 1, 1, composites=blends)


@cases("lora_alphas_allowed")
def test_weights_need_adapters_whose_weights_can_be_chosen(case: dict[str, Any]) -> None:
    asked = case["input"]
    adapters = [Adapter("xray", "/xray")] if asked["has_dynamic_adapters"] else []
    check(case, lambda: choose_adapters(settings_with(adapters, {}), "base", asked["lora_alphas"]))


@cases("lora_alphas_for_model")
def test_weights_belong_to_the_adapters_that_are_asked_for(case: dict[str, Any]) -> None:
    asked = case["input"]
    settings = settings_with([Adapter(alias, f"/{alias}") for alias in asked["adapter_aliases"]], asked["composites"])
    check(case, lambda: choose_adapters(settings, asked["model"], asked["lora_alphas"]))


# ---- answers and bodies


@cases("response_encode")
def test_answers(case: dict[str, Any]) -> None:
    shape = case["input"]["tensor"]["shape"]
    index = np.arange(int(np.prod(shape)), dtype=np.uint32)
    pixels = ((index // 3 + 1) * np.array([2, 3, 5], dtype=np.uint32)[index % 3] % 256).astype(np.uint8).reshape(shape)
    count, height, width, _ = shape
    request = ImagesRequest(GenerationRequest("a", width, height, count, 1, rng_seed=0), AnswerForm("generations"))
    result = GenerationResult(tuple(map(encode_image, pixels)), tuple(range(count)), width, height, "png", 1)
    data = json.loads(response_text(request, result, created=0))["data"]
    assert len(data) == case["expect"]["data_len"]
    for item, expected in zip(data, pixels, strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(item["b64_json"])))
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), expected)


NESTED: Final = {
    "v3_routing-003": '{"a": ' * 200 + "1" + "}" * 200,
    "v3_routing-004": '{"model": "m", "data": ' + "[" * 200 + "]" * 200 + "}",
}
"""Bodies that the cases describe in words."""


@cases("v3_routing", has=lambda case: case["id"] in NESTED)
def test_bodies(case: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(NESTED[case["id"]].encode())
    assert case["expect"]["message"].partition(" - ")[2] in caught.value.message


@cases("v3_routing", has=lambda case: "api_key" not in case["input"] and case["id"] not in NESTED)
async def test_names_that_nobody_has_are_a_404(
    case: dict[str, Any], aiohttp_client: AiohttpClient, tmp_path: Path
) -> None:
    client = await aiohttp_client(build_app(Settings(models=tmp_path, file_system_poll_wait_seconds=0.0)))
    asked = case["input"]
    sent = {"json": asked["json"]} if "json" in asked else {}
    response = await client.request(asked.get("method", "POST"), asked.get("uri", "/v3/chat/completions"), **sent)
    assert (response.status, (await response.json())["error"]["code"]) == (404, "model_not_found")
