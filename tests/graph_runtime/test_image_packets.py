"""Packets that carry images: when pixels are copied and when shared, types, and what is refused."""

from __future__ import annotations

import gc
import pickle
import sys
import warnings
from typing import Any

import pytest

from graph_runtime import CalculatorGraph, Image, ImageFormat, ImageFrame, Packet, packet_creator, packet_getter
from graph_runtime.packet import IMAGE, IMAGE_FRAME

np = pytest.importorskip("numpy")

CREATORS = pytest.mark.parametrize(
    ("create", "get"),
    [
        (packet_creator.create_image, packet_getter.get_image),
        (packet_creator.create_image_frame, packet_getter.get_image_frame),
    ],
)


def numbers(*shape: int) -> Any:
    """An array in which every number differs from its neighbours."""
    return (np.arange(np.prod(shape)) % 251).astype("uint8").reshape(shape)


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def test_packets_have_mediapipes_types() -> None:
    image, frame = Image(ImageFormat.SRGB, numbers(3, 5, 3)), ImageFrame(ImageFormat.SRGB, numbers(3, 5, 3))
    assert "C++ type: ::mediapipe::Image>" in repr(packet_creator.create_image(image))
    assert "C++ type: ::mediapipe::ImageFrame>" in repr(packet_creator.create_image_frame(frame))
    assert "C++ type: ::std::vector<::mediapipe::Image>>" in repr(packet_creator.create_image_vector([image]))


@CREATORS
def test_arrays_that_can_change_are_copied(create: Any, get: Any) -> None:
    for data in (numbers(4, 8, 3), numbers(4, 8, 3)[:, :, ::-1], numbers(20, 30, 3)[5:-5, 5:-5]):
        before = sys.getrefcount(data)
        image = get(create(image_format=ImageFormat.SRGB, data=data))
        assert sys.getrefcount(data) == before
        assert np.array_equal(image.numpy_view(), data)
        assert not np.shares_memory(image.numpy_view(), data)


@CREATORS
@pytest.mark.parametrize("width", [5, 8])
def test_arrays_that_cannot_change_are_shared(create: Any, get: Any, width: int) -> None:
    data = read_only(numbers(4, width, 3))
    before = sys.getrefcount(data)
    packet = create(image_format=ImageFormat.SRGB, data=data)
    assert sys.getrefcount(data) == before + 1
    image = get(packet)
    assert get(packet) is image
    assert image.is_contiguous()
    assert np.shares_memory(image.numpy_view(), data)
    del packet, image
    gc.collect()
    assert sys.getrefcount(data) == before


@CREATORS
def test_arrays_that_cannot_be_shared_are_copied(create: Any, get: Any) -> None:
    data = read_only(numbers(4, 8, 3)[:, :, ::-1])
    assert np.array_equal(get(create(data, image_format=ImageFormat.SRGB)).numpy_view(), data)
    with pytest.raises(ValueError, match="c_contiguous"):
        create(data, image_format=ImageFormat.SRGB, copy=False)


@CREATORS
def test_a_copy_can_be_asked_for(create: Any, get: Any) -> None:
    data = read_only(numbers(4, 8, 3))
    image = get(create(data, image_format=ImageFormat.SRGB, copy=True))
    assert not np.shares_memory(image.numpy_view(), data)


@CREATORS
def test_sharing_what_can_change_warns_the_caller(create: Any, get: Any) -> None:
    data = numbers(4, 8, 3)
    with pytest.warns(RuntimeWarning, match="still writeable") as caught:
        packet = create(data, image_format=ImageFormat.SRGB, copy=False)
    assert caught[0].filename == __file__
    assert np.shares_memory(get(packet).numpy_view(), data)
    assert not get(packet).numpy_view().flags.writeable


@CREATORS
def test_numbers_that_fit_are_cast(create: Any, get: Any) -> None:
    data = numbers(4, 5, 3)
    assert np.array_equal(get(create(data, image_format=ImageFormat.SRGB48)).numpy_view(), data)
    with pytest.raises(TypeError, match="Cannot cast"):
        create(data.astype("float32"), image_format=ImageFormat.SRGB)


@CREATORS
def test_arrays_need_a_format(create: Any, get: Any) -> None:
    with pytest.raises(ValueError, match="image_format"):
        create(numbers(4, 5, 3))
    with pytest.raises(RuntimeError, match="Unsupported ImageFormat"):
        create(numbers(4, 5, 4), image_format=ImageFormat.SBGRA)
    with pytest.raises(TypeError, match="numpy array"):
        create([[1]], image_format=ImageFormat.GRAY8)


@pytest.mark.parametrize(
    ("create", "get", "kind", "other"),
    [
        (packet_creator.create_image, packet_getter.get_image, Image, ImageFrame),
        (packet_creator.create_image_frame, packet_getter.get_image_frame, ImageFrame, Image),
    ],
)
def test_a_packet_from_an_image_has_a_copy(create: Any, get: Any, kind: Any, other: Any) -> None:
    image = kind(ImageFormat.SRGB, numbers(4, 8, 3))
    got = get(create(image))
    assert np.array_equal(got.numpy_view(), image.numpy_view())
    assert not np.shares_memory(got.numpy_view(), image.numpy_view())
    assert get(create(image, image_format=ImageFormat.SRGB)).width == 8
    with pytest.raises(
        ValueError, match=r"^The provided image_format doesn't match the one from the data arg, SRGB\.$"
    ):
        create(image, image_format=ImageFormat.SRGBA)
    with pytest.raises(
        ValueError, match="by taking a reference of another Image(Frame)? object is not supported: leave out"
    ):
        create(image, copy=False)
    with pytest.raises(TypeError, match=f"not {other.__name__}"):
        create(other(ImageFormat.SRGB, numbers(4, 8, 3)), image_format=ImageFormat.SRGB)


def test_a_vector_shares_its_images() -> None:
    images = [Image(ImageFormat.GRAY8, numbers(2, 3)), Image(ImageFormat.SRGB, numbers(2, 3, 3))]
    got = packet_getter.get_image_list(packet_creator.create_image_vector(images))
    assert [each is image for each, image in zip(got, images, strict=True)] == [True, True]
    with pytest.raises(TypeError, match="Image is needed, not ImageFrame"):
        packet_creator.create_image_vector([ImageFrame(ImageFormat.GRAY8, numbers(2, 3))])  # type: ignore[list-item]  # tested


@pytest.mark.parametrize(
    ("get", "wanted"),
    [
        (packet_getter.get_image, "::mediapipe::Image"),
        (packet_getter.get_image_frame, "::mediapipe::ImageFrame"),
        (packet_getter.get_image_list, "::std::vector<::mediapipe::Image>"),
    ],
)
def test_packets_of_other_types_are_refused(get: Any, wanted: str) -> None:
    with pytest.raises(ValueError, match=f'The Packet stores "int", but "{wanted}" was requested'):
        get(packet_creator.create_int(1))
    with pytest.raises(ValueError, match=f'The Packet stores "list", but "{wanted}" was requested'):
        get(Packet([1]))


def test_plain_packets_are_read_and_fit_where_images_are_declared() -> None:
    image = Image(ImageFormat.GRAY8, numbers(2, 3))
    assert packet_getter.get_image(Packet(image)) is image
    assert packet_getter.get_image_list(Packet([image])) == [image]
    assert IMAGE.accepts(Packet(image))
    assert not IMAGE_FRAME.accepts(Packet(image))
    assert not IMAGE_FRAME.accepts(packet_creator.create_image(image))


def test_shared_pixels_outlive_graph_and_array() -> None:
    data = read_only(numbers(4, 5, 3))
    graph = CalculatorGraph(
        graph_config='node { calculator: "PassThroughCalculator" input_side_packet: "in" output_side_packet: "out" }'
    )
    before = sys.getrefcount(data)
    graph.start_run({"in": packet_creator.create_image_frame(data, image_format=ImageFormat.SRGB)})
    assert sys.getrefcount(data) == before + 1
    graph.wait_until_done()
    packet = graph.get_output_side_packet("out")
    del data, graph
    gc.collect()
    assert np.array_equal(packet_getter.get_image_frame(packet).numpy_view(), numbers(4, 5, 3))


def test_packets_with_images_pickle() -> None:
    packet = pickle.loads(pickle.dumps(packet_creator.create_image(Image(ImageFormat.GRAY8, numbers(2, 3))).at(5)))
    assert "timestamp: 5 and C++ type: ::mediapipe::Image>" in repr(packet)
    assert np.array_equal(packet_getter.get_image(packet).numpy_view(), numbers(2, 3))


def test_nothing_warns_when_pixels_cannot_change() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packet_creator.create_image(read_only(numbers(2, 2)), image_format=ImageFormat.GRAY8, copy=False)
