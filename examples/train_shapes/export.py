"""Writes the trained networks as a model folder that OpenVINO GenAI's Text2ImagePipeline reads."""

# mypy: allow-subclassing-any
# (torch brings no types into the project's checks, so nn.Module is Any there.)

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import diffusers
import openvino as ov
import torch
from openvino_tokenizers import convert_tokenizer
from torch import nn

from .models import (
    LATENT_CHANNELS,
    MAX_TOKENS,
    NOISE,
    TEXT_WIDTH,
    UNET_CONFIG,
    VAE_SCALE,
    ShapesVae,
    make_unet,
)
from .text import Tokenizer
from .train_vae import load_vae

SCHEDULER = "EulerDiscreteScheduler"
ENCODER_LOG_VARIANCE = -8.0

# GenAI takes from it: the number of levels (each but the first halves the picture), channels and scaling factor.
VAE_LEVELS = [16, 32, 48, 64]


class TextGraph(nn.Module):
    """The text encoder as a graph."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """input_ids [n, 77] -> last hidden state [n, 77, 128]."""
        out: torch.Tensor = self.inner(input_ids=input_ids, return_dict=True).last_hidden_state
        return out


class UNetGraph(nn.Module):
    """The UNet as a graph."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
    ) -> torch.Tensor:
        """Latents [n, 4, h, w], times [n or 1], text [n, 77, 128] -> velocity [n, 4, h, w]."""
        out: torch.Tensor = self.inner(sample, timestep, encoder_hidden_states, return_dict=False)[0]
        return out


class EncoderGraph(nn.Module):
    """The VAE's encoder as a graph: mean and log variance of the latents, side by side in the channels."""

    def __init__(self, inner: ShapesVae) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """Pictures [n, 3, h, w] -> [n, 8, h/8, w/8]."""
        mean = self.inner.encode(sample)
        return torch.cat([mean, torch.full_like(mean, ENCODER_LOG_VARIANCE)], 1)


class DecoderGraph(nn.Module):
    """The VAE's decoder as a graph."""

    def __init__(self, inner: ShapesVae) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, latent_sample: torch.Tensor) -> torch.Tensor:
        """Latents [n, 4, h, w] -> pictures [n, 3, 8h, 8w]."""
        return self.inner.decode(latent_sample)


def export_model(tokenizer_folder: Path, vae_file: Path, diffusion_file: Path, out: Path) -> None:
    """Writes the model folder `out`, replacing what an earlier export left there.

    The folder is complete or absent: it is written beside its place and moved there at the end.
    """
    tokenizer = Tokenizer(tokenizer_folder)
    vae = load_vae(vae_file)
    trained = torch.load(diffusion_file, weights_only=True)
    encoder, unet = tokenizer.make_text_encoder(), make_unet()
    encoder.load_state_dict(trained["encoder"])
    unet.load_state_dict(trained["unet"])

    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

    tokens = {"input_ids": (torch.zeros(2, MAX_TOKENS, dtype=torch.int64), [-1, -1])}
    _write_graph(part / "text_encoder", TextGraph(encoder), tokens, "last_hidden_state")
    text_config = json.loads(encoder.config.to_json_string())
    _write_json(part / "text_encoder" / "config.json", {**text_config, "architectures": ["CLIPTextModel"]})

    # At an odd size the UNet must enlarge to its skip connections' size instead of doubling. Only so does the graph
    # hold for every size: traced at an even one it breaks where a level is odd.
    inputs = {
        "sample": (torch.randn(2, LATENT_CHANNELS, 9, 7), [-1, LATENT_CHANNELS, -1, -1]),
        "timestep": (torch.tensor([5]), [-1]),
        "encoder_hidden_states": (torch.randn(2, MAX_TOKENS, TEXT_WIDTH), [-1, -1, TEXT_WIDTH]),
    }
    _write_graph(part / "unet", UNetGraph(unet), inputs, "out_sample")
    _write_json(part / "unet" / "config.json", {"_class_name": "UNet2DConditionModel", **UNET_CONFIG})

    pictures = {"sample": (torch.randn(1, 3, 64, 64), [-1, 3, -1, -1])}
    _write_graph(part / "vae_encoder", EncoderGraph(vae), pictures, "latent_parameters")
    latents = {"latent_sample": (torch.randn(1, LATENT_CHANNELS, 8, 8), [-1, LATENT_CHANNELS, -1, -1])}
    _write_graph(part / "vae_decoder", DecoderGraph(vae), latents, "sample")
    for folder in ("vae_encoder", "vae_decoder"):
        _write_json(part / folder / "config.json", _vae_config())

    _write_tokenizer(part / "tokenizer", tokenizer)
    _write_json(part / "scheduler" / "scheduler_config.json", _scheduler_config())
    _write_json(part / "model_index.json", _model_index())
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)


def _write_graph(
    folder: Path, module: nn.Module, inputs: Mapping[str, tuple[torch.Tensor, Sequence[int]]], output: str
) -> None:
    """Traces the module with example inputs and writes it with 16 bit weights; -1 in a shape means any size."""
    examples = {name: example for name, (example, _) in inputs.items()}
    with torch.no_grad():
        graph = ov.convert_model(module.eval(), example_input=examples)
    for port, name in zip(graph.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    graph.outputs[0].get_tensor().set_names({output})
    graph.reshape({name: ov.PartialShape(list(shape)) for name, (_, shape) in inputs.items()})
    graph.validate_nodes_and_infer_types()
    folder.mkdir(parents=True)
    ov.save_model(graph, folder / "openvino_model.xml", compress_to_fp16=True)


def _write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    tokenizer.clip.save_pretrained(str(folder))
    graphs = convert_tokenizer(tokenizer.clip, with_detokenizer=True)
    for graph, name in zip(graphs, ("openvino_tokenizer", "openvino_detokenizer"), strict=True):
        ov.save_model(graph, folder / f"{name}.xml")


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _vae_config() -> dict[str, Any]:
    if 2 ** (len(VAE_LEVELS) - 1) != VAE_SCALE:
        raise ValueError(f"{len(VAE_LEVELS)} VAE levels do not give a scale of {VAE_SCALE}")
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": LATENT_CHANNELS,
        "block_out_channels": VAE_LEVELS,
        "down_block_types": ["DownEncoderBlock2D"] * len(VAE_LEVELS),
        "up_block_types": ["UpDecoderBlock2D"] * len(VAE_LEVELS),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
        "sample_size": 64,
        # The graphs themselves bring the latents to mean 0 and spread 1.
        "scaling_factor": 1.0,
    }


def _scheduler_config() -> dict[str, Any]:
    # linspace: GenAI runs one step too many for some step counts with "trailing", and the picture is noise then.
    return {
        "_class_name": SCHEDULER,
        "_diffusers_version": diffusers.__version__,
        **NOISE,
        "timestep_spacing": "linspace",
        "steps_offset": 0,
        "rescale_betas_zero_snr": False,
        "trained_betas": None,
    }


def _model_index() -> dict[str, Any]:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", SCHEDULER],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
