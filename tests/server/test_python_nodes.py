"""Python nodes in a served graph: over REST, over gRPC, as a stream; and what a bad handler costs."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.cli import main
from tests.server.grpc_client import grpc_client, request

if TYPE_CHECKING:
    from tests.server.conftest import Client, FakeClock, Gate, Models, Serve

STILL_S = 0.05
PATIENCE_S = 60
HEADER = "Inference-Header-Content-Length"
INFER = "/v2/models/py/infer"

TELL = """
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        told = [inputs[0].name, inputs[0].datatype, list(inputs[0].shape), inputs[0].data.format, bytes(inputs[0]).hex()]
        return [Tensor("out", repr(told).encode())]
"""
ECHO = """
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        return [Tensor("out", inputs[0], inputs[0].shape, inputs[0].datatype)]
"""
SAY = """
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        return [Tensor("out", b"WORD")]
"""
COUNT = """
from pyovms import Tensor

class OvmsPythonModel:
    def execute(self, inputs):
        for number in range(int(bytes(inputs[0]))):
            yield [Tensor("out", str(number).encode())]
"""
GATED = """
from pyovms import Tensor
from gate_of_a_test import gate

class OvmsPythonModel:
    def execute(self, inputs):
        if bytes(inputs[0]) == b"hang":
            gate.pass_through()
        return [Tensor("out", b"done")]
"""


def node(file: str = "model.py", more_in: str = "", more_out: str = "", more: str = "") -> str:
    return f"""
    node {{
      name: "py" calculator: "PythonExecutorCalculator" input_side_packet: "PYTHON_NODE_RESOURCES:py"
      input_stream: "INPUT:in" {more_in}
      output_stream: "OUTPUT:out" {more_out}
      {more}
      node_options: {{ [type.googleapis.com / mediapipe.PythonExecutorCalculatorOptions]: {{ handler_path: "{file}" }} }}
    }}
    """


STREAMS = 'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out"'
GRAPH = STREAMS + node()
GENERATING = STREAMS + node(
    more_in='input_stream: "LOOPBACK:loopback"',
    more_out='output_stream: "LOOPBACK:loopback"',
    more="""
      input_stream_info: { tag_index: "LOOPBACK:0" back_edge: true }
      input_stream_handler {
        input_stream_handler: "SyncSetInputStreamHandler"
        options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] { sync_set { tag_index: "LOOPBACK:0" } } }
      }
    """,
)


def add(models: Models, code: str, name: str = "py", graph: str = GRAPH) -> Path:
    """A graph with a handler; its folder."""
    folder = models.add_text(name, graph).parent
    (folder / "model.py").write_text(code)
    return folder


async def infer(client: Client, datatype: str, shape: list[int], data: Any, **request: Any) -> tuple[int, Any]:
    body = {"inputs": [{"name": "in", "datatype": datatype, "shape": shape, "data": data}], **request}
    response = await client.post(INFER, json=body)
    return response.status, await response.json()


async def infer_binary(
    client: Client, datatype: str, shape: list[int], raw: bytes, **asked: Any
) -> tuple[int, Any, bytes]:
    """An answer's status, its JSON, and what lies behind it."""
    inputs = [{"name": "in", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(raw)}}]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}, **asked}).encode()
    response = await client.post(INFER, data=head + raw, headers={HEADER: str(len(head))})
    body = await response.read()
    length = int(response.headers.get(HEADER, len(body)))
    return response.status, json.loads(body[:length]), body[length:]


def output(answer: Any) -> Any:
    """The only output of an answer, without its name."""
    (found,) = answer["outputs"]
    assert found.pop("name") == "out"
    found.pop("parameters", None)
    return found


# ---- what clients send and get


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "told"),
    [
        ("FP32", [1, 2], [1.0, 2.0], ["FP32", [1, 2], "f", np.array([1, 2], np.float32).tobytes()]),
        ("INT64", [1], [-5], ["INT64", [1], "q", np.array([-5]).tobytes()]),
        ("BOOL", [2], [True, False], ["BOOL", [2], "?", b"\x01\x00"]),
        ("BYTES", [2], ["one", "two!"], ["BYTES", [2], "B", b"\x03\0\0\0one\x04\0\0\0two!"]),
    ],
)
async def test_a_node_gets_what_was_sent_as_json(
    serve: Serve, models: Models, datatype: str, shape: list[int], data: Any, told: list[Any]
) -> None:
    add(models, TELL)
    client = await serve(allow_python_nodes=True)
    status, answer = await infer(client, datatype, shape, data)
    assert status == 200, answer
    said = output(answer)
    assert said["datatype"] == "UINT8"
    assert bytes(said["data"]).decode() == repr(["in", *told[:-1], told[-1].hex()])


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [
        ("FP16", [2, 2], np.array([1, 2, 3, 4], np.float16).tobytes()),
        ("BYTES", [2], b"\x03\0\0\0one\x04\0\0\0two!"),
        ("BYTES", [9], b"some text"),  # whatever it is: this is what the client of a Python node may send
        ("my_string", [3], b"null0terminated0string0"),
    ],
)
async def test_binary_tensors_go_to_a_node_and_back_untouched(
    serve: Serve, models: Models, datatype: str, shape: list[int], raw: bytes
) -> None:
    add(models, ECHO)
    client = await serve(allow_python_nodes=True)
    status, answer, behind = await infer_binary(client, datatype, shape, raw)
    assert status == 200, answer
    assert output(answer) == {"datatype": datatype, "shape": shape}
    assert behind == raw
    async with grpc_client(client.app) as over_grpc:
        entry = pb.ModelInferRequest.InferInputTensor(name="in", datatype=datatype, shape=shape)
        asked = request("py", entry)
        asked.raw_input_contents.append(raw)
        got = await over_grpc.infer(asked)
    assert (got.outputs[0].datatype, list(got.outputs[0].shape)) == (datatype, shape)
    assert list(got.raw_output_contents) == [raw]


async def test_texts_come_as_json_and_as_typed_contents_and_go_back_as_texts(serve: Serve, models: Models) -> None:
    add(models, ECHO)
    client = await serve(allow_python_nodes=True)
    status, answer = await infer(client, "BYTES", [2], ["one", "zwölf"])
    assert (status, output(answer)) == (200, {"datatype": "BYTES", "shape": [2], "data": ["one", "zwölf"]})
    async with grpc_client(client.app) as over_grpc:
        contents = pb.InferTensorContents(bytes_contents=[b"one", b"two!"])
        entry = pb.ModelInferRequest.InferInputTensor(name="in", datatype="BYTES", shape=[2], contents=contents)
        got = await over_grpc.infer(request("py", entry))
    assert list(got.raw_output_contents) == [struct.pack("<I3sI4s", 3, b"one", 4, b"two!")]


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "text"),
    [
        ("FP32", [3], [1.0], "has 1 elements; the shape [3] takes 3"),
        ("my_string", [1], ["x"], "is 'my_string': data of a datatype that KServe does not know comes in binary form"),
        ("BYTES", [-1], [], "has the shape [-1]; no dimension can be negative"),
    ],
)
async def test_tensors_that_are_not_what_they_say_are_refused(
    serve: Serve, models: Models, datatype: str, shape: list[int], data: Any, text: str
) -> None:
    add(models, ECHO)
    client = await serve(allow_python_nodes=True)
    status, answer = await infer(client, datatype, shape, data)
    assert (status, text in answer["error"]) == (400, True), answer


async def test_raw_tensors_that_are_not_what_they_say_are_refused(serve: Serve, models: Models) -> None:
    add(models, ECHO)
    client = await serve(allow_python_nodes=True)
    status, answer, _ = await infer_binary(client, "FP32", [2], bytes(7))
    assert (status, "has 7 bytes; FP32 of shape [2] is 8 bytes" in answer["error"]) == (400, True)
    status, answer, _ = await infer_binary(client, "mine", [-2], bytes(7))
    assert (status, "has a negative dimension" in answer["error"]) == (400, True)


async def test_an_output_that_json_cannot_hold_is_told_and_comes_in_binary_form(serve: Serve, models: Models) -> None:
    add(models, SAY.replace('b"WORD"', 'b"WORD", datatype="mine"'))
    client = await serve(allow_python_nodes=True)
    status, answer = await infer(client, "BYTES", [1], [""])
    assert (status, "The output 'out' has the datatype 'mine', which JSON cannot hold" in answer["error"]) == (
        400,
        True,
    )
    _, answer, behind = await infer_binary(client, "BYTES", [1], b"")
    assert (output(answer), behind) == ({"datatype": "mine", "shape": [4]}, b"WORD")


@pytest.mark.parametrize("said", ['b"12", [7], "FP32"', 'b"12", [-1], "UINT8"', 'b"WORD", [1], "BYTES"'])
async def test_an_output_that_is_not_what_it_says_is_a_fault_of_the_node_and_not_of_the_client(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    add(models, SAY.replace('b"WORD"', said))
    client = await serve(allow_python_nodes=True)
    status, answer = await infer(client, "BYTES", [1], [""])
    assert (status, "Its log has the reason" in answer["error"]) == (500, True)
    assert "the graph answered with a tensor that is none: The tensor 'out' has" in caplog.text


async def test_metadata_and_the_side_packet_are_as_the_reference_server_has_them(serve: Serve, models: Models) -> None:
    add(models, ECHO)
    client = await serve(allow_python_nodes=True)
    described = await (await client.get("/v2/models/py")).json()
    assert described["inputs"] == [{"name": "in", "datatype": "INVALID", "shape": []}]
    status, answer = await infer(client, "BYTES", [1], [""], parameters={"py": "mine"})
    assert (status, "the side packet of that name is the server's" in answer["error"]) == (400, True)


async def test_a_python_node_in_a_subgraph_beside_the_graph_has_its_handler_too(serve: Serve, models: Models) -> None:
    graph = (
        STREAMS
        + """
        node { name: "outer" calculator: "Inner" input_stream: "in" output_stream: "out" input_side_packet: "py" }
    """
    )
    folder = add(models, SAY, graph=graph)
    inner = 'type: "Inner" input_stream: "in" output_stream: "out" input_side_packet: "py"' + node()
    (folder / "inner.pbtxt").write_text(inner)
    client = await serve(allow_python_nodes=True)
    status, answer, behind = await infer_binary(client, "BYTES", [1], b"")
    assert (status, behind) == (200, b"WORD"), answer
    assert main(["check", "--allow_python_nodes", str(folder)]) == 0


def test_a_listed_graph_whose_file_lies_elsewhere_finds_its_handler_beside_it(tmp_path: Path) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "model.py").write_text(SAY)
    file = tmp_path / "workspace" / "graph.pbtxt"
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"mediapipe_config_list": [{"name": "python_graph", "graph_path": str(file)}]}))
    for handler in ("model.py", str(file.with_name("model.py"))):
        file.write_text(STREAMS + node(handler))
        assert main(["check", "--allow_python_nodes", str(config)]) == 0


# ---- streams


async def read_until_end(call: Any) -> list[tuple[int, str]]:
    """What a stream answers: timestamp and text."""
    got = []
    while (message := await call.read()) is not grpc.aio.EOF:
        assert not message.error_message, message.error_message
        answer = message.infer_response
        got.append((answer.parameters["OVMS_MP_TIMESTAMP"].int64_param, answer.raw_output_contents[0].decode()))
    return got


def ask(text: str, **parameters: Any) -> pb.ModelInferRequest:
    entry = pb.ModelInferRequest.InferInputTensor(name="in", datatype="BYTES", shape=[1])
    message = request("py", entry, **parameters)
    message.raw_input_contents.append(text.encode())
    return message


async def test_a_generator_answers_a_stream_with_each_list_that_it_yields(serve: Serve, models: Models) -> None:
    add(models, COUNT, graph=GENERATING)
    client = await serve(allow_python_nodes=True)
    async with grpc_client(client.app) as over_grpc:
        call = over_grpc.stream()
        await call.write(ask("3", OVMS_MP_TIMESTAMP=10))
        await call.done_writing()
        assert await read_until_end(call) == [(10, "0"), (11, "1"), (12, "2")]


async def test_a_second_request_of_a_stream_waits_for_the_end_of_the_first_or_is_refused(
    serve: Serve, models: Models
) -> None:
    add(models, COUNT, graph=GENERATING)
    client = await serve(allow_python_nodes=True)
    async with grpc_client(client.app) as over_grpc:
        call = over_grpc.stream()
        await call.write(ask("2", OVMS_MP_TIMESTAMP=10))
        first = [await call.read(), await call.read()]
        assert [each.infer_response.raw_output_contents[0] for each in first] == [b"0", b"1"]
        await call.write(ask("2", OVMS_MP_TIMESTAMP=20))
        await call.done_writing()
        assert await read_until_end(call) == [(20, "0"), (21, "1")]
        call = over_grpc.stream()
        await call.write(ask("1000000000", OVMS_MP_TIMESTAMP=10))
        await call.read()
        await call.write(ask("2", OVMS_MP_TIMESTAMP=12))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Node is already processing data. Create new stream for another request." in str(caught.value.details())


async def test_a_client_that_leaves_ends_its_generator(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    told = SimpleNamespace(ended=lambda: loop.call_soon_threadsafe(ended.set))
    monkeypatch.setitem(sys.modules, "gate_of_a_test", told)
    code = COUNT.replace("for number in", "try:\n         for number in").replace(
        "            yield", "             yield"
    )
    code += "        finally:\n            import gate_of_a_test\n            gate_of_a_test.ended()\n"
    add(models, code, graph=GENERATING)
    client = await serve(allow_python_nodes=True)
    async with grpc_client(client.app) as over_grpc:
        call = over_grpc.stream()
        await call.write(ask("1000000000"))
        await call.read()
        call.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await ended.wait()


# ---- one object for all, and what a bad handler costs


async def test_the_object_of_a_node_serves_all_requests_until_an_edit_and_is_finalized(
    serve: Serve, models: Models, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    code = f"""
from pyovms import Tensor

def note(what):
    with open({str(log)!r}, "a") as log:
        log.write(what)

class OvmsPythonModel:
    def initialize(self, kwargs):
        self.count = 0
        note("+")
    def execute(self, inputs):
        self.count += 1
        return [Tensor("out", f"WORD {{self.count}}".encode())]
    def finalize(self):
        note("-")
"""
    folder = add(models, code)
    client = await serve(allow_python_nodes=True, file_system_poll_wait_seconds=STILL_S)

    async def said() -> str:
        _, answer = await infer(client, "BYTES", [1], [""])
        return bytes(output(answer)["data"]).decode()

    assert [await said(), await said()] == ["WORD 1", "WORD 2"]
    (folder / "model.py").write_text(code.replace("WORD", "NEW"))
    async with asyncio.timeout(PATIENCE_S):
        while not (await said()).startswith("NEW"):
            pass
        while log.read_text() != "++-":
            await said()
    (folder / "model.py").write_text("class Other: ...")
    async with asyncio.timeout(PATIENCE_S):
        while "reload_problem" not in (await (await client.get("/v3/models/py")).json()):
            pass
    assert (await said()).startswith("NEW")
    assert (await (await client.get("/v3/models/py")).json())["reload_problem"].endswith(
        'py/model.py: node "py": there is no class OvmsPythonModel in it'
    )


@pytest.mark.parametrize("fault", ["1 / 0", "import sys; sys.exit(3)", "raise KeyboardInterrupt"])
async def test_a_handler_that_fails_costs_its_request_alone(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    add(models, SAY.replace("return", f"if bytes(inputs[0]) == b'bad':\n            {fault}\n        return"))
    client = await serve(allow_python_nodes=True)
    status, answer, _ = await infer_binary(client, "BYTES", [1], b"bad")
    assert (status, "Its log has the reason" in answer["error"]) == (500, True)
    assert f'{models.folder}/py/model.py", line 7, in execute' in caplog.text
    status, answer, behind = await infer_binary(client, "BYTES", [1], b"good")
    assert (status, behind) == (200, b"WORD")


async def test_a_handler_tells_a_client_what_is_wrong_with_its_request(serve: Serve, models: Models) -> None:
    code = SAY.replace("return", "raise RequestError('too short', status=413, param='in')\n        return")
    add(models, code.replace("from pyovms", "from calculators import RequestError\nfrom pyovms", 1))
    client = await serve(allow_python_nodes=True)
    assert await infer(client, "BYTES", [1], [""]) == (413, {"error": "too short"})


async def test_a_handler_that_hangs_costs_its_request_alone_and_that_ends_in_time(
    serve: Serve, models: Models, clock: FakeClock, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gate_of_a_test", SimpleNamespace(gate=gate))
    add(models, GATED)
    client = await serve(allow_python_nodes=True, clock=clock, request_timeout_s=30.0)
    hanging = asyncio.create_task(infer_binary(client, "BYTES", [1], b"hang"))
    await gate.wait_entered()
    status, _, behind = await infer_binary(client, "BYTES", [1], b"")
    assert (status, behind) == (200, b"done")
    clock.advance(30)
    status, _, _ = await hanging
    assert status == 504


async def test_without_the_flag_a_python_node_is_listed_as_failed_and_never_run(
    serve: Serve, models: Models, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add(models, f"open({str(tmp_path / 'executed')!r}, 'w')\n{SAY}")
    client = await serve()
    status, answer = await infer(client, "BYTES", [1], [""])
    assert status == 503
    assert (
        'py/graph.pbtxt:3:30: node "py": the node runs code of the graph\'s folder, and that is not allowed'
        in answer["error"]
    )
    assert "--allow_python_nodes" in answer["error"]
    assert main(["check", str(folder)]) == 1
    assert "--allow_python_nodes" in capsys.readouterr().out
    assert main(["check", "--allow_python_nodes", str(folder)]) == 0
    assert not (tmp_path / "executed").exists()


def test_check_tells_what_is_wrong_with_a_handler_without_running_it(
    models: Models, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = add(models, "raise SystemExit(5)\ndef (")
    assert main(["check", "--allow_python_nodes", str(folder)]) == 1
    assert capsys.readouterr().out == f"{folder}/model.py:2:5: SyntaxError: invalid syntax\n"
