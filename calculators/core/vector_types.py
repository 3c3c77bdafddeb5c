"""Element and vector types of the calculators that MediaPipe has once per C++ type."""

from __future__ import annotations

from typing import Any, Final

from graph_runtime.contract import PortSpec
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import PacketType

UINT64_VECTOR: Final = PacketType("::std::vector<uint64_t>", list)


def declare(port: PortSpec, packet_type: PacketType | None) -> PortSpec:
    """Give a port of a contract its type; None stands for types that only exist in C++ (Detection ...): any value passes."""
    return port.set_any() if packet_type is None else port.set(packet_type)


def elements(value: Any, what: str) -> list[Any]:
    """The elements of a packet's value that has to be a vector: a list, a tuple, an array.

    Raises:
        GraphError: the value is no such thing (INVALID_ARGUMENT); ``what`` names the port.
    """
    if not isinstance(value, (str, bytes, dict)):
        try:
            return list(value)
        except TypeError:
            pass
    raise GraphError(
        f"{what} needs a list of elements, not a value of type {type(value).__name__}", code=StatusCode.INVALID_ARGUMENT
    )
