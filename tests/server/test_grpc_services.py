"""What gRPC tools ask for: health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from server._pb.grpc.health.v1 import health_pb2
from server._pb.grpc.reflection.v1 import reflection_pb2 as v1
from server._pb.grpc.reflection.v1alpha import reflection_pb2 as v1alpha
from server.grpc_health import LOOK_S
from server.grpc_server import GrpcServer
from server.keys import DRAIN, SERVABLES
from tests.server.grpc_client import INFERENCE, GrpcClient, grpc_client

if TYPE_CHECKING:
    from tests.server.conftest import FakeClock, Gate, Models, Serve

PATIENCE_S = 20
HEALTH = "grpc.health.v1.Health"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def check(client: GrpcClient, service: str = "") -> int:
    answer = await client.method("Check", HEALTH)(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_the_server_serves_when_all_models_do_and_each_model_by_itself(
    serve: Serve, models: Models, gate: Gate
) -> None:
    models.add("slow", "HttpSlowToLoad")
    models.add("ready", "HttpEcho")
    client = await serve(settled=False)
    async with grpc_client(client.app) as made:
        await gate.wait_entered()
        servables = client.app[SERVABLES]
        await servables.find("ready").settled.wait()
        assert [await check(made, name) for name in ("", INFERENCE, "slow", "ready")] == [
            NOT_SERVING,
            NOT_SERVING,
            NOT_SERVING,
            SERVING,
        ]
        gate.released.set()
        await servables.settled.wait()
        assert [await check(made, name) for name in ("", INFERENCE, "slow", "ready")] == [SERVING] * 4
        listed = await made.method("List", HEALTH)(health_pb2.HealthListRequest())
        assert {name: each.status for name, each in listed.statuses.items()} == dict.fromkeys(
            ["", INFERENCE, "ready", "slow"], SERVING
        )


async def test_a_service_that_nobody_knows_is_not_found(serve: Serve, models: Models) -> None:
    models.add("ready", "HttpEcho")
    client = await serve()
    async with grpc_client(client.app) as made:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(made, "nobody")
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_is_told_each_change_and_the_end(
    serve: Serve, models: Models, gate: Gate, clock: FakeClock
) -> None:
    models.add("slow", "HttpSlowToLoad")
    client = await serve(settled=False, clock=clock)
    server = GrpcServer(client.app)
    server.listen()
    await server.start()
    async with grpc.aio.insecure_channel(server.places[0]) as channel, asyncio.timeout(PATIENCE_S):
        made = GrpcClient(channel)
        watch = made.method("Watch", HEALTH)(health_pb2.HealthCheckRequest(service="slow"))
        assert (await watch.read()).status == NOT_SERVING
        gate.released.set()
        await client.app[SERVABLES].settled.wait()
        await clock.wait_for_sleep(LOOK_S)
        clock.advance(LOOK_S)
        assert (await watch.read()).status == SERVING
        client.app[DRAIN].begun = True
        await server.close_door()
        assert (await watch.read()).status == NOT_SERVING
        assert await watch.read() is grpc.aio.EOF
        await server.close()


async def test_a_watcher_of_an_unknown_service_is_told_so_and_kept(
    serve: Serve, models: Models, clock: FakeClock
) -> None:
    models.add("ready", "HttpEcho")
    client = await serve(clock=clock)
    async with grpc_client(client.app) as made, asyncio.timeout(PATIENCE_S):
        watch = made.method("Watch", HEALTH)(health_pb2.HealthCheckRequest(service="nobody"))
        assert (await watch.read()).status == SERVICE_UNKNOWN
        await clock.wait_for_sleep(LOOK_S)
        assert not watch.done()
        watch.cancel()


@pytest.fixture(params=[v1, v1alpha], ids=["v1", "v1alpha"])
async def reflect(request: pytest.FixtureRequest, serve: Serve, models: Models) -> AsyncIterator[Any]:
    """Asks for reflection; gives the answer."""
    pb = request.param
    models.add("ready", "HttpEcho")
    client = await serve()
    async with grpc_client(client.app) as made:
        service = f"{pb.DESCRIPTOR.package}.ServerReflection"
        call = made.method("ServerReflectionInfo", service)()

        async def ask(**question: Any) -> Any:
            if isinstance(question.get("file_containing_extension"), tuple):
                name, number = question["file_containing_extension"]
                question["file_containing_extension"] = pb.ExtensionRequest(
                    containing_type=name, extension_number=number
                )
            asked = pb.ServerReflectionRequest(host="here", **question)
            async with asyncio.timeout(PATIENCE_S):
                await call.write(asked)
                answer = await call.read()
            assert (answer.valid_host, answer.original_request) == ("here", asked)
            return answer

        yield ask
        await call.done_writing()


async def test_reflection_lists_what_is_served(reflect: Any) -> None:
    answer = await reflect(list_services="*")
    assert [each.name for each in answer.list_services_response.service] == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


async def test_a_client_that_knows_nothing_can_call_with_what_reflection_says(
    reflect: Any, serve: Serve, models: Models
) -> None:
    answer = await reflect(file_containing_symbol=INFERENCE)
    pool = DescriptorPool()
    for data in answer.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(data)
    method = pool.FindServiceByName(INFERENCE).methods_by_name["ServerMetadata"]
    asked: Any = GetMessageClass(method.input_type)
    answered: Any = GetMessageClass(method.output_type)
    client = await serve()
    async with grpc_client(client.app) as made:
        call: Any = made.channel.unary_unary(
            f"/{INFERENCE}/ServerMetadata",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        assert (await call(asked())).name == "graph-runtime"


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "inference/grpc_predict_v2.proto"},
        {"file_containing_symbol": "inference.GRPCInferenceService.ModelInfer"},
        {"file_containing_symbol": "inference.ModelInferRequest"},
        {"file_containing_symbol": "inference.ModelInferRequest.InferInputTensor"},
        {"file_containing_symbol": "inference.ModelInferRequest.model_name"},
    ],
)
async def test_files_are_found_by_name_and_by_what_is_in_them(reflect: Any, question: dict[str, str]) -> None:
    (data,) = (await reflect(**question)).file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(data).name == "inference/grpc_predict_v2.proto"


async def test_messages_have_no_extensions(reflect: Any) -> None:
    numbers = (
        await reflect(all_extension_numbers_of_type="inference.ModelInferRequest")
    ).all_extension_numbers_response
    assert (numbers.base_type_name, [*numbers.extension_number]) == ("inference.ModelInferRequest", [])


@pytest.mark.parametrize(
    "question",
    [
        {"file_by_filename": "inference/other.proto"},
        {"file_containing_symbol": "inference.Other"},
        {"file_containing_symbol": "inference.GRPCInferenceService.Other"},
        {"file_containing_extension": ("inference.ModelInferRequest", 100)},
        {"all_extension_numbers_of_type": "inference.Other"},
    ],
)
async def test_what_there_is_not_is_not_found_and_the_stream_goes_on(reflect: Any, question: dict[str, Any]) -> None:
    assert (await reflect(**question)).error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert (await reflect(list_services="")).list_services_response.service


async def test_a_question_about_nothing_is_an_invalid_argument(reflect: Any) -> None:
    assert (await reflect()).error_response.error_code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
