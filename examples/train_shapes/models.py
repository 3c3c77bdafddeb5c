"""The networks, their sizes, and the noise schedule they are trained for."""

# mypy: allow-subclassing-any
# (torch brings no types into the project's checks, so nn.Module is Any there.)

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 4
VAE_SCALE = 8
MAX_TOKENS = 77
TEXT_WIDTH = 128

UNET_CONFIG: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "block_out_channels": [64, 96],
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "cross_attention_dim": TEXT_WIDTH,
    "attention_head_dim": 4,
    "transformer_layers_per_block": 1,
}
NOISE: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 2e-2,
    "prediction_type": "v_prediction",
}


def signal_level() -> torch.Tensor:
    """The share of the signal's power left at each of the 1000 times: running product of 1 - beta, float32 [1000]."""
    betas = torch.linspace(NOISE["beta_start"], NOISE["beta_end"], NOISE["num_train_timesteps"], dtype=torch.float64)
    return torch.cumprod(1 - betas, 0).float()


def make_text_encoder(vocabulary_size: int, begin_id: int, end_id: int) -> CLIPTextModel:
    """A CLIP text encoder of two layers, 128 wide."""
    config = CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=384,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        hidden_act="quick_gelu",
        projection_dim=TEXT_WIDTH,
        bos_token_id=begin_id,
        eos_token_id=end_id,
        pad_token_id=end_id,
    )
    return CLIPTextModel(config)


def make_unet() -> UNet2DConditionModel:
    """Stable Diffusion's UNet with two levels."""
    return UNet2DConditionModel(**UNET_CONFIG)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a straight path; starts close to the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.second.weight, std=1e-2)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any [n, channels, h, w] -> the same shape."""
        out: torch.Tensor = x + self.second(functional.relu(self.first(functional.relu(x))))
        return out


class ShapesVae(nn.Module):
    """Pictures [n, 3, h, w] in -1..1 <-> latents [n, 4, h/8, w/8].

    Without normalisation layers: group norm forgets the level of flat areas, and flat colours are all that is here.
    GenAI sees only the exported graphs, so this need not be diffusers' AutoencoderKL.

    After `normalise`, each channel of the latents has about mean 0 and spread 1 over the training pictures.
    """

    mean: torch.Tensor
    spread: torch.Tensor

    def __init__(self, wide: int = 64, middle: int = 48, narrow: int = 24) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, LATENT_CHANNELS, 1, 1))
        self.register_buffer("spread", torch.ones(1, LATENT_CHANNELS, 1, 1))
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(3 * 16, middle, 3, padding=1),
            *(Residual(middle) for _ in range(2)),
            nn.Conv2d(middle, wide, 3, stride=2, padding=1),
            *(Residual(wide) for _ in range(3)),
            nn.Conv2d(wide, LATENT_CHANNELS, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, wide, 3, padding=1),
            *(Residual(wide) for _ in range(4)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(wide, middle, 3, padding=1),
            *(Residual(middle) for _ in range(2)),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(middle, narrow, 3, padding=1),
            Residual(narrow),
            nn.Conv2d(narrow, 3 * 4, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures -> latents."""
        out: torch.Tensor = (self.encoder(pictures) - self.mean) / self.spread
        return out

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents -> pictures."""
        out: torch.Tensor = self.decoder(latents * self.spread + self.mean)
        return out

    def normalise(self, latents: torch.Tensor) -> None:
        """Takes each channel's mean and spread from these latents of `encode`; to be called once, at the end."""
        self.mean.copy_(latents.mean((0, 2, 3), keepdim=True))
        self.spread.copy_(latents.std((0, 2, 3), keepdim=True))
