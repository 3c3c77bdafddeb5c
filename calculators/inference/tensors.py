"""What a model takes and gives: names, precisions and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Dim: TypeAlias = tuple[int, int | None]
"""The least and the most that a side may have; None where there is no most."""

PRECISIONS: Final = {
    "boolean": ("BOOL", "?"),
    "u8": ("UINT8", "u1"),
    "u16": ("UINT16", "<u2"),
    "u32": ("UINT32", "<u4"),
    "u64": ("UINT64", "<u8"),
    "i8": ("INT8", "i1"),
    "i16": ("INT16", "<i2"),
    "i32": ("INT32", "<i4"),
    "i64": ("INT64", "<i8"),
    "f16": ("FP16", "<f2"),
    "f32": ("FP32", "<f4"),
    "f64": ("FP64", "<f8"),
}
"""OpenVINO's name of a precision -> KServe's, and numpy's. Others have no arrays."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """An input or an output of a model.

    Attributes:
        names: all its names; the first is the one to show. Where it has none, the name of its layer: a layer may have the name of
            another layer's tensor, so that it counts for nothing else.
        precision: OpenVINO's name of it.
        shape: its sides; None where even their number is open.
    """

    names: tuple[str, ...]
    precision: str
    shape: tuple[Dim, ...] | None

    @property
    def name(self) -> str:
        """The name to show."""
        return self.names[0]

    @property
    def datatype(self) -> str:
        """KServe's name of its precision."""
        return PRECISIONS[self.precision][0] if self.precision in PRECISIONS else self.precision

    @property
    def kserve_shape(self) -> list[int]:
        """Its shape as KServe's metadata has it: -1 for what is open."""
        return [low if low == high else -1 for low, high in self.shape or ()]

    @property
    def shown_shape(self) -> str:
        """Its shape, for people."""
        return "[...]" if self.shape is None else f"[{','.join(map(_shown, self.shape))}]"

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether it can have this shape."""
        return self.shape is None or (
            len(shape) == len(self.shape)
            and all(
                low <= side and (high is None or side <= high)
                for side, (low, high) in zip(shape, self.shape, strict=True)
            )
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"names": self.names, "precision": self.precision, "shape": self.shape}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TensorInfo:
        """What ``to_json`` gave."""
        shape = values["shape"]
        sides = None if shape is None else tuple((low, high) for low, high in shape)
        return cls(tuple(values["names"]), values["precision"], sides)


@dataclass(frozen=True, slots=True)
class Signature:
    """The tensors of a model, in its own order."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "inputs": [each.to_json() for each in self.inputs],
            "outputs": [each.to_json() for each in self.outputs],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Signature:
        """What ``to_json`` gave."""
        return cls(
            tuple(map(TensorInfo.from_json, values["inputs"])), tuple(map(TensorInfo.from_json, values["outputs"]))
        )


def lacking_arrays(signature: Signature) -> str | None:
    """Why a model's tensors cannot be arrays; None if they can."""
    for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for each in tensors:
            if each.precision not in PRECISIONS:
                return (
                    f'the {side} "{each.name}" has the precision {each.precision}, for which there are no arrays; '
                    f"possible are {', '.join(PRECISIONS)}"
                )
    return None


def position(name: str, tensors: Sequence[TensorInfo]) -> int | None:
    """Which of the tensors has a name; None if none has."""
    return next((place for place, each in enumerate(tensors) if name in each.names), None)


def _shown(side: Dim) -> str:
    low, high = side
    if low == high:
        return str(low)
    return "-1" if (low, high) in ((0, None), (1, None)) else f"{low}..{'' if high is None else high}"
