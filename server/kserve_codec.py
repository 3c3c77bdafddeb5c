"""KServe requests -> packets of a graph, packets -> KServe responses: what REST and gRPC have in common.

Source of the rules: OVMS, KServe requests to graphs; docs/kserve.md has them for clients.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final, NamedTuple

from calculators import kserve_tensors
from calculators.http_payload import RequestError
from calculators.kserve_payload import InferRequest, InferResponse, Parameter, Tensor
from calculators.python_node.tensor import Tensor as PyTensor
from graph_runtime import Image, ImageFrame, Timestamp
from server.backend import Event
from server.interface import GraphInterface, PacketKind, Port, SidePacketPort
from server.kserve_values import listed, quoted, refuse, value_of
from server.replies import GraphAnswerError

TIMESTAMP: Final = "OVMS_MP_TIMESTAMP"
"""The parameter with the timestamp of the packets, in requests and in responses."""
VERSION: Final = "1"
"""The version of every graph; which one a request names makes no difference."""
PLATFORM: Final = "OpenVINO"  # as OVMS says for graphs

LARGE_BYTES: Final = 64 * 1024
"""From this size on tensors are read and written on another thread: of tiny elements it are some ten thousand."""
_INT64: Final = range(-(2**63), 2**63)


class GraphInputs(NamedTuple):
    """What a request gives a graph.

    Attributes:
        values: stream -> value of its packet.
        side_packets: name -> value.
        timestamp: that of the packets, in microseconds; None where the client leaves it to the server.
        ignored: names of what was accepted and has no effect.
    """

    values: dict[str, Any]
    side_packets: dict[str, Any]
    timestamp: int | None
    ignored: tuple[str, ...]


def packets_of(
    interface: GraphInterface, request: InferRequest, *, streaming: bool = False, base_url: str = ""
) -> GraphInputs:
    """The packets that a request is about.

    Args:
        interface: the graph's.
        request: the request.
        streaming: it is one of several that feed the same run: it may leave out inputs, and has its side packets from the first.
        base_url: how the client reaches the server over HTTP; see HttpPayload.

    Raises:
        RequestError: 400; a tensor is not what it says, or not what the graph takes; an input or a side packet is missing or not
            known; a parameter cannot be set, or is of the wrong type.
    """
    timestamp = _timestamp(request.parameters)
    side_packets, unused = side_packets_of(interface, request.parameters, check_missing=not streaming)
    whole = interface.request_input
    if whole is not None:  # its calculator sees every parameter
        return GraphInputs({whole.name: request}, side_packets, timestamp, ())
    if request.outputs:
        _check_outputs(interface, request)
    values: dict[str, Any] = {}
    ports = interface.input_by_name
    for tensor in request.inputs:
        port = ports.get(tensor.name)
        if port is None:
            refuse(
                f"Unexpected input {quoted(tensor.name)}: the graph takes {listed(ports)}.",
                "unexpected_input",
                tensor.name,
            )
        if port.name in values:
            refuse(f"The input {quoted(tensor.name)} is there twice.", "unexpected_input", tensor.name)
        values[port.name] = value_of(interface, port, request, tensor, streaming, base_url)
    if not streaming and len(values) < len(ports):
        missing = [name for name, port in ports.items() if port.name not in values]
        refuse(f"Not all input packets created: {listed(missing)} is missing.", "missing_input", missing[0])
    return GraphInputs(values, side_packets, timestamp, (*unused, *_ignored_of_tensors(request, ports)))


def side_packets_of(
    interface: GraphInterface, parameters: Mapping[str, Parameter], *, check_missing: bool
) -> tuple[dict[str, Any], list[str]]:
    """The side packets that a request sets, and the names of parameters of which the graph has no side packet.

    Raises:
        RequestError: 400 ``reserved_parameter``, ``invalid_type``, or ``missing_parameter`` where that is checked.
    """
    taken: dict[str, Any] = {}
    unused = []
    for name, value in parameters.items():
        if name == TIMESTAMP:
            continue
        if name in interface.reserved_side_packets:
            refuse(
                f"The parameter {quoted(name)} cannot be set: the side packet of that name is the server's.",
                "reserved_parameter",
                name,
            )
        port = interface.side_packet_by_name.get(name)
        if port is None:
            unused.append(name)
        else:
            _check_side_packet(port, value)
            taken[name] = value
    if check_missing and len(taken) < len(interface.side_packets):
        missing = [port.name for port in interface.side_packets if port.is_required and port.name not in taken]
        if missing:
            refuse(
                f"The graph needs the side packet {listed(missing)}: send a parameter of that name.",
                "missing_parameter",
                missing[0],
            )
    return taken, unused


_PARAMETERS: Final[Mapping[PacketKind, tuple[type, ...]]] = {
    PacketKind.TEXT: (str,),
    PacketKind.INT: (int,),
    PacketKind.FLOAT: (int, float),
    PacketKind.BOOL: (bool,),
    PacketKind.ARRAY: (str, int, float, bool),
}


async def first_of_each(events: AsyncGenerator[Event, None]) -> dict[str, Event]:
    """The first packet of each output of a run, by stream; the run has ended when it returns."""
    first: dict[str, Event] = {}
    async with aclosing(events):
        async for event in events:
            first.setdefault(event.stream, event)
    return first


def unary_response(interface: GraphInterface, request: InferRequest, first: Mapping[str, Event]) -> InferResponse:
    """The answer of a run to one request, from the first packet of each output.

    Raises:
        RequestError: 500 ``no_output``; an output that was asked for has no packet.
        GraphAnswerError: a packet cannot be sent.
    """
    missing = [port.client_name for port in _asked(interface, request) if port.name not in first]
    if missing and not any(isinstance(event.value, InferResponse) for event in first.values()):
        raise RequestError(
            f"The graph gave no packet on {listed(missing)}, and an answer has one of each output; ask for other outputs, or use "
            "ModelStreamInfer, which sends what comes.",
            status=500,
            type="server_error",
            code="no_output",
        )
    timestamp = next((event.timestamp for event in first.values()), 0)
    return response_of(interface, request, {name: event.value for name, event in first.items()}, timestamp)


def is_large(events: Iterable[Event]) -> bool:
    """Whether to make an answer of packets would hold up the event loop for some milliseconds."""
    return sum(_weight(event.value) for event in events) >= LARGE_BYTES


def _weight(value: Any) -> int:
    """The bytes of a packet's value, roughly: what costs time is their number, and that of the objects in it."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, (list, tuple)):
        return len(value) * max(8, _weight(value[0])) if value else 0
    if isinstance(value, InferResponse):
        return sum(_weight(tensor.data) for tensor in value.outputs)
    if isinstance(value, (ImageFrame, Image)):
        value = value.numpy_view()
    return getattr(value, "nbytes", 0)


def response_of(
    interface: GraphInterface, request: InferRequest, packets: Mapping[str, Any], timestamp: int
) -> InferResponse:
    """The response with some packets of a run: one of each output that is there, and was asked for.

    Args:
        interface: the graph's.
        request: what it answers.
        packets: stream -> value.
        timestamp: that of the packets.

    Raises:
        GraphAnswerError: a packet cannot be sent.
    """
    for value in packets.values():
        if isinstance(value, InferResponse):
            return InferResponse(
                value.model_name or request.model_name,
                value.model_version or VERSION,
                value.id or request.id,
                {TIMESTAMP: timestamp, **value.parameters},
                value.outputs,
            )
    outputs = [tensor_of(port, packets[port.name]) for port in _asked(interface, request) if port.name in packets]
    return InferResponse(request.model_name, VERSION, request.id, {TIMESTAMP: timestamp}, tuple(outputs))


def _asked(interface: GraphInterface, request: InferRequest) -> Iterable[Port]:
    """The outputs that are to be in the answer; all where none is asked for, as by names that only a calculator knows."""
    ports = interface.output_by_name
    return [ports[output.name] for output in request.outputs if output.name in ports] or ports.values()


def tensor_of(port: Port, value: Any) -> Tensor:
    """The tensor of a packet.

    Raises:
        GraphAnswerError: the value cannot be sent: a fault of the graph.
    """
    if isinstance(value, (ImageFrame, Image)):
        pixels = value.numpy_view()
        value = pixels if pixels.ndim == 3 else pixels[:, :, None]
    elif isinstance(value, PyTensor):
        return Tensor(port.client_name, value.datatype, value.shape, bytes(value))
    elif PacketKind.RESPONSE in port.kinds:
        raise GraphAnswerError(
            f'output stream "{port.name}" gave a {type(value).__name__}; RESPONSE streams carry an InferResponse'
        )
    try:
        return kserve_tensors.tensor_of(port.client_name, value)
    except TypeError as error:
        raise GraphAnswerError(f'output stream "{port.name}": {error}') from error


def metadata_of(name: str, interface: GraphInterface) -> dict[str, Any]:
    """What KServe's model metadata says of a graph, as JSON values; ``INVALID`` and [] where a graph takes various tensors."""
    return {
        "name": name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": [_described(port) for port in interface.inputs],
        "outputs": [_described(port) for port in interface.outputs],
    }


_METADATA: Final = {
    PacketKind.PAYLOAD: "BYTES",
    PacketKind.TEXT: "BYTES",
    PacketKind.BYTES: "BYTES",
    PacketKind.INT: "INT64",
    PacketKind.FLOAT: "FP64",
    PacketKind.BOOL: "BOOL",
}


def _described(port: Port) -> dict[str, Any]:
    if port.datatype is not None:
        return {"name": port.client_name, "datatype": port.datatype, "shape": list(port.shape)}
    datatype = _METADATA.get(port.kinds[0]) if len(port.kinds) == 1 else None
    return {"name": port.client_name, "datatype": datatype or "INVALID", "shape": [1] if datatype else []}


# ---- parameters


def _timestamp(parameters: Mapping[str, Parameter]) -> int | None:
    value = parameters.get(TIMESTAMP)
    if value is None:
        return None
    if type(value) is not int or value not in _INT64:
        refuse(
            f"Malformed packet timestamp - Invalid timestamp format in request parameter {TIMESTAMP}. Should be int64",
            "invalid_timestamp",
            TIMESTAMP,
        )
    if not Timestamp.MIN <= value <= Timestamp.MAX:
        refuse(
            f"Malformed packet timestamp - {TIMESTAMP} is {value}: a timestamp of a packet is from {int(Timestamp.MIN)} to "
            f"{int(Timestamp.MAX)}",
            "invalid_timestamp",
            TIMESTAMP,
        )
    return value


def _check_side_packet(port: SidePacketPort, value: Parameter) -> None:
    takes = {each for kind in port.kinds or (PacketKind.ARRAY,) for each in _PARAMETERS.get(kind, ())}
    if not takes:
        refuse(
            f"The side packet {quoted(port.name)} of this graph cannot be set by a parameter: it is no text, number or "
            "boolean.",
            "reserved_parameter",
            port.name,
        )
    if type(value) not in takes:
        names = {str: "a string", int: "an integer", float: "a number", bool: "a boolean"}
        wanted = " or ".join(names[each] for each in names if each in takes)
        refuse(
            f"The parameter {quoted(port.name)} is {names[type(value)]}; the graph takes {wanted}.",
            "invalid_type",
            port.name,
        )
    if type(value) is int and value not in _INT64:
        refuse(f"The parameter {quoted(port.name)} does not fit into 64 bits.", "invalid_value", port.name)


def _check_outputs(interface: GraphInterface, request: InferRequest) -> None:
    for output in request.outputs:
        if output.name not in interface.output_by_name:
            refuse(
                f"Unexpected output {quoted(output.name)}: the graph gives {listed(interface.output_by_name)}.",
                "unexpected_output",
                output.name,
            )


def _ignored_of_tensors(request: InferRequest, ports: Mapping[str, Port]) -> list[str]:
    """The parameters of tensors and outputs that nothing here reads."""
    ignored = [f"{output.name}.{name}" for output in request.outputs for name in output.parameters]
    for tensor in request.inputs:
        if tensor.parameters:
            read = ("uri", "content_type") if PacketKind.PAYLOAD in ports[tensor.name].kinds else ()
            ignored += [f"{tensor.name}.{name}" for name in tensor.parameters if name not in read]
    return ignored
