"""Trains the VAE on drawn pictures."""

import random
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .drawing import Picture, draw
from .grammar import SHAPES, Figure, Scene, sample_scene
from .loop import Loop, Plan, Worker, save_whole
from .models import ShapesVae

CAPTIONED = 20_000
FREE = 5_000
HELD_BACK = 256
BATCH = 16


def free_scene(rng: random.Random) -> tuple[Picture, Scene]:
    """A picture with one to three figures in any colours and places: it widens what the VAE can hold."""
    count = rng.choice((1, 1, 2, 3))
    palette: NDArray[np.float32] = np.array(
        [[rng.uniform(0, 255) for _ in range(3)] for _ in range(count + 1)], dtype=np.float32
    )
    figures = tuple(
        Figure(
            rng.randrange(len(SHAPES)), i + 1, rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85), rng.uniform(0.1, 0.4)
        )
        for i in range(count)
    )
    scene = Scene("", 0, figures)
    return draw(scene, palette=palette), scene


def draw_pictures(seed: int) -> NDArray[np.uint8]:
    """Draws the VAE's training set: uint8 [n, 64, 64, 3], in random order."""
    rng = random.Random(seed)
    pictures = [draw(sample_scene(rng)) for _ in range(CAPTIONED)] + [free_scene(rng)[0] for _ in range(FREE)]
    rng.shuffle(pictures)
    return np.stack(pictures)


def to_tensor(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pictures(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """float32 [n, 3, h, w] in -1..1 (clipped) -> uint8 [n, h, w, 3]."""
    out: NDArray[np.uint8] = ((tensor.clamp(-1, 1).permute(0, 2, 3, 1) + 1) * 127.5).round().numpy().astype(np.uint8)
    return out


def train_vae(worker: Worker, plan: Plan, pictures_file: Path, result: Path) -> None:
    """Trains in one of several processes; process 0 writes `result`: the averaged weights."""
    pictures = np.load(pictures_file)
    held_back = to_tensor(pictures[:HELD_BACK])
    torch.manual_seed(plan.seed)
    vae = ShapesVae()

    def report(_: Loop) -> None:
        print(f"  held-back pictures: {peak_signal_to_noise(vae, held_back):.1f} dB", flush=True)

    loop = Loop(worker, plan, vae)
    for choice in loop.draws(report):
        batch = pictures[choice.own.integers(HELD_BACK, len(pictures), BATCH)]
        if choice.own.random() < 0.5:
            batch = batch[:, :, ::-1]
        if choice.own.random() < 0.3:
            batch = batch[:, ::-1]
        target = to_tensor(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = vae.encode(target).float()
            # Noise of a fixed share of the latents' spread keeps neighbours in latent space alike.
            noise = torch.randn(latents.shape, generator=choice.torch)
            restored = vae.decode(latents + 0.07 * latents.detach().std() * noise)
        error = restored.float() - target
        absolute = error.abs().mean()
        loop.update(absolute + error.square().mean() + 1e-4 * latents.square().mean(), error=absolute.item())

    if worker.is_first:
        with torch.no_grad():
            vae.normalise(torch.cat([vae.encode(to_tensor(pictures[i : i + 256])) for i in range(0, 4096, 256)]))
        print(f"  VAE: {peak_signal_to_noise(vae, held_back):.1f} dB on held-back pictures", flush=True)
        save_whole(vae.state_dict(), result)


def peak_signal_to_noise(vae: ShapesVae, pictures: torch.Tensor) -> float:
    """How well the VAE restores the pictures, in dB."""
    with torch.no_grad():
        error = (vae.decode(vae.encode(pictures)).clamp(-1, 1) - pictures) / 2
    return float(-10 * torch.log10(error.square().mean()))


def load_vae(result: Path) -> ShapesVae:
    """Gives the trained VAE."""
    vae = ShapesVae()
    vae.load_state_dict(torch.load(result, weights_only=True))
    vae.eval()
    return vae
