"""What a model folder says, and everything that keeps OpenVINO GenAI from loading it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from calculators.image_gen.families import FAMILIES
from calculators.image_gen.model_folder import ModelInfo, read_model_folder
from calculators.image_gen.resolution import Resolution

EditJson = Callable[..., None]

LFS_POINTER = "version https://git-lfs.github.com/spec/v1"


def read(folder: Path) -> tuple[ModelInfo | None, list[str]]:
    reports: list[str] = []
    return read_model_folder(folder, reports.append), reports


def test_the_model_that_comes_with_the_project(shapes: Path) -> None:
    model, reports = read(shapes)
    assert reports == []
    assert model is not None
    assert model.family.title == "Stable Diffusion"
    assert model.default_size == Resolution(64, 64)
    assert (model.size_multiple, model.min_side) == (8, 32)
    assert model.num_train_timesteps == 1000
    assert (model.fixed_size, model.fixed_images, model.fixed_guidance) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "content", "report"),
    [
        ("model_index.json", None, "model_index.json is missing"),
        ("model_index.json", "{", "model_index.json cannot be read"),
        ("model_index.json", "[]", "model_index.json must hold a JSON object"),
        ("model_index.json", "[" * 100_000, "model_index.json cannot be read"),
        ("model_index.json", '{"_class_name": "KandinskyPipeline"}', "_class_name is \"KandinskyPipeline\"; .*FluxPipeline"),
        ("model_index.json", "{}", "_class_name is null"),
        ("scheduler/scheduler_config.json", None, "scheduler_config.json is missing"),
        ("scheduler/scheduler_config.json", "3", "must hold a JSON object"),
        ("unet/config.json", None, "unet/config.json is missing"),
        ("unet/openvino_model.xml", None, "unet/openvino_model.xml is missing; make it with optimum-cli"),
        ("unet/openvino_model.bin", None, "unet/openvino_model.bin is missing"),
        ("unet/openvino_model.xml", LFS_POINTER, "not an OpenVINO model"),
        ("unet/openvino_model.bin", LFS_POINTER, "unet/openvino_model.bin is incomplete: .*git lfs pull"),
        ("text_encoder/openvino_model.bin", "", "text_encoder/openvino_model.bin is incomplete: it has 0 bytes"),
        ("tokenizer/openvino_tokenizer.xml", None, "tokenizer/openvino_tokenizer.xml is missing; .*convert_tokenizer"),
        ("tokenizer/openvino_tokenizer.bin", None, "tokenizer/openvino_tokenizer.bin is missing"),
        ("vae_decoder/openvino_model.bin", None, "vae_decoder/openvino_model.bin is missing"),
        ("vae_decoder/config.json", "nonsense", "vae_decoder/config.json cannot be read"),
    ],
)  # fmt: skip
def test_broken_files(name: str, content: str | None, report: str, copy_of_shapes: Path) -> None:
    path = copy_of_shapes / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    model, reports = read(copy_of_shapes)
    assert model is None
    assert len(reports) == 1
    assert_matches(report, reports[0])


def assert_matches(pattern: str, text: str) -> None:
    with pytest.raises(ValueError, match=pattern):  # for pytest's explanation of a mismatch
        raise ValueError(text)


def test_all_that_is_missing_is_told_at_once(copy_of_shapes: Path) -> None:
    for name in ("unet/openvino_model.bin", "tokenizer/openvino_tokenizer.bin", "scheduler/scheduler_config.json"):
        (copy_of_shapes / name).unlink()
    model, reports = read(copy_of_shapes)
    assert model is None
    assert len(reports) == 3


@pytest.mark.parametrize(
    ("changes", "report"),
    [
        ({"_class_name": "DPMSolverMultistepScheduler"}, "runs DDIMScheduler or EulerAncestral"),
        ({"_class_name": "UniPCMultistepScheduler"}, "for Stable Diffusion, OpenVINO GenAI runs"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "for Stable Diffusion, OpenVINO GenAI runs"),
        ({"_class_name": ...}, "_class_name is null"),
        ({"_class_name": "LCMScheduler", "prediction_type": "v_prediction"}, "crashes OpenVINO GenAI"),
        ({"_class_name": "PNDMScheduler"}, "only with skip_prk_steps: true"),
        ({"_class_name": "DDIMScheduler", "clip_sample": True}, "only with clip_sample: false"),
        ({"_class_name": "DDIMScheduler", "thresholding": True}, "only with thresholding: false"),
        ({"beta_schedule": "squaredcos_cap_v2"}, 'beta_schedule is "squaredcos_cap_v2"'),
    ],
)
def test_schedulers_that_would_fail_or_crash(
    changes: dict[str, Any], report: str, copy_of_shapes: Path, edit_json: EditJson
) -> None:
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", **changes)
    model, reports = read(copy_of_shapes)
    assert model is None
    assert len(reports) == 1
    assert_matches(report, reports[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "DDIMScheduler"},
        {"_class_name": "EulerAncestralDiscreteScheduler"},
        {"_class_name": "LMSDiscreteScheduler"},
        {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
        {"_class_name": "LCMScheduler", "prediction_type": "epsilon"},
        {"_class_name": "LCMScheduler", "prediction_type": ...},
        {"beta_schedule": "scaled_linear"},
    ],
)
def test_schedulers_that_run(changes: dict[str, Any], copy_of_shapes: Path, edit_json: EditJson) -> None:
    edit_json(copy_of_shapes / "scheduler" / "scheduler_config.json", timestep_spacing="trailing", **changes)
    model, reports = read(copy_of_shapes)
    assert reports == []
    assert model is not None
    assert model.timestep_spacing == "trailing"


@pytest.mark.parametrize(
    ("component", "entry"),
    [
        ("text_encoder", ["transformers", "T5EncoderModel"]),
        ("unet", ["diffusers", "UNet3DConditionModel"]),
        ("vae", ["diffusers", "AsymmetricAutoencoderKL"]),
        ("vae", [None, None]),
        ("vae", "AutoencoderKL"),
        ("unet", ...),
    ],
)
def test_components_of_classes_that_genai_does_not_run(
    component: str, entry: Any, copy_of_shapes: Path, edit_json: EditJson
) -> None:
    edit_json(copy_of_shapes / "model_index.json", **{component: entry})
    model, reports = read(copy_of_shapes)
    assert model is None
    assert len(reports) == 1
    assert f'"{component}" must be [library, class]' in reports[0]


ALL_KINDS = {"text to image", "image to image", "inpainting"}


@pytest.mark.parametrize("class_name", ["StableDiffusionPipeline", "StableDiffusionInpaintPipeline"])
def test_a_model_draws_from_texts_pictures_and_masks(
    class_name: str, copy_of_shapes: Path, edit_json: EditJson
) -> None:
    edit_json(copy_of_shapes / "model_index.json", _class_name=class_name)
    model, reports = read(copy_of_shapes)
    assert reports == []
    assert model is not None
    assert model.kinds == ALL_KINDS
    assert model.kinds_reason == ""


@pytest.mark.parametrize("class_name", ["StableDiffusionPipeline", "StableDiffusionInpaintPipeline"])
def test_a_unet_that_draws_into_pictures_only(class_name: str, copy_of_shapes: Path, edit_json: EditJson) -> None:
    edit_json(copy_of_shapes / "model_index.json", _class_name=class_name)
    edit_json(copy_of_shapes / "unet" / "config.json", in_channels=9)
    model, reports = read(copy_of_shapes)
    assert reports == []
    assert model is not None
    assert model.kinds == {"inpainting"}
    assert "Its UNet takes 9 channels" in model.kinds_reason


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("openvino_model.xml", None, "vae_encoder/openvino_model.xml is missing"),
        ("openvino_model.bin", None, "vae_encoder/openvino_model.bin is missing"),
        ("openvino_model.bin", LFS_POINTER, "vae_encoder/openvino_model.bin is incomplete"),
        ("openvino_model.xml", LFS_POINTER, "not an OpenVINO model"),
    ],
)
def test_without_a_working_encoder_a_model_draws_from_texts_alone(
    name: str, content: str | None, reason: str, copy_of_shapes: Path, edit_json: EditJson
) -> None:
    path = copy_of_shapes / "vae_encoder" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    model, reports = read(copy_of_shapes)
    assert reports == []
    assert model is not None
    assert model.kinds == {"text to image"}
    assert_matches(f"It cannot start from pictures, because .*{reason}", model.kinds_reason)
    assert str(copy_of_shapes) not in model.kinds_reason  # clients read it
    edit_json(copy_of_shapes / "model_index.json", _class_name="StableDiffusionInpaintPipeline")
    model, reports = read(copy_of_shapes)
    assert model is None
    assert_matches(f"{reason}.*a StableDiffusionInpaintPipeline cannot do without", reports[0])


def test_safety_checker_and_feature_extractor_may_be_absent(copy_of_shapes: Path, edit_json: EditJson) -> None:
    edit_json(copy_of_shapes / "model_index.json", safety_checker=..., feature_extractor=...)
    model, reports = read(copy_of_shapes)
    assert (model is not None, reports) == (True, [])


def test_a_folder_name_that_misleads_genai(copy_of_shapes: Path) -> None:
    parent = copy_of_shapes.parent / "my_text_encoders"
    parent.mkdir()
    model, reports = read(copy_of_shapes.rename(parent / "model"))
    assert model is None
    assert_matches('may have "text_encoder" in its name', reports[0])


def test_a_unet_traced_with_an_even_size_takes_multiples_of_its_levels(copy_of_shapes: Path) -> None:
    path = copy_of_shapes / "unet" / "openvino_model.xml"
    text = path.read_text().replace('shape_calculation_mode="sizes"', 'shape_calculation_mode="scales"')
    path.unlink()
    path.write_text(text)
    model, reports = read(copy_of_shapes)
    assert reports == []
    assert model is not None
    assert (model.size_multiple, model.min_side) == (16, 32)
    assert model.size_reason == "its VAE works on 8x8 blocks and its UNet halves those 1 times"


def test_smallest_side_is_a_multiple_too(make_model: Callable[..., ModelInfo]) -> None:
    assert [make_model(size_multiple=each).min_side for each in (8, 16, 24, 32, 64)] == [32, 32, 48, 32, 64]


def test_a_guidance_embedding_leaves_no_room_for_negative_prompts(copy_of_shapes: Path, edit_json: EditJson) -> None:
    edit_json(copy_of_shapes / "unet" / "config.json", time_cond_proj_dim=256)
    model, _ = read(copy_of_shapes)
    assert model is not None
    assert model.negative_prompts == 0


@pytest.mark.parametrize(
    ("sample_size", "expected"),
    [(8, Resolution(64, 64)), ([6, 12], Resolution(96, 48)), (..., None), ("8", None), (0, None), (True, None)],
)
def test_the_models_own_size(
    sample_size: Any, expected: Resolution | None, copy_of_shapes: Path, edit_json: EditJson
) -> None:
    edit_json(copy_of_shapes / "unet" / "config.json", sample_size=sample_size)
    model, _ = read(copy_of_shapes)
    assert model is not None
    assert model.default_size == expected


def with_shape(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name / "openvino_model.xml"
    text = path.read_text()
    assert f'shape="{old}"' in text
    path.unlink()
    path.write_text(text.replace(f'shape="{old}"', f'shape="{new}"'))


@pytest.mark.parametrize(
    ("unet", "vae", "size", "images", "guidance"),
    [
        ("2,4,8,12", "1,4,8,12", Resolution(96, 64), 1, True),
        ("1,4,8,8", "1,4,8,8", Resolution(64, 64), 1, False),
        ("8,4,8,8", "4,4,8,8", Resolution(64, 64), 4, True),
        ("?,4,8,8", "?,4,?,?", Resolution(64, 64), None, None),
        ("?,4,?,?", "3,4,8,8", Resolution(64, 64), 3, None),
        ("1,4,?,?", "?,4,?,?", None, 1, False),
    ],
)
def test_fixed_shapes(
    unet: str, vae: str, size: Resolution | None, images: int | None, guidance: bool | None, copy_of_shapes: Path
) -> None:
    with_shape(copy_of_shapes, "unet", "?,4,?,?", unet)
    with_shape(copy_of_shapes, "vae_decoder", "?,4,?,?", vae)
    model, reports = read(copy_of_shapes)
    assert reports == []
    assert model is not None
    assert (model.fixed_size, model.fixed_images, model.fixed_guidance) == (size, images, guidance)
    assert model.default_size == size or size is None


XML = """<net name="m" version="11"><layers><layer id="0" name="{input}" type="Parameter" version="opset1">
<data shape="{shape}" element_type="f32"/><output><port id="0" names="{input}"/></output></layer></layers><edges/></net>"""


def make_folder(folder: Path, index: dict[str, Any], denoiser: dict[str, Any], inputs: dict[str, str]) -> None:
    """A model folder without weights, of any family."""
    parts = {
        name: entry for name, entry in index.items() if isinstance(entry, list) and entry[0] and name != "scheduler"
    }
    subs = [(name, sub) for name in parts for sub in (("vae_decoder", "vae_encoder") if name == "vae" else (name,))]
    for name, sub_name in subs:
        sub = folder / sub_name
        sub.mkdir(parents=True)
        (sub / "openvino_model.xml").write_text(XML.format(input=inputs.get(name, "input"), shape="?,?"))
        (sub / "openvino_model.bin").write_bytes(b"")
        needed = {key: [True] * 3 for key in FAMILIES[index["_class_name"]].vae_keys}
        vae = {"block_out_channels": [1, 2, 3, 4], "latent_channels": 16, **needed}
        config = vae if name == "vae" else denoiser
        (sub / "config.json").write_text(json.dumps(config))
        if name.startswith("text_encoder"):
            tokenizer = folder / name.replace("text_encoder", "tokenizer")
            tokenizer.mkdir()
            (tokenizer / "openvino_tokenizer.xml").write_text("<net/>")
            (tokenizer / "openvino_tokenizer.bin").write_bytes(b"")
            (tokenizer / "tokenizer_config.json").write_text('{"chat_template": ""}')
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": index["scheduler"][1]}))
    (folder / "model_index.json").write_text(json.dumps(index))


FLOW = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
VAE = ["diffusers", "AutoencoderKL"]
CLIP = ["transformers", "CLIPTextModel"]
CLIP_2 = ["transformers", "CLIPTextModelWithProjection"]
T5 = ["transformers", "T5EncoderModel"]
UNET = ["diffusers", "UNet2DConditionModel"]


@pytest.mark.parametrize(
    ("index", "denoiser", "multiple", "size"),
    [
        (
            {"_class_name": "StableDiffusionXLPipeline", "text_encoder": CLIP, "text_encoder_2": CLIP_2, "unet": UNET, "vae": VAE,
             "scheduler": ["diffusers", "EulerDiscreteScheduler"]},
            {"sample_size": 128, "block_out_channels": [320, 640, 1280]}, 8, Resolution(1024, 1024),
        ),
        (
            {"_class_name": "LatentConsistencyModelPipeline", "text_encoder": CLIP, "unet": UNET, "vae": VAE,
             "scheduler": ["diffusers", "LCMScheduler"]},
            {"sample_size": 96, "time_cond_proj_dim": 256}, 8, Resolution(768, 768),
        ),
        (
            {"_class_name": "StableDiffusion3Pipeline", "text_encoder": CLIP_2, "text_encoder_2": CLIP_2, "text_encoder_3": T5,
             "transformer": ["diffusers", "SD3Transformer2DModel"], "vae": VAE, "scheduler": FLOW},
            {"sample_size": 128, "patch_size": 2}, 16, Resolution(1024, 1024),
        ),
        (
            {"_class_name": "StableDiffusion3Pipeline", "text_encoder": CLIP_2, "text_encoder_2": CLIP_2,
             "text_encoder_3": [None, None], "transformer": ["diffusers", "SD3Transformer2DModel"], "vae": VAE, "scheduler": FLOW},
            {"sample_size": 64}, 16, Resolution(512, 512),
        ),
        (
            {"_class_name": "FluxPipeline", "text_encoder": CLIP, "text_encoder_2": T5,
             "transformer": ["diffusers", "FluxTransformer2DModel"], "vae": VAE, "scheduler": FLOW},
            {"patch_size": 1}, 16, Resolution(1024, 1024),
        ),
        (
            {"_class_name": "Flux2KleinPipeline", "text_encoder": ["transformers", "Qwen3ForCausalLM"],
             "transformer": ["diffusers", "Flux2Transformer2DModel"], "vae": ["diffusers", "AutoencoderKLFlux2"],
             "scheduler": FLOW},
            {}, 16, Resolution(1024, 1024),
        ),
        (
            {"_class_name": "ZImagePipeline", "text_encoder": ["transformers", "Qwen3Model"],
             "transformer": ["diffusers", "ZImageTransformer2DModel"], "vae": VAE, "scheduler": FLOW},
            {}, 16, Resolution(1024, 1024),
        ),
        (
            {"_class_name": "QwenImagePipeline", "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
             "transformer": ["diffusers", "QwenImageTransformer2DModel"], "vae": ["diffusers", "AutoencoderKLQwenImage"],
             "scheduler": FLOW},
            {}, 16, Resolution(1024, 1024),
        ),
    ],
    ids=["SDXL", "LCM", "SD3", "SD3 without T5", "FLUX", "FLUX.2", "Z-Image", "Qwen-Image"],
)  # fmt: skip
def test_every_family_is_understood(
    index: dict[str, Any], denoiser: dict[str, Any], multiple: int, size: Resolution, tmp_path: Path
) -> None:
    make_folder(tmp_path, index, denoiser, {"unet": "sample"})
    model, reports = read(tmp_path)
    assert reports == []
    assert model is not None
    assert (model.size_multiple, model.default_size) == (multiple, size)


def test_flow_matching_families_need_their_scheduler(tmp_path: Path) -> None:
    index = {
        "_class_name": "FluxPipeline", "text_encoder": CLIP, "text_encoder_2": T5, "vae": VAE,
        "transformer": ["diffusers", "FluxTransformer2DModel"], "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }  # fmt: skip
    make_folder(tmp_path, index, {}, {})
    model, reports = read(tmp_path)
    assert model is None
    assert_matches("for FLUX, OpenVINO GenAI runs FlowMatchEulerDiscreteScheduler", reports[0])


@pytest.mark.parametrize(
    "class_name", ["Flux2KleinPipeline", "ZImagePipeline", "QwenImagePipeline", "FluxFillPipeline"]
)
def test_families_that_openvino_genai_runs_for_some_kinds_only(class_name: str, tmp_path: Path) -> None:
    family = FAMILIES[class_name]
    parts = {**family.text_encoders, **family.denoiser, "vae": family.vae}
    index = {
        "_class_name": class_name,
        "scheduler": FLOW,
        **{name: ["library", min(classes)] for name, classes in parts.items()},
    }
    make_folder(tmp_path, index, {}, {})
    model, reports = read(tmp_path)
    assert reports == []
    assert model is not None
    assert model.kinds == family.kinds != ALL_KINDS
    assert_matches(f"OpenVINO GenAI runs {family.title} for .* alone", model.kinds_reason)
