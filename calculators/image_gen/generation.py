"""GenerationRequest and GenerationResult: what a lane is asked for and what it gives back.

Plain values, checked before they are made, that cross thread and process borders; :class:`Cancellation` is the way to take
one back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all), from 1 to the total, on a thread of the lane; calls may be left out."""

OnCancel = Callable[[Callable[[], None]], Callable[[], None]]
"""Registers a function to be called at cancellation (at once, if it has come already) and returns one that takes it away again.
A node passes ``cc.on_cancel``, other callers ``Cancellation().on_cancel``."""

SEED_LIMIT: Final = 2**64
"""Seeds are below this. OpenVINO GenAI's generator takes their lower 32 bits; higher ones change nothing."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Pictures to make from a text, with every value checked against the model.

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
        output_format: ``png``.
        ignored: names of accepted fields that have no effect here.
    """

    prompt: str
    width: int
    height: int
    num_images: int
    num_inference_steps: int
    prompt_2: str | None = None
    prompt_3: str | None = None
    negative_prompt: str | None = None
    negative_prompt_2: str | None = None
    negative_prompt_3: str | None = None
    rng_seed: int | None = None
    guidance_scale: float | None = None
    max_sequence_length: int | None = None
    model: str | None = None
    output_format: str = "png"
    ignored: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The request as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GenerationRequest:
        """The request that ``to_json`` turned into JSON values."""
        return cls(**{**values, "ignored": tuple(values["ignored"])})


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
        output_format: ``png``.
        num_inference_steps: the steps that were run; see ``engine`` for when this differs from what was asked.
        generate_s, encode_s: seconds spent in OpenVINO GenAI and in encoding.
    """

    images: tuple[bytes, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    output_format: str
    num_inference_steps: int
    generate_s: float = 0.0
    encode_s: float = 0.0

    def to_message(self) -> tuple[dict[str, Any], bytes]:
        """JSON values and one block of bytes (the pictures, one after the other)."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "images"}
        return {**values, "image_sizes": [len(image) for image in self.images]}, b"".join(self.images)

    @classmethod
    def from_message(cls, values: Mapping[str, Any], block: bytes) -> GenerationResult:
        """The result that ``to_message`` took apart."""
        rest = dict(values)
        images = []
        start = 0
        for size in rest.pop("image_sizes"):
            images.append(block[start : start + size])
            start += size
        return cls(**{**rest, "images": tuple(images), "seeds": tuple(rest["seeds"])})


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
