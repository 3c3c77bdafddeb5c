"""gRPC's health checking protocol: what load balancers, Kubernetes and grpc_health_probe ask.

The services that are known: "" and ``inference.GRPCInferenceService``, which serve when every model can be used, and the name of
each model. No API key is needed, but for the list of all. Source: grpc/doc/health-checking.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import grpc
from aiohttp import web

from calculators.http_payload import RequestError
from server._pb.grpc.health.v1 import health_pb2 as pb
from server.grpc_calls import Call, Calls
from server.keys import CLOCK, DRAIN, SERVABLES
from server.kserve_grpc import SERVICE as INFERENCE
from server.kserve_models import can_be_used

SERVICE: Final = "grpc.health.v1.Health"
LOOK_S: Final = 1.0
"""How often a watched state is looked at."""

_UNKNOWN: Final = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The states of an application's services; ``stop`` ends all watches."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Tell all who watch the state of now, and leave them."""
        self._stopping.set()

    def handlers(self, calls: Calls) -> grpc.GenericRpcHandler:
        """The service."""
        check, listing = pb.HealthCheckRequest, pb.HealthListRequest
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": calls.unary("Health.Check", check, self.check, open_to_all=True),
                "Watch": calls.unary_stream("Health.Watch", check, self.watch, open_to_all=True),
                "List": calls.unary("Health.List", listing, self.list),  # tells which models there are
            },
        )

    async def check(self, call: Call, request: pb.HealthCheckRequest) -> pb.HealthCheckResponse:
        """The state of one service.

        Raises:
            RequestError: 404; nobody knows it.
        """
        status = self._status(request.service)
        if status == _UNKNOWN:
            raise RequestError(
                f'The service {request.service[:100]!r} is not known: ask for "", {INFERENCE} or the name of a model.',
                status=404,
                code="unknown_service",
            )
        return pb.HealthCheckResponse(status=status)

    async def list(self, call: Call, request: pb.HealthListRequest) -> pb.HealthListResponse:
        """The states of all services."""
        names = ["", INFERENCE, *(servable.name for servable in self._app[SERVABLES])]
        statuses: Mapping[str, pb.HealthCheckResponse] = {
            name: pb.HealthCheckResponse(status=self._status(name)) for name in names
        }
        return pb.HealthListResponse(statuses=statuses)

    async def watch(self, call: Call, request: pb.HealthCheckRequest) -> None:
        """Tell the state of one service, and each change of it, until the client or the server leaves."""
        told = None
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                is_last = self._stopping.is_set()
                status = self._status(request.service)
                if status != told:
                    told = status
                    await call.write(pb.HealthCheckResponse(status=status))
                if is_last:
                    return
                look = asyncio.ensure_future(self._app[CLOCK].sleep(LOOK_S))
                try:
                    await asyncio.wait((look, stopping), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    look.cancel()
        finally:
            stopping.cancel()

    def _status(self, service: str) -> pb.HealthCheckResponse.ServingStatus.ValueType:
        servables = self._app[SERVABLES]
        if service in ("", INFERENCE):
            serves = servables.ready
        else:
            try:
                servable = servables.find(service)
            except RequestError:
                return _UNKNOWN
            serves = can_be_used(servables, servable)
        return (
            pb.HealthCheckResponse.SERVING
            if serves and not self._app[DRAIN].begun
            else pb.HealthCheckResponse.NOT_SERVING
        )
