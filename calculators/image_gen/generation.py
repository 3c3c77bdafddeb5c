"""GenerationRequest and GenerationResult: what a lane is asked for and what it gives back.

Plain values, checked before they are made, that cross thread and process borders; :class:`Cancellation` is the way to take
one back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any, Final, Literal

Kind = Literal["text to image", "image to image", "inpainting"]
"""What is drawn from: a text alone, a picture, or a picture of which a mask frees a part."""

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all), from 1 to the total, on a thread of the lane; calls may be left out."""

OnCancel = Callable[[Callable[[], None]], Callable[[], None]]
"""Registers a function to be called at cancellation (at once, if it has come already) and returns one that takes it away again.
A node passes ``cc.on_cancel``, other callers ``Cancellation().on_cancel``."""

SEED_LIMIT: Final = 2**64
"""Seeds are below this. OpenVINO GenAI's generator takes their lower 32 bits; higher ones change nothing."""


@dataclass(frozen=True, slots=True)
class PartialImage:
    """A picture on its way, as a client that streams gets it.

    Attributes:
        picture: which one of the request's pictures, from 0.
        index: the how-manieth of this picture, from 0.
        image: an encoded file, in the request's output format.
    """

    picture: int
    index: int
    image: bytes


OnPartial = Callable[[PartialImage], None]
"""Called with each partial image, on a thread of the lane. At most as many as were asked for: slow ones are left out."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Pictures to make, with every value checked against the model.

    Attributes:
        prompt: what to draw. ``prompt_2`` and ``prompt_3`` go to the model's further text encoders, None repeats ``prompt``.
        negative_prompt: what not to draw, with its own second and third form.
        width, height: pixels.
        num_images: how many pictures.
        num_inference_steps: denoising steps.
        rng_seed: seed of the first picture; picture k has ``rng_seed + k``. None until one is chosen.
        guidance_scale: None means the model family's own.
        max_sequence_length: tokens that a T5 or Qwen text encoder reads; None means the family's own.
        model: the model name in the request, or None.
        image: the picture to start from, as the file that was uploaded (PNG, JPEG or WebP); None for text to image.
        mask: what of ``image`` to draw anew, as the file that was uploaded; None for all of it. In a mask with an alpha channel
            transparent parts are drawn anew (OpenAI's rule), in any other one white parts (OVMS's).
        strength: how far to go from ``image``, from 0 to 1; None means the model family's own. Only with ``image``.
        adapters: (alias, weight) of each LoRA adapter to draw with; () for the model alone.
        output_format: ``png``, ``jpeg`` or ``webp``.
        output_compression: quality of a ``jpeg`` or ``webp``, from 0 to 100; None means the encoder's own.
        partial_images: how many partial images to show of each picture, from 0 to 3.
        ignored: names of accepted fields that have no effect here.
    """

    prompt: str = field(repr=False)
    width: int
    height: int
    num_images: int
    num_inference_steps: int
    prompt_2: str | None = field(default=None, repr=False)
    prompt_3: str | None = field(default=None, repr=False)
    negative_prompt: str | None = field(default=None, repr=False)
    negative_prompt_2: str | None = field(default=None, repr=False)
    negative_prompt_3: str | None = field(default=None, repr=False)
    rng_seed: int | None = None
    guidance_scale: float | None = None
    max_sequence_length: int | None = None
    model: str | None = None
    image: bytes | None = field(default=None, repr=False)
    mask: bytes | None = field(default=None, repr=False)
    strength: float | None = None
    adapters: tuple[tuple[str, float], ...] = ()
    output_format: str = "png"
    output_compression: int | None = None
    partial_images: int = 0
    ignored: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What it draws from."""
        if self.image is None:
            return "text to image"
        return "image to image" if self.mask is None else "inpainting"

    def to_message(self) -> tuple[dict[str, Any], bytes]:
        """JSON values, and one block of bytes (the uploads, one after the other)."""
        uploads = [upload for upload in (self.image, self.mask) if upload is not None]
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("image", "mask")}
        return {**values, "upload_sizes": [len(upload) for upload in uploads]}, b"".join(uploads)

    @classmethod
    def from_message(cls, values: Mapping[str, Any], block: bytes) -> GenerationRequest:
        """The request that ``to_message`` took apart."""
        rest = dict(values)
        rest.update(zip(("image", "mask"), _cut(block, rest.pop("upload_sizes")), strict=False))
        rest.update(ignored=tuple(rest["ignored"]), adapters=tuple((alias, alpha) for alias, alpha in rest["adapters"]))
        return cls(**rest)


def picture_seeds(request: GenerationRequest) -> tuple[int, ...]:
    """The seed of each picture of a request that has a seed: the request's own, and those that follow it."""
    if request.rng_seed is None:
        raise ValueError("the request has no seed yet")
    return tuple((request.rng_seed + k) % SEED_LIMIT for k in range(request.num_images))


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """Finished pictures.

    Attributes:
        images: encoded files, in order.
        seeds: the seed that gives each picture alone, in the same order.
        width, height: pixels of each.
        output_format: ``png``, ``jpeg`` or ``webp``.
        num_inference_steps: the steps that were run; see ``engine`` for when this differs from what was asked.
        prompt_tokens: tokens of the prompts as the model's first tokenizer counts them; None where it does not tell.
        stage_s: seconds spent in each stage that took place: ``read`` (uploads become pixels), ``text_encode``, ``vae_encode``
            (pixels become latents), ``denoise`` (the steps), ``vae_decode``, ``write`` (pixels become files).
    """

    images: tuple[bytes, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    output_format: str
    num_inference_steps: int
    prompt_tokens: int | None = None
    stage_s: Mapping[str, float] = field(default_factory=dict)

    def to_message(self) -> tuple[dict[str, Any], bytes]:
        """JSON values and one block of bytes (the pictures, one after the other)."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "images"}
        return {**values, "image_sizes": [len(image) for image in self.images]}, b"".join(self.images)

    @classmethod
    def from_message(cls, values: Mapping[str, Any], block: bytes) -> GenerationResult:
        """The result that ``to_message`` took apart."""
        rest = dict(values)
        images = _cut(block, rest.pop("image_sizes"))
        return cls(**{**rest, "images": images, "seeds": tuple(rest["seeds"])})


def _cut(block: bytes, sizes: Iterable[int]) -> tuple[bytes, ...]:
    """The files that stand in a block one after the other."""
    ends = list(accumulate(sizes))
    return tuple(block[start:end] for start, end in zip([0, *ends], ends, strict=False))


class Cancellation:
    """A switch that is turned once: ``cancel()`` calls every function that ``on_cancel`` registered, each once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] | None = []

    @property
    def cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._listeners is None

    def cancel(self) -> None:
        """Turn it; a second call does nothing. Listeners run on this thread, without any lock held."""
        with self._lock:
            listeners, self._listeners = self._listeners, None
        for listener in listeners or ():
            listener()

    def on_cancel(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` at cancellation, at once if it has come already; returns a function that takes it away."""
        with self._lock:
            if self._listeners is not None:
                self._listeners.append(listener)
                return lambda: self._remove(listener)
        listener()
        return lambda: None

    def _remove(self, listener: Callable[[], None]) -> None:
        with self._lock, suppress(ValueError):
            if self._listeners is not None:
                self._listeners.remove(listener)
