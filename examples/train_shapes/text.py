"""The tokenizer and the text encoder's first lessons: to tell from a caption what the scene holds.

A UNet learns from words only what the text encoder makes plain. Taught alone for some minutes, the encoder spares the
UNet the long time in which every caption looks alike.
"""

# mypy: allow-subclassing-any
# (torch brings no types into the project's checks, so nn.Module is Any there.)

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from .grammar import CLASS_COUNTS, NUMBER_COUNT, Scene, captions, sample_scene, scene_labels
from .loop import Loop, Plan, Worker, save_whole
from .models import MAX_TOKENS, TEXT_WIDTH, make_text_encoder
from .tokens import BEGIN, END

BATCH = 48
LONGEST_CAPTION = 24
"""Tokens of the longest caption of the grammar, with a reserve; from here on there is only padding."""


class Tokenizer:
    """Captions -> token numbers as GenAI gives them: cut or padded to 77 with the end token."""

    def __init__(self, folder: Path) -> None:
        self.clip = CLIPTokenizer.from_pretrained(
            str(folder), model_max_length=MAX_TOKENS, bos_token=BEGIN, eos_token=END, pad_token=END, unk_token=END
        )

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        """Returns int64 [n, 77]."""
        batch = self.clip(list(texts), padding="max_length", truncation=True, max_length=MAX_TOKENS)
        return torch.tensor(batch["input_ids"])

    def make_text_encoder(self) -> CLIPTextModel:
        """An untrained text encoder for this vocabulary."""
        return make_text_encoder(len(self.clip), self.clip.bos_token_id, self.clip.eos_token_id)


class SceneReader(nn.Module):
    """Tells a scene's labels from one output of the text encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(TEXT_WIDTH, sum(CLASS_COUNTS) + NUMBER_COUNT)

    def loss(self, state: torch.Tensor, classes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """state [n, 128], classes int64 [n, 5], numbers [n, 6] (see `grammar.scene_labels`) -> one number."""
        *guesses, values = self.linear(state).split([*CLASS_COUNTS, NUMBER_COUNT], -1)
        total = functional.mse_loss(values, numbers)
        for k, guess in enumerate(guesses):
            total = total + functional.cross_entropy(guess, classes[:, k]) / len(guesses)
        return total


def reading_loss(
    reader: SceneReader, states: torch.Tensor, classes: torch.Tensor, numbers: torch.Tensor, position: int
) -> torch.Tensor:
    """Mean loss at the last position and at the given one, so that all of the padding learns to carry the scene."""
    return (reader.loss(states[:, -1], classes, numbers) + reader.loss(states[:, position], classes, numbers)) / 2


def label_tensors(scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of many scenes: classes int64 [n, 5], numbers float32 [n, 6]."""
    pairs = [scene_labels(scene) for scene in scenes]
    return torch.tensor([classes for classes, _ in pairs]), torch.tensor([numbers for _, numbers in pairs])


def train_text(worker: Worker, plan: Plan, tokenizer_folder: Path, result: Path) -> None:
    """Trains in one of several processes; process 0 writes `result`: the weights of encoder and reader."""
    torch.manual_seed(plan.seed)
    tokenizer = Tokenizer(tokenizer_folder)
    encoder, reader = tokenizer.make_text_encoder(), SceneReader()
    loop = Loop(worker, plan, nn.ModuleDict({"encoder": encoder, "reader": reader}))
    for choice in loop.draws():
        rng = random.Random(int(choice.own.integers(2**62)))
        scenes = [sample_scene(rng) for _ in range(BATCH)]
        states = encoder(input_ids=tokenizer(captions(scenes))).last_hidden_state
        position = int(choice.own.integers(LONGEST_CAPTION, MAX_TOKENS))
        loss = reading_loss(reader, states, *label_tensors(scenes), position)
        loop.update(loss, error=loss.item())
    if worker.is_first:
        save_whole({"encoder": encoder.state_dict(), "reader": reader.state_dict()}, result)
