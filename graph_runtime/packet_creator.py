"""Packets of MediaPipe's types from Python values: the helpers of its old Python API, with range and type checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from graph_runtime.packet import (
    BOOL,
    BOOL_VECTOR,
    DOUBLE,
    FLOAT,
    FLOAT_ARRAY,
    FLOAT_VECTOR,
    INT,
    INT8,
    INT16,
    INT32,
    INT64,
    INT_ARRAY,
    INT_VECTOR,
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

_BITS: Final = {
    INT.name: (True, 32), INT8.name: (True, 8), INT16.name: (True, 16), INT32.name: (True, 32), INT64.name: (True, 64),
    UINT8.name: (False, 8), UINT16.name: (False, 16), UINT32.name: (False, 32), UINT64.name: (False, 64),
}  # fmt: skip


def create_bool(value: bool) -> Packet:
    """A packet of type ``bool``; numbers are refused with TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"create_bool() takes a bool, not {type(value).__name__}")
    return Packet(value, packet_type=BOOL)


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
    """A packet of type ``int32_t``; OverflowError when it does not fit."""
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
    """A packet of type ``float``."""
    return Packet(_number(value, "create_float"), packet_type=FLOAT)


def create_double(value: float) -> Packet:
    """A packet of type ``double``."""
    return Packet(_number(value, "create_double"), packet_type=DOUBLE)


def create_string(value: str | bytes) -> Packet:
    """A packet of type ``string``; text or bytes."""
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"create_string() takes str or bytes, not {type(value).__name__}")
    return Packet(value, packet_type=STRING)


def create_int_array(values: Sequence[int]) -> Packet:
    """A packet of type ``int[]``."""
    return Packet([_whole(value) for value in values], packet_type=INT_ARRAY)


def create_float_array(values: Sequence[float]) -> Packet:
    """A packet of type ``float[]``."""
    return Packet([_real(value) for value in values], packet_type=FLOAT_ARRAY)


def create_int_vector(values: Sequence[int]) -> Packet:
    """A packet of type ``std::vector<int>``."""
    return Packet([_whole(value) for value in values], packet_type=INT_VECTOR)


def create_bool_vector(values: Sequence[bool]) -> Packet:
    """A packet of type ``std::vector<bool>``."""
    for value in values:
        if not isinstance(value, bool):
            raise TypeError(f"create_bool_vector() takes bools, not {type(value).__name__}")
    return Packet(list(values), packet_type=BOOL_VECTOR)


def create_float_vector(values: Sequence[float]) -> Packet:
    """A packet of type ``std::vector<float>``; all values have to be floats."""
    return Packet([_real(value) for value in values], packet_type=FLOAT_VECTOR)


def create_string_vector(values: Sequence[str]) -> Packet:
    """A packet of type ``std::vector<std::string>``."""
    for value in values:
        if not isinstance(value, (str, bytes)):
            raise TypeError(f"create_string_vector() takes strings, not {type(value).__name__}")
    return Packet(list(values), packet_type=STRING_VECTOR)


def create_packet_vector(packets: Sequence[Packet]) -> Packet:
    """A packet of type ``std::vector<Packet>``."""
    for packet in packets:
        if not isinstance(packet, Packet):
            raise TypeError(f"create_packet_vector() takes Packets, not {type(packet).__name__}")
    return Packet(list(packets), packet_type=PACKET_VECTOR)


def create_string_to_packet_map(packets: Mapping[str, Packet]) -> Packet:
    """A packet of type ``std::map<std::string, Packet>``."""
    for name, packet in packets.items():
        if not isinstance(name, str) or not isinstance(packet, Packet):
            raise TypeError("create_string_to_packet_map() takes a mapping from str to Packet")
    return Packet(dict(packets), packet_type=PACKET_MAP)


def create_proto(message: Any) -> Packet:
    """A packet that carries a protobuf message."""
    if not hasattr(message, "SerializeToString"):
        raise TypeError(f"create_proto() takes a protobuf message, not {type(message).__name__}")
    return Packet(message)


def _integer(value: int, packet_type: PacketType) -> Packet:
    value = _whole(value)
    signed, bits = _BITS[packet_type.name]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if value > high:
        # The key phrase is spelt as in MediaPipe, so that code which looks for it goes on working.
        raise OverflowError(f"{value} execeeds the maximum value ({high}) the data type can have.")
    if value < low:
        raise OverflowError(f"{value} goes below the minimum value ({low}) the data type can have.")
    return Packet(value, packet_type=packet_type)


def _whole(value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"an int is needed, not {type(value).__name__}")
    return value


def _real(value: float) -> float:
    if not isinstance(value, float):
        raise TypeError(f"a float is needed, not {type(value).__name__}")
    return value


def _number(value: float, what: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{what}() takes a number, not {type(value).__name__}")
    return float(value)
