"""Images as packets carry them: ImageFormat, ImageFrame and Image, with the members of MediaPipe's old Python API.

An image owns its pixels or shares those of a numpy array, and is never written to. Rows lie one after the other; in an image
that was copied each row starts at a multiple of four bytes, as in MediaPipe, so that ``is_contiguous()`` is false where the
bytes of a row are no such multiple. numpy is imported where an image is made or read: the runtime does not need it.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from operator import index as exact_int
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from graph_runtime.errors import GraphError, StatusCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROW_ALIGNMENT_BYTES: Final = 4


class ImageFormat(enum.IntEnum):
    """What a pixel is. SRGB, SRGBA, SBGRA, GRAY8: uint8; GRAY16, SRGB48, SRGBA64: uint16; VEC32F1, 2 and 4: float32 values."""

    SRGB = 1
    SRGBA = 2
    GRAY8 = 3
    GRAY16 = 4
    SRGB48 = 7
    SRGBA64 = 8
    VEC32F1 = 9
    SBGRA = 11
    VEC32F2 = 12
    VEC32F4 = 13

    def __str__(self) -> str:
        return f"ImageFormat.{self.name}"


class _Pixel(NamedTuple):
    dtype: str
    channels: int


_PIXELS: Final = {
    ImageFormat.GRAY8: _Pixel("uint8", 1),
    ImageFormat.SRGB: _Pixel("uint8", 3),
    ImageFormat.SRGBA: _Pixel("uint8", 4),
    ImageFormat.GRAY16: _Pixel("uint16", 1),
    ImageFormat.SRGB48: _Pixel("uint16", 3),
    ImageFormat.SRGBA64: _Pixel("uint16", 4),
    ImageFormat.VEC32F1: _Pixel("float32", 1),
    ImageFormat.VEC32F2: _Pixel("float32", 2),
    ImageFormat.VEC32F4: _Pixel("float32", 4),
}
"""The formats that an image can be made in. MediaPipe's Python API names SBGRA too and makes no images of it."""

PixelsT = TypeVar("PixelsT", bound="_Pixels")


class _Pixels:
    """What ImageFrame and Image have in common: pixels, [height, width, channels], or [height, width] for one channel.

    Args:
        image_format: what a pixel is.
        data: the pixels, of the format's dtype. They are copied; the rows of the copy are aligned.

    Raises:
        TypeError: ``data`` is no numpy array, or its dtype is none of uint8, uint16 and float32.
        GraphRuntimeError: the format has another dtype than ``data``, or images cannot be made in it.
        InvalidArgumentError: the shape is not that of an image in this format.
    """

    def __init__(self, image_format: ImageFormat, data: NDArray[Any]) -> None:
        pixel = pixel_of(image_format)
        _check_is_array(data)
        if data.dtype != pixel.dtype:
            raise _other_dtype(image_format, data)
        self._format = image_format
        self._pixels, self._step = _with_aligned_rows(_shaped(image_format, data))
        self._packed: NDArray[Any] | None = None

    @classmethod
    def _over(cls: type[PixelsT], image_format: ImageFormat, data: NDArray[Any]) -> PixelsT:
        """An image that shares the pixels of ``data``, which is C-contiguous and of the format's dtype."""
        image = cls.__new__(cls)
        image._format = image_format
        image._pixels = _shaped(image_format, data)
        image._step = image.width * image.channels * image.byte_depth
        image._packed = None
        return image

    @property
    def image_format(self) -> ImageFormat:
        """What a pixel is."""
        return self._format

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self._pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self._pixels.shape[0])

    @property
    def channels(self) -> int:
        """Numbers in a pixel."""
        return _PIXELS[self._format].channels

    @property
    def byte_depth(self) -> int:
        """Bytes of one number."""
        return self._pixels.itemsize

    @property
    def step(self) -> int:
        """Bytes from the start of a row to the start of the next."""
        return self._step

    def is_empty(self) -> bool:
        """Whether there is no memory for pixels: never, for an image that was made in Python."""
        return False

    def is_contiguous(self) -> bool:
        """Whether the rows follow each other without padding."""
        return self._step == self.width * self.channels * self.byte_depth

    def is_aligned(self, alignment_boundary: int) -> bool:
        """Whether every row starts at a multiple of ``alignment_boundary`` bytes; InvalidArgumentError if it is no power of 2."""
        boundary = exact_int(alignment_boundary)
        if boundary < 1 or boundary & (boundary - 1):
            raise _refusal(f"is_aligned({boundary}): the alignment boundary has to be 1 or a power of 2")
        return self._pixels.ctypes.data % boundary == 0 and self._step % boundary == 0

    def numpy_view(self) -> NDArray[Any]:
        """The pixels as a read-only array without padding: the image's own memory, or a copy if the rows are padded.

        Copy the array to change it.
        """
        import numpy as np

        if self.is_contiguous():
            return np.asarray(self)
        if self._packed is None:
            packed = np.array(self._pixels, order="C")
            packed.flags.writeable = False
            self._packed = packed
        return self._packed

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """What lets ``numpy.asarray(image)`` read the pixels in place; the array keeps the image alive and is read-only."""
        interface = self._pixels.__array_interface__
        address, _ = interface["data"]
        return {**interface, "data": (address, True)}

    def __getitem__(self, position: Sequence[int]) -> int | float:
        """One number: ``image[row, column, channel]``, or ``image[row, column]`` where there is one channel.

        Raises:
            TypeError: the position is not made of integers.
            IndexError: there are too many or too few of them, or the position is outside the image.
        """
        if not isinstance(position, (tuple, list)):
            raise TypeError(f"an image is indexed by [row, column, channel], not by {type(position).__name__}")
        place = tuple(map(exact_int, position))
        shape = self._pixels.shape
        if len(place) not in (2, 3) or len(place) < len(shape):
            raise IndexError(f"Invalid index dimension: {len(place)}; the image has {len(shape)}")
        if len(place) > len(shape):
            raise IndexError(f"index dimension mismatch: {len(place)}; the image has {len(shape)}")
        for axis, (at, size) in enumerate(zip(place, shape, strict=True)):
            if not 0 <= at < size:
                raise IndexError(f"index {at} is out of bounds for axis {axis} with size {size}")
        number: int | float = self._pixels[place].item()
        return number

    def __repr__(self) -> str:
        return (
            f"<mediapipe.{type(self).__name__} with format: {self._format.name} and size: {self.width}x{self.height}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._format, self.numpy_view())


class ImageFrame(_Pixels):
    """An image in the CPU's memory. Made as ``ImageFrame(image_format=ImageFormat.SRGB, data=array)``."""


class Image(_Pixels):
    """An image as MediaPipe's newer calculators take it. Made as ``Image(image_format=ImageFormat.SRGB, data=array)``."""

    def uses_gpu(self) -> bool:
        """Whether the pixels are in the memory of a GPU: never."""
        return False

    @staticmethod
    def create_from_file(file_name: str | os.PathLike[str]) -> Image:
        """The image in a file, in GRAY8, SRGB or SRGBA. Needs Pillow, and reads what Pillow reads; 16 bits become 8.

        Raises:
            GraphRuntimeError: the file cannot be read, or its pixels are neither gray, nor RGB, nor RGBA.
        """
        import numpy as np
        import PIL.Image

        try:
            with PIL.Image.open(file_name) as file:
                mode = _MODES.get(file.mode, file.mode)
                if "transparency" in file.info:
                    mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
                image_format = _FORMATS.get(mode)
                if image_format is None:
                    raise ValueError(
                        f"pixels are {file.mode}, expected are 1 (grayscale), 3 (RGB) or 4 (RGBA) channels"
                    )
                # Pillow would clip numbers of 16 bits, not scale them.
                pixels = np.asarray(file) >> 8 if file.mode.startswith("I;16") else np.asarray(file.convert(mode))
        except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
            raise GraphError(
                f"Image decoding failed ({error}): {os.fspath(file_name)}", code=StatusCode.UNKNOWN
            ) from error
        return Image._over(image_format, np.ascontiguousarray(pixels, np.uint8))


_FORMATS: Final = {"L": ImageFormat.GRAY8, "RGB": ImageFormat.SRGB, "RGBA": ImageFormat.SRGBA}
"""Pillow's modes and what they are here."""
_MODES: Final = {
    "1": "L", "I;16": "L", "I;16B": "L", "I;16L": "L", "I;16N": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA",
    "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB",
}  # fmt: skip
"""Further modes of Pillow, and those that they are turned into."""


def pixel_of(image_format: ImageFormat) -> _Pixel:
    """The dtype and number of channels of a format.

    Raises:
        TypeError: it is no ImageFormat.
        GraphRuntimeError: images cannot be made in it.
    """
    if not isinstance(image_format, ImageFormat):
        raise TypeError(f"image_format has to be an ImageFormat, not {type(image_format).__name__}")
    pixel = _PIXELS.get(image_format)
    if pixel is None:
        have = ", ".join(each.name for each in _PIXELS)
        raise GraphError(f"Unsupported ImageFormat: {image_format.name}; use {have}", code=StatusCode.UNIMPLEMENTED)
    return pixel


def cast_pixels(image_format: ImageFormat, data: NDArray[Any]) -> NDArray[Any]:
    """``data`` in the dtype of a format: itself, or a copy.

    Raises:
        TypeError: ``data`` is no numpy array, or its numbers do not all fit into the dtype.
        GraphRuntimeError: images cannot be made in the format.
    """
    pixel = pixel_of(image_format)
    _check_is_array(data)
    return data.astype(pixel.dtype, casting="safe", copy=False)


def _check_is_array(data: object) -> None:
    import numpy as np

    if not isinstance(data, np.ndarray):
        raise TypeError(f"data has to be a numpy array, not {type(data).__name__}; numpy.asarray() makes one")


def _other_dtype(image_format: ImageFormat, data: NDArray[Any]) -> Exception:
    formats = [each.name for each, pixel in _PIXELS.items() if data.dtype == pixel.dtype]
    if not formats:
        dtypes = ", ".join(dict.fromkeys(pixel.dtype for pixel in _PIXELS.values()))
        return TypeError(f"data has the dtype {data.dtype}; an image is made of one of {dtypes}")
    names = f"{', '.join(formats[:-1])}, and {formats[-1]}"
    return GraphError(
        f"{data.dtype} image data should be one of the {names} MediaPipe image formats, not {image_format.name}",
        code=StatusCode.UNKNOWN,
    )


def _shaped(image_format: ImageFormat, data: NDArray[Any]) -> NDArray[Any]:
    """``data`` in the shape in which images keep it."""
    channels = _PIXELS[image_format].channels
    if channels == 1 and data.ndim == 3 and data.shape[2] == 1:
        return data.reshape(data.shape[:2])
    if data.shape[2:] != ((channels,) if channels > 1 else ()) or data.ndim < 2:
        wanted = f"[height, width, {channels}]" if channels > 1 else "[height, width]"
        raise _refusal(f"{image_format.name} needs data of shape {wanted}, not {list(data.shape)}")
    return data


def _with_aligned_rows(data: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """A copy whose rows start at multiples of four bytes, and the bytes from row to row."""
    import numpy as np

    pixel = data.itemsize * (data.shape[2] if data.ndim == 3 else 1)
    step = -(-data.shape[1] * pixel // ROW_ALIGNMENT_BYTES) * ROW_ALIGNMENT_BYTES
    rows = np.zeros((data.shape[0], step), np.uint8)
    strides = (step, pixel, data.itemsize)[: data.ndim]
    pixels: NDArray[Any] = np.ndarray(data.shape, data.dtype, buffer=rows, strides=strides)
    pixels[...] = data
    return pixels, step


def _refusal(text: str) -> GraphError:
    return GraphError(text, code=StatusCode.INVALID_ARGUMENT)
