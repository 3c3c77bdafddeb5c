"""Values out of packets, by MediaPipe's types: the helpers of its old Python API. Plain Python packets are read by value."""

from __future__ import annotations

from typing import Any, Final

from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import Packet, stored_type

_SIGNED: Final = ("int", "int8_t", "int16_t", "int32_t", "int64_t")
_UNSIGNED: Final = ("uint8_t", "uint16_t", "uint32_t", "uint64_t")


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
    if stored_type(packet).name not in ("float", "double"):
        raise _refusal("Packet doesn't contain float or double data.")
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
    return list(_get(packet, list, ("::std::vector<int>", "int[]")))


def get_bool_list(packet: Packet) -> list[bool]:
    """The values of a vector of bools; ValueError for another type."""
    return list(_get(packet, list, ("::std::vector<bool>",)))


def get_float_list(packet: Packet) -> list[float]:
    """The values of a vector or array of floats; ValueError for another type."""
    return list(_get(packet, list, ("::std::vector<float>", "float[]")))


def get_str_list(packet: Packet) -> list[str]:
    """The values of a vector of strings; ValueError for another type."""
    return list(_get(packet, list, ("::std::vector<std::string>",)))


def get_packet_list(packet: Packet) -> list[Packet]:
    """The packets of a vector of packets; ValueError for another type."""
    return list(_get(packet, list, ("::std::vector<mediapipe::Packet>",)))


def get_str_to_packet_dict(packet: Packet) -> dict[str, Packet]:
    """The packets of a map from strings to packets; ValueError for another type."""
    return dict(_get(packet, dict, ("::std::map<std::string, mediapipe::Packet>",)))


def get_proto(packet: Packet) -> Any:
    """The protobuf message of a packet; ValueError for another type."""
    value = packet.value
    if not hasattr(value, "SerializeToString"):
        raise _refusal(f'The Packet stores "{stored_type(packet).name}", but a protobuf message was requested.')
    return value


def _get(packet: Packet, python: type | tuple[type, ...], names: tuple[str, ...]) -> Any:
    if packet.is_empty():
        raise _refusal("Packet is empty.")
    stored = stored_type(packet)
    fits = stored.name in names if stored.native else isinstance(packet.value, python)
    if not fits:
        raise _refusal(f'The Packet stores "{stored.name}", but "{names[0]}" was requested.')
    return packet.value


def _get_integer(packet: Packet, names: tuple[str, ...], described: str) -> int:
    if packet.is_empty():
        raise _refusal("Packet is empty.")
    stored = stored_type(packet)
    plain = not stored.native and stored.python is int
    if not plain and stored.name not in names:
        raise _refusal(f"Packet doesn't contain {described} data.")
    value: int = packet.value
    return value


def _refusal(text: str) -> GraphError:
    return GraphError(text, code=StatusCode.INVALID_ARGUMENT)
