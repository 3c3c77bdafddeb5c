"""Uploaded files -> arrays of pixels, masks, and arrays -> PNG, JPEG and WebP files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from calculators.image_gen.request_values import refuse
from calculators.image_gen.resolution import Resolution

Pixels = NDArray[np.uint8]

UPLOAD_FORMATS: Final = ("PNG", "JPEG", "WEBP")
MAX_UPLOAD_PIXELS: Final = 64_000_000
"""Uploads with more are refused before they are decoded. A file of some kilobytes can hold billions of them."""
PNG_COMPRESSION: Final = 1
"""zlib's level: on smooth pictures of 512x512 and more, 1 takes less than half the time of the usual 6, for files 15 % larger."""

_MASK_THRESHOLD: Final = 128
_LONGEST_REASON: Final = 200


def read_picture(file: bytes, size: Resolution, param: str = "image") -> Pixels:
    """An uploaded picture, height x width x 3, RGB.

    The first frame of an animation, turned as its EXIF orientation says; what is transparent becomes white. Other sizes are scaled
    without regard to the proportions, as OpenVINO GenAI would. Colour profiles are not applied.

    Args:
        file: a PNG, JPEG or WebP file.
        size: the size to scale to.
        param: the request's field, for errors.

    Raises:
        RequestError: 400, the file is none of these, broken, or has too many pixels.
    """
    with _opened(file, param) as image:
        picture = _without_alpha(_eight_bits(image))
        if picture.size != size:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        return np.asarray(picture)


def read_mask(file: bytes, size: Resolution, param: str = "mask") -> NDArray[np.bool_]:
    """An uploaded mask: which pixels are to be drawn anew, height x width.

    In a mask with transparency these are the transparent ones (OpenAI's rule), in any other one the white ones (OVMS's). An alpha
    channel that is opaque everywhere says nothing, so that the second rule counts: many programs save every picture with one.
    Other sizes are scaled to the nearest pixel.

    Args:
        file: a PNG, JPEG or WebP file.
        size: the size to scale to.
        param: the request's field, for errors.

    Raises:
        RequestError: as ``read_picture``.
    """
    with _opened(file, param) as image:
        mask = _eight_bits(image)
        alpha = np.asarray(mask.convert("RGBA").getchannel("A")) if mask.has_transparency_data else None
        if alpha is not None and alpha.min() < _MASK_THRESHOLD:
            drawn_anew = alpha < _MASK_THRESHOLD
        else:
            drawn_anew = np.asarray(_without_alpha(mask).convert("L")) >= _MASK_THRESHOLD
        if mask.size == size:
            return drawn_anew
        scaled = Image.fromarray(drawn_anew).resize(size, Image.Resampling.NEAREST)
        return np.asarray(scaled)


def keep_unmasked(pixels: Pixels, picture: Pixels, mask: NDArray[np.bool_]) -> None:
    """Put back, in place, what the mask does not free: OpenVINO GenAI draws all of it anew, nearly as it was.

    Args:
        pixels: what was drawn; n x height x width x 3.
        picture: what was given; height x width x 3.
        mask: which pixels were to be drawn anew; height x width.
    """
    np.copyto(pixels, picture, where=~mask[..., np.newaxis])


def encode_image(pixels: Pixels, output_format: str = "png", quality: int | None = None) -> bytes:
    """A file of a picture.

    Args:
        pixels: height x width x 3, RGB.
        output_format: ``png``, ``jpeg`` or ``webp``.
        quality: from 0 to 100, of a ``jpeg`` or ``webp``; None means the encoder's own.
    """
    options: dict[str, Any] = {"compress_level": PNG_COMPRESSION} if output_format == "png" else {}
    if quality is not None and output_format != "png":
        options["quality"] = quality
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, output_format.upper(), **options)
    return file.getvalue()


@contextmanager
def _opened(file: bytes, param: str) -> Iterator[Image.Image]:
    """The decoded picture of an upload, the right way up."""
    try:
        image = Image.open(io.BytesIO(file), formats=UPLOAD_FORMATS)
        if image.width * image.height <= MAX_UPLOAD_PIXELS:
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        _refuse_pixels(param, "far more")
    except UnidentifiedImageError:
        _refuse_file(param, "it is none of these")
    except Exception as error:  # whatever decoders raise over files that are cut off or damaged
        _refuse_file(param, str(error)[:_LONGEST_REASON])
    with image:
        if image.width * image.height > MAX_UPLOAD_PIXELS:
            _refuse_pixels(param, f"{image.width}x{image.height}")
        with suppress(Exception):  # EXIF data that cannot be read say nothing
            ImageOps.exif_transpose(image, in_place=True)
        yield image


def _refuse_file(param: str, reason: str) -> NoReturn:
    refuse(
        param,
        f"Image parsing failed: {param} cannot be read: it must be a PNG, JPEG or WebP file, complete and undamaged: {reason}",
        "invalid_image",
    )


def _refuse_pixels(param: str, found: str) -> NoReturn:
    refuse(
        param,
        f"{param} has too many pixels: at most {MAX_UPLOAD_PIXELS // 1_000_000} million are read, and this one has {found}",
        "image_too_large",
    )


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bit greys as 8 bit ones; Pillow itself would cut them off at white. All other deep files it reads as 8 bits."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    grey = Image.fromarray((values >> 8).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _without_alpha(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    white = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(white, layers).convert("RGB")
