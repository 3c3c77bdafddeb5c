"""Arrays of pixels -> encoded files."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PNG_COMPRESSION: Final = 1
"""zlib's level: on smooth pictures of 512x512 and more, 1 takes less than half the time of the usual 6, for files 15 % larger."""


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file.

    Args:
        pixels: height x width x 3, RGB, 8 bits.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=PNG_COMPRESSION)
    return file.getvalue()
