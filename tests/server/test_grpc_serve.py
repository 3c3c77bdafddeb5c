"""The gRPC port of ``graph-runtime serve`` as a process: where it is, how it leaves, TLS."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from server._pb.grpc.health.v1 import health_pb2
from server._pb.grpc.reflection.v1 import reflection_pb2
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.cli import main
from tests.server.grpc_client import INFERENCE, request, tensor

if TYPE_CHECKING:
    from tests.server.certificates import Certificates
    from tests.server.conftest import Models, StartServer

PATIENCE_S = 30
PASS = """
input_stream: "in" output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
HTTP = pb.ModelInferRequest.InferInputTensor(
    name="input", datatype="BYTES", shape=[1], contents=pb.InferTensorContents(bytes_contents=[b"{}"])
)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def infer(channel: grpc.Channel | grpc.aio.Channel) -> Any:
    """ModelInfer, to be called."""
    return channel.unary_unary(
        f"/{INFERENCE}/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )


def test_the_grpc_port_is_told_and_answers_beside_http(start_server: StartServer, models: Models) -> None:
    models.add_text("pass", PASS)
    models.add("echo", "Echo")
    port = free_port()
    server = start_server("--models", str(models.folder), "--port", str(port))
    first = server.first_lines()[0]
    assert f"graph-runtime is at {server.url} (gRPC at 127.0.0.1:{port}) and serves echo, pass" in first
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = infer(channel)(request("pass", tensor("in", 1.0)), timeout=PATIENCE_S)
        assert answer.outputs[0].name == "out"
    assert server.post({"model": "echo"}) == {"echo": True}
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in server.errors()


def test_a_signal_refuses_new_calls_answers_those_that_run_and_waits_for_no_watcher(
    start_server: StartServer, models: Models
) -> None:
    models.add("hold", "Hold")
    port = free_port()
    server = start_server("--models", str(models.folder), "--grpc_port", str(port))
    server.first_lines()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch: Any = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        states = watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        running = infer(channel).future(request("hold", HTTP), timeout=PATIENCE_S)
        assert server.line() == "holding"
        server.process.send_signal(signal.SIGTERM)
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert list(states) == []
        with grpc.insecure_channel(f"127.0.0.1:{port}") as late, pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            infer(late)(request("hold", HTTP), timeout=PATIENCE_S)
        assert server.process.poll() is None
        server.release()
        assert running.result().raw_output_contents[0][4:] == b'{"held":true}'
    assert server.process.wait(PATIENCE_S) == 0
    assert "Traceback" not in server.errors()


async def _ask_until_refused(port: int, told: Counter[str], answered: asyncio.Event) -> None:
    """Ask until the server answers with an error; counts what became of each call."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        while True:
            try:
                await infer(channel)(request("nap", HTTP), timeout=PATIENCE_S)
                told["answered"] += 1
            except grpc.aio.AioRpcError as error:
                told[error.code().name] += 1
                return
            finally:
                answered.set()


async def test_a_signal_under_load_answers_every_call(start_server: StartServer, models: Models) -> None:
    models.add("nap", "Nap")
    port = free_port()
    server = start_server("--models", str(models.folder), "--grpc_port", str(port))
    await asyncio.to_thread(server.first_lines)
    told: Counter[str] = Counter()
    answered = asyncio.Event()
    asking = [asyncio.create_task(_ask_until_refused(port, told, answered)) for _ in range(8)]
    await answered.wait()
    server.process.send_signal(signal.SIGTERM)
    await asyncio.gather(*asking)
    assert await asyncio.to_thread(server.process.wait, PATIENCE_S) == 0
    assert told.keys() == {"answered", "UNAVAILABLE"}  # refused, or not let in; none was cancelled
    assert told["UNAVAILABLE"] == 8


def test_a_shutdown_does_not_wait_for_clients_that_ask_for_nothing(start_server: StartServer, models: Models) -> None:
    models.add_text("pass", PASS)
    port = free_port()
    server = start_server("--models", str(models.folder), "--port", str(port), "--shutdown_grace_s", "600")
    server.first_lines()
    open_until_the_end = threading.Event()

    def asks(*messages: object) -> Iterator[object]:
        yield from messages
        open_until_the_end.wait(PATIENCE_S)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        reflection: Any = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        assert next(reflection(asks(reflection_pb2.ServerReflectionRequest(list_services="")))).list_services_response
        silent: Any = channel.stream_stream(f"/{INFERENCE}/ModelStreamInfer")
        silent(asks(), timeout=PATIENCE_S)
        infer(channel)(request("pass", tensor("in", 1.0)), timeout=PATIENCE_S)  # the stream before it is there by now
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        open_until_the_end.set()
    assert "Traceback" not in server.errors()


def test_a_run_that_is_there_when_the_grace_is_over_is_told_so(start_server: StartServer, models: Models) -> None:
    models.add("wait", "Wait")
    port = free_port()
    server = start_server("--models", str(models.folder), "--port", str(port), "--shutdown_grace_s", "0")
    server.first_lines()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        running = infer(channel).future(request("wait", HTTP), timeout=PATIENCE_S)
        assert server.line() == "waiting"
        server.process.send_signal(signal.SIGTERM)
        assert running.code() is grpc.StatusCode.UNAVAILABLE
        assert "shutting down" in running.details()
    assert server.process.wait(PATIENCE_S) == 0


def test_a_busy_grpc_port_ends_the_start(models: Models, capsys: pytest.CaptureFixture[str]) -> None:
    models.add_text("pass", PASS)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--models", str(models.folder), "--rest_port", "0", "--port", str(port)]
        assert main(["serve", *flags]) == 1
    assert f"cannot listen for gRPC on 127.0.0.1:{port}" in capsys.readouterr().err


def test_grpc_speaks_tls_with_the_certificate_of_http(
    start_server: StartServer, models: Models, certificates: Certificates
) -> None:
    models.add_text("pass", PASS)
    port = free_port()
    server = start_server(
        "--models", str(models.folder), "--port", str(port),
        "--tls_certificate_file", str(certificates.server_file), "--tls_key_file", str(certificates.server_key),
    )  # fmt: skip
    server.first_lines()
    credentials = grpc.ssl_channel_credentials(certificates.authority_file.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        answer = infer(channel)(request("pass", tensor("in", 1.0)), timeout=PATIENCE_S)
        assert answer.outputs[0].name == "out"
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
        infer(channel)(request("pass", tensor("in", 1.0)), timeout=PATIENCE_S)
