"""KServe's gRPC messages -> the requests that graphs are fed from, and back.

Source: KServe's Open Inference Protocol, version 2, gRPC. Tensors leave as raw bytes, which is what tritonclient reads; they may
come as raw bytes or as typed contents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferRequest, InferResponse, Parameter, RequestedOutput, Tensor
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.kserve_values import quoted, refuse
from server.replies import GraphAnswerError

_CONTENTS: Final[Mapping[str, str]] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_AS_WIDE: Final = {
    "BOOL": "?", "INT32": "<i4", "INT64": "<i8", "UINT32": "<u4", "UINT64": "<u8", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Datatypes of which every element of the message fits, so that nothing has to be looked at one by one."""
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**64)


def request_of(message: pb.ModelInferRequest) -> InferRequest:
    """The request in a message.

    Raises:
        RequestError: 400 ``invalid_message``; its contents are not where they have to be.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        refuse(
            f"There are {len(message.inputs)} input(s) and {len(raw)} raw_input_contents: it takes one for each, or none at all.",
            "invalid_message",
            "raw_input_contents",
        )
    return InferRequest(
        message.model_name,
        message.model_version,
        message.id,
        parameters_of(message.parameters),
        tuple(_tensor(each, raw[position] if raw else None) for position, each in enumerate(message.inputs)),
        tuple(RequestedOutput(each.name, parameters_of(each.parameters)) for each in message.outputs),
    )


def response_message(response: InferResponse) -> pb.ModelInferResponse:
    """The message of a response.

    Raises:
        GraphAnswerError: a calculator put something into it that cannot be sent.
    """
    try:
        return pb.ModelInferResponse(
            model_name=response.model_name,
            model_version=response.model_version,
            id=response.id,
            parameters=_parameter_messages(response.parameters),
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(
                    name=each.name,
                    datatype=each.datatype,
                    shape=each.shape,
                    parameters=_parameter_messages(each.parameters),
                )
                for each in response.outputs
            ],
            raw_output_contents=[bytes(each.raw()) for each in response.outputs],
        )
    except (RequestError, TypeError, ValueError) as error:
        # Not its cause: a RequestError among the causes is told to the client, who did nothing wrong.
        raise GraphAnswerError(f"the answer of the graph cannot be sent: {error}") from None


def parameters_of(messages: Mapping[str, pb.InferParameter]) -> dict[str, Parameter]:
    """The parameters of a request or a tensor.

    Raises:
        RequestError: 400 ``invalid_message``; one has no value.
    """
    parameters: dict[str, Parameter] = {}
    for name, message in messages.items():
        choice = message.WhichOneof("parameter_choice")
        if choice is None:
            refuse(f"The parameter {quoted(name)} has no value.", "invalid_message", name)
        parameters[name] = getattr(message, choice)
    return parameters


def _tensor(message: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> Tensor:
    contents = message.contents
    filled = [field.name for field, _ in contents.ListFields()]
    if raw is not None and filled:
        refuse(
            f"The input {quoted(message.name)} has both contents and raw_input_contents: send one of them.",
            "invalid_message",
            message.name,
        )
    data: bytes | list[Any] = raw if raw is not None else []
    if filled:
        wanted = _CONTENTS.get(message.datatype)
        if filled != [wanted]:
            where = f"contents of {message.datatype} are in {wanted}" if wanted else "it takes raw_input_contents"
            refuse(
                f"The input {quoted(message.name)} is {quoted(message.datatype)} and has {', '.join(filled)}; {where}.",
                "invalid_message",
                message.name,
            )
        data = _elements(message.datatype, getattr(contents, filled[0]))
    return Tensor(message.name, message.datatype, tuple(message.shape), data, parameters_of(message.parameters))


def _elements(datatype: str, contents: Sequence[Any]) -> bytes | list[Any]:
    dtype = _AS_WIDE.get(datatype)
    return list(contents) if dtype is None else np.array(contents, dtype).tobytes()


def _parameter_messages(parameters: Mapping[str, Parameter]) -> dict[str, pb.InferParameter]:
    return {name: _parameter_message(name, value) for name, value in parameters.items()}


def _parameter_message(name: str, value: Parameter) -> pb.InferParameter:
    if isinstance(value, bool):
        return pb.InferParameter(bool_param=value)
    if isinstance(value, str):
        return pb.InferParameter(string_param=value)
    if isinstance(value, float):
        return pb.InferParameter(double_param=value)
    if value in _INT64:
        return pb.InferParameter(int64_param=value)
    if value in _UINT64:
        return pb.InferParameter(uint64_param=value)
    raise ValueError(f"parameter {name}: {value} has more than 64 bits")
