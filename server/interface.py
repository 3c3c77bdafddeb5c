"""What a graph looks like from outside: its streams and side packets, what they carry, and which of them speak HTTP."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from calculators.http_payload import HttpPayload, RequestError
from calculators.kserve_payload import InferRequest, InferResponse
from graph_runtime import Image, ImageFrame, Plan, Problem
from graph_runtime.contract import EXACT, ONE_OF, PortSpec

if TYPE_CHECKING:
    from calculators.inference.tensors import TensorInfo

IMAGE_CALCULATOR = "ImageGenCalculator"

# Source: OVMS; the first of each pair is the tag of today, the second an older one that is still in use.
_REQUEST_TAGS = ("HTTP_REQUEST_PAYLOAD", "REQUEST_PAYLOAD")
_RESPONSE_TAGS = ("HTTP_RESPONSE_PAYLOAD", "RESPONSE_PAYLOAD")


PY: Final = "py"
"""The side packet of OVMS for its Python nodes: no client may set it."""


class PacketKind(enum.StrEnum):
    """What the packets of a stream, or a side packet, are, as far as clients are concerned."""

    REQUEST = "REQUEST"
    """A whole InferRequest."""
    RESPONSE = "RESPONSE"
    """A whole InferResponse."""
    PAYLOAD = "PAYLOAD"
    """An HttpPayload, or the text that answers one."""
    IMAGE_FRAME = "IMAGE_FRAME"
    IMAGE = "IMAGE"
    PY_TENSOR = "PY_TENSOR"
    """A pyovms.Tensor, as Python nodes take and give."""
    ARRAY = "ARRAY"
    """A numpy array: also where the graph takes everything."""
    LIST = "LIST"
    TEXT = "TEXT"
    BYTES = "BYTES"
    INT = "INT"
    FLOAT = "FLOAT"
    BOOL = "BOOL"
    OTHER = "OTHER"
    """A class of which no client can send an instance."""


_KINDS_OF_CLASSES: Final = {
    InferRequest: PacketKind.REQUEST, InferResponse: PacketKind.RESPONSE, HttpPayload: PacketKind.PAYLOAD,
    ImageFrame: PacketKind.IMAGE_FRAME, Image: PacketKind.IMAGE, object: PacketKind.ARRAY, list: PacketKind.LIST,
    str: PacketKind.TEXT, bytes: PacketKind.BYTES, int: PacketKind.INT, float: PacketKind.FLOAT, bool: PacketKind.BOOL,
}  # fmt: skip
_KINDS_OF_TAGS: Final = {
    "REQUEST_PAYLOAD": PacketKind.PAYLOAD, "RESPONSE_PAYLOAD": PacketKind.PAYLOAD,
    "HTTP_REQUEST_PAYLOAD": PacketKind.PAYLOAD, "HTTP_RESPONSE_PAYLOAD": PacketKind.PAYLOAD,
    "REQUEST": PacketKind.REQUEST, "RESPONSE": PacketKind.RESPONSE, "IMAGE": PacketKind.IMAGE_FRAME,
    "OVMS_PY_TENSOR": PacketKind.PY_TENSOR,
}  # fmt: skip
"""By the beginning of the tag; the first that fits counts. Source: OVMS, types of streams."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output stream of a whole graph: ``TAG:index:name``, and the kinds of packets that it may carry.

    Attributes:
        datatype, shape: KServe's, of arrays of which a model says it; -1 for sides that are open.
        tensor: where a graph was made for a model: the model's name of the tensor, by which clients know it.
    """

    tag: str
    index: int
    name: str
    kinds: tuple[PacketKind, ...] = (PacketKind.ARRAY,)
    datatype: str | None = None
    shape: tuple[int, ...] = ()
    tensor: str = ""

    @property
    def client_name(self) -> str:
        """The name in KServe's calls."""
        return self.tensor or self.name


@dataclass(frozen=True, slots=True)
class SidePacketPort:
    """A side packet that a client may set with a parameter; its kinds, () where every value may come."""

    name: str
    kinds: tuple[PacketKind, ...]
    is_required: bool


@dataclass(frozen=True)
class GraphInterface:
    """What callers need to know of a graph. Picklable.

    Attributes:
        inputs, outputs: its streams.
        calculators: those in it.
        side_packets: those that requests may set.
        reserved_side_packets: those that the server gives or a node makes, so that no request may.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calculators: frozenset[str]
    side_packets: tuple[SidePacketPort, ...] = ()
    reserved_side_packets: frozenset[str] = frozenset({PY})

    @property
    def makes_images(self) -> bool:
        """Whether it can be asked for pictures."""
        return IMAGE_CALCULATOR in self.calculators

    @cached_property
    def input_by_name(self) -> dict[str, Port]:
        """The inputs by ``client_name``; asked for by every request, as the following are."""
        return {port.client_name: port for port in self.inputs}

    @cached_property
    def output_by_name(self) -> dict[str, Port]:
        """The outputs by ``client_name``."""
        return {port.client_name: port for port in self.outputs}

    @cached_property
    def side_packet_by_name(self) -> dict[str, SidePacketPort]:
        """The side packets that requests may set."""
        return {port.name: port for port in self.side_packets}

    @cached_property
    def request_input(self) -> Port | None:
        """The input that takes whole requests, if there is one."""
        return next((port for port in self.inputs if PacketKind.REQUEST in port.kinds), None)

    @cached_property
    def takes_payloads(self) -> bool:
        """Whether any input takes HTTP calls."""
        return any(PacketKind.PAYLOAD in port.kinds for port in self.inputs)


def interface_of(
    plan: Plan,
    provided: Iterable[str] = (),
    tensors: Mapping[str, TensorInfo] | None = None,
    *,
    is_model: bool = False,
) -> GraphInterface:
    """The interface of a planned graph.

    Args:
        plan: the graph.
        provided: the side packets that the server gives it.
        tensors: stream -> what its model says of it.
        is_model: whether the graph was made for a model, so that clients know the tensors by the model's names.
    """
    known = tensors or {}
    reserved = frozenset({PY, *provided, *plan.produced_side_packets})
    declared = [name for _, _, name in plan.graph_side_packets if name not in plan.required_side_packets]
    return GraphInterface(
        tuple(_port(plan, known, is_model, *port) for port in plan.graph_inputs),
        tuple(_port(plan, known, is_model, *port) for port in plan.graph_outputs),
        frozenset(node.calculator for node in plan.config.node),
        tuple(
            [_side_packet(name, ports) for name, ports in plan.required_side_packets.items() if name not in reserved]
            + [SidePacketPort(name, (), is_required=False) for name in declared if name not in reserved]
        ),
        reserved,
    )


def _port(plan: Plan, tensors: Mapping[str, TensorInfo], is_model: bool, tag: str, index: int, name: str) -> Port:
    position = plan.stream_ids.get(name)  # None for an output that no node makes
    kinds = () if position is None else _kinds(plan.streams[position].port)
    if not kinds:
        kinds = (next((kind for prefix, kind in _KINDS_OF_TAGS.items() if tag.startswith(prefix)), PacketKind.ARRAY),)
    tensor = tensors.get(name)
    if tensor is None or kinds != (PacketKind.ARRAY,):
        return Port(tag, index, name, kinds)
    of_model = tensor.name if is_model else ""
    return Port(tag, index, name, kinds, tensor.datatype, tuple(tensor.kserve_shape), of_model)


def _side_packet(name: str, ports: Sequence[PortSpec]) -> SidePacketPort:
    kinds = next(filter(None, map(_kinds, ports)), ())
    return SidePacketPort(name, kinds, is_required=not all(port.is_optional for port in ports))


def _kinds(port: PortSpec) -> tuple[PacketKind, ...]:
    """What a contract asks for; () for everything."""
    root = port.root()
    if root.kind not in (EXACT, ONE_OF):
        return ()
    return tuple(dict.fromkeys(_kind_of_class(each.python) for each in root.types))


# By name, as the contract of a graph without arrays should not import numpy.
_KINDS_OF_ARRAYS: Final = {
    ("numpy", "ndarray"): PacketKind.ARRAY,
    ("calculators.python_node.tensor", "Tensor"): PacketKind.PY_TENSOR,
}


def _kind_of_class(python: type) -> PacketKind:
    of_array = _KINDS_OF_ARRAYS.get((python.__module__, python.__qualname__))
    return of_array or _KINDS_OF_CLASSES.get(python, PacketKind.OTHER)


def http_gap(interface: GraphInterface) -> str | None:
    """Why the calls of /v1 and /v3 cannot use a graph, to stand after its name; None if they can."""
    if _tagged(interface.inputs, _REQUEST_TAGS) is not None and _tagged(interface.outputs, _RESPONSE_TAGS) is not None:
        return None
    return (
        f'takes no HTTP payload, so that KServe calls alone can use it: others take input_stream: "{_REQUEST_TAGS[0]}:input" and '
        f'output_stream: "{_RESPONSE_TAGS[0]}:output"'
    )


def no_nodes(plan: Plan) -> list[Problem]:
    """The problem of a graph without nodes, which MediaPipe runs: it does nothing."""
    if plan.nodes:
        return []
    return [Problem("the graph has no node, so that it does nothing", place=plan.file, hint="give nodes")]


def unservable(plan: Plan) -> list[Problem]:
    """What is wrong with a valid graph of which every HTTP call would fail.

    Outputs that are not for HTTP may stay without a maker, as in MediaPipe.
    """
    sink = _tagged(interface_of(plan).outputs, _RESPONSE_TAGS)
    return no_nodes(plan) or ([] if sink is None or sink.name in plan.stream_ids else list(plan.warnings))


def http_ports(name: str, interface: GraphInterface) -> tuple[Port, Port]:
    """The streams of a graph that take an HttpPayload and give the answer.

    Raises:
        RequestError: 400; the graph is not made for HTTP calls.
    """
    source, sink = _tagged(interface.inputs, _REQUEST_TAGS), _tagged(interface.outputs, _RESPONSE_TAGS)
    if source is None or sink is None:
        raise RequestError(
            f'The graph {name!r} can be called by KServe alone: other calls take input_stream: "{_REQUEST_TAGS[0]}:input" and '
            f'output_stream: "{_RESPONSE_TAGS[0]}:output"; it has inputs {_shown(interface.inputs)} and outputs '
            f"{_shown(interface.outputs)}.",
            param="model",
            code="model_not_callable",
        )
    return source, sink


def _tagged(ports: Sequence[Port], tags: Sequence[str]) -> Port | None:
    return next((port for tag in tags for port in ports if port.tag == tag), None)


def _shown(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.tag}:{port.name}" if port.tag else port.name for port in ports) or "none"
