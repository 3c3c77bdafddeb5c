"""tritonclient over gRPC, and the tools of gRPC itself, against a running server."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import queue
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from PIL import Image

from server import _pb
from tests.clients.conftest import SERVED

_WHERE = "nox -s clients installs it"
grpcclient = pytest.importorskip("tritonclient.grpc", reason=_WHERE)
grpcaio = pytest.importorskip("tritonclient.grpc.aio", reason=_WHERE)
health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2", reason=_WHERE)
health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc", reason=_WHERE)
reflection_pb2 = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2", reason=_WHERE)
reflection = pytest.importorskip("grpc_reflection.v1alpha.proto_reflection_descriptor_database", reason=_WHERE)
from tritonclient.utils import InferenceServerException  # noqa: E402  # only where tritonclient is installed

PATIENCE_S = 120
DATATYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    "BYTES": np.object_,
}  # fmt: skip


NEWER = ("List", "HealthListRequest", "HealthListResponse")
"""Parts of the protocols that the package for protobuf 6 does not have yet."""


@pytest.fixture
def client(grpc_address: str) -> Iterator[Any]:
    with grpcclient.InferenceServerClient(grpc_address) as made:
        yield made


def tensor(name: str, array: Any, datatype: str) -> Any:
    made = grpcclient.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


class Stream:
    """tritonclient's stream, with its answers in a queue."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.answers: queue.Queue[tuple[Any, Any]] = queue.Queue()

    def __enter__(self) -> Stream:
        self.client.start_stream(callback=lambda result, error: self.answers.put((result, error)))
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_stream()

    def send(self, model: str, *inputs: Any, **options: Any) -> None:
        self.client.async_stream_infer(model, list(inputs), **options)

    def result(self) -> Any:
        """The next answer, which is no error."""
        result, error = self.answers.get(timeout=PATIENCE_S)
        assert error is None, error
        return result

    def error(self) -> str:
        """The text of the next answer, which is an error."""
        result, error = self.answers.get(timeout=PATIENCE_S)
        assert result is None
        return str(error)


def test_the_server_and_its_models_say_how_they_are(client: Any) -> None:
    assert client.is_server_live()
    assert client.get_server_metadata().name == "graph-runtime"
    for model in ("pass", "my/two", "shapes"):
        assert client.get_model_metadata(model).name == model
        assert client.is_model_ready(model)
    assert client.is_server_ready()
    with pytest.raises(InferenceServerException, match="NOT_FOUND"):
        client.is_model_ready("nothing")
    assert {each.name: each.state for each in client.get_model_repository_index().models} == dict.fromkeys(
        SERVED, "READY"
    )
    (described,) = client.get_model_metadata("shapes", "1").inputs
    assert (described.name, described.datatype, [*described.shape]) == ("input", "BYTES", [1])


@pytest.mark.parametrize("datatype", DATATYPES)
def test_tensors_of_every_datatype_come_back(client: Any, datatype: str) -> None:
    sent: Any = np.array([[0, 1], [1, 1]]).astype(DATATYPES[datatype])
    if datatype == "BYTES":
        sent = np.array([[b"a", "\u00e4b".encode()], [b"", b"\x00\xff"]], dtype=np.object_)
    result = client.infer("pass", [tensor("in", sent, datatype)], request_id="7")
    assert result.get_response().id == "7"
    assert result.as_numpy("out").tolist() == sent.tolist()


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client: Any, algorithm: str) -> None:
    sent = np.arange(100_000, dtype=np.float32)
    result = client.infer("pass", [tensor("in", sent, "FP32")], compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("out"), sent)


def test_two_inputs_and_the_output_that_was_asked_for(client: Any) -> None:
    inputs = [tensor("b", floats(2), "FP32"), tensor("a", floats(1), "FP32")]
    result = client.infer("my/two", inputs, outputs=[grpcclient.InferRequestedOutput("d")])
    assert result.as_numpy("c") is None
    assert result.as_numpy("d").tolist() == [2]


def test_parameters_are_side_packets(client: Any) -> None:
    result = client.infer("side", [tensor("tick", floats(0), "FP32")], parameters={"word": "hello", "number": 7})
    assert result.as_numpy("said").tolist() == [b"hello"]
    assert result.as_numpy("counted").tolist() == [7]


def test_a_picture_is_an_image_in_the_graph_and_a_tensor_again(client: Any) -> None:
    sent = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    result = client.infer("picture", [tensor("picture", sent, "UINT8")])
    np.testing.assert_array_equal(result.as_numpy("same"), sent)


@pytest.mark.parametrize(
    ("model", "inputs", "code", "text"),
    [
        ("nothing", {"in": floats(1)}, "NOT_FOUND", "does not exist"),
        ("pass", {"else": floats(1)}, "INVALID_ARGUMENT", "Unexpected input 'else'"),
        ("my/two", {"a": floats(1)}, "INVALID_ARGUMENT", "Not all input packets created"),
    ],
)
def test_refusals_name_what_is_wrong(client: Any, model: str, inputs: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(InferenceServerException, match=text) as refused:
        client.infer(model, [tensor(name, each, "FP32") for name, each in inputs.items()])
    assert refused.value.status() == f"StatusCode.{code}"


def test_a_stream_answers_each_request_in_its_order(client: Any) -> None:
    with Stream(client) as stream:
        for number in range(20):
            stream.send("pass", tensor("in", floats(number), "FP32"), request_id=str(number))
        for number in range(20):
            result = stream.result()
            assert result.get_response().id == str(number)
            assert result.as_numpy("out").tolist() == [number]


def test_a_stream_takes_inputs_one_by_one_and_tells_what_is_wrong(client: Any) -> None:
    def at(timestamp: int) -> dict[str, Any]:
        return {"parameters": {"OVMS_MP_TIMESTAMP": timestamp}, "request_id": str(timestamp)}

    with Stream(client) as stream:
        stream.send("my/two", tensor("a", floats(1), "FP32"), **at(5))
        stream.send("my/two", tensor("b", floats(2), "FP32"), **at(5))
        first, second = stream.result(), stream.result()
        assert (first.as_numpy("c").tolist(), second.as_numpy("d").tolist()) == ([1], [2])
        assert first.get_response().parameters["OVMS_MP_TIMESTAMP"].int64_param == 5
        stream.send("my/two", tensor("a", floats(1), "FP32"), **at(4))
        assert "minimum expected timestamp is 6 but received 4" in stream.error()
        stream.send("pass", tensor("in", floats(1), "FP32"))
        assert "This stream is for the model 'my/two'" in stream.error()
        stream.send("my/two", tensor("a", floats(3), "FP32"), tensor("b", floats(4), "FP32"), **at(9))
        assert [stream.result().get_response().id for _ in range(2)] == ["9", "9"]


def test_two_openvino_models_in_one_graph_as_the_client_of_the_reference_asks_them(client: Any) -> None:
    row = np.arange(10, dtype=np.float32).reshape(1, 10)
    described = client.get_model_metadata("sum_of_two")
    assert [(each.name, each.datatype, [*each.shape]) for each in (*described.inputs, *described.outputs)] == [
        ("first", "FP32", [1, 10]),
        ("second", "FP32", [1, 10]),
        ("sum", "FP32", [1, 10]),
    ]
    result = client.infer("sum_of_two", [tensor("first", row, "FP32"), tensor("second", row, "FP32")])
    np.testing.assert_array_equal(result.as_numpy("sum"), 2 * row + 1)
    with pytest.raises(InferenceServerException, match=r"takes FP32 \[1,10\], and got FP32 \[1,9\]") as refused:
        client.infer("dummy", [tensor("b", row[:, 1:], "FP32")])
    assert refused.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_a_stream_of_inferences_keeps_their_order(client: Any) -> None:
    with Stream(client) as stream:
        for number in range(50):
            stream.send("dummy", tensor("b", np.full((1, 10), number, np.float32), "FP32"), request_id=str(number))
        for number in range(50):
            result = stream.result()
            assert (result.get_response().id, result.as_numpy("a")[0, 0]) == (str(number), number + 1)


def test_a_stream_for_a_model_that_is_not_there_ends_with_its_status(client: Any) -> None:
    with Stream(client) as stream:
        stream.send("nothing", tensor("in", floats(1), "FP32"))
        assert "does not exist" in stream.error()


def _image_request(**more: Any) -> Any:
    body = {"prompt": "a red circle on a blue background", "num_inference_steps": 4, "rng_seed": 1, **more}
    return tensor("input", np.array([json.dumps(body).encode()], dtype=np.object_), "BYTES")


def _picture(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_a_picture_is_drawn_over_grpc(client: Any) -> None:
    (text,) = client.infer("shapes", [_image_request()]).as_numpy("output").tolist()
    assert _picture(json.loads(text)["data"][0]["b64_json"]).size == (64, 64)


def test_a_stream_gives_partial_pictures_and_then_the_whole_one(client: Any) -> None:
    with Stream(client) as stream:
        stream.send("shapes", _image_request(stream=True, partial_images=2), request_id="cat")
        events: list[Any] = []
        while not events or events[-1]["type"] != "image_generation.completed":
            result = stream.result()
            assert result.get_response().id == "cat"
            (text,) = result.as_numpy("output").tolist()
            events.append(json.loads(text))
    assert {each["type"] for each in events[:-1]} == {"image_generation.partial_image"}
    assert all(_picture(each["b64_json"]).size == (64, 64) for each in events)


async def test_the_asynchronous_client_does_many_things_at_once(grpc_address: str) -> None:
    async with grpcaio.InferenceServerClient(grpc_address) as client:
        answers = await asyncio.gather(
            *(client.infer("pass", [tensor("in", floats(number), "FP32")]) for number in range(20))
        )
        assert [each.as_numpy("out").tolist() for each in answers] == [[number] for number in range(20)]

        async def requests() -> Any:
            for number in range(3):
                yield {"model_name": "pass", "inputs": [tensor("in", floats(number), "FP32")]}

        streamed = [
            result.as_numpy("out").tolist() async for result, error in client.stream_infer(requests()) if error is None
        ]
        assert streamed == [[0.0], [1.0], [2.0]]


def test_grpcs_own_client_of_the_health_service(grpc_address: str) -> None:
    with grpc.insecure_channel(grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inference.GRPCInferenceService", "my/two"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_grpcs_own_client_of_reflection_finds_the_services_and_their_messages(grpc_address: str) -> None:
    with grpc.insecure_channel(grpc_address) as channel:
        database = reflection.ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) >= {"inference.GRPCInferenceService", "grpc.health.v1.Health"}
        service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
        fields = service.methods_by_name["ModelInfer"].input_type.fields_by_name
        assert {name: field.number for name, field in fields.items()}["raw_input_contents"] == 7


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("inference/grpc_predict_v2.proto", grpcclient.service_pb2),
        ("grpc/health/v1/health.proto", health_pb2),
        ("grpc/reflection/v1alpha/reflection.proto", reflection_pb2),
    ],
)
def test_our_messages_are_those_of_the_protocol(ours: str, theirs: Any) -> None:
    own, other = FileDescriptorProto(), FileDescriptorProto()
    _pb.POOL.FindFileByName(ours).CopyToProto(own)
    theirs.DESCRIPTOR.CopyToProto(other)
    assert own.package == other.package
    known = {message.name: facts(message) for message in other.message_type}
    mine = {message.name: facts(message) for message in own.message_type if message.name not in NEWER}
    assert mine == {name: known[name] for name in mine}
    calls = {method.name: method for method in other.service[0].method}
    for method in own.service[0].method:
        if method.name in NEWER:
            continue
        their = calls[method.name]
        assert (method.input_type, method.output_type) == (their.input_type, their.output_type)
        assert (method.client_streaming, method.server_streaming) == (their.client_streaming, their.server_streaming)


def facts(message: DescriptorProto) -> Any:
    """What reading and writing a message depends on."""
    return (
        sorted((f.name, f.number, f.type, f.type_name, f.label) for f in message.field),
        sorted((nested.name, facts(nested)) for nested in message.nested_type),
        sorted((value.name, value.number) for enum in message.enum_type for value in enum.value),
    )


@pytest.mark.parametrize("order", [0, 1])
def test_the_server_shares_a_process_with_the_packages_that_have_the_same_messages(order: int) -> None:
    imports = ["import tritonclient.grpc, grpc_health.v1.health_pb2, grpc_reflection.v1alpha.reflection_pb2"]
    imports.insert(order, "import server.grpc_server")
    code = "; ".join([*imports, "print('both')"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("both", 0), done.stderr


def test_the_example_of_a_python_node_prints_a_text_word_by_word(grpc_address: str) -> None:
    program = Path(__file__).parents[2] / "examples" / "python_nodes" / "stream.py"
    done = subprocess.run(
        [sys.executable, program, "one word after the other", grpc_address],
        capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, ["one", "word", "after", "the", "other"]), done.stderr
