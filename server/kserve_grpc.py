"""KServe v2 over gRPC: GRPCInferenceService, with generic handlers instead of generated code.

Source: KServe's Open Inference Protocol, version 2; ModelStreamInfer as in Triton and OVMS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, Final

import grpc
from aiohttp import web

from calculators.kserve_payload import InferRequest
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.arrival import Arrival
from server.backend import Event, Handle, Origin, RunRequest
from server.grpc_calls import Call, Calls
from server.keys import ADMISSION, CLOCK, DRAIN, METRICS, SERVABLES, SETTINGS
from server.kserve_codec import (
    GraphInputs,
    first_of_each,
    is_large,
    metadata_of,
    packets_of,
    side_packets_of,
    unary_response,
)
from server.kserve_messages import parameters_of, request_of, response_message
from server.kserve_models import can_be_used, describe_server, index_of
from server.kserve_stream import Stream, off_loop
from server.metrics import counted_question, counted_rejections
from server.replies import ignored_header

SERVICE: Final = "inference.GRPCInferenceService"

_INFER: Final = Origin("KServe", "ModelInfer", "gRPC")
_STREAM: Final = Origin("KServe", "ModelInferStream", "gRPC")
_METADATA: Final = Origin("KServe", "ModelMetadata", "gRPC")
_READY: Final = Origin("KServe", "ModelReady", "gRPC")


def inference_handlers(app: web.Application, calls: Calls) -> grpc.GenericRpcHandler:
    """The service, for the servables of an application."""
    service = _Service(app)
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "ServerLive": calls.unary("ServerLive", pb.ServerLiveRequest, service.server_live, open_to_all=True),
            "ServerReady": calls.unary("ServerReady", pb.ServerReadyRequest, service.server_ready, open_to_all=True),
            "ModelReady": calls.unary("ModelReady", pb.ModelReadyRequest, service.model_ready),
            "ServerMetadata": calls.unary("ServerMetadata", pb.ServerMetadataRequest, service.server_metadata),
            "ModelMetadata": calls.unary("ModelMetadata", pb.ModelMetadataRequest, service.model_metadata),
            "ModelInfer": calls.unary("ModelInfer", pb.ModelInferRequest, service.model_infer),
            "RepositoryIndex": calls.unary("RepositoryIndex", pb.RepositoryIndexRequest, service.repository_index),
            "ModelStreamInfer": calls.stream("ModelStreamInfer", pb.ModelInferRequest, service.model_stream_infer),
        },
    )


class _Service:
    """The methods; each is named as in the protocol."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    async def server_live(self, call: Call, request: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def server_ready(self, call: Call, request: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._app[SERVABLES].ready and not self._app[DRAIN].begun)

    async def model_ready(self, call: Call, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        servables = self._app[SERVABLES]
        servable = servables.find(request.name)
        call.model = servable.name
        ready = can_be_used(servables, servable)
        metrics = self._app[METRICS]
        if metrics is not None:
            metrics.asked(servable.name, _READY, ready)
        return pb.ModelReadyResponse(ready=ready)

    async def server_metadata(self, call: Call, request: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**describe_server())

    async def model_metadata(self, call: Call, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        call.model = self._app[SERVABLES].find(request.name).name
        with counted_question(self._app[METRICS], call.model, _METADATA):
            async with AsyncExitStack() as held:
                handle, _ = await self._arrive(call, request.name, held)
                return pb.ModelMetadataResponse(**metadata_of(request.name, handle.interface))

    async def model_infer(self, call: Call, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
        async with AsyncExitStack() as held:
            handle, arrival = await self._arrive(call, message.model_name, held)
            with counted_rejections(self._app[METRICS], handle.name, _INFER):
                request, inputs = await off_loop(message, _read, handle, message)
            run = RunRequest(
                call.id,
                inputs.values,
                inputs.side_packets,
                timeout_s=arrival.timeout_s(handle),
                age_s=arrival.age_s,
                timestamp=inputs.timestamp or 0,
                origin=_INFER,
            )
            first = await first_of_each(self._app[ADMISSION].run(handle, run))
        call.trailers |= ignored_header(inputs.ignored)
        if is_large(first.values()):
            return await asyncio.to_thread(_written, handle, request, first)
        return _written(handle, request, first)

    async def model_stream_infer(self, call: Call, requests: AsyncIterator[pb.ModelInferRequest]) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        async with AsyncExitStack() as held:
            self._app[DRAIN].enter()
            held.callback(self._app[DRAIN].leave)
            handle, arrival = await self._arrive(call, first.model_name, held)
            with counted_rejections(self._app[METRICS], handle.name, _STREAM):
                side_packets = await off_loop(first, _side_packets, handle, first)
            stream = Stream(handle.interface, first, self._app[CLOCK])
            # As long as its client likes: the time that the server allows is meant for one request, and a stream has many.
            run = RunRequest(call.id, {}, side_packets, timeout_s=call.asked_s, age_s=arrival.age_s, origin=_STREAM)
            items = self._app[ADMISSION].converse(handle, run, stream.feeds(requests))
            async with aclosing(items):
                async for item in items:
                    response = await stream.response(item)
                    if response is not None:
                        await call.write(response)
        call.trailers |= ignored_header(stream.ignored)

    async def repository_index(self, call: Call, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        models = [pb.RepositoryIndexResponse.ModelIndex(**each) for each in index_of(self._app[SERVABLES])]
        return pb.RepositoryIndexResponse(
            models=[each for each in models if each.state == "READY" or not request.ready]
        )

    async def _arrive(self, call: Call, name: str, held: AsyncExitStack) -> tuple[Handle, Arrival]:
        """The handle of a model, leased until ``held`` is closed; it is waited for as long as the server and the client allow."""
        servables, allowed_s = self._app[SERVABLES], self._app[SETTINGS].request_timeout_s
        with self._app[ADMISSION].arriving(call.id, allowed_s=allowed_s, asked_s=call.asked_s) as arrival:
            call.model = servables.find(name).name
            return await held.enter_async_context(servables.lease(call.model)), arrival


def _read(handle: Handle, message: pb.ModelInferRequest) -> tuple[InferRequest, GraphInputs]:
    request = request_of(message)
    return request, packets_of(handle.interface, request)


def _side_packets(handle: Handle, message: pb.ModelInferRequest) -> dict[str, Any]:
    return side_packets_of(handle.interface, parameters_of(message.parameters), check_missing=True)[0]


def _written(handle: Handle, request: InferRequest, first: Mapping[str, Event]) -> pb.ModelInferResponse:
    return response_message(unary_response(handle.interface, request, first))
