"""ModelStreamInfer: one run that is fed with each request of a stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from calculators.http_payload import RequestError
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, Timestamp, register_calculator
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.keys import BACKEND, SERVABLES
from tests.server.grpc_client import GrpcClient, grpc_client, request, tensor

if TYPE_CHECKING:
    from tests.server.conftest import Client, FakeClock, Models, Serve

PATIENCE_S = 20
NOW_US = 1_790_000_000_000_000  # what FakeClock says

TOTAL = """
input_stream: "in" output_stream: "total" output_stream: "count"
node { calculator: "StreamTotal" input_stream: "in" output_stream: "total" output_stream: "count" }
"""
PAIR = """
input_stream: "a" input_stream: "b" output_stream: "a_out" output_stream: "b_out"
node { calculator: "PassThroughCalculator" input_stream: "a" input_stream: "b" output_stream: "a_out" output_stream: "b_out" }
"""
ECHO = """
input_stream: "in" output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
SCALED = """
input_stream: "in" output_stream: "out" input_side_packet: "factor"
node { calculator: "StreamScaled" input_stream: "in" output_stream: "out" input_side_packet: "factor" }
"""
SCRIPT = """
input_stream: "HTTP_REQUEST_PAYLOAD:input" output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node { calculator: "HttpScript" input_stream: "HTTP_REQUEST_PAYLOAD:input" output_stream: "HTTP_RESPONSE_PAYLOAD:output" }
"""


@register_calculator
class StreamTotal(Calculator):
    """The total of all tensors of one run until now, and how many they were."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(np.ndarray)
        cc.outputs[0].set(np.ndarray)
        cc.outputs[1].set(np.ndarray)

    def open(self, cc: CalculatorContext) -> None:
        self.total = np.float32(0)
        self.count = 0

    def process(self, cc: CalculatorContext) -> None:
        value = cc.inputs[0].value
        if value[0] < 0:
            raise RequestError("a number is negative", status=400, code="negative")
        self.total += value.sum()
        self.count += 1
        cc.outputs[0].add(np.array([self.total], np.float32))
        cc.outputs[1].add(np.array([self.count], np.float32))


@register_calculator
class StreamScaled(Calculator):
    """Each tensor times a side packet."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(np.ndarray)
        cc.input_side_packets[0].set(int)
        cc.outputs[0].set(np.ndarray)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add(cc.inputs[0].value * np.float32(cc.input_side_packets[0].value))


GRAPHS = {"total": TOTAL, "pair": PAIR, "scaled": SCALED}


@pytest.fixture
async def server(serve: Serve, models: Models, clock: FakeClock) -> Client:
    for name, text in GRAPHS.items():
        models.add_text(name, text)
    return await serve(clock=clock)


@pytest.fixture
async def client(server: Client) -> AsyncIterator[GrpcClient]:
    async with grpc_client(server.app) as made:
        yield made


@asynccontextmanager
async def talking(client: GrpcClient, **options: Any) -> AsyncIterator[Any]:
    """A stream; what waits for an answer that does not come fails."""
    call = client.stream(**options)
    async with asyncio.timeout(PATIENCE_S):
        yield call
    call.cancel()


async def all_of(client: GrpcClient, *requests: pb.ModelInferRequest) -> list[Any]:
    """What comes back when all is sent at once: name, values, timestamp and id, or the text of an error and its id."""
    async with talking(client) as call:
        for each in requests:
            await call.write(each)
        await call.done_writing()
        return [told(each) async for each in call]


def told(message: pb.ModelStreamInferResponse) -> tuple[Any, ...]:
    answer = message.infer_response
    if message.error_message:
        return message.error_message, answer.id
    values = np.frombuffer(answer.raw_output_contents[0], "<f4").tolist()
    return answer.outputs[0].name, values, answer.parameters["OVMS_MP_TIMESTAMP"].int64_param, answer.id


def at(timestamp: int, *values: float, **more: Any) -> pb.ModelInferRequest:
    return request("total", tensor("in", *values), OVMS_MP_TIMESTAMP=timestamp, outputs=["total"], **more)


async def test_one_run_answers_all_requests_of_a_stream_with_their_timestamps_and_ids(client: GrpcClient) -> None:
    assert await all_of(client, at(3, 1.0, id="a"), at(7, 2.0, id="b"), at(8, 4.0)) == [
        ("total", [1.0], 3, "a"),
        ("total", [3.0], 7, "b"),
        ("total", [7.0], 8, ""),
    ]


async def test_each_output_packet_is_a_response_of_its_own(client: GrpcClient) -> None:
    answers = await all_of(client, request("total", tensor("in", 5.0), OVMS_MP_TIMESTAMP=1))
    assert answers == [("total", [5.0], 1, ""), ("count", [1.0], 1, "")]


async def test_an_answer_comes_before_the_next_request_is_sent(client: GrpcClient) -> None:
    async with talking(client) as call:
        for number, total in enumerate([1.0, 3.0, 6.0], 1):
            await call.write(at(number, number))
            assert told(await call.read())[1] == [total]
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await call.code() is grpc.StatusCode.OK


async def test_requests_without_timestamps_get_the_time_and_always_a_later_one(
    client: GrpcClient, clock: FakeClock
) -> None:
    plain = request("total", tensor("in", 1.0), outputs=["total"])
    async with talking(client) as call:
        timestamps = []
        for step_s in (0.0, 0.0, 2.0, 0.0):
            clock.advance(step_s)
            await call.write(plain)
            timestamps.append(told(await call.read())[2] - NOW_US)
        await call.write(at(NOW_US + 5_000_000, 1.0))
        await call.read()
        await call.write(plain)
        timestamps.append(told(await call.read())[2] - NOW_US)
    assert timestamps == [0, 1, 2_000_000, 2_000_001, 5_000_001]


async def test_the_whole_range_of_timestamps_can_be_used(client: GrpcClient) -> None:
    low, high = int(Timestamp.MIN), int(Timestamp.MAX)
    assert [each[2] for each in await all_of(client, at(low, 1.0), at(high, 1.0))] == [low, high]


async def test_a_request_may_feed_some_of_the_inputs(client: GrpcClient) -> None:
    def feed(timestamp: int, name: str, value: float) -> pb.ModelInferRequest:
        return request("pair", tensor(name, value), OVMS_MP_TIMESTAMP=timestamp, id=name)

    answers = await all_of(client, feed(1, "a", 1.0), feed(1, "b", 2.0), feed(4, "b", 3.0))
    assert answers[:2] == [("a_out", [1.0], 1, "a"), ("b_out", [2.0], 1, "a")]
    assert answers[2:] == [("b_out", [3.0], 4, "b")]


async def test_side_packets_come_with_the_first_request(client: GrpcClient) -> None:
    async with talking(client) as call:
        await call.write(request("scaled", tensor("in", 2.0), factor=5))
        await call.write(request("scaled", tensor("in", 3.0), factor=7))  # too late for that one
        await call.done_writing()
        assert [told(each)[1] async for each in call] == [[10.0], [15.0]]
        assert dict(await call.trailing_metadata())["x-ignored-parameters"] == "factor"


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (
            request("pair", tensor("a", 1.0), id="bad"),
            "This stream is for the model 'total', and the request names 'pair'",
        ),
        (at(5, 1.0, version="2", id="bad"), "This stream is for version 1, and the request names '2'"),
        (request("total", tensor("out", 1.0), id="bad"), "Unexpected input 'out'"),
        (at(3, 1.0, id="bad"), "Current minimum expected timestamp is 4 but received 3"),
        (request("total", tensor("in", 1.0), id="bad", OVMS_MP_TIMESTAMP="now"), "Should be int64"),
        (request("total", tensor("in", 1.0, datatype="FP64"), id="bad"), "contents of FP64 are in fp64_contents"),
    ],
)
async def test_what_is_wrong_with_a_later_request_is_told_and_the_stream_goes_on(
    client: GrpcClient, bad: pb.ModelInferRequest, text: str
) -> None:
    async with talking(client) as call:
        await call.write(at(3, 1.0))
        assert told(await call.read())[1] == [1.0]
        await call.write(bad)
        error, name = told(await call.read())
        assert text in error
        assert "partial deserialization" not in error
        assert name == "bad"
        await call.write(at(2**60, 2.0, version="1"))
        assert told(await call.read())[1] == [3.0]


@pytest.mark.parametrize(
    "bad",
    [
        request("total", tensor("out", 1.0), id="first"),
        pb.ModelInferRequest(model_name="total", id="first", raw_input_contents=[b""]),
    ],
)
async def test_a_first_request_that_cannot_be_fed_is_told_apart_and_the_stream_goes_on(
    client: GrpcClient, bad: pb.ModelInferRequest
) -> None:
    first, second, _ = await all_of(client, bad, at(1, 2.0))
    assert first[0].endswith("; partial deserialization of first request")
    assert first[1] == "first"
    assert second[1] == [2.0]


@pytest.mark.parametrize(
    ("first", "code", "text"),
    [
        (request("nobody"), "NOT_FOUND", "The model 'nobody' does not exist"),
        (request("scaled", tensor("in", 1.0)), "FAILED_PRECONDITION", "needs the side packet 'factor'"),
        (request("total", tensor("in", 1.0), py="x"), "FAILED_PRECONDITION", "'py' cannot be set"),
        (request("total", tensor("in", -1.0)), "INVALID_ARGUMENT", "a number is negative"),
    ],
)
async def test_a_stream_that_cannot_start_or_whose_graph_fails_ends_with_a_status(
    client: GrpcClient, first: pb.ModelInferRequest, code: str, text: str
) -> None:
    async with talking(client) as call:
        await call.write(first)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code().name == code
        assert text in (ended.value.details() or "")


async def test_a_stream_without_requests_is_well_and_empty(client: GrpcClient) -> None:
    assert await all_of(client) == []


async def test_a_stream_lasts_longer_than_one_request_may(serve: Serve, models: Models, clock: FakeClock) -> None:
    models.add_text("total", TOTAL)
    server = await serve(clock=clock, request_timeout_s=60.0)
    async with grpc_client(server.app) as client, talking(client) as call:
        await call.write(at(1, 1.0))
        await call.read()
        clock.advance(3600.0)
        await call.write(at(2, 1.0))
        assert told(await call.read())[1] == [2.0]


async def test_a_client_that_leaves_ends_its_run(server: Client, client: GrpcClient) -> None:
    handle = server.app[SERVABLES].find("total").handle
    assert handle is not None
    async with talking(client) as call:
        await call.write(at(1, 1.0))
        await call.read()
        assert server.app[BACKEND].occupancy(handle) == (1, 0)
        call.cancel()
        await until(lambda: server.app[BACKEND].occupancy(handle) == (0, 0))


async def test_a_client_that_leaves_while_it_is_written_to_is_no_fault(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add_text("echo", ECHO)
    server = await serve()
    handle = server.app[SERVABLES].find("echo").handle
    assert handle is not None
    async with grpc_client(server.app, options={"grpc.http2.bdp_probe": 0}) as client, talking(client) as call:
        for number in range(30):
            await call.write(request("echo", tensor("in", *[1.0] * 50_000), OVMS_MP_TIMESTAMP=number))
        run = await _first_run(server)
        await until(lambda: len(run._events) > 0)  # the write before is under way
        call.cancel()
        await until(lambda: server.app[BACKEND].occupancy(handle) == (0, 0))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_deadline_of_a_client_ends_its_stream(server: Client, client: GrpcClient) -> None:
    handle = server.app[SERVABLES].find("total").handle
    assert handle is not None
    async with talking(client, timeout=0.5) as call:
        await call.write(at(1, 1.0))
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
            await call.read()
        await until(lambda: server.app[BACKEND].occupancy(handle) == (0, 0))


async def test_a_stopping_server_ends_streams_that_wait(server: Client, client: GrpcClient) -> None:
    async with talking(client) as call:
        await call.write(at(1, 1.0))
        await call.read()
        server.app[BACKEND].stop("the server is shutting down")
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in (ended.value.details() or "")


async def test_a_client_that_does_not_read_cannot_send_for_ever(serve: Serve, models: Models) -> None:
    models.add_text("echo", f"max_queue_size: 4 {ECHO}")
    server = await serve()
    values = [1.0] * 50_000
    sent = 0

    async def send(call: Any) -> None:
        nonlocal sent
        for number in range(200):
            await call.write(request("echo", tensor("in", *values), OVMS_MP_TIMESTAMP=number))
            sent += 1
        await call.done_writing()

    # What a client's library takes without being asked for it is kept small: it is not what is tested here.
    async with grpc_client(server.app, options={"grpc.http2.bdp_probe": 0}) as client, talking(client) as call:
        sending = asyncio.ensure_future(send(call))
        run = await _first_run(server)
        await until(lambda: not run._room.is_set())
        assert sent < 100
        received = 0
        async for _ in call:
            received += 1
        assert received == 200
        await sending


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what it looks at tells nobody
            await asyncio.sleep(0)


async def _first_run(server: Client) -> Any:
    backend: Any = server.app[BACKEND]
    await until(lambda: len(backend._runs) > 0)
    return next(iter(backend._runs))


async def test_a_graph_that_answers_in_parts_sends_each_as_it_comes(serve: Serve, models: Models) -> None:
    models.add_text("script", SCRIPT)
    server = await serve()
    body = b'{"do":["one","two"]}'
    contents = pb.InferTensorContents(bytes_contents=[body])
    asked = pb.ModelInferRequest.InferInputTensor(name="input", datatype="BYTES", shape=[1], contents=contents)
    async with grpc_client(server.app) as client, talking(client) as call:
        await call.write(request("script", asked, id="mine", OVMS_MP_TIMESTAMP=0))
        answers = [await call.read() for _ in range(2)]
        assert [each.infer_response.raw_output_contents[0][4:] for each in answers] == [b"one", b"two"]
        assert [each.infer_response.id for each in answers] == ["mine", "mine"]
