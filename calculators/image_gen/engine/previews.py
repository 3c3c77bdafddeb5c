"""Partial images: the pictures of some steps, decoded and encoded while OpenVINO GenAI draws on.

The callback copies the latents and returns at once, so that a cancellation is seen at the next step. A thread of its own turns
them into pictures with a second VAE decoder, which shares nothing with the pipeline: the finished picture is the same to the byte
with partial images and without. What is not ready when the drawing ends is left out: a partial image never delays the end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import openvino
import openvino_genai
from numpy.typing import NDArray

from calculators.image_gen.generation import OnPartial, PartialImage
from calculators.image_gen.images import Pixels
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings
from calculators.image_gen.plugin_config import parse_plugin_config
from calculators.image_gen.resolution import Resolution
from calculators.openvino_errors import readable

_log = logging.getLogger(__name__)

Latents = NDArray[np.float32]
Decode = Callable[[Latents, Resolution], Pixels]
"""Latents and the size of their pictures -> pixels, n x height x width x 3, in memory that the next call overwrites."""


def preview_steps(total: int, count: int) -> list[int]:
    """After which of the steps, counted from 1, a partial image is made: evenly spaced, none after the last."""
    steps = {position * total // (count + 1) for position in range(1, count + 1)}
    return sorted(step for step in steps if 0 < step < total)


class Previews:
    """The partial images of one call of ``generate``.

    Args:
        count: how many are wanted of each picture.
        size: of the pictures.
        first_picture: number of the first picture in the request.
        decode: used on the executor.
        finish: pixels -> file, on the executor.
        on_partial: given each partial image, on the executor.
        executor: runs one thing at a time.
    """

    def __init__(
        self,
        count: int,
        size: Resolution,
        first_picture: int,
        *,
        decode: Decode,
        finish: Callable[[Pixels], bytes],
        on_partial: OnPartial,
        executor: Executor,
    ) -> None:
        self._count = count
        self._size = size
        self._first_picture = first_picture
        self._decode = decode
        self._finish = finish
        self._on_partial = on_partial
        self._executor = executor
        self._lock = threading.Lock()
        self._over = False
        self._waiting: list[Future[None]] = []

    def step(self, done: int, total: int, latent: Any) -> None:
        """Note the latents of a step if a partial image is to be made of them.

        Args:
            done, total: steps, counted from 1.
            latent: a tensor of OpenVINO's that the next step overwrites.
        """
        steps = preview_steps(total, self._count)
        if done in steps:
            latents = np.array(latent.data, np.float32)
            self._waiting.append(self._executor.submit(self._show, steps.index(done), latents))

    def _show(self, index: int, latents: Latents) -> None:
        try:
            if self._over:
                return
            for position, pixels in enumerate(self._decode(latents, self._size)):
                image = self._finish(pixels)
                with self._lock:
                    if self._over:
                        return
                    self._on_partial(PartialImage(self._first_picture + position, index, image))
        except Exception as error:
            _log.warning("a partial image could not be made: %s", readable(error))

    def end(self) -> None:
        """No more partial images from now on."""
        with self._lock:
            self._over = True
        for each in self._waiting:
            each.cancel()


def load_decoder(load: LoadSettings, model: ModelInfo, device: str) -> Decode:
    """A VAE decoder of its own.

    Raises:
        RuntimeError: OpenVINO refuses it.
    """
    vae = openvino_genai.AutoencoderKL(f"{load.models_path}/vae_decoder")
    scale = vae.get_vae_scale_factor()
    images = model.fixed_images or 1
    size = model.fixed_size or Resolution(64, 64)
    if load.static is not None:
        vae.reshape(images, size.height, size.width)
    vae.compile(device, **parse_plugin_config(load.plugin_config))
    channels = vae.get_config().latent_channels
    # A first picture that is tiny spoils all later ones.
    vae.decode(openvino.Tensor(np.zeros((images, channels, size.height // scale, size.width // scale), np.float32)))

    def decode(latents: Latents, size: Resolution) -> Pixels:
        if latents.ndim == 3:
            latents = unpacked(latents, size.height // scale, size.width // scale)
        pixels: Pixels = vae.decode(openvino.Tensor(latents)).data
        return pixels

    return decode


def unpacked(latents: Latents, height: int, width: int) -> Latents:
    """FLUX's rows of 2x2 blocks as latents of a picture: n x blocks x 4 channels -> n x channels x height x width."""
    blocks = latents.reshape(len(latents), height // 2, width // 2, -1, 2, 2)
    return np.ascontiguousarray(blocks.transpose(0, 3, 1, 4, 2, 5).reshape(len(latents), -1, height, width))
