"""The graphs of examples/python_nodes: one over REST, one as a stream of gRPC."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.app import build_app
from server.cli import main
from server.keys import SERVABLES
from server.settings import Settings
from tests.docs.blocks import blocks
from tests.server.grpc_client import grpc_client, request

if TYPE_CHECKING:
    from pytest_aiohttp.plugin import AiohttpClient

FOLDER = Path(__file__).parents[2] / "examples" / "python_nodes"


async def test_numbers_get_a_mean_and_a_deviation_and_a_text_comes_back_word_by_word(
    aiohttp_client: AiohttpClient,
) -> None:
    client = await aiohttp_client(build_app(Settings(models=FOLDER, allow_python_nodes=True, shutdown_grace_s=0)))
    await client.app[SERVABLES].settled.wait()

    (curl,) = [each.text for each in blocks(FOLDER / "README.md") if each.text.startswith("curl")]
    _, address, _, body = shlex.split(curl.replace("\\\n", " "))
    path = address.removeprefix("localhost:8000")
    answer = await (await client.post(path, data=body)).json()
    assert {each["name"]: each["data"] for each in answer["outputs"]} == {"mean": [4.0], "deviation": [2**0.5]}
    refused = await client.post(path, data=body.replace("[4]", "[0]").replace("[2, 4, 4, 6]", "[]"))
    assert (refused.status, await refused.json()) == (400, {"error": "numbers is empty: give at least one"})

    async with grpc_client(client.app) as over_grpc:
        stream = over_grpc.stream()
        message = request("words", pb.ModelInferRequest.InferInputTensor(name="text", datatype="BYTES", shape=[1]))
        message.raw_input_contents.append(b"one word after the other")
        await stream.write(message)
        await stream.done_writing()
        words = []
        while (each := await stream.read()) is not grpc.aio.EOF:
            words.append(each.infer_response.raw_output_contents[0])
    assert words == [b"one", b"word", b"after", b"the", b"other"]


def test_the_graphs_have_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--allow_python_nodes", str(FOLDER)]) == 0
    assert capsys.readouterr().out.count(": ok") == 2


@pytest.mark.parametrize(
    ("name", "given", "calls"), [("words", "text=one two three", 4), ("spread", "numbers=[1, 2, 3]", 1)]
)
def test_the_graphs_can_be_traced_without_a_server(
    name: str, given: str, calls: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.json"
    assert main(["trace", str(FOLDER / name), "--allow_python_nodes", "--input", given, "-o", str(trace)]) == 0
    assert capsys.readouterr().out == f"{trace}: {calls} call(s) of 1 node(s)\n"
