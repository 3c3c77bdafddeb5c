"""KServe v2 requests and responses as packets: what graphs with REQUEST and RESPONSE streams carry.

A server makes an InferRequest of what came over REST or gRPC; a calculator that takes one answers with an InferResponse. All
classes are plain values that can be pickled. Source: KServe's Open Inference Protocol, version 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Parameter: TypeAlias = str | int | float | bool
"""What a parameter of a request or of a tensor may be."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor as it travels.

    Attributes:
        name: the name of an input or output; for graphs that of a stream.
        datatype: KServe's word: ``BOOL``, ``UINT8`` to ``UINT64``, ``INT8`` to ``INT64``, ``FP16``, ``FP32``, ``FP64``, ``BYTES``.
        shape: the sizes of its dimensions; as the client sent them, unchecked.
        data: the raw elements in row-major order, little-endian, for BYTES each after its length in four bytes; or a list of the
            elements, flat or nested as the shape says, where the client sent numbers and texts.
        parameters: further things that were said about the tensor.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview | list[Any] = field(repr=False)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, value: object) -> Tensor:
        """The tensor of a value: an array, an image, a number, a text, bytes, or a list of those.

        Numbers and texts alone become tensors of shape [1]: int INT64, float FP64, bool BOOL, str and bytes BYTES. The tensor
        shares the memory of an array.

        Raises:
            TypeError: KServe has no datatype for it.
        """
        from calculators import kserve_tensors

        return kserve_tensors.tensor_of(name, value)

    def array(self) -> NDArray[Any]:
        """The elements as a read-only array in the tensor's shape; of BYTES an array of ``bytes`` objects.

        Raises:
            RequestError: 400; the datatype is not known, or the data does not fit the datatype or the shape.
        """
        from calculators import kserve_tensors

        return kserve_tensors.array_of(self)

    def raw(self) -> bytes | memoryview:
        """The elements in KServe's binary form; in their own memory where possible.

        Raises:
            RequestError: as ``array``.
        """
        from calculators import kserve_tensors

        return kserve_tensors.raw_of(self)

    def __reduce__(self) -> tuple[Any, ...]:
        data = bytes(self.data) if isinstance(self.data, memoryview) else self.data
        return Tensor, (self.name, self.datatype, self.shape, data, dict(self.parameters))


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client asks for by name."""

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InferRequest:
    """One inference request.

    Attributes:
        model_name: the name that it asked for: a graph's, or an alias of its.
        model_version: the version that it asked for, "" for none.
        id: the client's own name for the request, given back in the response.
        parameters: name -> value.
        inputs: the tensors.
        outputs: the outputs that it asks for; () for all.
    """

    model_name: str
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[RequestedOutput, ...] = ()


@dataclass(frozen=True, slots=True)
class InferResponse:
    """The answer to an inference request; names that a calculator leaves empty are filled in by the server."""

    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    outputs: tuple[Tensor, ...] = ()
