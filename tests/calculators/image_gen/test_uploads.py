"""Headers of uploads: format and size, and what is refused before anything is decoded."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import pytest
from PIL import Image

from calculators.http_payload import RequestError
from calculators.image_gen.request_rules import RequestSettings
from calculators.image_gen.uploads import Upload, read_header

LIMITS = RequestSettings()
FORMATS = ("PNG", "JPEG", "WEBP")


def picture(form: str = "PNG", size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "red").save(file, form, **options)
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = "a description that stands before it"
    exif[0x0112] = orientation
    return exif


def refusal(file: bytes, limits: RequestSettings = LIMITS) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_header("mask", file, limits)
    assert (caught.value.status, caught.value.param) == (400, "mask")
    return caught.value


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (picture("PNG"), "png"),
        (picture("PNG", mode="RGBA"), "png"),
        (picture("PNG", mode="1"), "png"),
        (picture("JPEG"), "jpeg"),
        (picture("JPEG", progressive=True), "jpeg"),
        (picture("JPEG", mode="L", comment=b"\xff\xc0 looks like a size"), "jpeg"),
        (picture("WEBP"), "webp"),
        (picture("WEBP", lossless=True), "webp"),
        (picture("WEBP", mode="RGBA"), "webp"),
        (picture("WEBP", exif=turned(1)), "webp"),
    ],
)
def test_format_and_size_are_read_from_the_content(file: bytes, name: str) -> None:
    assert read_header("image", file, LIMITS) == Upload(name, (40, 30))  # type: ignore[arg-type]  # equal to a Resolution


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (300, 1), (1, 16383), (16383, 2)])
def test_every_size_is_read_as_pillow_reads_it(form: str, size: tuple[int, int]) -> None:
    assert read_header("image", picture(form, size), LIMITS).size == size


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_picture_as_it_is_to_be_seen(form: str, orientation: int) -> None:
    expected = (30, 40) if orientation >= 5 else (40, 30)
    assert read_header("image", picture(form, exif=turned(orientation)), LIMITS).size == expected


@pytest.mark.parametrize(
    "exif", [b"", b"II", b"II*\x00\xff\xff\xff\xff", b"MM\x00*\x00\x00\x00\x08\xff\xff", b"XX*\x00\x08\x00\x00\x00"]
)
def test_damaged_exif_data_turn_nothing(exif: bytes) -> None:
    assert read_header("image", picture("JPEG", exif=b"Exif\x00\x00" + exif), LIMITS).size == (40, 30)


@pytest.mark.parametrize(
    ("file", "what"),
    [
        (picture("GIF"), "a GIF"),
        (picture("BMP"), "a BMP"),
        (picture("TIFF"), "a TIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"https://example.org/a.png", "a URL: addresses are not fetched"),
        (b"data:image/png;base64,iVBORw0KGgo=", "a data URL"),
        (b"iVBORw0KGgoAAAANSUhEUgAA", "base64 text"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "something else"),
        (b"x", "something else"),
    ],
)
def test_other_files_are_refused_and_named(file: bytes, what: str) -> None:
    error = refusal(file)
    assert error.message == f"Image parsing failed: mask has to be a PNG, JPEG or WebP file; it is {what}"


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_ends_in_its_header_is_refused_wherever_it_ends(form: str) -> None:
    file = picture(form)
    for length in range(12, 24):
        assert "Image parsing failed: mask" in refusal(file[:length]).message


@pytest.mark.parametrize(
    "file",
    [
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 13, b"IDAT") + bytes(20),
        b"RIFF\x00\x00\x00\x00WEBPVP9 \x10\x00\x00\x00" + bytes(20),
        b"\xff\xd8\xff\xda" + bytes(50),
        b"\xff\xd8\xff\xe0\x00\x10" + bytes(50),
        b"\xff\xd8\xff" + b"\xff" * 1000,
        b"\xff\xd8\xff\xe0\x00\x00" * 100,
    ],
)
def test_what_only_begins_like_a_picture_is_refused(file: bytes) -> None:
    assert "does not go on like one" in refusal(file).message


def png_of(width: int, height: int) -> bytes:
    """A small file that says it has many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def test_a_bomb_is_refused_by_what_it_says() -> None:
    error = refusal(png_of(2**31 - 1, 2**31 - 1))
    assert error.message == "mask has 2147483647x2147483647 pixels; this server takes 64000000 in all at most"
    assert "has no pixels" in refusal(png_of(0, 5)).message


def test_limits_are_those_of_the_settings() -> None:
    file = picture()
    exact = RequestSettings(max_upload_bytes=len(file), max_upload_pixels=1200)
    assert read_header("image", file, exact).size == (40, 30)
    assert "at most" in refusal(file, RequestSettings(max_upload_bytes=len(file) - 1)).message
    assert "1199 in all" in refusal(file, RequestSettings(max_upload_pixels=1199)).message


def test_headers_are_read_without_numpy_pillow_and_openvino() -> None:
    program = (
        "import sys; import calculators.image_gen.uploads; "
        "found = {'numpy', 'PIL', 'openvino'} & set(sys.modules); assert not found, found"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
