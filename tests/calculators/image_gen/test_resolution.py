"""The grammar of sizes."""

from __future__ import annotations

import pytest

from calculators.image_gen.resolution import Resolution, parse_resolution


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512x256", Resolution(512, 256)),
        ("1x1", Resolution(1, 1)),
        ("9223372036854775807x1", Resolution(2**63 - 1, 1)),
        ("auto", None),
    ],
)
def test_sizes_that_are_read(text: str, expected: Resolution | None) -> None:
    assert parse_resolution(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "512", "512x", "x512", "512X512", "512*512", "51:512", "51x512x", "512_51x", "1024x10x24", "x512x512",
        " 512x512", "512x512 ", "512 x 512", "+512x512", "0512x512", "512x0512", "abcx512", "5151xabc", "5.5x5", "1e3x512",
        "٥١٢x512", "512x512\n", "(4096x4096)", "Auto", "AUTO", "9223372036854775808x1", "1x99999999999999999999",
    ],
)  # fmt: skip
def test_texts_in_the_wrong_form(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not in correct format - WxH$"):
        parse_resolution(text)


@pytest.mark.parametrize("text", ["0x52", "51x0", "0x0", "-5x52", "51x-52", "-0x1"])
def test_sides_must_be_above_zero(text: str) -> None:
    with pytest.raises(ValueError, match=r"^values must be greater than 0$"):
        parse_resolution(text)


def test_a_size_fits_only_if_both_sides_do() -> None:
    limit = Resolution(512, 256)
    assert Resolution(512, 256).fits_in(limit)
    assert not Resolution(513, 8).fits_in(limit)
    assert not Resolution(8, 257).fits_in(limit)


def test_text_form_is_what_is_read() -> None:
    assert str(Resolution(640, 480)) == "640x480"
