"""Tiny diffusers pipelines with random weights, one of each family that can be exported: by hand, with the extra ``export``::

python -m tests.export.pipelines FOLDER [FAMILY...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

_CLIP_FILES: Final = Path(__file__).parents[2] / "examples" / "models" / "shapes" / "tokenizer"
_WIDTH: Final = 32


def clip_tokenizer() -> Any:
    """The tokenizer of the model that comes with the project."""
    return CLIPTokenizer.from_pretrained(str(_CLIP_FILES))


def t5_tokenizer() -> Any:
    """A vocabulary of single letters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,-"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def clip(projected: bool = False) -> Any:
    """A text encoder, with or without the projection of its last state."""
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length, projection_dim=_WIDTH, hidden_act="gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)


def t5() -> Any:
    """The long text encoder of SD3 and FLUX."""
    vocabulary = len(t5_tokenizer())
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary, d_model=_WIDTH, d_ff=37, d_kv=8, num_layers=2, num_heads=4, is_encoder_decoder=False
        )
    )


def vae(channels: int) -> Any:
    """Pictures to latents of half their sides, and back."""
    return diffusers.AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=(_WIDTH, 64), layers_per_block=1, latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=64,
        norm_num_groups=8, shift_factor=0.1, use_quant_conv=channels == 4, use_post_quant_conv=channels == 4,
    )  # fmt: skip


def unet(cross: int, **more: Any) -> Any:
    """The denoiser of SD and SDXL."""
    return diffusers.UNet2DConditionModel(
        block_out_channels=(_WIDTH, 64), layers_per_block=1, sample_size=32, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross, norm_num_groups=8, **more,
    )  # fmt: skip


def diffusion_scheduler() -> Any:
    """The scheduler of SD and SDXL."""
    return diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def sd() -> Any:
    """Stable Diffusion."""
    return diffusers.StableDiffusionPipeline(
        vae=vae(4), text_encoder=clip(), tokenizer=clip_tokenizer(), unet=unet(_WIDTH, attention_head_dim=(2, 4)),
        scheduler=diffusion_scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl() -> Any:
    """Stable Diffusion XL."""
    denoiser = unet(
        2 * _WIDTH, attention_head_dim=(2, 4), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
    )  # fmt: skip
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(4), text_encoder=clip(), text_encoder_2=clip(projected=True), tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(), unet=denoiser, scheduler=diffusion_scheduler(),
    )  # fmt: skip


def sd3() -> Any:
    """Stable Diffusion 3."""
    denoiser = diffusers.SD3Transformer2DModel(
        sample_size=32, patch_size=2, in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=4,
        caption_projection_dim=_WIDTH, joint_attention_dim=2 * _WIDTH, pooled_projection_dim=2 * _WIDTH, out_channels=16,
        pos_embed_max_size=96,
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=denoiser, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), vae=vae(16),
        text_encoder=clip(projected=True), tokenizer=clip_tokenizer(), text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(), text_encoder_3=t5_of(2 * _WIDTH), tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def t5_of(width: int) -> Any:
    """A long text encoder of another width."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer()),
            d_model=width,
            d_ff=37,
            d_kv=8,
            num_layers=2,
            num_heads=4,
            is_encoder_decoder=False,
        )
    )


def flux() -> Any:
    """FLUX.1 schnell: without guidance embeddings."""
    denoiser = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=_WIDTH, pooled_projection_dim=_WIDTH, axes_dims_rope=(4, 4, 8), guidance_embeds=False,
    )  # fmt: skip
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), vae=vae(4), text_encoder=clip(), tokenizer=clip_tokenizer(),
        text_encoder_2=t5(), tokenizer_2=t5_tokenizer(), transformer=denoiser,
    )  # fmt: skip


PIPELINES: Final[dict[str, Callable[[], Any]]] = {"sd": sd, "sdxl": sdxl, "sd3": sd3, "flux": flux}


def write(family: str, folder: Path) -> Path:
    """Make a pipeline and save it; the same weights each time."""
    torch.manual_seed(7)
    PIPELINES[family]().save_pretrained(str(folder), safe_serialization=True)
    return folder


if __name__ == "__main__":
    for name in sys.argv[2:] or PIPELINES:
        write(name, Path(sys.argv[1]) / name)
