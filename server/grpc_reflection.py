"""gRPC's server reflection, v1 and v1alpha: grpcurl and its like read from it which services and messages there are.

The two versions differ in nothing but their package. Source: grpc/doc/server-reflection.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

import grpc

from server import _pb
from server._pb.grpc.reflection.v1 import reflection_pb2 as v1
from server._pb.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from server.grpc_calls import Call, Calls

_VERSIONS: Final[Sequence[ModuleType]] = (v1, v1alpha)
_NAME: Final = "ServerReflection"
_NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND.value[0]
_INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT.value[0]

_FILES: Final = {file.name: file.SerializeToString() for file in _pb.FILES}


def service_names() -> list[str]:
    """All services that the descriptors tell of, which are those that are served."""
    return sorted(f"{file.package}.{service.name}" for file in _pb.FILES for service in file.service)


def reflection_handlers(calls: Calls) -> list[grpc.GenericRpcHandler]:
    """The service, once for each version."""
    return [_handlers(calls, version) for version in _VERSIONS]


def _handlers(calls: Calls, pb: Any) -> grpc.GenericRpcHandler:
    async def info(call: Call, requests: AsyncIterator[Any]) -> None:
        async for request in requests:
            answer = _answer(pb, request)
            answer.valid_host = request.host
            answer.original_request.CopyFrom(request)
            await call.write(answer)

    method = calls.stream("ServerReflectionInfo", pb.ServerReflectionRequest, info)
    return grpc.method_handlers_generic_handler(f"{pb.DESCRIPTOR.package}.{_NAME}", {"ServerReflectionInfo": method})


def _answer(pb: Any, request: Any) -> Any:
    kind = request.WhichOneof("message_request")
    if kind == "list_services":
        services = [pb.ServiceResponse(name=name) for name in service_names()]
        return pb.ServerReflectionResponse(list_services_response=pb.ListServiceResponse(service=services))
    if kind == "file_by_filename":
        name = request.file_by_filename
        return _files(pb, [name]) if name in _FILES else _error(pb, f"there is no file {name!r}")
    if kind == "file_containing_symbol":
        name = _file_of(request.file_containing_symbol)
        return (
            _error(pb, f"there is no symbol {request.file_containing_symbol!r}") if name is None else _files(pb, [name])
        )
    if kind == "file_containing_extension":
        asked = request.file_containing_extension
        return _error(pb, f"{asked.containing_type} has no extension {asked.extension_number}")
    if kind == "all_extension_numbers_of_type":
        name = request.all_extension_numbers_of_type
        try:
            _pb.POOL.FindMessageTypeByName(name)
        except KeyError:
            return _error(pb, f"there is no message {name!r}")
        return pb.ServerReflectionResponse(
            all_extension_numbers_response=pb.ExtensionNumberResponse(base_type_name=name)
        )
    return _error(pb, "the request asks for nothing", _INVALID)


def _file_of(symbol: str) -> str | None:
    """The file that defines a symbol: a message, an enum, a service, or a part of one of them."""
    with suppress(KeyError):
        return str(_pb.POOL.FindFileContainingSymbol(symbol).name)
    service, _, method = symbol.rpartition(".")  # the pool finds services, and not their methods
    with suppress(KeyError):
        found = _pb.POOL.FindServiceByName(service)
        return str(found.file.name) if method in found.methods_by_name else None
    return None


def _files(pb: Any, names: Iterable[str]) -> Any:
    # None of the files imports another one, so that a file is all that it needs.
    files = [_FILES[name] for name in names]
    return pb.ServerReflectionResponse(file_descriptor_response=pb.FileDescriptorResponse(file_descriptor_proto=files))


def _error(pb: Any, message: str, code: int = _NOT_FOUND) -> Any:
    return pb.ServerReflectionResponse(error_response=pb.ErrorResponse(error_code=code, error_message=message))
