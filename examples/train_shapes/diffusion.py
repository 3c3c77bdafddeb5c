"""Trains UNet and text encoder together on the VAE's latents."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from transformers import CLIPTextModel

from .drawing import draw
from .grammar import captions, sample_prompts, sample_scene
from .judge import judge
from .loop import Draw, Loop, Plan, Worker, save_whole
from .models import LATENT_CHANNELS, MAX_TOKENS, ShapesVae, make_unet, signal_level
from .text import LONGEST_CAPTION, SceneReader, Tokenizer, label_tensors, reading_loss
from .train_vae import load_vae, to_pictures, to_tensor

SIZES: tuple[tuple[int, int, int, int], ...] = (
    (64, 64, 60_000, 24),
    (96, 96, 5_000, 10),
    (96, 64, 4_000, 16),
    (64, 96, 4_000, 16),
    (128, 128, 3_000, 6),
)
"""Width, height, number of pictures, captions in a batch. Most steps take the first."""
FIRST_SIZE_SHARE = 0.9
NOISES_PER_CAPTION = 2
NO_CAPTION_SHARE = 0.1
READING_WEIGHT = 0.05
CHECK_PROMPTS = 60


def encode_scenes(tokenizer_folder: Path, vae_file: Path, result: Path, seed: int) -> None:
    """Draws the captioned pictures of all sizes and writes their latents, tokens and labels."""
    tokenizer = Tokenizer(tokenizer_folder)
    vae = load_vae(vae_file)
    sets: list[dict[str, Any]] = []
    for number, (width, height, count, _) in enumerate(SIZES):
        rng = random.Random(f"{seed} {number}")
        latents, scenes = [], []
        for start in range(0, count, 200):
            part = [sample_scene(rng) for _ in range(min(200, count - start))]
            pictures = to_tensor(np.stack([draw(scene, width, height) for scene in part]))
            with torch.no_grad():
                latents.append(vae.encode(pictures))
            scenes += part
        classes, numbers = label_tensors(scenes)
        tokens = tokenizer(captions(scenes))
        sets.append({"latents": torch.cat(latents), "tokens": tokens.short(), "classes": classes, "numbers": numbers})
        print(f"  {count} pictures of {width}x{height}", flush=True)
    save_whole(sets, result)


def train_diffusion(
    worker: Worker, plan: Plan, tokenizer_folder: Path, vae_file: Path, text_file: Path, data_file: Path, result: Path
) -> None:
    """Trains in one of several processes; process 0 writes `result`: the averaged weights of encoder and UNet."""
    torch.manual_seed(plan.seed)
    tokenizer = Tokenizer(tokenizer_folder)
    encoder, unet, reader = tokenizer.make_text_encoder(), make_unet(), SceneReader()
    taught = torch.load(text_file, weights_only=True)
    encoder.load_state_dict(taught["encoder"])
    reader.load_state_dict(taught["reader"])
    vae = load_vae(vae_file)
    sets = torch.load(data_file, weights_only=True)
    no_caption = tokenizer([""])
    level = signal_level()

    prompts = sample_prompts(CHECK_PROMPTS, seed=plan.seed + 1000)
    conditions = torch.cat([no_caption.expand(CHECK_PROMPTS, -1), tokenizer([p.text for p in prompts])])

    def check(loop: Loop) -> None:
        pictures = sample(encoder, unet, vae, conditions)
        print(f"  step {loop.step}: {judge(pictures, prompts)[0]}", flush=True)
        save_whole({"encoder": encoder.state_dict(), "unet": unet.state_dict()}, result)

    loop = Loop(worker, plan, nn.ModuleDict({"encoder": encoder, "unet": unet}), helper=reader)
    for choice in loop.draws(check):
        # The same size in all processes, so that none waits for a slower one.
        number = 0 if choice.shared.random() < FIRST_SIZE_SHARE else int(choice.shared.integers(1, len(SIZES)))
        data, count = sets[number], SIZES[number][3]
        picks = torch.from_numpy(choice.own.integers(0, len(data["latents"]), count))
        tokens = data["tokens"][picks].long()
        dropped = torch.from_numpy(choice.own.random(count) < NO_CAPTION_SHARE)
        tokens[dropped] = no_caption
        noisy, times, target = add_noise(data["latents"][picks].repeat_interleave(NOISES_PER_CAPTION, 0), level, choice)

        states = encoder(input_ids=tokens).last_hidden_state
        guess = unet(noisy, times, states.repeat_interleave(NOISES_PER_CAPTION, 0), return_dict=False)[0]
        error = functional.mse_loss(guess, target)
        kept = ~dropped
        position = int(choice.own.integers(LONGEST_CAPTION, MAX_TOKENS))
        labels = (data["classes"][picks][kept], data["numbers"][picks][kept])
        reading = reading_loss(reader, states[kept], *labels, position)
        loop.update(error + READING_WEIGHT * reading, error=error.item(), reading=reading.item())


def add_noise(
    clean: torch.Tensor, level: torch.Tensor, choice: Draw
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mixes latents with noise at random times.

    Returns: noisy latents, times int64 [n], and the velocity that the UNet has to tell.
    """
    count = len(clean)
    # Times are spread evenly over the batch; half of them lie where shapes are decided.
    even = (torch.randperm(count, generator=choice.torch) + torch.rand(count, generator=choice.torch)) / count
    anywhere = torch.rand(count, generator=choice.torch) < 0.5
    times = torch.where(anywhere, even * len(level), 250 + even * 600).long().clamp(0, len(level) - 1)
    signal = level[times].view(-1, 1, 1, 1)
    noise = torch.randn(clean.shape, generator=choice.torch)
    noisy = signal.sqrt() * clean + (1 - signal).sqrt() * noise
    return noisy, times, signal.sqrt() * noise - (1 - signal).sqrt() * clean


def sample(
    encoder: CLIPTextModel,
    unet: UNet2DConditionModel,
    vae: ShapesVae,
    conditions: torch.Tensor,
    steps: int = 15,
    guidance: float = 3.5,
) -> Sequence[NDArray[np.uint8]]:
    """Draws 64x64 pictures for a quick check on the way (DDIM, no randomness but the first noise).

    conditions: tokens int64 [2n, 77], the first half without caption.
    """
    level = signal_level()
    count = len(conditions) // 2
    x = torch.randn(count, LATENT_CHANNELS, 8, 8, generator=torch.Generator().manual_seed(3))
    times = [round(len(level) * (steps - i) / steps) - 1 for i in range(steps)]
    states = encoder(input_ids=conditions).last_hidden_state
    for time, following in zip(times, [*times[1:], None], strict=True):
        both = unet(torch.cat([x, x]), torch.tensor(time), states, return_dict=False)[0]
        velocity = both[:count] + guidance * (both[count:] - both[:count])
        now = level[time]
        then = torch.tensor(1.0) if following is None else level[following]
        clean = now.sqrt() * x - (1 - now).sqrt() * velocity
        noise = now.sqrt() * velocity + (1 - now).sqrt() * x
        x = then.sqrt() * clean + (1 - then).sqrt() * noise
    return list(to_pictures(vae.decode(x)))
