"""Tiny model folders of every family that OpenVINO GenAI runs, with random weights: ``make(name, folder)``.

The layout is that of pipelines exported to OpenVINO: model_index.json, a scheduler's configuration, one folder per sub-model, and a
tokenizer for each text encoder (a copy of the one that comes with the project). By hand, for a look at them:
``python -m tests.models.families FOLDER`` writes all.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import openvino

from tests.models.networks import (
    LAYERS,
    SCALE,
    VOCABULARY,
    WIDTH,
    Network,
    clip_text_encoder,
    patch_transformer,
    qwen_text_encoder,
    sequence_transformer,
    t5_encoder,
    unet,
    vae_decoder,
    vae_encoder,
    video_vae_decoder,
    video_vae_encoder,
)

TOKENIZER: Final = Path(__file__).parents[2] / "examples" / "models" / "shapes" / "tokenizer"
SIDE: Final = 64
"""Width and height in pixels that a model draws by itself, where its configuration says."""
_CHAT: Final = (
    "{% for message in messages %}{{ message['role'] + ' ' + message['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant{% endif %}"
)


@dataclass(frozen=True)
class Part:
    """A folder with a sub-model: its class in model_index.json, the network, its configuration."""

    class_name: str
    network: Network
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tiny:
    """A model folder.

    Attributes:
        class_name: ``_class_name`` of model_index.json.
        parts: text encoders and denoiser.
        latent_channels: of its VAE.
        scheduler: scheduler_config.json.
        decoder, encoder: the VAE's halves; None for no ``vae_encoder`` folder.
        vae_class, vae_config: what they are called, and what more their configuration says.
        extras: folder -> class of what GenAI does not read.
        chat: whether its tokenizer has a template for chats.
        more: further entries of model_index.json.
    """

    class_name: str
    parts: Mapping[str, Part]
    latent_channels: int
    scheduler: Mapping[str, Any]
    decoder: Any = vae_decoder
    encoder: Any = vae_encoder
    vae_class: str = "AutoencoderKL"
    vae_config: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, str] = field(default_factory=dict)
    chat: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


_CLIP_CONFIG: Final = {
    "max_position_embeddings": 77, "num_hidden_layers": LAYERS, "hidden_size": WIDTH, "vocab_size": VOCABULARY
}  # fmt: skip
_CLIP: Final = Part("CLIPTextModel", partial(clip_text_encoder, with_projection=False), _CLIP_CONFIG)
_CLIP_PROJECTED: Final = Part(
    "CLIPTextModelWithProjection",
    partial(clip_text_encoder, with_projection=True),
    {**_CLIP_CONFIG, "projection_dim": WIDTH},
)
_T5: Final = Part("T5EncoderModel", t5_encoder, {"d_model": WIDTH, "vocab_size": VOCABULARY})
_QWEN_VL: Final = Part(
    "Qwen2_5_VLForConditionalGeneration", partial(qwen_text_encoder, layers=(1,)), {"hidden_size": WIDTH}
)

_EULER: Final = {
    "_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 1,
}  # fmt: skip
_PNDM: Final = {**_EULER, "_class_name": "PNDMScheduler", "skip_prk_steps": True}
_LCM_SCHEDULER: Final = {
    **_EULER,
    "_class_name": "LCMScheduler",
    "original_inference_steps": 50,
    "set_alpha_to_one": True,
}
_FLOW: Final = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
_SHIFTING: Final = {
    **_FLOW, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15,
    "base_image_seq_len": 256, "max_image_seq_len": 4096,
}  # fmt: skip

_CHECKED: Final = MappingProxyType(
    {"safety_checker": "StableDiffusionSafetyChecker", "feature_extractor": "CLIPImageProcessor"}
)


def _unet(in_channels: int = 4, text_width: int = WIDTH, guidance: int = 0, size_facts: bool = False) -> Part:
    config: dict[str, Any] = {
        "in_channels": in_channels, "out_channels": 4, "sample_size": SIDE // SCALE, "block_out_channels": [4, 4],
        "cross_attention_dim": text_width, "time_cond_proj_dim": guidance or None,
    }  # fmt: skip
    network = partial(
        unet,
        latent_channels=4,
        in_channels=in_channels,
        text_width=text_width,
        guidance=guidance,
        size_facts=size_facts,
    )
    return Part("UNet2DConditionModel", network, config)


def _qwen3(*layers: int) -> Part:
    config = {"hidden_size": WIDTH, "num_hidden_layers": max(layers) + 1, "hidden_states_layers": list(layers)}
    return Part("Qwen3ForCausalLM", partial(qwen_text_encoder, layers=layers), config)


def _sd3() -> Part:
    # GenAI pads the CLIP embeddings, which it puts side by side, to the width of T5's.
    network = partial(patch_transformer, latent_channels=16, text_width=3 * WIDTH, pooled_width=2 * WIDTH)
    config = {"in_channels": 16, "out_channels": 16, "sample_size": SIDE // SCALE, "patch_size": 2}
    return Part("SD3Transformer2DModel", network, {**config, "joint_attention_dim": 3 * WIDTH})


def _flux(in_channels: int = 64, guidance: bool = True) -> Part:
    network = partial(
        sequence_transformer,
        out_channels=64,
        in_channels=in_channels,
        text_width=WIDTH,
        pooled_width=WIDTH,
        position=3,
        guidance=guidance,
    )
    config = {"in_channels": in_channels, "out_channels": 64, "guidance_embeds": guidance, "patch_size": 1}
    return Part("FluxTransformer2DModel", network, config)


def _flux2() -> Part:
    network = partial(
        sequence_transformer,
        out_channels=128,
        in_channels=128,
        text_width=3 * WIDTH,  # GenAI puts the hidden states of three layers side by side
        position=4,
        batched_positions=True,
    )
    return Part("Flux2Transformer2DModel", network, {"in_channels": 128, "guidance_embeds": False, "patch_size": 1})


def _sd(class_name: str = "StableDiffusionPipeline", **changes: Any) -> Tiny:
    values: dict[str, Any] = {
        "parts": {"text_encoder": _CLIP, "unet": _unet()},
        "latent_channels": 4,
        "scheduler": _PNDM,
    }
    return Tiny(class_name, **{**values, **changes})


def _sdxl_parts(in_channels: int = 4) -> dict[str, Part]:
    unet_part = _unet(in_channels, text_width=2 * WIDTH, size_facts=True)
    return {"text_encoder": _CLIP, "text_encoder_2": _CLIP_PROJECTED, "unet": unet_part}


_SD3_PARTS: Final = {"text_encoder": _CLIP_PROJECTED, "text_encoder_2": _CLIP_PROJECTED, "transformer": _sd3()}
_T5_WIDE: Final = Part("T5EncoderModel", partial(t5_encoder, width=3 * WIDTH), {"d_model": 3 * WIDTH})


def _flux_tiny(class_name: str, transformer: Part) -> Tiny:
    parts = {"text_encoder": _CLIP, "text_encoder_2": _T5, "transformer": transformer}
    return Tiny(class_name, parts, 16, _SHIFTING, vae_config={"scaling_factor": 0.36, "shift_factor": 0.12})


_KLEIN_BASE: Final = Tiny(
    "Flux2KleinPipeline",
    {"text_encoder": _qwen3(9, 18, 27), "transformer": _flux2()},
    32,
    _SHIFTING,
    vae_class="AutoencoderKLFlux2",
    vae_config={
        "patch_size": [2, 2], "batch_norm_eps": 1e-4,
        "bn_running_mean_data": [0.0] * 128, "bn_running_var_data": [1.0] * 128,
    },
    chat=True,
    more={"is_distilled": False},
)  # fmt: skip
TINY: Final[Mapping[str, Tiny]] = MappingProxyType(
    {
        "sd": _sd(extras=_CHECKED),
        "sd_unchecked": _sd(scheduler=_EULER),
        "sd_inpaint": _sd("StableDiffusionInpaintPipeline", parts={"text_encoder": _CLIP, "unet": _unet(9)}, extras=_CHECKED),
        "lcm": _sd(
            "LatentConsistencyModelPipeline",
            parts={"text_encoder": _CLIP, "unet": _unet(guidance=16)},
            scheduler=_LCM_SCHEDULER,
            extras=_CHECKED,
        ),
        "sdxl": Tiny("StableDiffusionXLPipeline", _sdxl_parts(), 4, _EULER, more={"force_zeros_for_empty_prompt": True}),
        "sdxl_inpaint": Tiny("StableDiffusionXLInpaintPipeline", _sdxl_parts(9), 4, _EULER),
        "sd3": Tiny("StableDiffusion3Pipeline", {**_SD3_PARTS, "text_encoder_3": _T5_WIDE}, 16, _FLOW),
        "sd3_without_t5": Tiny("StableDiffusion3Pipeline", _SD3_PARTS, 16, _FLOW, more={"text_encoder_3": [None, None]}),
        "sd3_inpaint": Tiny("StableDiffusion3InpaintPipeline", {**_SD3_PARTS, "text_encoder_3": _T5_WIDE}, 16, _FLOW),
        "flux_dev": _flux_tiny("FluxPipeline", _flux()),
        "flux_schnell": _flux_tiny("FluxPipeline", _flux(guidance=False)),
        "flux_inpaint": _flux_tiny("FluxInpaintPipeline", _flux()),
        "flux_fill": _flux_tiny("FluxFillPipeline", _flux(in_channels=64 + 64 + 4 * SCALE * SCALE)),
        "flux2_klein": replace(_KLEIN_BASE, more={"is_distilled": True}),
        "flux2_klein_base": _KLEIN_BASE,
        "z_image": Tiny(
            "ZImagePipeline",
            {
                "text_encoder": _qwen3(1),
                "transformer": Part(
                    "ZImageTransformer2DModel",
                    partial(patch_transformer, latent_channels=16, text_width=WIDTH, position=3),
                    {"in_channels": 16, "out_channels": 16, "sample_size": SIDE // SCALE},
                ),
            },
            16,
            _FLOW,
            vae_config={"scaling_factor": 0.36, "shift_factor": 0.12},
            chat=True,
        ),
        "qwen_image": Tiny(
            "QwenImagePipeline",
            {
                "text_encoder": _QWEN_VL,
                "transformer": Part(
                    "QwenImageTransformer2DModel",
                    partial(sequence_transformer, out_channels=64, in_channels=64, text_width=WIDTH, sides=True),
                    {
                        "in_channels": 64, "out_channels": 16, "guidance_embeds": False, "patch_size": 2,
                        "joint_attention_dim": WIDTH, "attention_head_dim": 128, "axes_dims_rope": [16, 56, 56],
                    },
                ),
            },
            16,
            _SHIFTING,
            decoder=video_vae_decoder,
            encoder=video_vae_encoder,
            vae_class="AutoencoderKLQwenImage",
            vae_config={
                "z_dim": 16, "temperal_downsample": [False, True, True],
                "latents_mean": [0.0] * 16, "latents_std": [1.0] * 16,
            },
        ),
    }
)  # fmt: skip
"""Name -> what is in the folder."""


def make(name: str, folder: Path) -> Path:
    """Write a model of ``TINY`` into a new folder, and return it. The same name gives the same bytes of weights each time."""
    tiny = TINY[name]
    folder.mkdir(parents=True)
    index: dict[str, Any] = {"_class_name": tiny.class_name, "scheduler": ["diffusers", tiny.scheduler["_class_name"]]}
    _write_json(folder / "scheduler" / "scheduler_config.json", tiny.scheduler)
    for place, part in tiny.parts.items():
        is_text = place.startswith("text_encoder")
        index[place] = ["transformers" if is_text else "diffusers", part.class_name]
        _write_model(folder / place, part.network(f"{name} {place}"), part.config)
        if is_text:
            _copy_tokenizer(folder / place.replace("text_encoder", "tokenizer"), tiny)
            index[place.replace("text_encoder", "tokenizer")] = ["transformers", "CLIPTokenizer"]
    index["vae"] = ["diffusers", tiny.vae_class]
    config = {"latent_channels": tiny.latent_channels, "block_out_channels": [4] * 4, **tiny.vae_config}
    _write_model(folder / "vae_decoder", tiny.decoder(f"{name} vae_decoder", tiny.latent_channels), config)
    if tiny.encoder is not None:
        _write_model(folder / "vae_encoder", tiny.encoder(f"{name} vae_encoder", tiny.latent_channels), config)
    for place, class_name in tiny.extras.items():
        index[place] = ["transformers", class_name]
        file = "preprocessor_config.json" if place == "feature_extractor" else "config.json"
        _write_json(folder / place / file, {"_class_name": class_name})
    if "safety_checker" in tiny.extras:
        (folder / "safety_checker" / "model.safetensors").write_bytes(b"")  # nobody reads it
    _write_json(folder / "model_index.json", {**index, **tiny.more})
    return folder


def _write_model(folder: Path, model: openvino.Model, config: Mapping[str, Any]) -> None:
    _write_json(folder / "config.json", config)
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)


def _copy_tokenizer(folder: Path, tiny: Tiny) -> None:
    shutil.copytree(TOKENIZER, folder)
    if tiny.chat:
        path = folder / "tokenizer_config.json"
        _write_json(path, {**json.loads(path.read_text()), "chat_template": _CHAT})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    for each in TINY:
        make(each, Path(sys.argv[1]) / each)
