"""Element and vector types of the calculators that MediaPipe has once per C++ type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from graph_runtime.contract import PortSpec
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import (
    BOOL,
    BOOL_VECTOR,
    FLOAT,
    FLOAT_VECTOR,
    INT,
    INT_VECTOR,
    STRING,
    STRING_VECTOR,
    UINT64,
    PacketType,
)


@dataclass(frozen=True, slots=True)
class Element:
    """The packet types of an element and of a vector of such elements, under the names that MediaPipe prints."""

    item: PacketType
    vector: PacketType


def _registered(name: str) -> Element:
    """A type that MediaPipe has registered; its Python values may be anything."""
    return Element(
        PacketType(f"::mediapipe::{name}", object), PacketType(f"::std::vector<::mediapipe::{name}>", object)
    )


def _vector(name: str, python: type = object) -> PacketType:
    """A vector of a C++ type that MediaPipe has not registered."""
    space = " " if name.endswith(">") else ""
    return PacketType(f"std::vector<{name}, std::allocator<{name}{space}> >", python)


def _unregistered(name: str) -> Element:
    return Element(PacketType(name, object), _vector(name))


_MATRIX: Final = _unregistered("Eigen::Matrix<float, -1, -1, 0, -1, -1>")
_INT: Final = Element(INT, INT_VECTOR)
_UINT64: Final = Element(UINT64, _vector("unsigned long", list))
_BOOL: Final = Element(BOOL, BOOL_VECTOR)
_NORMALIZED_LANDMARK_LIST: Final = _registered("NormalizedLandmarkList")

ELEMENTS: Final = {
    "AffineMatrix": _unregistered("std::array<float, 16ul>"),
    "Bool": _BOOL,
    "Boolean": _BOOL,
    "ClassificationList": _registered("ClassificationList"),
    "Detection": _registered("Detection"),
    "Detections": _registered("Detection"),
    "Float": Element(FLOAT, FLOAT_VECTOR),
    "GlBuffer": _unregistered("tflite::gpu::gl::GlBuffer"),
    "GpuBuffer": _unregistered("mediapipe::GpuBuffer"),
    "GpuBuffers": _unregistered("mediapipe::GpuBuffer"),
    "Image": _registered("Image"),
    "ImageFrame": Element(PacketType("::mediapipe::ImageFrame", object), _vector("mediapipe::ImageFrame")),
    "ImageSize": _unregistered("std::pair<int, int>"),
    "Images": _registered("Image"),
    "Int": _INT,
    "Int32": _INT,
    "LandmarList": _NORMALIZED_LANDMARK_LIST,  # MediaPipe's own slip, kept for old graphs
    "Landmark": _registered("NormalizedLandmark"),
    "LandmarkList": _registered("LandmarkList"),
    "LandmarkListVector": _registered("LandmarkList"),
    "Matrix": _MATRIX,
    "MatrixVector": _unregistered(_MATRIX.vector.name),
    "NormalizedLandmarkList": _NORMALIZED_LANDMARK_LIST,
    "NormalizedLandmarkListVector": _NORMALIZED_LANDMARK_LIST,
    "NormalizedRect": _registered("NormalizedRect"),
    "Rect": _registered("Rect"),
    "RenderData": _unregistered("mediapipe::RenderData"),
    "String": Element(STRING, STRING_VECTOR),
    "Tensor": _unregistered("mediapipe::Tensor"),
    "TfLiteTensor": _unregistered("TfLiteTensor"),
    "UInt64": _UINT64,
    "Uint64t": _UINT64,
}
"""What the middle of a calculator's name (``Begin Loop Detection Calculator``) says about its types."""


class PerElement:
    """What calculators that come once per element type have in common.

    Attributes:
        item_type, vector_type: the types of packets with an element and with a vector; None takes all types.
    """

    item_type: ClassVar[PacketType | None] = None
    vector_type: ClassVar[PacketType | None] = None


E = TypeVar("E", bound=PerElement)


def per_element(base: type[E], pattern: str, kinds: Iterable[str]) -> dict[str, type[E]]:
    """Subclasses of ``base`` by name, one for each of ``kinds``: keys of ELEMENTS, which go into ``pattern`` to make the name."""
    classes: dict[str, type[E]] = {}
    for kind in kinds:
        name, element = pattern.format(kind), ELEMENTS[kind]
        found: Any = type(name, (base,), {"__module__": base.__module__, "__doc__": f"For {element.item.name}."})
        found.item_type, found.vector_type = element.item, element.vector
        classes[name] = found
    return classes


def declare(port: PortSpec, packet_type: PacketType | None) -> PortSpec:
    """Give a port of a contract its type; None stands for all types."""
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
