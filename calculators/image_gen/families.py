"""The kinds of pipelines that OpenVINO GenAI runs, and what a request may ask of each.

Source: OpenVINO GenAI 2026.4.1, its code and trials with a small model of each; docs/model-families.md has what was tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from calculators.image_gen.generation import Kind

KINDS: Final[tuple[Kind, ...]] = ("text to image", "image to image", "inpainting")

DIFFUSION_SCHEDULERS: Final = frozenset(
    {
        "DDIMScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "LCMScheduler",
        "LMSDiscreteScheduler", "PNDMScheduler",
    }
)  # fmt: skip
_FLOW_SCHEDULERS: Final = frozenset({"FlowMatchEulerDiscreteScheduler"})
_CLIP: Final = frozenset({"CLIPTextModel"})
_CLIP_PROJECTED: Final = frozenset({"CLIPTextModelWithProjection"})
_VAE: Final = frozenset({"AutoencoderKL"})


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of pipeline and what OpenVINO GenAI makes of it.

    Attributes:
        title: its name for people.
        text_encoders, denoiser, vae: component name in model_index.json -> the classes that GenAI runs.
        schedulers: the scheduler classes that it can use.
        optional: components that may be missing (null in model_index.json).
        prompts: how many separate prompts it reads.
        negative_prompts: how many negative prompts it reads.
        guidance_scale: GenAI's own default.
        max_sequence_length: the most tokens that its long text encoder takes; None where it has none.
        sample_size: GenAI's own default in latent pixels; None where only the denoiser's configuration can say it.
        patch: how many latent pixels the denoiser takes as one, along each side.
        configurable: which of ``sample_size`` and ``patch_size`` stand in the denoiser's configuration for GenAI.
        kinds: what it can draw from.
        vae_keys: what the configuration of the VAE must have.
        needs_chat_template: whether GenAI writes the prompt into its tokenizer's template for chats.
        shifts_by_size: whether GenAI runs its scheduler with ``use_dynamic_shifting: true``.
        takes_strength: whether ``strength`` changes what is drawn from a picture.
        distilled: what model_index.json or the denoiser's configuration says of models that were distilled to draw in a few steps
            and without guidance: key and value.
        recommended_steps: the steps that models of this family are made for, where that is not GenAI's usual 50.
        partial_images: whether its latents can be shown on the way.
    """

    title: str
    text_encoders: Mapping[str, frozenset[str]]
    denoiser: Mapping[str, frozenset[str]]
    schedulers: frozenset[str]
    prompts: int
    negative_prompts: int
    guidance_scale: float
    vae: frozenset[str] = _VAE
    optional: frozenset[str] = frozenset()
    max_sequence_length: int | None = None
    sample_size: int | None = None
    patch: int = 1
    configurable: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset(KINDS)
    vae_keys: tuple[str, ...] = ()
    needs_chat_template: bool = False
    shifts_by_size: bool = True
    takes_strength: bool = True
    distilled: tuple[str, bool] | None = None
    recommended_steps: int | None = None
    partial_images: bool = True

    @property
    def components(self) -> Mapping[str, frozenset[str]]:
        """All components that hold weights: name in model_index.json -> the classes that GenAI runs."""
        return {**self.text_encoders, **self.denoiser, "vae": self.vae}


_SAMPLE_SIZE: Final = frozenset({"sample_size"})
_UNET: Final = MappingProxyType({"unet": frozenset({"UNet2DConditionModel"})})
_SD: Final = Family(
    "Stable Diffusion", MappingProxyType({"text_encoder": _CLIP}), _UNET, DIFFUSION_SCHEDULERS,
    prompts=1, negative_prompts=1, guidance_scale=7.5, configurable=_SAMPLE_SIZE,
)  # fmt: skip
_LCM: Final = Family(
    "Latent Consistency Model", MappingProxyType({"text_encoder": _CLIP}), _UNET, DIFFUSION_SCHEDULERS,
    prompts=1, negative_prompts=0, guidance_scale=8.5, configurable=_SAMPLE_SIZE, recommended_steps=4,
)  # fmt: skip
_SDXL: Final = Family(
    "Stable Diffusion XL", MappingProxyType({"text_encoder": _CLIP, "text_encoder_2": _CLIP_PROJECTED}), _UNET,
    DIFFUSION_SCHEDULERS, prompts=2, negative_prompts=2, guidance_scale=5.0,
    configurable=_SAMPLE_SIZE,
)  # fmt: skip
_SD3: Final = Family(
    "Stable Diffusion 3",
    MappingProxyType(
        {"text_encoder": _CLIP_PROJECTED, "text_encoder_2": _CLIP_PROJECTED, "text_encoder_3": frozenset({"T5EncoderModel"})}
    ),
    MappingProxyType({"transformer": frozenset({"SD3Transformer2DModel"})}), _FLOW_SCHEDULERS,
    prompts=3, negative_prompts=3, guidance_scale=7.0, optional=frozenset({"text_encoder_3"}), max_sequence_length=512, patch=2,
    configurable=frozenset({"sample_size", "patch_size"}), shifts_by_size=False, recommended_steps=28,
)  # fmt: skip
_FLUX: Final = Family(
    "FLUX", MappingProxyType({"text_encoder": _CLIP, "text_encoder_2": frozenset({"T5EncoderModel"})}),
    MappingProxyType({"transformer": frozenset({"FluxTransformer2DModel"})}), _FLOW_SCHEDULERS,
    prompts=2, negative_prompts=0, guidance_scale=3.5, max_sequence_length=512, sample_size=128, patch=2,
    distilled=("guidance_embeds", False), recommended_steps=28,
)  # fmt: skip
_FLUX_FILL: Final = replace(
    _FLUX,
    title="FLUX Fill",
    guidance_scale=30.0,
    kinds=frozenset({"inpainting"}),
    takes_strength=False,
    recommended_steps=None,
)
_WITHOUT_MASKS: Final[frozenset[Kind]] = frozenset({"text to image", "image to image"})
_FLUX2_KLEIN: Final = Family(
    "FLUX.2 klein", MappingProxyType({"text_encoder": frozenset({"Qwen3ForCausalLM"})}),
    MappingProxyType({"transformer": frozenset({"Flux2Transformer2DModel"})}), _FLOW_SCHEDULERS,
    prompts=1, negative_prompts=0, guidance_scale=4.0, vae=frozenset({"AutoencoderKL", "AutoencoderKLFlux2"}),
    max_sequence_length=512, sample_size=128, patch=2, kinds=_WITHOUT_MASKS, partial_images=False,
    vae_keys=("bn_running_mean_data", "bn_running_var_data"), needs_chat_template=True, takes_strength=False,
    distilled=("is_distilled", True),
)  # fmt: skip
_Z_IMAGE: Final = Family(
    "Z-Image", MappingProxyType({"text_encoder": frozenset({"Qwen3ForCausalLM", "Qwen3Model"})}),
    MappingProxyType({"transformer": frozenset({"ZImageTransformer2DModel"})}), _FLOW_SCHEDULERS,
    prompts=1, negative_prompts=1, guidance_scale=5.0, max_sequence_length=512, sample_size=128, patch=2, kinds=_WITHOUT_MASKS,
    needs_chat_template=True,
)  # fmt: skip
_QWEN_IMAGE: Final = Family(
    "Qwen-Image", MappingProxyType({"text_encoder": frozenset({"Qwen2_5_VLForConditionalGeneration"})}),
    MappingProxyType({"transformer": frozenset({"QwenImageTransformer2DModel"})}), _FLOW_SCHEDULERS,
    prompts=1, negative_prompts=1, guidance_scale=4.0, vae=frozenset({"AutoencoderKL", "AutoencoderKLQwenImage"}),
    max_sequence_length=1024, sample_size=128, patch=2, kinds=_WITHOUT_MASKS, partial_images=False,
    configurable=_SAMPLE_SIZE, vae_keys=("temperal_downsample",),
)  # fmt: skip

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "StableDiffusionPipeline": _SD,
        "StableDiffusionInpaintPipeline": _SD,
        "LatentConsistencyModelPipeline": _LCM,
        "StableDiffusionXLPipeline": _SDXL,
        "StableDiffusionXLInpaintPipeline": _SDXL,
        "StableDiffusion3Pipeline": _SD3,
        "StableDiffusion3InpaintPipeline": _SD3,
        "FluxPipeline": _FLUX,
        "FluxInpaintPipeline": _FLUX,
        "FluxFillPipeline": _FLUX_FILL,
        "Flux2KleinPipeline": _FLUX2_KLEIN,
        "ZImagePipeline": _Z_IMAGE,
        "QwenImagePipeline": _QWEN_IMAGE,
    }
)
"""``_class_name`` in model_index.json -> family."""

LOADED_FOR_INPAINTING: Final = frozenset(
    {
        "StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline", "StableDiffusion3InpaintPipeline",
        "FluxInpaintPipeline", "FluxFillPipeline",
    }
)  # fmt: skip
"""Classes that GenAI loads for inpainting only; the other kinds are then made from the loaded pipeline, if at all."""
