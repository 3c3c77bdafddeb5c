"""Requests for edits: text parts, uploads, sizes; and both endpoints held to one set of fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calculators.http_payload import HttpPayload, Part, RequestError
from calculators.image_gen.generation import GenerationRequest
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings, StaticShape
from calculators.image_gen.request import AnswerForm, ImagesRequest, parse_request
from calculators.image_gen.request_fields import FIELDS
from calculators.image_gen.request_rules import RequestRules, RequestSettings
from calculators.image_gen.request_size import fitted_size
from calculators.image_gen.resolution import Resolution

MakeModel = Callable[..., ModelInfo]
MakeRules = Callable[..., RequestRules]
MakePicture = Callable[..., bytes]
EDITS = "/v3/images/edits"
GENERATIONS = "/v1/images/generations"


@pytest.fixture
def edit(make_picture: MakePicture) -> Callable[..., ImagesRequest]:
    """``edit(rules, field="text", files=[...])``: parses an edit of a 128x64 picture, unless files says otherwise."""

    def parse(rules: RequestRules, files: list[Part] | None = None, **fields: Any) -> ImagesRequest:
        files = [Part("image", make_picture(), "a.png")] if files is None else files
        return parse_request(HttpPayload.multipart(EDITS, {"prompt": "a cat", **fields}, files), rules)

    return parse


Edit = Callable[..., ImagesRequest]


def refused(act: Callable[[], object]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        act()
    assert caught.value.status == 400
    return caught.value


# ---- accepted


def test_a_prompt_and_a_picture_are_enough(edit: Edit, make_rules: MakeRules, make_picture: MakePicture) -> None:
    assert edit(make_rules()) == ImagesRequest(
        GenerationRequest("a cat", 128, 64, 1, 50, image=make_picture()), AnswerForm("edits")
    )


def test_every_field_arrives_from_its_text(edit: Edit, make_rules: MakeRules, make_model: MakeModel) -> None:
    rules = make_rules(make_model("StableDiffusion3Pipeline", size_multiple=16))
    found = edit(
        rules, model="m", prompt_2="b", prompt_3="c", negative_prompt="d", negative_prompt_2="e", negative_prompt_3="f",
        size="128x64", n="3", num_inference_steps="7", rng_seed="11", guidance_scale="4.5", max_sequence_length="256",
        strength="0.5", output_format="webp", output_compression="80", stream="true", partial_images="2", quality="auto",
        background="opaque", user="u", moderation="low",
    )  # fmt: skip
    assert found.generation.image is not None
    assert found == ImagesRequest(
        GenerationRequest(
            prompt="a cat", prompt_2="b", prompt_3="c", negative_prompt="d", negative_prompt_2="e", negative_prompt_3="f",
            width=128, height=64, num_images=3, num_inference_steps=7, rng_seed=11, guidance_scale=4.5,
            max_sequence_length=256, model="m", image=found.generation.image, strength=0.5, output_format="webp",
            output_compression=80, partial_images=2, ignored=("moderation", "user"),
        ),
        AnswerForm("edits", stream=True, quality="auto", background="opaque", safety_identifier="u"),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_a_picture_may_come_under_both_names(
    name: str, edit: Edit, make_rules: MakeRules, make_picture: MakePicture
) -> None:
    files = [Part(name, make_picture(form="WEBP"), "a"), Part("mask", make_picture(64, 64, "JPEG"), "b")]
    found = edit(make_rules(), files).generation
    assert (found.image, found.mask, found.kind) == (files[0].data, files[1].data, "inpainting")


def test_an_empty_part_means_absent(edit: Edit, make_rules: MakeRules, make_picture: MakePicture) -> None:
    files = [Part("image", make_picture(), "a"), Part("mask", b"", "empty"), Part("image[]", b"")]
    empty = dict.fromkeys([*(name for name in FIELDS if name != "prompt"), "style", "markup"], "")
    assert edit(make_rules(), files, **empty) == edit(make_rules())


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7.0), ("7.", 7.0), (".5", 0.5), ("+1e1", 10.0), ("-0.25E+1", -2.5), ("1e-50", 0.0)]
)
def test_numbers_may_be_written_as_c_writes_them(text: str, value: float, edit: Edit, make_rules: MakeRules) -> None:
    assert edit(make_rules(), guidance_scale=text).generation.guidance_scale == pytest.approx(value)


# ---- refused


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n", "1.5", "n field is not a int32"),
        ("n", " 1", "n field is not a int32"),
        ("n", "1 ", "n field is not a int32"),
        ("n", "01", "n field is not a int32"),
        ("n", "+1", "n field is not a int32"),
        ("n", "true", "n field is not a int32"),
        ("n", "٣", "n field is not a int32"),
        ("n", "9" * 5000, "n field is not a int32: it is too long"),
        ("width", "[1,2,3]", "width field is not a int64"),
        ("num_inference_steps", "-1", "num_inference_steps field is not a size_t: it must not be negative"),
        ("rng_seed", "1e3", "rng_seed field is not a size_t"),
        ("guidance_scale", "    123.45 ", "guidance_scale field is not a float"),
        ("guidance_scale", "123.45.67", "guidance_scale field is not a float"),
        ("guidance_scale", "nan", "guidance_scale field is not a float"),
        ("guidance_scale", "Infinity", "guidance_scale field is not a float"),
        ("guidance_scale", "1_000", "guidance_scale field is not a float"),
        ("guidance_scale", "1e39", "guidance_scale field is not a float"),
        ("guidance_scale", "", None),
        ("stream", "True", "stream field is not a boolean: it must be true or false"),
        ("stream", "1", "stream field is not a boolean"),
        ("lora_alphas", "{not valid json", "lora_alphas field must be valid JSON"),
        ("lora_alphas", '{"xray": "high"}', "lora_alphas value for 'xray' must be a number"),
        ("lora_alphas", "[]", "lora_alphas must be an object"),
        ("size", "512x51x", "size field is not in correct format - WxH"),
        ("prompt", "", "prompt field is missing in multipart body"),
        ("nonexistent_field", "", "Unhandled parameter: nonexistent_field"),
        ("steps", "5", "Unhandled parameter: steps; did you mean num_inference_steps?"),
        ("input_fidelity", "high", "Unhandled parameter: input_fidelity; it is not supported by this server; strength says"),
        ("response_format", "url", "Unsupported response_format: url. Only b64_json is supported."),
        ("strength", "1.5", "strength is greater than maxStrength: 1"),
        ("strength", "-0.5", "strength is less than minStrength: 0"),
        ("strength", "0", "strength 0 leaves none of 50 steps to draw with; give more of either"),
        ("strength", "0.019", "leaves none of 50 steps"),
    ],
)  # fmt: skip
def test_wrong_texts(name: str, text: str, message: str | None, edit: Edit, make_rules: MakeRules) -> None:
    if message is None:
        assert edit(make_rules(), **{name: text}) == edit(make_rules())
        return
    error = refused(lambda: edit(make_rules(), **{name: text}))
    assert error.param == name
    assert message in error.message


def test_a_text_that_is_no_utf8_is_refused(edit: Edit, make_rules: MakeRules, make_picture: MakePicture) -> None:
    files = [Part("image", make_picture(), "a"), Part("negative_prompt", b"\xff")]
    assert refused(lambda: edit(make_rules(), files)).message == "negative_prompt field is not UTF-8 text"


def test_a_field_that_comes_twice_is_refused(edit: Edit, make_rules: MakeRules, make_picture: MakePicture) -> None:
    files = [Part("image", make_picture(), "a"), Part("n", b"1"), Part("n", b"1")]
    error = refused(lambda: edit(make_rules(), files))
    assert (error.param, error.message) == ("n", "n field is given twice; give it once")


def test_the_picture_is_required(edit: Edit, make_rules: MakeRules, make_picture: MakePicture) -> None:
    for files in ([], [Part("image", b"", "empty")], [Part("mask", make_picture(), "m")]):
        error = refused(lambda files=files: edit(make_rules(), files))  # type: ignore[misc]  # mypy sees no default
        assert error.param == "image"
        assert error.message.startswith("Image field is missing in multipart body")


def test_more_pictures_than_the_model_takes_are_counted(
    edit: Edit, make_rules: MakeRules, make_picture: MakePicture
) -> None:
    pictures = [
        Part("image[]", make_picture(), "a"),
        Part("image", make_picture(), "b"),
        Part("image[]", make_picture()),
    ]
    error = refused(lambda: edit(make_rules(), pictures))
    assert (error.param, error.message) == ("image", "3 pictures were sent as image; this model edits 1 at a time")
    masks = [pictures[0], Part("mask", make_picture()), Part("mask", make_picture())]
    assert refused(lambda: edit(make_rules(), masks)).message == "2 masks were sent; an edit takes 1"


@pytest.mark.parametrize("name", ["image", "mask"])
def test_uploads_are_looked_at_before_a_lane_gets_them(
    name: str, edit: Edit, make_rules: MakeRules, make_picture: MakePicture
) -> None:
    files = {"image": make_picture(), "mask": make_picture(), name: b"GIF89a"}
    error = refused(lambda: edit(make_rules(), [Part(key, data, key) for key, data in files.items()]))
    assert error.param == name
    assert error.message.startswith("Image parsing failed: ")
    small = make_rules(requests=RequestSettings(max_upload_pixels=100))
    assert "128x64 pixels; this server takes 100" in refused(lambda: edit(small)).message


def test_each_endpoint_says_which_body_it_takes(make_rules: MakeRules, make_picture: MakePicture) -> None:
    parts = [Part("image", make_picture(), "a")]
    to_generations = HttpPayload.multipart(GENERATIONS, {"prompt": "a"}, parts)
    error = refused(lambda: parse_request(to_generations, make_rules()))
    assert error.message.startswith("Failed to parse JSON: the body is multipart/form-data. Send generations as")
    to_edits = HttpPayload.json(EDITS, {"prompt": "a"})
    error = refused(lambda: parse_request(to_edits, make_rules()))
    assert error.message.startswith("Failed to parse multipart data: send edits as multipart/form-data")


@pytest.mark.parametrize(
    ("kinds", "files", "message", "param"),
    [
        (
            {"text to image"},
            ["image"],
            "Image-to-image pipeline is not available for this model; it takes generations. The VAE has no encoder.",
            "image",
        ),
        (
            {"text to image", "image to image"},
            ["image", "mask"],
            "Inpainting pipeline is not available for this model; it takes generations and edits without a mask.",
            "mask",
        ),
        (
            {"inpainting"},
            ["image"],
            "Image-to-image pipeline is not available for this model; it takes edits with a mask.",
            "mask",
        ),
        (
            {"inpainting"},
            [],
            "Text-to-image pipeline is not available for this model; it takes edits with a mask.",
            None,
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_with_what_it_can(
    kinds: set[str],
    files: list[str],
    message: str,
    param: str | None,
    edit: Edit,
    make_rules: MakeRules,
    make_model: MakeModel,
    make_picture: MakePicture,
) -> None:
    rules = make_rules(make_model(kinds=frozenset(kinds), kinds_reason="The VAE has no encoder."))
    if files:
        error = refused(lambda: edit(rules, [Part(name, make_picture(), name) for name in files]))
    else:
        error = refused(lambda: parse_request(HttpPayload.json(GENERATIONS, {"prompt": "a"}), rules))
    assert error.message.startswith(message)
    assert error.param == param


# ---- sizes


@pytest.mark.parametrize(
    ("upload", "size"),
    [
        ((128, 64), (128, 64)),
        ((512, 768), (512, 768)),
        ((130, 70), (128, 64)),
        ((10, 10), (64, 64)),
        ((1024, 1024), (1024, 1024)),
        ((2000, 1000), (1408, 704)),
        ((4000, 3000), (1152, 832)),
        ((8000, 100), (4096, 64)),
    ],
)
def test_an_edit_without_a_size_takes_that_of_the_upload_as_far_as_the_model_can_draw_it(
    upload: tuple[int, int], size: tuple[int, int], make_model: MakeModel
) -> None:
    assert fitted_size(Resolution(*upload), make_model(), Resolution(4096, 4096)) == size


def test_the_upload_gives_the_size_only_where_nothing_else_does(
    edit: Edit, make_rules: MakeRules, make_model: MakeModel
) -> None:
    def size(rules: RequestRules, **fields: Any) -> tuple[int, int]:
        found = edit(rules, **fields).generation
        return found.width, found.height

    assert size(make_rules()) == (128, 64)
    assert size(make_rules(), size="auto") == (128, 64)
    assert size(make_rules(), size="256x256") == (256, 256)
    assert size(make_rules(default_resolution=Resolution(512, 256))) == (512, 256)
    assert size(make_rules(max_resolution=Resolution(64, 64))) == (64, 64)
    fixed = make_model(fixed_size=Resolution(64, 64), default_size=Resolution(64, 64))
    assert size(make_rules(fixed)) == (64, 64)
    assert size(make_rules(make_model(default_size=None))) == (128, 64)


# ---- compiled shapes


def static_rules(make_rules: MakeRules, device: str = "CPU", **changes: Any) -> RequestRules:
    load = LoadSettings("/models/m", (device,), static=StaticShape(Resolution(512, 256), 4, 3.0))
    size = Resolution(512, 256)
    return make_rules(load=load, resolutions=(size,), default_resolution=size, **changes)


def test_what_a_model_is_compiled_for_becomes_the_default(make_rules: MakeRules, edit: Edit) -> None:
    for fields in ({}, {"n": "4", "guidance_scale": "3", "size": "512x256"}):
        found = edit(static_rules(make_rules), **fields).generation
        assert (found.num_images, found.guidance_scale, found.width, found.height) == (4, 3.0, 512, 256)


@pytest.mark.parametrize(("device", "title"), [("CPU", "Image Generation"), ("NPU.0", "NPU Image Generation")])
@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"n": "5"}, "n", "requested num_images_per_prompt doesn't match underlying model shape"),
        ({"guidance_scale": "3.1"}, "guidance_scale", "requested guidance_scale doesn't match underlying model shape"),
        (
            {"size": "5x5"},
            "size",
            "requested resolution 5x5 is not supported by static reshape settings; possible: 512x256",
        ),
        ({"width": "512"}, "height", "requested width but height is missing"),
        ({"height": "256"}, "width", "requested height but width is missing"),
    ],
)
def test_other_shapes_are_refused(
    device: str, title: str, fields: dict[str, str], param: str, message: str, make_rules: MakeRules, edit: Edit
) -> None:
    error = refused(lambda: edit(static_rules(make_rules, device), **fields))
    assert error.param == param
    assert error.message.startswith(f"{title} {message}")


def test_a_list_of_sizes_leaves_the_rest_open(make_rules: MakeRules, edit: Edit) -> None:
    sizes = (Resolution(512, 256), Resolution(1024, 512))
    rules = make_rules(resolutions=sizes, default_resolution=sizes[0])
    assert edit(rules, n="2", guidance_scale="1.5", width="1024", height="512").generation.width == 1024
    assert "possible: 512x256, 1024x512" in refused(lambda: edit(rules, size="512x512")).message


# ---- what the server adds


def test_quality_names_presets_of_steps(make_rules: MakeRules, edit: Edit) -> None:
    rules = make_rules(requests=RequestSettings(quality={"low": 4, "standard": 20, "hd": 200}))
    assert edit(rules).generation.num_inference_steps == 50
    assert edit(rules, quality="auto").generation.num_inference_steps == 50
    assert edit(rules, quality="low").generation.num_inference_steps == 4
    assert edit(rules, quality="standard").generation.num_inference_steps == 20
    assert edit(rules, quality="auto", num_inference_steps="9").generation.num_inference_steps == 9
    assert "possible here: auto, standard, low, hd" in refused(lambda: edit(rules, quality="max")).message
    error = refused(lambda: edit(rules, quality="low", num_inference_steps="9"))
    assert error.message == "quality is low, which stands for 4 steps: give quality or num_inference_steps, not both"
    error = refused(lambda: edit(rules, quality="hd"))
    assert (error.param, error.message) == ("quality", "num_inference_steps is greater than maxNumInferenceSteps: 100")


def test_urls_need_a_store(make_rules: MakeRules, edit: Edit) -> None:
    class Store:
        def put(self, image: bytes, output_format: str) -> str:
            raise AssertionError("nothing is stored before it is drawn")

    rules = make_rules(requests=RequestSettings(store=Store()))
    assert edit(rules, response_format="url").answer.urls
    assert not edit(rules, response_format="b64_json").answer.urls
    assert "carries its pictures itself" in refused(lambda: edit(rules, response_format="url", stream="true")).message
    assert "Possible here: b64_json, url." in refused(lambda: edit(rules, response_format="file")).message


# ---- the documentation


def test_the_documentation_has_a_row_for_every_field() -> None:
    page = (Path(__file__).parents[3] / "docs" / "images-api.md").read_text()
    table = page.partition("## Fields")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip().strip("`") for line in table.splitlines() if line.startswith("| `")]
    assert rows == ["image", "mask", *FIELDS]
    for name, row in zip(FIELDS, [line for line in table.splitlines() if line.startswith("| `")][2:], strict=True):
        assert row.split("|")[2].strip() == FIELDS[name].title, name
