"""A gRPC client made of the descriptors alone, and a server for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import grpc
from aiohttp import web

from graph_runtime._pb import message_class
from server import _pb
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.grpc_server import GrpcServer

INFERENCE = "inference.GRPCInferenceService"


class GrpcClient:
    """Calls methods by their names."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    def method(self, name: str, service: str = INFERENCE) -> Any:
        """What calls a method, as grpc.aio makes it."""
        found = _pb.POOL.FindServiceByName(service).methods_by_name[name]
        streaming = name in ("ModelStreamInfer", "ServerReflectionInfo")
        make = (
            self.channel.stream_stream
            if streaming
            else self.channel.unary_stream
            if name == "Watch"
            else self.channel.unary_unary
        )
        answer: Any = message_class(found.output_type.full_name, _pb.POOL)
        return make(
            f"/{service}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    async def infer(self, request: pb.ModelInferRequest, **options: Any) -> pb.ModelInferResponse:
        """ModelInfer."""
        answer: pb.ModelInferResponse = await self.method("ModelInfer")(request, **options)
        return answer

    def stream(self, **options: Any) -> Any:
        """ModelStreamInfer; to write to and to read from."""
        return self.method("ModelStreamInfer")(**options)


@asynccontextmanager
async def grpc_client(
    app: web.Application,
    options: Mapping[str, int] = MappingProxyType({}),
) -> AsyncIterator[GrpcClient]:
    """A client of a gRPC server for an application that is set up; ``options`` are those of its channel."""
    arguments = [("grpc.max_receive_message_length", -1), *options.items()]
    server = GrpcServer(app)
    server.listen()
    await server.start()
    try:
        async with grpc.aio.insecure_channel(server.places[0], arguments) as channel:
            yield GrpcClient(channel)
    finally:
        await server.close()


def tensor(name: str, *values: float, datatype: str = "FP32") -> pb.ModelInferRequest.InferInputTensor:
    """An input with typed contents."""
    return pb.ModelInferRequest.InferInputTensor(
        name=name, datatype=datatype, shape=[len(values)], contents=pb.InferTensorContents(fp32_contents=values)
    )


def request(
    model: str,
    *inputs: pb.ModelInferRequest.InferInputTensor,
    id: str = "",  # noqa: A002  # the protocol's word
    version: str = "",
    outputs: Sequence[str] = (),
    **parameters: Any,
) -> pb.ModelInferRequest:
    """A request; parameters by the type of their value."""
    fields = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    return pb.ModelInferRequest(
        model_name=model,
        model_version=version,
        id=id,
        inputs=inputs,
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
        parameters={name: pb.InferParameter(**{fields[type(value)]: value}) for name, value in parameters.items()},
    )
