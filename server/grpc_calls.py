"""What happens around every gRPC call: its id, the API key, its line in the access log, its status if it fails.

The twin of ``middleware.py``. Which exception a client is told how is decided in one place for both, ``errors.describe``; here its
HTTP status becomes a gRPC one:

::

    400, 413, 415   INVALID_ARGUMENT            429   RESOURCE_EXHAUSTED, with "retry-after" in the trailing metadata
    401             UNAUTHENTICATED             499   CANCELLED
    403             PERMISSION_DENIED           501   UNIMPLEMENTED
    404             NOT_FOUND                   503   UNAVAILABLE
    409, 412        FAILED_PRECONDITION         504   DEADLINE_EXCEEDED
                                                else  INTERNAL

Parameters that name a side packet which is missing, or which no client may set, are FAILED_PRECONDITION. Source: OVMS, gRPC codes.
The trailing metadata have ``x-request-id``, ``error-code`` and the headers that HTTP would have.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import grpc
from aiohttp import web
from google.protobuf.message import DecodeError

from calculators.http_payload import RequestError
from server.backend import StoppedError
from server.errors import describe, needs_log
from server.keys import ACCESS, DRAIN
from server.logs import plain_code
from server.middleware import request_id

M = TypeVar("M")
T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

_STATUSES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    412: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_PRECONDITIONS: Final = ("missing_parameter", "reserved_parameter")
_KEY: Final = re.compile(r"(?!grpc-)[a-z0-9_.-]{1,64}(?<!-bin)")
_LONGEST_TEXT: Final = 4096  # percent-encoded; clients take 8 KiB of metadata in all, unless told otherwise

_access_log = logging.getLogger("graph_runtime.access")
_log = logging.getLogger("graph_runtime.server")


def status_of(error: RequestError) -> grpc.StatusCode:
    """The gRPC status of a refusal."""
    if error.code in _PRECONDITIONS:
        return grpc.StatusCode.FAILED_PRECONDITION
    return _STATUSES.get(error.status, grpc.StatusCode.INTERNAL)


class Call:
    """One call, as its handler sees it.

    Attributes:
        id: by which the request can be cancelled, and found in the log.
        asked_s: in how many seconds from its arrival the client wants to be answered; 0 if it did not say.
        model: the name of the servable that it is for, once it is known to exist.
        trailers: what goes into the trailing metadata.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        self.id = request_id(self.metadata.get("x-request-id", ""))
        self.model = ""
        self.trailers: dict[str, str] = {"x-request-id": self.id}
        remaining_s = context.time_remaining()
        self.asked_s = 0.0 if remaining_s is None else max(remaining_s, 0.001)

    async def write(self, message: object) -> None:
        """Send a message of a stream; returns when the client may be sent the next one.

        Raises:
            ConnectionError: the client has gone.
        """
        try:
            await self._context.write(message)
        except grpc.aio.InternalError as error:
            raise ConnectionError("the client has gone") from error


class Calls:
    """Makes handlers for gRPC of plain functions, for an application."""

    def __init__(self, app: web.Application) -> None:
        self._app = app

    def unary(
        self, name: str, message: Any, handle: Callable[[Call, Any], Awaitable[Any]], *, open_to_all: bool = False
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method that takes a message and gives one.

        Args:
            name: the method's name in the access log.
            message: the class of the request.
            handle: does the work.
            open_to_all: whether it works without an API key; for probes, which are also left out of the log.
        """

        async def behave(request: Any, context: Context) -> Any:
            return await self._guard(
                name,
                context,
                lambda call: handle(call, _whole(request)),
                open_to_all=open_to_all,
                awaited=not open_to_all,
            )

        return grpc.unary_unary_rpc_method_handler(
            behave, request_deserializer=_reader(message), response_serializer=_serialize
        )

    def unary_stream(
        self, name: str, message: Any, handle: Callable[[Call, Any], Awaitable[None]], *, open_to_all: bool = False
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method that takes a message and gives many, with ``Call.write``."""

        async def behave(request: Any, context: Context) -> None:
            await self._guard(
                name, context, lambda call: handle(call, _whole(request)), open_to_all=open_to_all, awaited=False
            )

        return grpc.unary_stream_rpc_method_handler(
            behave, request_deserializer=_reader(message), response_serializer=_serialize
        )

    def stream(
        self, name: str, message: Any, handle: Callable[[Call, AsyncIterator[Any]], Awaitable[None]]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler of a method that takes many messages and gives many.

        A shutdown does not wait for it, unless the handler itself enters the drain: its client may have nothing to ask.
        """

        async def behave(requests: Any, context: Context) -> None:
            await self._guard(name, context, lambda call: handle(call, _all_whole(requests)), awaited=False)

        return grpc.stream_stream_rpc_method_handler(
            behave, request_deserializer=_reader(message), response_serializer=_serialize
        )

    async def _guard(
        self,
        name: str,
        context: Context,
        work: Callable[[Call], Awaitable[T]],
        *,
        open_to_all: bool = False,
        awaited: bool,
    ) -> T:
        started = time.perf_counter()
        call = Call(context)
        status, code = grpc.StatusCode.CANCELLED, None
        try:
            if not open_to_all:
                self._app[ACCESS].check_key(call.metadata.get("authorization"))
                if self._app[DRAIN].closed:
                    raise StoppedError("the server is shutting down")
            if not awaited:
                done = await work(call)
            else:
                self._app[DRAIN].enter()
                try:
                    done = await work(call)
                finally:
                    self._app[DRAIN].leave()
            status = grpc.StatusCode.OK
            context.set_trailing_metadata(tuple(call.trailers.items()))
            return done
        except (asyncio.CancelledError, ConnectionError):  # its client has gone, or its time is over
            raise asyncio.CancelledError from None
        except Exception as error:
            if needs_log(error):
                _log.error("request %s failed", call.id, exc_info=error, extra=_about(name, call))
            told = describe(error, call.id)
            status, code = status_of(told), plain_code(told)
            trailers = call.trailers | _as_metadata(told.headers) | ({} if code is None else {"error-code": code})
            await context.abort(status, _fitting(told.message), tuple(trailers.items()))
        finally:
            level = logging.DEBUG if open_to_all else logging.INFO
            if _access_log.isEnabledFor(level):
                _write_access(level, name, call, status, code, (time.perf_counter() - started) * 1000)


def _write_access(level: int, name: str, call: Call, status: grpc.StatusCode, code: str | None, ms: float) -> None:
    named = {key: value for key, value in (("model", call.model), ("code", code)) if value}
    _access_log.log(
        level,
        "gRPC %s %s %.1f ms%s %s",
        name,
        status.name,
        ms,
        "".join(f" {key}={value}" for key, value in named.items()),
        call.id,
        extra={**_about(name, call), **named, "status": status.name, "ms": round(ms, 1)},
    )


def _about(name: str, call: Call) -> dict[str, object]:
    """What ``logs.about`` is for HTTP."""
    known: dict[str, object] = {"request_id": call.id, "method": "gRPC", "path": name}
    return known | ({"model": call.model} if call.model else {})


def _as_metadata(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers as trailing metadata, without those that gRPC would not send: a calculator can give anything."""
    return {
        name.lower(): value
        for name, value in headers
        if _KEY.fullmatch(name.lower()) and value.isascii() and value.isprintable()
    }


@dataclass(frozen=True, slots=True)
class _Broken:
    """Bytes in the place of a message: what is wrong with them is told by the handler, after it has asked for the key."""

    reason: str


def _reader(message: Any) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return message.FromString(data)
        except DecodeError:
            return _Broken(f"The message is no {message.DESCRIPTOR.full_name}: its bytes cannot be read.")

    return read


def _whole(message: Any) -> Any:
    if isinstance(message, _Broken):
        raise RequestError(message.reason, status=400, code="invalid_message")
    return message


async def _all_whole(messages: Any) -> AsyncIterator[Any]:
    async for message in messages:
        yield _whole(message)


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _fitting(text: str) -> str:
    """A text as the status may hold it: valid Unicode, and not too long for a header."""
    text = text.encode(errors="replace").decode()
    if len(quote(text)) <= _LONGEST_TEXT:
        return text
    room = _LONGEST_TEXT if text.isascii() and text.isprintable() else _LONGEST_TEXT // 9
    return text[:room] + "..."
