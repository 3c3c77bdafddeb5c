"""The fields of an images request: accepted, refused, and which field a refusal names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from calculators.http_payload import HttpPayload, RequestError
from calculators.image_gen.adapters import Adapter
from calculators.image_gen.generation import GenerationRequest
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.request import AnswerForm, parse_request
from calculators.image_gen.request_rules import RequestRules
from calculators.image_gen.resolution import Resolution

MakeModel = Callable[..., ModelInfo]
MakeRules = Callable[..., RequestRules]


GENERATIONS = "/v3/images/generations"


def body(**fields: Any) -> HttpPayload:
    """As a client may send it; values that JSON does not have are for programs that make payloads themselves."""
    return HttpPayload(GENERATIONS, parsed_json={"prompt": "a cat", **fields})


def parse(rules: RequestRules, **fields: Any) -> GenerationRequest:
    return parse_request(body(**fields), rules).generation


def form(rules: RequestRules, **fields: Any) -> AnswerForm:
    return parse_request(body(**fields), rules).answer


def refusal(rules: RequestRules, **fields: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(rules, **fields)
    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert error.code is not None
    return error


# ---- accepted


def test_a_prompt_is_enough(make_rules: MakeRules) -> None:
    assert parse(make_rules()) == GenerationRequest(
        prompt="a cat", width=512, height=512, num_images=1, num_inference_steps=50
    )


def test_every_field_arrives(make_rules: MakeRules, make_model: MakeModel) -> None:
    model = make_model("StableDiffusion3Pipeline", size_multiple=16)
    request = parse(
        make_rules(model),
        model="m", prompt_2="b", prompt_3="c", negative_prompt="d", negative_prompt_2="e", negative_prompt_3="f",
        size="128x64", n=3, num_inference_steps=7, rng_seed=11, guidance_scale=4.5, max_sequence_length=256, strength=1.0,
        response_format="b64_json",
    )  # fmt: skip
    assert request == GenerationRequest(
        prompt="a cat", prompt_2="b", prompt_3="c", negative_prompt="d", negative_prompt_2="e", negative_prompt_3="f",
        width=128, height=64, num_images=3, num_inference_steps=7, rng_seed=11, guidance_scale=4.5, max_sequence_length=256,
        model="m",
    )  # fmt: skip


@pytest.mark.parametrize("prompt", ["", " ", "ein Käse 🧀", "a\0b", "x" * 100_000])
def test_prompts(prompt: str, make_rules: MakeRules) -> None:
    assert parse(make_rules(), prompt=prompt).prompt == prompt


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, "512x512"),
        ({"size": "auto"}, "512x512"),
        ({"size": "256x128"}, "256x128"),
        ({"width": 256, "height": 128}, "256x128"),
        ({"size": "auto", "width": 256, "height": 128}, "256x128"),
        ({"width": 256}, "256x512"),
        ({"height": 64}, "512x64"),
        ({"size": None, "width": None}, "512x512"),
        ({"size": "4096x4096"}, "4096x4096"),
    ],
)
def test_sizes(fields: dict[str, Any], size: str, make_rules: MakeRules) -> None:
    request = parse(make_rules(), **fields)
    assert f"{request.width}x{request.height}" == size


def test_default_resolution_is_for_requests_without_any_size(make_rules: MakeRules) -> None:
    rules = make_rules(default_resolution=Resolution(128, 64))
    assert (parse(rules).width, parse(rules).height) == (128, 64)
    assert (parse(rules, size="auto").width, parse(rules, size="auto").height) == (128, 64)
    assert (parse(rules, width=64).width, parse(rules, width=64).height) == (64, 512)


@pytest.mark.parametrize("name", ["n", "num_images_per_prompt"])
@pytest.mark.parametrize("count", [1, 4, 10])
def test_number_of_images(name: str, count: int, make_rules: MakeRules) -> None:
    assert parse(make_rules(), **{name: count}).num_images == count


@pytest.mark.parametrize("value", [7, 7.0, 7.5, 1.0000001, 0, -3, 3.4e38, -1e-300])
def test_floats_may_be_written_as_whole_numbers(value: float, make_rules: MakeRules) -> None:
    found = parse(make_rules(), guidance_scale=value).guidance_scale
    assert found == value
    assert isinstance(found, float)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1])
def test_seeds(seed: int, make_rules: MakeRules) -> None:
    assert parse(make_rules(), rng_seed=seed).rng_seed == seed


def test_null_means_absent_for_every_field(make_rules: MakeRules) -> None:
    names = [
        "model", "prompt_2", "negative_prompt", "size", "width", "height", "n", "num_images_per_prompt", "num_inference_steps",
        "rng_seed", "guidance_scale", "strength", "max_sequence_length", "response_format", "lora_alphas", "image", "quality",
        "background", "output_format", "output_compression", "style", "moderation", "user", "safety_identifier", "stream",
        "partial_images", "mask", "input_fidelity",
    ]  # fmt: skip
    assert parse(make_rules(), **dict.fromkeys(names)) == parse(make_rules())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", "auto"), ("quality", "standard"), ("background", "auto"), ("background", "opaque"), ("output_format", "png"),
        ("stream", False), ("partial_images", 0), ("response_format", "b64_json"), ("strength", 1), ("strength", 1.0),
        ("lora_alphas", {}),
    ],
)  # fmt: skip
def test_values_that_mean_what_is_done_anyway(name: str, value: Any, make_rules: MakeRules) -> None:
    assert parse(make_rules(), **{name: value}) == parse(make_rules())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", "base64"), ("image", {"any": ["thing"]}), ("moderation", "low"), ("moderation", "auto"), ("user", "u-1"),
        ("safety_identifier", "s"), ("max_sequence_length", 77),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_listed(name: str, value: Any, make_rules: MakeRules) -> None:
    assert parse(make_rules(), **{name: value}).ignored == (name,)


def test_weights_of_adapters_for_the_model_without_them_are_listed(make_rules: MakeRules) -> None:
    rules = make_rules()
    load = replace(rules.settings.load, adapters=(Adapter("xray", "/xray.safetensors"),))
    rules = replace(rules, settings=replace(rules.settings, load=load))
    assert parse(rules, model="base", lora_alphas={"xray": 0.5}).ignored == ("lora_alphas",)
    assert parse(rules, model="base", lora_alphas={}).ignored == ()
    assert parse(rules, model="xray", lora_alphas={"xray": 0.5}).ignored == ()


# ---- refused


@pytest.mark.parametrize("body", [{}, {"prompt": None}, {"model": "m"}])
def test_the_prompt_is_required(body: dict[str, Any], make_rules: MakeRules) -> None:
    with pytest.raises(RequestError, match="^prompt field is missing in JSON body$") as caught:
        parse_request(HttpPayload.json(GENERATIONS, body), make_rules())
    assert (caught.value.param, caught.value.code) == ("prompt", "missing_required_parameter")


@pytest.mark.parametrize(
    ("name", "value", "phrase"),
    [
        ("prompt", 123.45, "is not a string"),
        ("prompt", [1, 2, 3], "is not a string"),
        ("prompt", True, "is not a string"),
        ("model", 2, "is not a string"),
        ("negative_prompt", {}, "is not a string"),
        ("size", 512, "is not a string"),
        ("user", 1, "is not a string"),
        ("width", "512", "is not a int64"),
        ("height", 1.5, "is not a int64"),
        ("width", True, "is not a int64"),
        ("n", "2", "is not a int"),
        ("n", 2.0, "is not a int"),
        ("n", True, "is not a int"),
        ("n", [1], "is not a int"),
        ("n", {"a": 1}, "is not a int"),
        ("num_images_per_prompt", 1.5, "is not a int"),
        ("max_sequence_length", "1", "is not a int"),
        ("output_compression", "1", "is not a int"),
        ("num_inference_steps", "20", "is not a size_t"),
        ("num_inference_steps", -1, "is not a size_t: it must not be negative"),
        ("num_inference_steps", 1.0, "is not a size_t"),
        ("num_inference_steps", False, "is not a size_t"),
        ("rng_seed", "7", "is not a size_t"),
        ("rng_seed", -1, "must not be negative; leave it out for a random one"),
        ("rng_seed", 2**64, "must be below 2\\*\\*64"),
        ("rng_seed", 10**400, "must be below 2\\*\\*64"),
        ("guidance_scale", "123", "is not a float"),
        ("guidance_scale", True, "is not a float"),
        ("guidance_scale", {}, "is not a float"),
        ("guidance_scale", float("nan"), "must be a finite number"),
        ("guidance_scale", float("inf"), "must be a finite number"),
        ("guidance_scale", -float("inf"), "must be a finite number"),
        ("guidance_scale", 3.5e38, "must be a finite number"),
        ("guidance_scale", 10**400, "must be a finite number"),
        ("strength", "1", "is not a float"),
        ("stream", "true", "is not a boolean"),
        ("stream", 1, "is not a boolean"),
        ("prompt", "half a pair \ud83e", "not valid Unicode text"),
        ("negative_prompt", "\udc00", "not valid Unicode text"),
    ],
)
def test_wrong_types(name: str, value: Any, phrase: str, make_rules: MakeRules) -> None:
    error = refusal(make_rules(), **{name: value})
    assert error.param == name
    assert re.match(f"{name} field .*{phrase}", error.message)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("seed", "rng_seed"),
        ("steps", "num_inference_steps"),
        ("cfg_scale", "guidance_scale"),
        ("negativ_prompt", "negative_prompt"),
        ("num_inference_step", "num_inference_steps"),
        ("nonexistend_field", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("value", [5, None])
def test_unknown_fields(name: str, suggestion: str | None, value: Any, make_rules: MakeRules) -> None:
    error = refusal(make_rules(), **{name: value})
    assert (error.param, error.code) == (name, "unknown_parameter")
    assert error.message == f"Unhandled parameter: {name}" + (f"; did you mean {suggestion}?" if suggestion else "")


@pytest.mark.parametrize(
    "fields",
    [
        {"x" * 5000: 1},
        {"response_format": "x" * 5000},
        {"quality": "x" * 5000},
        {"moderation": "x" * 5000},
        {"output_format": "x" * 5000},
        {"lora_alphas": {"x" * 5000: "y"}},
        {"size": "x" * 5000},
    ],
    ids=lambda fields: next(iter(fields))[:20],
)
def test_what_is_endless_is_not_echoed_in_full(fields: dict[str, Any], make_rules: MakeRules) -> None:
    error = refusal(make_rules(), **fields)
    assert len(error.message) < 300
    assert len(error.param or "") < 200


@pytest.mark.parametrize(
    "name", ["markup", "input_fidelity", "complexity", "frame_count", "frame_duration_ms", "style", "svg"]
)
def test_fields_of_openai_without_a_meaning_here(name: str, make_rules: MakeRules) -> None:
    error = refusal(make_rules(), **{name: "x"})
    assert error.param == name
    assert error.message.startswith(f"Unhandled parameter: {name}; it is not supported by this server")


@pytest.mark.parametrize("name", ["mask", "image[]"])
def test_uploads_belong_to_edits(name: str, make_rules: MakeRules) -> None:
    error = refusal(make_rules(), **{name: "x"})
    assert error.param == name
    assert error.message == (
        f"Unhandled parameter: {name}; pictures and masks are sent to /v3/images/edits, as multipart/form-data"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("quality", "hd", 'quality "hd" is not supported by this server; possible here: auto, standard'),
        ("background", "transparent", "not supported by this server"),
        ("output_format", "gif", 'output_format "gif" is not supported by this server; possible here: png, jpeg, webp'),
        ("output_format", "svg", "not supported by this server"),
        ("output_format", "PNG", "not supported by this server"),
        ("output_compression", 100, "output_compression is for an output_format of jpeg or webp alone"),
        ("output_compression", 101, "output_compression must be from 0 to 100"),
        ("output_compression", -1, "output_compression must be from 0 to 100"),
        ("partial_images", 1, "partial_images come in a stream alone: give stream as true"),
        ("partial_images", 4, "partial_images must be from 0 to 3"),
        ("moderation", "high", "possible here: auto, low"),
        ("response_format", "url", "Unsupported response_format: url. Only b64_json is supported."),
        ("strength", 1.5, "strength is greater than maxStrength: 1"),
        ("strength", -0.5, "strength is less than minStrength: 0"),
        ("strength", 0.99, "strength has a meaning for edits alone"),
        ("strength", 0, "strength has a meaning for edits alone"),
        ("lora_alphas", {"a": 1.0}, "lora_alphas is not supported when no dynamic LoRA adapters are available"),
        ("lora_alphas", [1], "lora_alphas must be an object"),
        ("prompt_2", "b", "prompt_2 is not used: of prompts, Stable Diffusion reads 1"),
        ("negative_prompt_3", "b", "negative_prompt_3 is not used: of negative_prompts, Stable Diffusion reads 1"),
        ("n", 0, "num_images_per_prompt/n must be higher than 0"),
        ("n", -1, "num_images_per_prompt/n must be higher than 0"),
        ("num_images_per_prompt", 11, "num_images_per_prompt/n is greater than maxNumImagesPerPrompt: 10"),
        ("n", 2**31, "n field is not a int: it must fit into 32 bits"),
        ("n", 10**400, "n field is not a int: it must fit into 32 bits"),
        ("num_inference_steps", 0, "num_inference_steps must be higher than 0"),
        ("num_inference_steps", 101, "num_inference_steps is greater than maxNumInferenceSteps: 100"),
        ("num_inference_steps", 2**32 + 1, "num_inference_steps is greater than maxNumInferenceSteps: 100"),
        ("max_sequence_length", 0, "max_sequence_length must be higher than 0"),
        ("width", 0, "width must be higher than 0"),
        ("height", -64, "height must be higher than 0"),
        ("size", "512X512", "size field is not in correct format - WxH"),
        ("size", "51x0", "size field values must be greater than 0"),
        ("size", "9223372036854775808x1", "size field is not in correct format - WxH"),
        ("size", "4160x64", "size 4160x64 exceeds the maximum resolution 4096x4096"),
        ("width", 4160, "size 4160x512 exceeds the maximum resolution"),
        ("height", 2**63 - 1, "exceeds the maximum resolution"),
        ("height", 2**63, "height field is not a int64: it must fit into 64 bits"),
        ("size", "520x520", "multiples of 64, because it is so; near by: 512x512 or 576x576"),
        ("size", "32x64", "too small: the shortest side of this model is 64"),
    ],
)
def test_wrong_values(name: str, value: Any, message: str, make_rules: MakeRules) -> None:
    error = refusal(make_rules(), **{name: value})
    assert error.param == name
    assert message in error.message


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"n": 4, "num_images_per_prompt": 4}, "num_images_per_prompt", "Key: num_images_per_prompt already exists"),
        ({"size": "512x1024", "width": 512}, "width", "Key: width already exists in request options"),
        ({"size": "512x1024", "height": 1024}, "height", "Key: height already exists in request options"),
        ({"width": 64, "height": 100}, "height", "multiples of 64"),
        ({"width": 100, "height": 64}, "width", "multiples of 64"),
        ({"width": 64, "height": 4160}, "height", "exceeds the maximum resolution"),
        ({"negative_prompt": "x", "guidance_scale": 1.0}, "negative_prompt", "needs a guidance_scale above 1"),
        ({"negative_prompt": "", "guidance_scale": 0}, "negative_prompt", "guidance_scale is 0"),
    ],
)
def test_fields_that_contradict_each_other(
    fields: dict[str, Any], param: str, message: str, make_rules: MakeRules
) -> None:
    error = refusal(make_rules(), **fields)
    assert error.param == param
    assert message in error.message


def test_negative_prompt_with_guidance(make_rules: MakeRules) -> None:
    assert parse(make_rules(), negative_prompt="x", guidance_scale=1.01).negative_prompt == "x"
    assert parse(make_rules(), negative_prompt="x").negative_prompt == "x"


def test_limits_are_those_of_the_node(make_rules: MakeRules) -> None:
    rules = make_rules(
        max_num_images_per_prompt=2,
        max_num_inference_steps=5,
        default_num_inference_steps=3,
        max_resolution=Resolution(128, 64),
        default_resolution=Resolution(64, 64),
    )
    assert parse(rules).num_inference_steps == 3
    assert parse(rules, num_inference_steps=5).num_inference_steps == 5
    assert "maxNumInferenceSteps: 5" in refusal(rules, num_inference_steps=6).message
    assert "maxNumImagesPerPrompt: 2" in refusal(rules, n=3).message
    assert parse(rules, size="128x64").width == 128
    assert "maximum resolution 128x64" in refusal(rules, size="64x128").message


def test_the_scheduler_limits_the_steps_too(make_rules: MakeRules, make_model: MakeModel) -> None:
    rules = make_rules(make_model(num_train_timesteps=1000), max_num_inference_steps=5000)
    assert parse(rules, num_inference_steps=1000).num_inference_steps == 1000
    assert "maxNumInferenceSteps: 1000" in refusal(rules, num_inference_steps=1001).message


def test_a_models_own_size_above_the_limit_asks_for_a_size(make_rules: MakeRules) -> None:
    rules = make_rules(max_resolution=Resolution(256, 256))
    error = refusal(rules)
    assert error.param == "size"
    assert error.message == "no size was given, and the model's own size 512x512 exceeds the maximum resolution 256x256"
    assert parse(rules, size="256x256").width == 256


def test_a_model_that_does_not_say_its_size_asks_for_one(make_rules: MakeRules, make_model: MakeModel) -> None:
    rules = make_rules(make_model(default_size=None))
    assert refusal(rules).param == "size"
    assert refusal(rules, width=64).param == "width"
    assert parse(rules, width=64, height=128).height == 128


def test_fixed_shapes(make_rules: MakeRules, make_model: MakeModel) -> None:
    model = make_model(
        fixed_size=Resolution(64, 96), default_size=Resolution(64, 96), fixed_images=2, fixed_guidance=True
    )
    rules = make_rules(model)
    assert parse(rules, n=2).height == 96
    assert parse(rules, n=2, size="64x96", guidance_scale=2).num_images == 2
    assert refusal(rules).param == "n"
    assert refusal(rules, num_images_per_prompt=1).param == "num_images_per_prompt"
    assert "takes 64x96 only" in refusal(rules, n=2, size="96x64").message
    assert refusal(rules, n=2, width=64, height=64).param == "width"
    assert "must be above 1" in refusal(rules, n=2, guidance_scale=1).message
    without = make_rules(make_model(fixed_guidance=False))
    assert refusal(without).param == "guidance_scale"
    assert parse(without, guidance_scale=1).guidance_scale == 1.0


@pytest.mark.parametrize(
    ("class_name", "refused"),
    [
        ("StableDiffusionPipeline", ["prompt_2", "prompt_3", "negative_prompt_2", "negative_prompt_3"]),
        (
            "LatentConsistencyModelPipeline",
            ["prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"],
        ),
        ("StableDiffusionXLPipeline", ["prompt_3", "negative_prompt_3"]),
        ("StableDiffusion3Pipeline", []),
        ("FluxPipeline", ["prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"]),
        ("Flux2KleinPipeline", ["prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"]),
    ],
)
def test_every_family_reads_its_own_prompts(
    class_name: str, refused: list[str], make_rules: MakeRules, make_model: MakeModel
) -> None:
    rules = make_rules(make_model(class_name))
    for name in ("prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"):
        if name in refused:
            error = refusal(rules, **{name: "x"})
            assert (error.param, error.code) == (name, "unsupported_parameter")
        else:
            assert getattr(parse(rules, **{name: "x"}), name) == "x"


def test_sequence_length_is_for_families_with_a_long_text_encoder(make_rules: MakeRules, make_model: MakeModel) -> None:
    flux = make_rules(make_model("FluxPipeline"))
    assert parse(flux, max_sequence_length=512).max_sequence_length == 512
    assert parse(flux, max_sequence_length=512).ignored == ()
    assert refusal(flux, max_sequence_length=513).param == "max_sequence_length"
    assert parse(flux, guidance_scale=2).ignored == ()
    distilled = make_rules(make_model("FluxPipeline", uses_guidance=False))
    assert parse(distilled, guidance_scale=2).ignored == ("guidance_scale",)
    assert parse(make_rules(), max_sequence_length=10**6).max_sequence_length is None


def test_the_body_is_left_as_it_was(make_rules: MakeRules) -> None:
    body = {"prompt": "a", "n": None, "size": "auto"}
    parse_request(HttpPayload(GENERATIONS, parsed_json=body), make_rules())
    assert body == {"prompt": "a", "n": None, "size": "auto"}
