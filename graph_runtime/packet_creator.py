"""Packets of MediaPipe's types from Python values: the helpers of its old Python API, with range and type checks.

Where an int or a float is taken, numpy's numbers are too, and a bool as 0 or 1. Numbers of type ``float`` lose what does not fit
into their 32 bits.
"""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Iterable, Mapping, Sequence
from numbers import Rational, Real
from operator import index as exact_int
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import Message

from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.image import Image, ImageFormat, ImageFrame, cast_pixels
from graph_runtime.packet import (
    BOOL,
    BOOL_VECTOR,
    DOUBLE,
    FLOAT,
    FLOAT_ARRAY,
    FLOAT_VECTOR,
    IMAGE,
    IMAGE_FRAME,
    IMAGE_VECTOR,
    INT,
    INT8,
    INT16,
    INT32,
    INT64,
    INT_ARRAY,
    INT_VECTOR,
    MATRIX,
    PACKET_MAP,
    PACKET_VECTOR,
    STRING,
    STRING_VECTOR,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Packet,
    PacketType,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ImageT = TypeVar("ImageT", Image, ImageFrame)

_BITS: Final = {
    INT.name: (True, 32), INT8.name: (True, 8), INT16.name: (True, 16), INT64.name: (True, 64),
    UINT8.name: (False, 8), UINT16.name: (False, 16), UINT32.name: (False, 32), UINT64.name: (False, 64),
}  # fmt: skip


def create_bool(value: bool) -> Packet:
    """A packet of type ``bool``; numbers are refused with TypeError."""
    return Packet(_boolean(value), packet_type=BOOL)


def create_int(value: int) -> Packet:
    """A packet of type ``int`` (32 bits); OverflowError when it does not fit."""
    return _integer(value, INT)


def create_int8(value: int) -> Packet:
    """A packet of type ``int8_t``; OverflowError when it does not fit."""
    return _integer(value, INT8)


def create_int16(value: int) -> Packet:
    """A packet of type ``int16_t``; OverflowError when it does not fit."""
    return _integer(value, INT16)


def create_int32(value: int) -> Packet:
    """A packet of type ``int``, which ``int32_t`` is in C++; OverflowError when it does not fit."""
    return _integer(value, INT32)


def create_int64(value: int) -> Packet:
    """A packet of type ``int64_t``; OverflowError when it does not fit."""
    return _integer(value, INT64)


def create_uint8(value: int) -> Packet:
    """A packet of type ``uint8_t``; OverflowError when it does not fit."""
    return _integer(value, UINT8)


def create_uint16(value: int) -> Packet:
    """A packet of type ``uint16_t``; OverflowError when it does not fit."""
    return _integer(value, UINT16)


def create_uint32(value: int) -> Packet:
    """A packet of type ``uint32_t``; OverflowError when it does not fit."""
    return _integer(value, UINT32)


def create_uint64(value: int) -> Packet:
    """A packet of type ``uint64_t``; OverflowError when it does not fit."""
    return _integer(value, UINT64)


def create_float(value: float) -> Packet:
    """A packet of type ``float`` (32 bits)."""
    return Packet(_singles([_number(value, "create_float")])[0], packet_type=FLOAT)


def create_double(value: float) -> Packet:
    """A packet of type ``double``."""
    return Packet(_number(value, "create_double"), packet_type=DOUBLE)


def create_string(value: str | bytes) -> Packet:
    """A packet of type ``string``; text or bytes."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"create_string() takes str or bytes, not {type(value).__name__}")
    return Packet(value, packet_type=STRING)


def create_int_array(values: Sequence[int]) -> Packet:
    """A packet of type ``int[]``; OverflowError when a value does not fit into 32 bits."""
    return Packet([_in_range(value, INT) for value in _each(values)], packet_type=INT_ARRAY)


def create_float_array(values: Sequence[float]) -> Packet:
    """A packet of type ``float[]``; all values have to be floats."""
    return Packet(_singles([_real(value) for value in _each(values)]), packet_type=FLOAT_ARRAY)


def create_int_vector(values: Sequence[int]) -> Packet:
    """A packet of type ``std::vector<int>``; OverflowError when a value does not fit into 32 bits."""
    return Packet([_in_range(value, INT) for value in _each(values)], packet_type=INT_VECTOR)


def create_bool_vector(values: Sequence[bool]) -> Packet:
    """A packet of type ``std::vector<bool>``."""
    return Packet([_boolean(value) for value in _each(values)], packet_type=BOOL_VECTOR)


def create_float_vector(values: Sequence[float]) -> Packet:
    """A packet of type ``std::vector<float>``; all values have to be floats."""
    return Packet(_singles([_real(value) for value in _each(values)]), packet_type=FLOAT_VECTOR)


def create_string_vector(values: Sequence[str | bytes]) -> Packet:
    """A packet of type ``std::vector<std::string>``."""
    return Packet([_a((str, bytes), value) for value in _each(values)], packet_type=STRING_VECTOR)


def create_packet_vector(packets: Sequence[Packet]) -> Packet:
    """A packet of type ``std::vector<Packet>``."""
    return Packet([_a(Packet, packet) for packet in _each(packets)], packet_type=PACKET_VECTOR)


def create_string_to_packet_map(packets: Mapping[str, Packet]) -> Packet:
    """A packet of type ``std::map<std::string, Packet>``."""
    packets = _a(Mapping, packets)
    return Packet({_a(str, name): _a(Packet, packet) for name, packet in packets.items()}, packet_type=PACKET_MAP)


def create_image_frame(
    data: ImageFrame | NDArray[Any], *, image_format: ImageFormat | None = None, copy: bool | None = None
) -> Packet:
    """A packet of type ``ImageFrame``.

    Args:
        data: a numpy array, [height, width, channels] or [height, width] for one channel; or an ImageFrame, which is copied.
        image_format: what a pixel of the array is; not needed with an ImageFrame.
        copy: True copies the pixels. False shares those of the array, which nobody may change then: a RuntimeWarning tells if
            somebody could. None shares them if the array is C-contiguous and not writeable, and copies them otherwise.

    Raises:
        TypeError: ``data`` is neither, or the numbers of the array do not all fit into the format's dtype.
        InvalidArgumentError: no format, or not that of the ImageFrame; a shape that is not an image's; ``copy=False`` for an
            ImageFrame or for an array that is not C-contiguous.
        GraphRuntimeError: images cannot be made in the format.
    """
    return Packet(_image(ImageFrame, data, image_format, copy), packet_type=IMAGE_FRAME)


def create_image(
    data: Image | NDArray[Any], *, image_format: ImageFormat | None = None, copy: bool | None = None
) -> Packet:
    """A packet of type ``Image``; arguments and errors are those of :func:`create_image_frame`, with an Image."""
    return Packet(_image(Image, data, image_format, copy), packet_type=IMAGE)


def create_image_vector(images: Sequence[Image]) -> Packet:
    """A packet of type ``std::vector<Image>``; the images are shared, for they never change."""
    return Packet([_a(Image, image) for image in _each(images)], packet_type=IMAGE_VECTOR)


def create_matrix(matrix: ArrayLike, transpose: bool = False) -> Packet:
    """A packet of type ``Matrix``: float32 numbers, copied, in columns.

    Args:
        matrix: [rows, columns], or [rows] for one column.
        transpose: swap rows and columns.

    Raises:
        TypeError: it has other dimensions, or is not made of numbers.
    """
    import numpy as np

    given = np.asarray(matrix)
    if given.ndim not in (1, 2) or given.dtype.kind not in "biuf":
        raise TypeError(f"create_matrix() takes numbers in 1 or 2 dimensions, not {given.ndim} of {given.dtype}")
    columns = given[:, np.newaxis] if given.ndim == 1 else given
    made = np.array(columns.T if transpose else columns, np.float32, order="F")
    made.flags.writeable = False
    return Packet(made, packet_type=MATRIX)


def create_proto(message: Message) -> Packet:
    """A packet that carries a copy of a protobuf message, with the message's C++ name as its type."""
    kept = type(_a(Message, message))()
    kept.CopyFrom(message)
    name = "::" + message.DESCRIPTOR.full_name.replace(".", "::")
    return Packet(kept, packet_type=PacketType(name, type(kept)))


def create_proto_vector(messages: Sequence[Message]) -> Packet:
    """Not there in MediaPipe either: such packets come from calculators.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("create_proto_vector() is not implemented; make a plain Packet of a list of messages")


def _image(kind: type[ImageT], data: Any, image_format: ImageFormat | None, copy: bool | None) -> ImageT:
    if isinstance(data, kind):
        if image_format not in (None, data.image_format):
            raise _refusal(
                f"The provided image_format doesn't match the one from the data arg, {data.image_format.name}."
            )
        if copy is False:
            name = kind.__name__
            raise _refusal(
                f"Creating {name} packet by taking a reference of another {name} object is not supported: leave out copy=False."
            )
        return kind(data.image_format, data._pixels)
    if image_format is None:
        raise _refusal("Please provide 'image_format' with 'data'.")
    pixels = cast_pixels(image_format, data)
    if copy or (copy is None and (data.flags.writeable or not data.flags.c_contiguous)):
        return kind(image_format, pixels)
    if not data.flags.c_contiguous:
        raise _refusal("Reference mode is unavailable if 'data' is not c_contiguous: leave out copy=False.")
    if data.flags.writeable:
        warnings.warn(
            f"'data' is still writeable: a change of it would change the {kind.__name__} in the packet.",
            RuntimeWarning,
            stacklevel=3,
        )
    return kind._over(image_format, pixels)


def _integer(value: int, packet_type: PacketType) -> Packet:
    return Packet(_in_range(value, packet_type), packet_type=packet_type)


def _in_range(value: int, packet_type: PacketType) -> int:
    value = _whole(value)
    signed, bits = _BITS[packet_type.name]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if value > high:
        # The key phrase is spelt as in MediaPipe, so that code which looks for it goes on working.
        raise OverflowError(f"{value} execeeds the maximum value ({high}) the data type can have.")
    if value < low:
        raise OverflowError(f"{value} goes below the minimum value ({low}) the data type can have.")
    return value


def _whole(value: int) -> int:
    return int(value) if _is_bool(value) else exact_int(value)


def _real(value: float) -> float:
    if value.__class__ is not float and (not isinstance(value, Real) or isinstance(value, Rational)):
        raise TypeError(f"a float is needed, not {type(value).__name__}")
    return float(value)


def _number(value: float, what: str) -> float:
    # numpy tells Python's tower of numbers where its own belong, so that they are known without importing it.
    if not isinstance(value, Real) and not _is_bool(value):
        raise TypeError(f"{what}() takes a number, not {type(value).__name__}")
    return float(value)


def _singles(values: Sequence[float]) -> list[float]:
    """The nearest numbers of 32 bits."""
    return array("f", values).tolist()


def _boolean(value: bool) -> bool:
    if not _is_bool(value):
        raise TypeError(f"a bool is needed, not {type(value).__name__}")
    return bool(value)


def _is_bool(value: object) -> bool:
    # numpy's own bool has had two names, and is in no tower of numbers.
    return isinstance(value, bool) or (type(value).__module__, type(value).__name__.rstrip("_")) == ("numpy", "bool")


ValueT = TypeVar("ValueT")


def _a(kind: type[Any] | tuple[type[Any], ...], value: ValueT) -> ValueT:
    """``value``, which has to be of a class."""
    if not isinstance(value, kind):
        names = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
        raise TypeError(f"{names} is needed, not {type(value).__name__}")
    return value


def _each(values: Iterable[ValueT]) -> Iterable[ValueT]:
    """``values``, which have to be in an order: a list, a tuple or an array, and no text."""
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__getitem__"):
        raise TypeError(f"a list is needed, not {type(values).__name__}")
    return values


def _refusal(text: str) -> GraphError:
    return GraphError(text, code=StatusCode.INVALID_ARGUMENT)
