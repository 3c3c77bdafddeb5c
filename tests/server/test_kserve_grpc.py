"""KServe over gRPC: one request at a time. Streams are in test_kserve_stream.py."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferRequest, InferResponse, Tensor
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, register_calculator
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.keys import ADMISSION, SERVABLES
from tests.server.grpc_client import INFERENCE, GrpcClient, grpc_client, request, tensor
from tests.server.tensor_threads import threads_of_tensors

if TYPE_CHECKING:
    from tests.server.conftest import FakeClock, Gate, Models, Serve

PATIENCE_S = 20

PASS = """
input_stream: "in" output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
TWO = """
input_stream: "a" input_stream: "b" output_stream: "sum" output_stream: "difference"
node { calculator: "TensorSums" input_stream: "a" input_stream: "b" output_stream: "sum" output_stream: "difference" }
"""
SCALED = """
input_stream: "in" output_stream: "out" input_side_packet: "factor"
node { calculator: "TensorScaled" input_stream: "in" output_stream: "out" input_side_packet: "factor" }
"""
WHOLE = """
input_stream: "REQUEST:in" output_stream: "RESPONSE:out"
node { calculator: "WholeRequest" input_stream: "REQUEST:in" output_stream: "RESPONSE:out" }
"""
BAD = """
input_stream: "in" output_stream: "out"
node { calculator: "TensorFails" input_stream: "in" output_stream: "out" }
"""


def _http(model: str, body: bytes) -> pb.ModelInferRequest:
    contents = pb.InferTensorContents(bytes_contents=[body])
    return request(
        model, pb.ModelInferRequest.InferInputTensor(name="input", datatype="BYTES", shape=[1], contents=contents)
    )


BLOCK = _http("block", b"{}")


@register_calculator
class TensorSums(Calculator):
    """The sum and the difference of two tensors."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for port in (*cc.inputs, *cc.outputs):
            port.set(np.ndarray)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add(cc.inputs[0].value + cc.inputs[1].value)
        cc.outputs[1].add(cc.inputs[0].value - cc.inputs[1].value)


@register_calculator
class TensorScaled(Calculator):
    """A tensor times a side packet."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(np.ndarray)
        cc.input_side_packets[0].set(int)
        cc.outputs[0].set(np.ndarray)

    def process(self, cc: CalculatorContext) -> None:
        cc.outputs[0].add(cc.inputs[0].value * np.float32(cc.input_side_packets[0].value))


@register_calculator
class WholeRequest(Calculator):
    """Tells what it was sent, as text."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["REQUEST"].set(InferRequest)
        cc.outputs["RESPONSE"].set(InferResponse)

    def process(self, cc: CalculatorContext) -> None:
        asked: InferRequest = cc.inputs["REQUEST"].value
        names = ",".join(each.name for each in asked.inputs)
        cc.outputs["RESPONSE"].add(InferResponse(outputs=(Tensor.of("told", f"{asked.model_name}:{names}"),)))


@register_calculator
class TensorFails(Calculator):
    """Fails as the number that it is sent says."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(np.ndarray)
        cc.outputs[0].set_any()

    def process(self, cc: CalculatorContext) -> None:
        status = int(cc.inputs[0].value[0])
        if status == 1:
            raise ValueError("/secret/path/model.bin is broken")
        if status == 2:
            return
        headers = (("Retry-After", "7"), ("bad name", "x"), ("grpc-status", "0"), ("x-bin", "x"), ("umlaut", "ü"))
        code = "some_code" if status == 429 else "no such\ncode"
        raise RequestError(f"refused with {status} – sorry", status=status, code=code, headers=headers)


@asynccontextmanager
async def served(serve: Serve, models: Models, **graphs: str) -> AsyncIterator[GrpcClient]:
    for name, text in graphs.items():
        models.add_text(name, text)
    client = await serve()
    async with grpc_client(client.app) as made:
        yield made


def floats(response: pb.ModelInferResponse) -> dict[str, list[float]]:
    return {
        each.name: np.frombuffer(raw, "<f4").tolist()
        for each, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


async def test_a_tensor_passes_through_a_graph(serve: Serve, models: Models) -> None:
    async with served(serve, models, double=PASS) as client:
        answer = await client.infer(request("double", tensor("in", 1.0, 2.5), id="mine", version="7"))
        assert (answer.model_name, answer.model_version, answer.id) == ("double", "1", "mine")
        assert floats(answer) == {"out": [1.0, 2.5]}
        assert [*answer.outputs[0].shape] == [2]
        assert answer.parameters["OVMS_MP_TIMESTAMP"].int64_param == 0


async def test_two_inputs_give_two_outputs_or_the_one_that_was_asked_for(serve: Serve, models: Models) -> None:
    async with served(serve, models, two=TWO) as client:
        inputs = (tensor("b", 1.0), tensor("a", 3.0))
        assert floats(await client.infer(request("two", *inputs))) == {"sum": [4.0], "difference": [2.0]}
        assert floats(await client.infer(request("two", *inputs, outputs=["difference"]))) == {"difference": [2.0]}


async def test_parameters_are_side_packets_and_the_timestamp(serve: Serve, models: Models) -> None:
    async with served(serve, models, scaled=SCALED) as client:
        answer = await client.infer(request("scaled", tensor("in", 2.0), factor=5, OVMS_MP_TIMESTAMP=2**40))
        assert floats(answer) == {"out": [10.0]}
        assert answer.parameters["OVMS_MP_TIMESTAMP"].int64_param == 2**40


async def test_a_parameter_that_changes_nothing_is_named_in_the_trailing_metadata(serve: Serve, models: Models) -> None:
    async with served(serve, models, double=PASS) as client:
        call = client.method("ModelInfer")(request("double", tensor("in", 1.0), unheard_of=True))
        await call
        assert dict(await call.trailing_metadata())["x-ignored-parameters"] == "unheard_of"


async def test_a_graph_can_take_and_answer_the_whole_request(serve: Serve, models: Models) -> None:
    async with served(serve, models, whole=WHOLE) as client:
        answer = await client.infer(request("whole", tensor("any", 1.0), tensor("other", 2.0), id="7"))
        assert answer.raw_output_contents[0][4:] == b"whole:any,other"
        assert (answer.model_name, answer.id) == ("whole", "7")


async def test_a_large_tensor_goes_both_ways(serve: Serve, models: Models) -> None:
    values = np.random.default_rng(0).random(2_000_000, np.float32)
    message = pb.ModelInferRequest(
        model_name="double",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="in", datatype="FP32", shape=[2_000_000])],
        raw_input_contents=[values.tobytes()],
    )
    async with served(serve, models, double=PASS) as client:
        answer = await client.infer(message)
        assert answer.raw_output_contents[0] == values.tobytes()


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
async def test_many_small_elements_do_not_hold_up_the_event_loop(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    threads = threads_of_tensors(monkeypatch)
    message = pb.ModelInferRequest(
        model_name="pass",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="in", datatype="BYTES", shape=[20_000])],
        raw_input_contents=[bytes(80_000)],
    )
    async with served(serve, models, **{"pass": PASS}) as client:
        if method == "ModelInfer":
            answer = await client.infer(message)
        else:
            call = client.stream()
            await call.write(message)
            answer = (await call.read()).infer_response
            call.cancel()
    assert answer.raw_output_contents == [bytes(80_000)]
    assert sorted(what for what, _ in threads) == ["read", "written"]
    assert threading.main_thread() not in {thread for _, thread in threads}


async def test_a_message_that_is_larger_than_a_body_may_be_is_refused(serve: Serve, models: Models) -> None:
    models.add_text("double", PASS)
    client = await serve(max_body_bytes=1000)
    async with grpc_client(client.app) as made:
        assert floats(await made.infer(request("double", tensor("in", 1.0)))) == {"out": [1.0]}
        refused = await refusal(made, request("double", tensor("in", *[1.0] * 250)))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def refusal(client: GrpcClient, message: pb.ModelInferRequest, **options: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.infer(message, **options)
    return refused.value


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        (request("nobody"), "NOT_FOUND", "The model 'nobody' does not exist"),
        (request("two", tensor("a", 1.0)), "INVALID_ARGUMENT", "Not all input packets created"),
        (request("two", tensor("a", 1.0), tensor("c", 1.0)), "INVALID_ARGUMENT", "Unexpected input 'c'"),
        (request("double", tensor("in", 1.0, datatype="FP33")), "INVALID_ARGUMENT", "FP33"),
        (request("double", tensor("in", 1.0), OVMS_MP_TIMESTAMP="now"), "INVALID_ARGUMENT", "Should be int64"),
        (request("double", tensor("in", 1.0), py="x"), "FAILED_PRECONDITION", "'py' cannot be set"),
        (request("scaled", tensor("in", 1.0)), "FAILED_PRECONDITION", "needs the side packet 'factor'"),
        (request("scaled", tensor("in", 1.0), factor="5"), "INVALID_ARGUMENT", "factor"),
        (request("bad", tensor("in", 401)), "UNAUTHENTICATED", "refused with 401 – sorry"),
        (request("bad", tensor("in", 412)), "FAILED_PRECONDITION", "refused with 412"),
        (request("bad", tensor("in", 503)), "UNAVAILABLE", "refused with 503"),
        (request("bad", tensor("in", 504)), "DEADLINE_EXCEEDED", "refused with 504"),
        (request("bad", tensor("in", 2)), "INTERNAL", "gave no packet on 'out'"),
    ],
)
async def test_a_refusal_has_the_status_that_its_http_code_stands_for(
    serve: Serve, models: Models, message: pb.ModelInferRequest, code: str, text: str
) -> None:
    async with served(serve, models, double=PASS, two=TWO, scaled=SCALED, bad=BAD) as client:
        refused = await refusal(client, message)
        assert refused.code().name == code
        assert text in (refused.details() or "")


async def test_a_refusal_carries_its_code_and_its_headers(serve: Serve, models: Models) -> None:
    async with served(serve, models, bad=BAD) as client:
        refused = await refusal(client, request("bad", tensor("in", 429)), metadata=(("x-request-id", "mine"),))
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        told = dict(refused.trailing_metadata())
        assert told == {"retry-after": "7", "error-code": "some_code", "x-request-id": "mine"}


async def test_a_full_queue_is_resource_exhausted_and_says_when_to_come_again(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(runs_per_servable=1, queue_size=0)
    async with grpc_client(client.app) as made:
        first = asyncio.ensure_future(made.infer(BLOCK))
        await gate.wait_entered()
        refused = await refusal(made, BLOCK)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert dict(refused.trailing_metadata())["retry-after"] == "5"
        gate.released.set()
        assert (await first).raw_output_contents[0][4:] == b'{"blocked":true}'


async def test_a_fault_of_the_server_tells_the_client_its_id_alone(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(serve, models, bad=BAD) as client:
        refused = await refusal(client, request("bad", tensor("in", 1)), metadata=(("x-request-id", "find-me"),))
        assert refused.code() is grpc.StatusCode.INTERNAL
        assert "find-me" in (refused.details() or "")
        assert "secret" not in str(refused)
        assert "/secret/path/model.bin is broken" in caplog.text


async def test_a_text_that_is_too_long_for_a_status_is_cut(serve: Serve, models: Models) -> None:
    async with served(serve, models, **{f"{'ü' * 60}{number:02}": PASS for number in range(20)}) as client:
        refused = await refusal(client, request("nobody"))
        assert refused.code() is grpc.StatusCode.NOT_FOUND
        assert (refused.details() or "").endswith("...")


async def test_a_client_that_leaves_cancels_its_run(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve()
    async with grpc_client(client.app) as made:
        call = made.method("ModelInfer")(BLOCK)
        await gate.wait_entered()
        call.cancel()
        await gate.wait_cancelled()


async def test_the_deadline_of_a_client_cancels_its_run(
    serve: Serve, models: Models, gate: Gate, clock: FakeClock
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(clock=clock)
    async with grpc_client(client.app) as made:
        refused = await refusal(made, BLOCK, timeout=0.5)
        assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await gate.wait_cancelled()


async def test_the_time_that_the_server_allows_holds_for_grpc_too(
    serve: Serve, models: Models, gate: Gate, clock: FakeClock
) -> None:
    models.add("block", "HttpBlock")
    client = await serve(clock=clock, request_timeout_s=60.0)
    async with grpc_client(client.app) as made:
        answering = asyncio.ensure_future(refusal(made, BLOCK))
        await gate.wait_entered()
        clock.advance(60.0)
        refused = await answering
        assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "60 seconds" in (refused.details() or "")


async def test_a_request_can_be_cancelled_by_its_id(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("block", "HttpBlock")
    client = await serve()
    async with grpc_client(client.app) as made:
        answering = asyncio.ensure_future(refusal(made, BLOCK, metadata=(("x-request-id", "mine"),)))
        await gate.wait_entered()
        assert client.app[ADMISSION].cancel("mine", "somebody asked for that") == 1
        refused = await answering
        assert refused.code() is grpc.StatusCode.CANCELLED
        assert "somebody asked for that" in (refused.details() or "")


async def test_every_call_but_probes_asks_for_the_api_key(serve: Serve, models: Models) -> None:
    models.add_text("double", PASS)
    client = await serve(api_key="sesame")
    async with grpc_client(client.app) as made:
        refused = await refusal(made, request("double", tensor("in", 1.0)))
        assert refused.code() is grpc.StatusCode.UNAUTHENTICATED
        answer = await made.infer(request("double", tensor("in", 1.0)), metadata=(("authorization", "Bearer sesame"),))
        assert floats(answer) == {"out": [1.0]}
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await made.method("ModelMetadata")(pb.ModelMetadataRequest(name="double"))
        assert (await made.method("ServerLive")(pb.ServerLiveRequest())).live
        assert (await made.method("ServerReady")(pb.ServerReadyRequest())).ready


async def test_metadata_tell_of_the_server_and_of_a_graph(serve: Serve, models: Models) -> None:
    async with served(serve, models, whole=WHOLE, two=TWO) as client:
        server = await client.method("ServerMetadata")(pb.ServerMetadataRequest())
        assert server.name == "graph-runtime"
        told = await client.method("ModelMetadata")(pb.ModelMetadataRequest(name="two", version="1"))
        assert (told.name, [*told.versions], told.platform) == ("two", ["1"], "OpenVINO")
        assert [(each.name, each.datatype, [*each.shape]) for each in told.inputs] == [
            ("a", "INVALID", []),
            ("b", "INVALID", []),
        ]
        assert [each.name for each in told.outputs] == ["sum", "difference"]
        index = await client.method("RepositoryIndex")(pb.RepositoryIndexRequest())
        assert [(each.name, each.version, each.state) for each in index.models] == [
            ("two", "1", "READY"),
            ("whole", "1", "READY"),
        ]


async def test_a_model_is_ready_when_it_is_loaded(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpSlowToLoad")
    models.add("broken", "HttpBadPlugIn")
    client = await serve(settled=False, load_wait_s=0.0)
    async with grpc_client(client.app) as made:
        await gate.wait_entered()
        ready = made.method("ModelReady")
        assert not (await ready(pb.ModelReadyRequest(name="slow"))).ready
        assert not (await made.method("ServerReady")(pb.ServerReadyRequest())).ready
        refused = await refusal(made, request("slow"))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert "still loading" in (refused.details() or "")
        gate.released.set()
        await client.app[SERVABLES].settled.wait()
        assert (await ready(pb.ModelReadyRequest(name="slow"))).ready
        assert not (await ready(pb.ModelReadyRequest(name="broken"))).ready
        assert [
            (each.name, each.state)
            for each in (await made.method("RepositoryIndex")(pb.RepositoryIndexRequest())).models
        ] == [("broken", "UNAVAILABLE"), ("slow", "READY")]
        only_ready = await made.method("RepositoryIndex")(pb.RepositoryIndexRequest(ready=True))
        assert [each.name for each in only_ready.models] == ["slow"]
        with pytest.raises(grpc.aio.AioRpcError, match="NOT_FOUND"):
            await ready(pb.ModelReadyRequest(name="nobody"))


async def test_each_call_is_one_line_in_the_access_log(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graph_runtime.access")
    async with served(serve, models, double=PASS) as client:
        await client.infer(request("double", tensor("in", 1.0)), metadata=(("x-request-id", "mine"),))
        await client.method("ServerLive")(pb.ServerLiveRequest())  # a probe: no line
    (line,) = [record.getMessage() for record in caplog.records if record.name == "graph_runtime.access"]
    assert line.startswith("gRPC ModelInfer OK ")
    assert line.endswith(" model=double mine")


def _raw_calls(channel: grpc.aio.Channel) -> dict[str, Callable[[bytes], Awaitable[object]]]:
    unary: Any = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
    stream: Any = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")

    async def second_of_a_stream(sent: bytes) -> list[bytes]:
        return [each async for each in stream([request("pass", tensor("in", 1.0)).SerializeToString(), sent])]

    async def first_of_a_stream(sent: bytes) -> list[bytes]:
        return [each async for each in stream([sent])]

    return {"unary": unary, "first of a stream": first_of_a_stream, "second of a stream": second_of_a_stream}


@pytest.mark.parametrize("kind", ["unary", "first of a stream", "second of a stream"])
async def test_bytes_that_are_no_message_are_an_invalid_argument_and_no_fault_of_the_server(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async with served(serve, models, **{"pass": PASS}) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _raw_calls(client.channel)[kind](b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("The message is no inference.ModelInferRequest: ")
    assert dict(caught.value.trailing_metadata() or ())["error-code"] == "invalid_message"
    assert "Traceback" not in caplog.text


async def test_bytes_that_are_no_message_do_not_pass_without_the_key(serve: Serve) -> None:
    client = await serve(api_key="sesame")
    async with grpc_client(client.app) as made:
        with pytest.raises(grpc.aio.AioRpcError, match="UNAUTHENTICATED"):
            await _raw_calls(made.channel)["unary"](b"\xff\xff\xff")


async def test_an_unknown_method_is_unimplemented(serve: Serve, models: Models) -> None:
    async with served(serve, models, double=PASS) as client:
        call: Any = client.channel.unary_unary("/inference.GRPCInferenceService/ModelStatistics")
        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await call(b"")
