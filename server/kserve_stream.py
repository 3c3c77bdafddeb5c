"""ModelStreamInfer: the requests of a stream as feeds of one run, and what comes out of it as responses.

Source of the rules: OVMS, streaming. The first request chooses the graph and sets its side packets; each one feeds the inputs
that it has, all at one timestamp. What is wrong with one request becomes an ``error_message``, and the stream goes on.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferRequest
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.backend import Event, Feed, Refused
from server.clock import Clock
from server.interface import GraphInterface
from server.kserve_codec import LARGE_BYTES, VERSION, is_large, packets_of, response_of
from server.kserve_messages import request_of, response_message
from server.kserve_values import quoted, refuse

_FIRST: Final = "; partial deserialization of first request"  # as OVMS says; here nothing of such a request is fed
_VERSIONS: Final = ("", "0", VERSION)
_REMEMBERED: Final = 1024

T = TypeVar("T")


async def off_loop(message: pb.ModelInferRequest, work: Callable[..., T], *arguments: Any) -> T:
    """Read a message, on a thread if that would hold up the event loop."""
    if message.ByteSize() < LARGE_BYTES:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)


class Stream:
    """One stream.

    Args:
        interface: that of the graph.
        first: the first request, which is yet to be fed.
        clock: for packets without a timestamp of their own.

    Attributes:
        ignored: names of parameters that were accepted and have no effect.
    """

    def __init__(self, interface: GraphInterface, first: pb.ModelInferRequest, clock: Clock) -> None:
        self._interface = interface
        self._first = first
        self._clock = clock
        self._last: int | None = None
        self._timestamps: list[int] = []  # of the latest requests, with their ids
        self._ids: list[str] = []
        self._template = InferRequest(first.model_name)
        asked = {each.name for each in first.outputs}
        outputs = {port.name for port in interface.outputs}
        self._wanted = {port.name for port in interface.outputs if port.client_name in asked} or outputs
        self.ignored: dict[str, None] = {}

    async def feeds(self, requests: AsyncIterator[pb.ModelInferRequest]) -> AsyncIterator[Feed | Refused]:
        """What the requests feed, the first one included; refusals of what cannot be fed."""
        yield await off_loop(self._first, self._feed, self._first, True)
        async for each in requests:
            yield await off_loop(each, self._feed, each, False)

    async def response(self, item: Event | Refused) -> pb.ModelStreamInferResponse | None:
        """The message for something that came out of the run; None for an output that was not asked for.

        Raises:
            GraphAnswerError: the graph gave something that cannot be sent.
        """
        if isinstance(item, Refused):
            message = pb.ModelStreamInferResponse(error_message=item.error.message)
            if item.feed is not None and item.feed.id:
                message.infer_response.id = item.feed.id
            return message
        if item.stream not in self._wanted:
            return None
        request = replace(self._template, id=self._id_at(item.timestamp))
        return (
            await asyncio.to_thread(self._written, request, item) if is_large([item]) else self._written(request, item)
        )

    def _written(self, request: InferRequest, event: Event) -> pb.ModelStreamInferResponse:
        response = response_of(self._interface, request, {event.stream: event.value}, event.timestamp)
        return pb.ModelStreamInferResponse(infer_response=response_message(response))

    def _feed(self, message: pb.ModelInferRequest, is_first: bool) -> Feed | Refused:
        try:
            if not is_first:
                self._check_target(message)
            inputs = packets_of(self._interface, request_of(message), streaming=True)
        except RequestError as error:
            if is_first:
                error.message += _FIRST
            return Refused(error, Feed({}, 0, message.id))
        self.ignored |= dict.fromkeys(inputs.ignored)
        if not is_first:
            self.ignored |= dict.fromkeys(inputs.side_packets)
        timestamp = self._now() if inputs.timestamp is None else inputs.timestamp
        self._last = timestamp if self._last is None else max(self._last, timestamp)
        self._remember(timestamp, message.id)
        return Feed(inputs.values, timestamp, message.id)

    def _check_target(self, message: pb.ModelInferRequest) -> None:
        first = self._first
        if message.model_name != first.model_name:
            refuse(
                f"This stream is for the model {quoted(first.model_name)}, and the request names {quoted(message.model_name)}; "
                "open another stream for that.",
                "incorrect_servable_name",
                "model_name",
            )
        if message.model_version not in (*_VERSIONS, first.model_version):
            refuse(
                f"This stream is for version {VERSION}, and the request names {quoted(message.model_version)}.",
                "incorrect_servable_version",
                "model_version",
            )

    def _now(self) -> int:
        """The time in microseconds, and in any case later than all before: as OVMS's code does, not its docs (0, 1, ...)."""
        now = int(self._clock.time() * 1_000_000)
        return now if self._last is None else max(now, self._last + 1)

    def _remember(self, timestamp: int, request_id: str) -> None:
        if self._timestamps and timestamp <= self._timestamps[-1]:
            return  # it feeds other inputs than the one before, or is about to be refused
        self._timestamps.append(timestamp)
        self._ids.append(request_id)
        if len(self._ids) > 2 * _REMEMBERED:
            del self._timestamps[:_REMEMBERED], self._ids[:_REMEMBERED]

    def _id_at(self, timestamp: int) -> str:
        """The id of the latest request that is not later than a response: what came later cannot have led to it."""
        position = bisect_right(self._timestamps, timestamp)
        return self._ids[position - 1] if position else ""
