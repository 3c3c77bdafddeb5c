"""Uploaded pictures, as far as their headers tell: format and size, without decoding a single pixel.

The server's process looks at every upload before a lane gets it, so that neither a file of another kind nor one of some kilobytes
that holds billions of pixels goes further. What is wrong inside of a picture is found by the lane, which decodes it.
Sources: PNG (ISO/IEC 15948), JPEG (ITU-T T.81 annex B), WebP (RFC 9649), EXIF's orientation (CIPA DC-008).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from calculators.image_gen.request_rules import RequestSettings
from calculators.image_gen.request_values import refuse
from calculators.image_gen.resolution import Resolution

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_OTHERS: Final = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\x00": "a TIFF",
    b"MM\x00*": "a TIFF",
    b"%PDF": "a PDF",
    b"<svg": "an SVG",
    b"<?xml": "an XML file",
    b"http": "a URL: addresses are not fetched",
    b"data:": "a data URL",
    b"iVBOR": "base64 text",
    b"/9j/": "base64 text",
}
"""How other files begin -> what they are; for the text of the refusal."""

_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_SCAN: Final = frozenset({0xD9, 0xDA})
_JPEG_APP1: Final = 0xE1
_EXIF: Final = b"Exif\x00\x00"
_ORIENTATION: Final = 0x0112
_TURNED: Final = frozenset({5, 6, 7, 8})
_WEBP_MASK: Final = 0x3FFF
_MOST_CHUNKS: Final = 100_000


class Upload(NamedTuple):
    """What a file's header says.

    Attributes:
        format: ``png``, ``jpeg`` or ``webp``.
        size: pixels as the picture is to be seen, that is, turned as its EXIF orientation says.
    """

    format: str
    size: Resolution


def read_header(param: str, file: bytes, limits: RequestSettings) -> Upload:
    """Check an upload by its content; names and content types that clients give say nothing.

    Args:
        param: the field that it came in.
        file: the file.
        limits: how large it may be.

    Raises:
        RequestError: 400; it is no PNG, JPEG or WebP file, it is broken, or it is too large.
    """
    if len(file) > limits.max_upload_bytes:
        refuse(
            param,
            f"{param} is a file of {len(file)} bytes; this server takes {limits.max_upload_bytes} at most",
            "image_too_large",
        )
    name = _format(file)
    if name is None:
        found = next((what for start, what in _OTHERS.items() if file.startswith(start)), "something else")
        refuse(
            param,
            f"Image parsing failed: {param} has to be a PNG, JPEG or WebP file; it is {found}",
            "invalid_image_format",
        )
    try:
        width, height, exif = _READERS[name](memoryview(file))
    except (ValueError, IndexError, StopIteration, struct.error):
        text = f"Image parsing failed: {param} begins like a {name.upper()} file, and does not go on like one"
        refuse(param, text, "invalid_image")
    if width < 1 or height < 1:
        refuse(param, f"Image parsing failed: {param} has no pixels: it is {width}x{height}", "invalid_image")
    if width * height > limits.max_upload_pixels:
        refuse(
            param,
            f"{param} has {width}x{height} pixels; this server takes {limits.max_upload_pixels} in all at most",
            "image_too_large",
        )
    size = Resolution(height, width) if _is_turned(exif) else Resolution(width, height)
    return Upload(name, size)


def _format(file: bytes) -> str | None:
    if file.startswith(_PNG):
        return "png"
    if file.startswith(_JPEG):
        return "jpeg"
    return "webp" if file[:4] == b"RIFF" and file[8:12] == b"WEBP" else None


# Each reader gives width, height and EXIF data (b"" where there is none), or fails with an error of the standard library.


def _read_png(file: memoryview) -> tuple[int, int, bytes]:
    chunks = _chunks(file, len(_PNG), ">I4s", trailer=4)
    first, data = next(chunks)
    if first != b"IHDR":
        raise ValueError(first)
    width, height = struct.unpack_from(">II", data)
    return width, height, next((bytes(data) for name, data in chunks if name == b"eXIf"), b"")


def _read_webp(file: memoryview) -> tuple[int, int, bytes]:
    chunks = _chunks(file, 12, "<4sI", is_padded=True)
    first, data = next(chunks)
    if first == b"VP8X":
        width, height = (1 + low + (high << 16) for low, high in struct.iter_unpack("<HB", data[4:10]))
        exif = next((bytes(data) for name, data in chunks if name == b"EXIF"), b"")
        return width, height, exif.removeprefix(_EXIF)
    if first == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 1)
        return 1 + (bits & _WEBP_MASK), 1 + (bits >> 14 & _WEBP_MASK), b""
    if first != b"VP8 ":
        raise ValueError(first)
    width, height = struct.unpack_from("<HH", data, 6)
    return width & _WEBP_MASK, height & _WEBP_MASK, b""


def _chunks(
    file: memoryview, at: int, header: str, *, trailer: int = 0, is_padded: bool = False
) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a PNG or RIFF file from ``at`` on: name and content, of the last one as much as there is of it."""
    size = struct.calcsize(header)
    for _ in range(_MOST_CHUNKS):
        if at + size > len(file):
            return
        one, other = struct.unpack_from(header, file, at)
        name, length = (one, other) if isinstance(one, bytes) else (other, one)
        at += size
        yield name, file[at : at + length]
        at += length + trailer + (length & 1 if is_padded else 0)


def _read_jpeg(file: memoryview) -> tuple[int, int, bytes]:
    at, exif = 2, b""
    while True:
        if file[at] != 0xFF:
            raise ValueError(at)
        while file[at] == 0xFF:
            at += 1
        marker = file[at]
        at += 1
        if marker in _JPEG_SCAN:
            raise ValueError(marker)  # the pixels begin, and nothing has told how many
        if marker in _JPEG_ALONE:
            continue
        (length,) = struct.unpack_from(">H", file, at)
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", file, at + 3)
            return width, height, exif
        if marker == _JPEG_APP1 and bytes(file[at + 2 : at + 8]) == _EXIF:
            exif = bytes(file[at + 8 : at + length])
        at += max(length, 2)


def _is_turned(exif: bytes) -> bool:
    """Whether EXIF data says that width and height change places; False where they are damaged."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return False
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if tag == _ORIENTATION:
                return value in _TURNED
    except struct.error:
        pass
    return False


_READERS: Final[Mapping[str, Callable[[memoryview], tuple[int, int, bytes]]]] = {
    "png": _read_png,
    "jpeg": _read_jpeg,
    "webp": _read_webp,
}
