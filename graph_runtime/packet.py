"""Packets: a value and a timestamp, and the types that streams and side packets declare for them."""

from __future__ import annotations

from operator import index as exact_int
from typing import Any, Final

from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.image import Image, ImageFrame
from graph_runtime.timestamp import UNSET, Timestamp, as_timestamp


class _Nothing:
    """The value of an empty packet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<no data>"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Final = _Nothing()


class Packet:
    """An immutable value with a timestamp; the value is shared, never copied.

    ``Packet()`` is empty. ``Packet(value)`` carries any Python value; ``Packet(packet)`` is a copy. ``packet.at(5)`` is the same
    value at another time.
    """

    __slots__ = ("_timestamp", "_type", "_value")

    _timestamp: int
    _type: PacketType | None
    _value: Any

    def __init__(self, value: Any = NOTHING, timestamp: int = UNSET, *, packet_type: PacketType | None = None) -> None:
        if value.__class__ is Packet:
            packet_type, timestamp, value = (
                value._type,
                value._timestamp if timestamp == UNSET else timestamp,
                value._value,
            )
        self._value = value
        self._timestamp = timestamp if timestamp.__class__ is int else exact_int(timestamp)
        self._type = packet_type

    def at(self, timestamp: int) -> Packet:
        """The same value at ``timestamp`` (microseconds)."""
        copy = _new_packet(Packet)
        copy._value = self._value
        copy._timestamp = timestamp if timestamp.__class__ is int else exact_int(timestamp)
        copy._type = self._type
        return copy

    @property
    def timestamp(self) -> Timestamp:
        """When the packet is; ``Timestamp.UNSET`` for a side packet."""
        return as_timestamp(self._timestamp)

    @timestamp.setter
    def timestamp(self, value: int) -> None:
        self._timestamp = exact_int(value)

    @property
    def value(self) -> Any:
        """The payload.

        Raises:
            GraphRuntimeError: the packet is empty.
        """
        if self._value is NOTHING:
            raise GraphError("The packet is empty: ask is_empty() first.", code=StatusCode.FAILED_PRECONDITION)
        return self._value

    def is_empty(self) -> bool:
        """Whether there is no value (an empty packet only moves a stream's timestamp bound)."""
        return self._value is NOTHING

    def __repr__(self) -> str:
        name = repr(self.timestamp).rpartition(" ")[2].rstrip(">")
        if self._value is NOTHING:
            return f"<mediapipe.Packet with timestamp: {name} and no data>"
        return f"<mediapipe.Packet with timestamp: {name} and C++ type: {stored_type(self).name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_packet, (self._value, self._timestamp, None if self._type is None else self._type.name)


_new_packet = Packet.__new__


class BoundMark(Packet):
    """An explicit timestamp bound among the packets that a node sends; ``_timestamp`` is the bound itself."""

    __slots__ = ()


class PacketType:
    """What a stream or side packet carries: a MediaPipe type such as ``int64_t``, or any Python class.

    A type made from a Python class accepts every value of that class, whatever MediaPipe type the packet was created with; a
    MediaPipe type accepts packets created with it, and plain Python packets whose value is of its Python class.
    """

    __slots__ = ("name", "native", "python")

    def __init__(self, name: str, python: type, *, native: bool = True) -> None:
        self.name = name
        self.python = python
        self.native = native

    def accepts(self, packet: Packet) -> bool:
        """Whether a packet may travel where this type is declared."""
        stored = packet._type
        if stored is not None and self.native:
            return stored.name == self.name
        return _is_instance(packet._value, self.python)

    def is_consistent_with(self, other: PacketType) -> bool:
        """Whether a producer and a consumer that declare the two types may be connected."""
        if self.name == other.name:
            return True
        if self.native and other.native:
            return False
        return issubclass(self.python, other.python) or issubclass(other.python, self.python)

    def __repr__(self) -> str:
        return f"PacketType({self.name!r})"


def _is_instance(value: object, python: type) -> bool:
    if python is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, python) and not (python is int and isinstance(value, bool))


# The names are those that MediaPipe prints: C++ names for types that it has not registered under another.
BOOL: Final = PacketType("bool", bool)
INT: Final = PacketType("int", int)
INT8: Final = PacketType("signed char", int)
INT16: Final = PacketType("short", int)
INT32: Final = INT  # one type in C++, so that an int32_t may go where an int is declared
INT64: Final = PacketType("int64_t", int)
UINT8: Final = PacketType("unsigned char", int)
UINT16: Final = PacketType("unsigned short", int)
UINT32: Final = PacketType("unsigned int", int)
UINT64: Final = PacketType("uint64_t", int)
FLOAT: Final = PacketType("float", float)
DOUBLE: Final = PacketType("double", float)
STRING: Final = PacketType("string", str)
INT_VECTOR: Final = PacketType("::std::vector<int>", list)
BOOL_VECTOR: Final = PacketType("::std::vector<bool>", list)
FLOAT_VECTOR: Final = PacketType("::std::vector<float>", list)
STRING_VECTOR: Final = PacketType("::std::vector<std::string>", list)
PACKET_VECTOR: Final = PacketType("::std::vector<::mediapipe::Packet>", list)
PACKET_MAP: Final = PacketType("::std::map<std::string,::mediapipe::Packet>", dict)
INT_ARRAY: Final = PacketType("int []", list)
FLOAT_ARRAY: Final = PacketType("float []", list)
IMAGE_FRAME: Final = PacketType("::mediapipe::ImageFrame", ImageFrame)
IMAGE: Final = PacketType("::mediapipe::Image", Image)
IMAGE_VECTOR: Final = PacketType("::std::vector<::mediapipe::Image>", list)
TIMESTAMP: Final = PacketType("::mediapipe::Timestamp", Timestamp)
MATRIX: Final = PacketType(
    "Eigen::Matrix<float, -1, -1, 0, -1, -1>", object
)  # a numpy array, which is not imported here

_NATIVE: Final = {
    each.name: each
    for each in (
        BOOL, INT, INT8, INT16, INT64, UINT8, UINT16, UINT32, UINT64, FLOAT, DOUBLE, STRING,
        INT_VECTOR, BOOL_VECTOR, FLOAT_VECTOR, STRING_VECTOR, PACKET_VECTOR, PACKET_MAP, INT_ARRAY, FLOAT_ARRAY,
        IMAGE_FRAME, IMAGE, IMAGE_VECTOR, MATRIX, TIMESTAMP,
    )
}  # fmt: skip
_NAMES_OF_BUILTINS: Final = {bool: "bool", int: "int", float: "float", str: "string"}


def as_packet_type(declared: PacketType | type) -> PacketType:
    """The PacketType for what a contract names: itself, or one made from a Python class."""
    if isinstance(declared, PacketType):
        return declared
    if not isinstance(declared, type):
        raise TypeError(f"a packet type is a Python class or a PacketType, not {declared!r}")
    name = _NAMES_OF_BUILTINS.get(declared)
    descriptor = getattr(declared, "DESCRIPTOR", None)
    if name is None and descriptor is not None:
        name = str(descriptor.full_name).replace(".", "::")  # a protobuf message
    elif name is None:
        name = (
            declared.__qualname__
            if declared.__module__ == "builtins"
            else f"{declared.__module__}.{declared.__qualname__}"
        )
    return PacketType(name, declared, native=False)


def stored_type(packet: Packet) -> PacketType:
    """The type that a packet says it has: the one it was created with, else its value's class."""
    return packet._type if packet._type is not None else as_packet_type(type(packet._value))


def _rebuild_packet(value: Any, timestamp: int, type_name: str | None) -> Packet:
    return Packet(value, timestamp, packet_type=None if type_name is None else _NATIVE.get(type_name))
