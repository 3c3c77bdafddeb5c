"""Image, ImageFrame and ImageFormat: pixels, rows, views, single numbers, files."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from graph_runtime import Image, ImageFormat, ImageFrame

np = pytest.importorskip("numpy")

KINDS = pytest.mark.parametrize("kind", [Image, ImageFrame])
FORMATS = [
    (ImageFormat.GRAY8, "uint8", 1),
    (ImageFormat.SRGB, "uint8", 3),
    (ImageFormat.SRGBA, "uint8", 4),
    (ImageFormat.GRAY16, "uint16", 1),
    (ImageFormat.SRGB48, "uint16", 3),
    (ImageFormat.SRGBA64, "uint16", 4),
    (ImageFormat.VEC32F1, "float32", 1),
    (ImageFormat.VEC32F2, "float32", 2),
    (ImageFormat.VEC32F4, "float32", 4),
]


def numbers(*shape: int, dtype: str = "uint8") -> Any:
    """An array in which every number differs from its neighbours."""
    return (np.arange(np.prod(shape)) % 251).astype(dtype).reshape(shape)


# ---- formats


def test_formats_have_mediapipes_numbers() -> None:
    assert {each.name: int(each) for each in ImageFormat} == {
        "SRGB": 1, "SRGBA": 2, "GRAY8": 3, "GRAY16": 4, "SRGB48": 7, "SRGBA64": 8, "VEC32F1": 9, "SBGRA": 11, "VEC32F2": 12,
        "VEC32F4": 13,
    }  # fmt: skip
    assert (str(ImageFormat.SRGB), repr(ImageFormat.SRGB)) == ("ImageFormat.SRGB", "<ImageFormat.SRGB: 1>")


@KINDS
@pytest.mark.parametrize(("image_format", "dtype", "channels"), FORMATS)
@pytest.mark.parametrize("width", [5, 8])
def test_an_image_keeps_its_pixels(kind: Any, image_format: ImageFormat, dtype: str, channels: int, width: int) -> None:
    data = numbers(3, width, channels, dtype=dtype) if channels > 1 else numbers(3, width, dtype=dtype)
    image = kind(image_format=image_format, data=data)
    assert (image.image_format, image.channels, image.byte_depth) == (image_format, channels, data.itemsize)
    assert (image.width, image.height) == (width, 3)
    assert not image.is_empty()
    view = image.numpy_view()
    assert view.dtype == dtype
    assert view.flags.c_contiguous
    assert np.array_equal(view, data)
    assert np.array_equal(np.asarray(image), data)


@KINDS
def test_one_channel_may_be_written_as_an_axis(kind: Any) -> None:
    assert kind(ImageFormat.GRAY8, numbers(2, 3, 1)).numpy_view().shape == (2, 3)


@KINDS
def test_an_image_may_have_no_pixels(kind: Any) -> None:
    for shape in ((0, 5, 3), (5, 0, 3)):
        assert kind(ImageFormat.SRGB, numbers(*shape)).numpy_view().shape == shape


# ---- rows


@pytest.mark.parametrize(("width", "step"), [(3, 12), (4, 12), (5, 16), (8, 24), (17, 52), (640, 1920), (641, 1924)])
def test_rows_start_at_multiples_of_four_bytes(width: int, step: int) -> None:
    image = Image(ImageFormat.SRGB, numbers(2, width, 3))
    assert image.step == step
    assert image.is_contiguous() == (step == 3 * width)
    assert image.is_aligned(4)
    assert not image.is_aligned(1024)
    assert np.asarray(image).strides == (step, 3, 1)


def test_a_single_row_is_padded_too() -> None:
    image = Image(ImageFormat.SRGB, numbers(1, 5, 3))
    assert (image.step, image.is_contiguous()) == (16, False)
    assert image.numpy_view().shape == (1, 5, 3)


@pytest.mark.parametrize("boundary", [0, -4, 3])
def test_alignment_is_asked_for_powers_of_two(boundary: int) -> None:
    with pytest.raises(ValueError, match="power of 2"):
        Image(ImageFormat.GRAY8, numbers(2, 2)).is_aligned(boundary)


# ---- views


@KINDS
def test_the_view_of_contiguous_pixels_shares_them_and_keeps_the_image(kind: Any) -> None:
    image = kind(ImageFormat.SRGB, numbers(4, 8, 3))
    before = sys.getrefcount(image)
    views = [image.numpy_view(), image.numpy_view()]
    assert sys.getrefcount(image) == before + 2
    assert np.shares_memory(*views)
    del views
    gc.collect()
    assert sys.getrefcount(image) == before
    view = image.numpy_view()
    del image
    gc.collect()
    assert np.array_equal(view, numbers(4, 8, 3))


@KINDS
def test_the_view_of_padded_pixels_is_one_copy(kind: Any) -> None:
    image = kind(ImageFormat.SRGB, numbers(4, 5, 3))
    before = sys.getrefcount(image)
    view = image.numpy_view()
    assert sys.getrefcount(image) == before
    assert image.numpy_view() is view


@KINDS
@pytest.mark.parametrize("width", [5, 8])
def test_a_view_is_read_only(kind: Any, width: int) -> None:
    image = kind(ImageFormat.SRGB, numbers(4, width, 3))
    for view in (image.numpy_view(), np.asarray(image)):
        with pytest.raises(ValueError, match="assignment destination is read-only"):
            view[0, 0, 0] = 1


@KINDS
def test_later_changes_of_the_data_do_not_reach_the_image(kind: Any) -> None:
    data = numbers(4, 8, 3)
    image = kind(ImageFormat.SRGB, data)
    data[:] = 0
    assert np.array_equal(image.numpy_view(), numbers(4, 8, 3))


# ---- single numbers


@KINDS
def test_numbers_are_read_by_position(kind: Any) -> None:
    data = numbers(3, 5, 3)
    image = kind(ImageFormat.SRGB, data)
    assert [image[1, 2, channel] for channel in range(3)] == data[1, 2].tolist()
    assert type(image[[1, 2, 0]]) is int
    gray = kind(ImageFormat.VEC32F1, np.full((2, 2), 0.1, np.float32))
    assert gray[1, 1] == pytest.approx(0.1)
    assert type(gray[1, 1]) is float


@pytest.mark.parametrize(
    ("image_format", "position", "reason"),
    [
        (ImageFormat.SRGB, (1, 2), "Invalid index dimension: 2"),
        (ImageFormat.SRGB, (1, 2, 0, 0), "Invalid index dimension: 4"),
        (ImageFormat.GRAY8, (1,), "Invalid index dimension: 1"),
        (ImageFormat.GRAY8, (100, 100, 1), "index dimension mismatch"),
        (ImageFormat.GRAY8, (3, 0), "index 3 is out of bounds for axis 0 with size 3"),
        (ImageFormat.SRGB, (0, 5, 0), "index 5 is out of bounds for axis 1 with size 5"),
        (ImageFormat.SRGB, (0, 0, 3), "index 3 is out of bounds for axis 2 with size 3"),
        (ImageFormat.SRGB, (0, -1, 0), "index -1 is out of bounds"),
    ],
)
def test_positions_outside_the_image_are_refused(
    image_format: ImageFormat, position: tuple[int, ...], reason: str
) -> None:
    image = Image(image_format, numbers(3, 5, 3) if image_format == ImageFormat.SRGB else numbers(3, 5))
    with pytest.raises(IndexError, match=reason):
        image[position]


@pytest.mark.parametrize("position", [0, slice(1), (slice(1), 0, 0), (0.0, 0, 0), "000"])
def test_positions_are_made_of_ints(position: Any) -> None:
    with pytest.raises(TypeError):
        Image(ImageFormat.SRGB, numbers(3, 5, 3))[position]


# ---- what no image can be made of


@KINDS
@pytest.mark.parametrize(
    ("image_format", "dtype", "formats"),
    [
        (ImageFormat.GRAY16, "uint8", "GRAY8, SRGB, and SRGBA"),
        (ImageFormat.VEC32F1, "uint16", "GRAY16, SRGB48, and SRGBA64"),
        (ImageFormat.SRGB, "float32", "VEC32F1, VEC32F2, and VEC32F4"),
    ],
)
def test_a_format_of_another_dtype_is_refused(kind: Any, image_format: ImageFormat, dtype: str, formats: str) -> None:
    with pytest.raises(
        RuntimeError, match=f"{dtype} image data should be one of the {formats} MediaPipe image formats, not"
    ):
        kind(image_format, numbers(3, 5, 3, dtype=dtype))


@KINDS
def test_images_in_sbgra_cannot_be_made(kind: Any) -> None:
    with pytest.raises(RuntimeError, match="Unsupported ImageFormat: SBGRA; use GRAY8, SRGB"):
        kind(ImageFormat.SBGRA, numbers(3, 5, 4))


@KINDS
@pytest.mark.parametrize(
    "data", [[[1]], b"1", None, np.zeros((2, 2)), np.zeros((2, 2), np.int8), np.zeros((2, 2), ">u2")]
)
def test_data_of_another_type_is_refused(kind: Any, data: Any) -> None:
    with pytest.raises(TypeError, match="data has"):
        kind(ImageFormat.GRAY8, data)


def test_a_number_is_no_format() -> None:
    with pytest.raises(TypeError, match="ImageFormat"):
        Image(1, numbers(3, 5, 3))  # type: ignore[arg-type]  # this is what is tested


@KINDS
@pytest.mark.parametrize(
    ("image_format", "shape"),
    [
        (ImageFormat.SRGB, (3, 5)),
        (ImageFormat.SRGB, (3, 5, 4)),
        (ImageFormat.SRGB, (3, 5, 3, 1)),
        (ImageFormat.GRAY8, (3, 5, 3)),
        (ImageFormat.GRAY8, (3,)),
        (ImageFormat.GRAY8, ()),
    ],
)
def test_a_shape_that_is_not_the_formats_is_refused(
    kind: Any, image_format: ImageFormat, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=rf"{image_format.name} needs data of shape \[height, width"):
        kind(image_format, numbers(*shape))


# ---- copies


@KINDS
@pytest.mark.parametrize("width", [5, 8])
def test_images_pickle_and_copy(kind: Any, width: int) -> None:
    image = kind(ImageFormat.SRGB, numbers(3, width, 3))
    for again in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image)):
        assert type(again) is kind
        assert (again.image_format, again.step) == (image.image_format, image.step)
        assert np.array_equal(again.numpy_view(), image.numpy_view())


def test_repr_tells_format_and_size() -> None:
    assert repr(Image(ImageFormat.SRGB, numbers(3, 5, 3))) == "<mediapipe.Image with format: SRGB and size: 5x3>"


# ---- files


@pytest.mark.parametrize(
    ("mode", "suffix", "image_format"),
    [
        ("L", "png", ImageFormat.GRAY8),
        ("1", "png", ImageFormat.GRAY8),
        ("RGB", "png", ImageFormat.SRGB),
        ("P", "png", ImageFormat.SRGB),
        ("RGBA", "png", ImageFormat.SRGBA),
        ("CMYK", "jpg", ImageFormat.SRGB),
    ],
)
def test_an_image_comes_from_a_file(tmp_path: Path, mode: str, suffix: str, image_format: ImageFormat) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / f"image.{suffix}"
    pillow.fromarray(numbers(6, 5, 3)).convert(mode).save(path)
    image = Image.create_from_file(path)
    assert (image.image_format, image.width, image.height, image.is_contiguous()) == (image_format, 5, 6, True)
    with pillow.open(path) as file:
        wanted = np.asarray(file.convert({1: "L", 3: "RGB", 4: "RGBA"}[image.channels]))
    assert np.array_equal(image.numpy_view(), wanted)
    assert not image.uses_gpu()


def test_transparency_of_a_palette_becomes_alpha(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / "image.png"
    palette = pillow.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.save(path, transparency=1)
    assert Image.create_from_file(str(path)).numpy_view()[0, :, 3].tolist() == [255, 0]


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    path = tmp_path / "image.png"
    pillow.fromarray(np.array([[0x1234, 0xFFFF]], np.uint16)).save(path)
    image = Image.create_from_file(path)
    assert (image.image_format, image.numpy_view().tolist()) == (ImageFormat.GRAY8, [[0x12, 0xFF]])


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    (tmp_path / "bad.png").write_bytes(b"no image")
    pillow.fromarray(numbers(2, 2, 3)).convert("LA").save(tmp_path / "la.png")
    for name, reason in (("none.png", "No such file"), ("bad.png", "cannot identify"), ("la.png", "pixels are LA")):
        with pytest.raises(RuntimeError, match=rf"Image decoding failed \(.*{reason}.*{name}"):
            Image.create_from_file(tmp_path / name)
