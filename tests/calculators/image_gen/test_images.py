"""Uploads of all sorts, masks by both rules, and the files that are made."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calculators.http_payload import RequestError
from calculators.image_gen import images
from calculators.image_gen.images import encode_image, keep_unmasked, read_mask, read_picture
from calculators.image_gen.resolution import Resolution

SIZE = Resolution(4, 2)
RED, GREEN, WHITE, GREY = (255, 0, 0), (0, 128, 0), (255, 255, 255), (128, 128, 128)


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str, colour: Any, size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.new(mode, size, colour)


def near(pixels: np.ndarray[Any, Any], colour: tuple[int, int, int], by: int = 0) -> bool:
    return bool((np.abs(pixels.astype(int) - colour) <= by).all())


def palette_of(colour: tuple[int, int, int]) -> Image.Image:
    return plain("RGB", colour).convert("P")


def with_first_pixel(image: Image.Image, value: Any) -> Image.Image:
    image.putpixel((0, 0), value)
    return image


@pytest.mark.parametrize(
    ("file", "colour", "by"),
    [
        (file_of(plain("RGB", RED)), RED, 0),
        (file_of(plain("RGB", GREEN), "JPEG", quality=95), GREEN, 4),
        (file_of(plain("RGB", RED), "WEBP", lossless=True), RED, 0),
        (file_of(plain("L", 128)), GREY, 0),
        (file_of(plain("L", 128), "JPEG"), GREY, 2),
        (file_of(plain("1", 1)), WHITE, 0),
        (file_of(plain("I;16", 128 * 256 + 7)), GREY, 0),
        (file_of(plain("RGB", RED).convert("P")), RED, 0),
        (file_of(plain("CMYK", (0, 0, 0, 127)), "JPEG", quality=95), GREY, 3),
        (file_of(plain("RGBA", (*RED, 255))), RED, 0),
        (file_of(plain("RGBA", (*RED, 0))), WHITE, 0),
        (file_of(plain("LA", (0, 127))), GREY, 0),
        (file_of(plain("RGBA", (0, 0, 0, 127)), "WEBP", lossless=True), GREY, 1),
        (file_of(plain("RGB", RED), transparency=RED), WHITE, 0),
        (file_of(plain("L", 7), transparency=7), WHITE, 0),
        (file_of(plain("I;16", 7), transparency=7), WHITE, 0),
        (file_of(palette_of(RED), transparency=palette_of(RED).getpixel((0, 0))), WHITE, 0),
    ],
    ids=[
        "RGB", "JPEG", "WebP", "grey", "grey JPEG", "1 bit", "16 bit", "palette", "CMYK", "opaque", "transparent",
        "grey half transparent", "WebP half transparent", "transparent colour", "transparent grey", "transparent 16 bit grey",
        "transparent palette entry",
    ],
)  # fmt: skip
def test_every_kind_of_upload_becomes_rgb(file: bytes, colour: tuple[int, int, int], by: int) -> None:
    pixels = read_picture(file, SIZE)
    assert pixels.shape == (2, 4, 3)
    assert pixels.dtype == np.uint8
    assert near(pixels, colour, by)


def png_of(depth: int, colour_type: int, row: bytes) -> bytes:
    """A PNG of one row and one pixel, of a kind that Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", 1, 1, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("colour_type", "samples", "colour"),
    [
        (2, (0xFFFF, 0x80FF, 0), (255, 128, 0)),
        (6, (0xFFFF, 0x80FF, 0, 0xFFFF), (255, 128, 0)),
        (6, (0, 0, 0, 0), WHITE),
        (4, (0x80FF, 0xFFFF), GREY),
        (0, (0x80FF,), GREY),
    ],
)
def test_16_bit_samples_become_8_bit_ones(
    colour_type: int, samples: tuple[int, ...], colour: tuple[int, int, int]
) -> None:
    file = png_of(16, colour_type, struct.pack(f">{len(samples)}H", *samples))
    assert near(read_picture(file, Resolution(1, 1)), colour)


def test_a_photograph_is_turned_as_its_exif_data_say() -> None:
    image = plain("RGB", GREEN, (2, 4))
    image.paste(RED, (0, 0, 2, 1))  # the top row, which is the right column of what the camera meant
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read_picture(file_of(image, exif=exif), SIZE)
    assert near(pixels[:, -1], RED)
    assert near(pixels[:, :-1], GREEN)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_data_do_not_keep_a_picture_from_being_read() -> None:
    file = file_of(plain("RGB", RED), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert near(read_picture(file, SIZE), RED, 4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    file = file_of(plain("RGB", RED), kind, save_all=True, append_images=[plain("RGB", GREEN)], **options)
    assert near(read_picture(file, SIZE), RED)


def test_other_sizes_are_scaled() -> None:
    image = plain("RGB", GREEN, (40, 10))
    image.paste(RED, (0, 0, 20, 10))
    pixels = read_picture(file_of(image), Resolution(8, 4))
    assert pixels.shape == (4, 8, 3)
    assert near(pixels[:, :3], RED, 3)
    assert near(pixels[:, 5:], GREEN, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_that_is_cut_off_is_refused_by_name(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    file = file_of(Image.fromarray(noise), kind)
    for length in (len(file) // 2, len(file) * 3 // 4):
        for read, param in ((read_picture, "image"), (read_mask, "mask")):
            with pytest.raises(
                RequestError, match=f"{param} cannot be read: it must be a PNG, JPEG or WebP file"
            ) as caught:
                read(file[:length], SIZE)
            assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, "invalid_image")


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"hello",
        file_of(plain("RGB", RED))[:20],
        file_of(plain("RGB", RED), "GIF"),
        file_of(plain("RGB", RED), "TIFF"),
    ],
    ids=["nothing", "text", "half a header", "GIF", "TIFF"],
)
def test_what_is_no_png_jpeg_or_webp_is_refused(file: bytes) -> None:
    with pytest.raises(RequestError, match="image cannot be read: it must be a PNG, JPEG or WebP file") as caught:
        read_picture(file, SIZE)
    assert (caught.value.status, caught.value.param) == (400, "image")


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    file = bytearray(png_of(8, 2, b"\0\0\0"))
    file[16:24] = struct.pack(">II", width, height)
    file[29:33] = struct.pack(">I", zlib.crc32(file[12:29]))
    return bytes(file)


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="image has too many pixels: at most 64 million are read") as caught:
        read_picture(header_of(*size), SIZE)
    assert caught.value.code == "image_too_large"


def test_the_pixel_limit_itself_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_UPLOAD_PIXELS", 8)
    assert read_picture(file_of(plain("RGB", RED)), SIZE).shape == (2, 4, 3)


# ---- masks

FIRST = [[True, False, False, False], [False, False, False, False]]


@pytest.mark.parametrize(
    ("file", "where"),
    [
        (file_of(with_first_pixel(plain("RGBA", (*GREEN, 255)), (0, 0, 0, 0))), FIRST),
        (file_of(with_first_pixel(plain("LA", (255, 255)), (255, 0))), FIRST),
        (file_of(with_first_pixel(plain("RGBA", (255, 255, 255, 255)), (0, 0, 0, 100))), FIRST),
        (file_of(with_first_pixel(plain("RGBA", (0, 0, 0, 255)), (255, 255, 255, 255))), FIRST),
        (file_of(with_first_pixel(plain("RGB", 0), WHITE)), FIRST),
        (file_of(with_first_pixel(plain("L", 100), 128)), FIRST),
        (file_of(with_first_pixel(plain("1", 0), 1)), FIRST),
        (file_of(with_first_pixel(plain("I;16", 0), 65535)), FIRST),
        (file_of(with_first_pixel(palette_of(WHITE), 0), transparency=0), FIRST),
        (file_of(plain("RGB", 0)), [[False] * 4] * 2),
        (file_of(plain("RGBA", (0, 0, 0, 0))), [[True] * 4] * 2),
    ],
    ids=[
        "transparent", "transparent grey", "half transparent", "opaque alpha says nothing", "white", "light grey", "1 bit",
        "16 bit", "transparent palette entry", "all black", "all transparent",
    ],
)  # fmt: skip
def test_what_a_mask_frees(file: bytes, where: list[list[bool]]) -> None:
    mask = read_mask(file, SIZE)
    assert mask.dtype == np.bool_
    assert mask.tolist() == where


def test_a_mask_of_another_size_is_scaled_to_the_nearest_pixel() -> None:
    mask = read_mask(file_of(with_first_pixel(plain("L", 0, (2, 1)), 255)), SIZE)
    assert mask.tolist() == [[True, True, False, False]] * 2


def test_what_a_mask_does_not_free_is_put_back_to_the_byte() -> None:
    given = np.random.default_rng(0).integers(0, 256, (2, 4, 3), np.uint8)
    drawn = np.random.default_rng(1).integers(0, 256, (1, 2, 4, 3), np.uint8)
    before = drawn.copy()
    mask = np.array(FIRST)
    keep_unmasked(drawn, given, mask)
    assert np.array_equal(drawn[0][~mask], given[~mask])
    assert np.array_equal(drawn[0][mask], before[0][mask])


# ---- files


@pytest.mark.parametrize(("output_format", "by"), [("png", 0), ("jpeg", 60), ("webp", 60)])
def test_files_in_every_format(output_format: str, by: int) -> None:
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, 12:] = RED
    image = Image.open(io.BytesIO(encode_image(pixels, output_format)))
    assert (image.format, image.mode, image.size) == (output_format.upper(), "RGB", (24, 16))
    assert np.abs(np.asarray(image).astype(int) - pixels).max() <= by


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_quality_costs_bytes(output_format: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    low, high = (len(encode_image(pixels, output_format, quality)) for quality in (0, 100))
    assert low < high / 2
