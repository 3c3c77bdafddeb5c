"""Values out of packets, by MediaPipe's types: the helpers of its old Python API. Plain Python packets are read by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.image import Image, ImageFrame
from graph_runtime.packet import (
    FLOAT_ARRAY,
    FLOAT_VECTOR,
    IMAGE,
    IMAGE_FRAME,
    IMAGE_VECTOR,
    INT,
    INT8,
    INT16,
    INT64,
    INT_ARRAY,
    INT_VECTOR,
    MATRIX,
    PACKET_MAP,
    PACKET_VECTOR,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Packet,
    stored_type,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNED: Final = tuple(each.name for each in (INT, INT8, INT16, INT64))
_UNSIGNED: Final = tuple(each.name for each in (UINT8, UINT16, UINT32, UINT64))


def get_bool(packet: Packet) -> bool:
    """The value of a ``bool`` packet; ValueError for another type."""
    value: bool = _get(packet, bool, ("bool",))
    return value


def get_int(packet: Packet) -> int:
    """The value of a packet of any signed integer type; ValueError for another type."""
    return _get_integer(packet, _SIGNED, "int, int8, int16, int32, or int64")


def get_uint(packet: Packet) -> int:
    """The value of a packet of any unsigned integer type; ValueError for another type."""
    return _get_integer(packet, _UNSIGNED, "uint8, uint16, uint32, or uint64")


def get_float(packet: Packet) -> float:
    """The value of a ``float`` or ``double`` packet; ValueError for another type."""
    _check(packet)
    if stored_type(packet).name not in ("float", "double"):
        raise _refusal("Packet doesn't contain float or double data" + (": it is empty." if packet.is_empty() else "."))
    value: float = packet.value
    return value


def get_str(packet: Packet) -> str:
    """The text of a ``string`` packet; ValueError for another type, UnicodeDecodeError for bytes that are no UTF-8."""
    value = _get(packet, (str, bytes), ("string",))
    return value.decode() if isinstance(value, bytes) else str(value)


def get_bytes(packet: Packet) -> bytes:
    """The bytes of a ``string`` packet; ValueError for another type."""
    value = _get(packet, (str, bytes), ("string",))
    return value.encode() if isinstance(value, str) else bytes(value)


def get_int_list(packet: Packet) -> list[int]:
    """The values of a vector or array of ints; ValueError for another type."""
    return _get_numbers(packet, (INT_VECTOR.name, INT_ARRAY.name), "int, int8, int16, int32, or int64")


def get_bool_list(packet: Packet) -> list[bool]:
    """The values of a vector of bools; ValueError for another type."""
    return list(_get(packet, list, ("::std::vector<bool>",)))


def get_float_list(packet: Packet) -> list[float]:
    """The values of a vector or array of floats; ValueError for another type."""
    return _get_numbers(
        packet, (FLOAT_VECTOR.name, FLOAT_ARRAY.name), "std::vector<float> or std::array<float, 4 / 16>"
    )


def get_str_list(packet: Packet) -> list[str]:
    """The texts of a vector of strings; ValueError for another type, UnicodeDecodeError for bytes that are no UTF-8."""
    values = _get(packet, list, ("::std::vector<std::string>",))
    return [value.decode() if isinstance(value, bytes) else value for value in values]


def get_packet_list(packet: Packet) -> list[Packet]:
    """The packets of a vector of packets; ValueError for another type."""
    return list(_get(packet, list, (PACKET_VECTOR.name,)))


def get_str_to_packet_dict(packet: Packet) -> dict[str, Packet]:
    """The packets of a map from strings to packets; ValueError for another type."""
    return dict(_get(packet, dict, (PACKET_MAP.name,)))


def get_image_frame(packet: Packet) -> ImageFrame:
    """The image of an ``ImageFrame`` packet; ValueError for another type."""
    frame: ImageFrame = _get(packet, ImageFrame, (IMAGE_FRAME.name,))
    return frame


def get_image(packet: Packet) -> Image:
    """The image of an ``Image`` packet; ValueError for another type."""
    image: Image = _get(packet, Image, (IMAGE.name,))
    return image


def get_image_list(packet: Packet) -> list[Image]:
    """The images of a vector of images; ValueError for another type."""
    images = list(_get(packet, list, (IMAGE_VECTOR.name,)))
    if not all(isinstance(image, Image) for image in images):
        raise _other_type(packet, IMAGE_VECTOR.name)
    return images


def get_matrix(packet: Packet) -> NDArray[Any]:
    """The matrix of a ``Matrix`` packet, float32 [rows, columns], or a plain packet's array; read-only. ValueError for others."""
    import numpy as np

    matrix = _get(packet, np.ndarray, (MATRIX.name,))
    view: NDArray[Any] = matrix.view()
    view.flags.writeable = False
    return view


def get_proto(packet: Packet) -> Any:
    """A copy of the protobuf message of a packet; ValueError for another type."""
    return _copied(packet, _value(packet, "a protobuf message"))


def get_proto_list(packet: Packet) -> list[Any]:
    """Copies of the protobuf messages of a packet that carries a list of them; ValueError for another type."""
    messages = _value(packet, "a list of protobuf messages")
    if not isinstance(messages, (list, tuple)):
        raise _other_type(packet, "a list of protobuf messages")
    return [_copied(packet, message) for message in messages]


def _copied(packet: Packet, message: object) -> Message:
    if not isinstance(message, Message):
        raise _other_type(packet, "a protobuf message")
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _get(packet: Packet, python: type | tuple[type, ...], names: tuple[str, ...]) -> Any:
    value = _value(packet, names[0])
    stored = stored_type(packet)
    if not (stored.name in names if stored.native else isinstance(value, python)):
        raise _other_type(packet, names[0])
    return value


def _get_numbers(packet: Packet, names: tuple[str, ...], described: str) -> list[Any]:
    _check(packet)
    stored = stored_type(packet)
    if not packet.is_empty() and (stored.name in names if stored.native else isinstance(packet.value, list)):
        return list(packet.value)
    found = "it is empty" if packet.is_empty() else f'it stores "{stored.name}"'
    raise _refusal(f"Packet doesn't contain {described} containers: {found}.")


def _check(packet: Packet) -> None:
    if not isinstance(packet, Packet):
        raise TypeError(f"a Packet is needed, not {type(packet).__name__}")


def _value(packet: Packet, wanted: str) -> Any:
    _check(packet)
    if packet.is_empty():
        raise GraphError(
            f"Expected a Packet of type: {wanted}, but received an empty Packet.", code=StatusCode.INTERNAL
        )
    return packet.value


def _other_type(packet: Packet, wanted: str) -> GraphError:
    return _refusal(f'The Packet stores "{stored_type(packet).name}", but "{wanted}" was requested.')


def _get_integer(packet: Packet, names: tuple[str, ...], described: str) -> int:
    _check(packet)
    if packet.is_empty():
        raise _refusal(f"Packet doesn't contain {described} data: it is empty.")
    stored = stored_type(packet)
    plain = not stored.native and stored.python is int
    if not plain and stored.name not in names:
        raise _refusal(f"Packet doesn't contain {described} data.")
    value: int = packet.value
    return value


def _refusal(text: str) -> GraphError:
    return GraphError(text, code=StatusCode.INVALID_ARGUMENT)
