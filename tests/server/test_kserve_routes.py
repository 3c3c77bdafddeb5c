"""KServe v2 over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import threading
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from aiohttp import web

from calculators.kserve_payload import InferRequest, InferResponse, Tensor
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, register_calculator
from server import kserve_routes
from server.app import build_app
from server.keys import SERVABLES
from server.kserve_json import read_request
from server.settings import Settings
from tests.server.tensor_threads import threads_of_tensors

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient
    from pytest_aiohttp.plugin import AiohttpClient

    from tests.server.conftest import Gate, Models, Serve

HEADER = "Inference-Header-Content-Length"
PASS = """
input_stream: "OVTENSOR:in"
output_stream: "OVTENSOR:out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
TWO = """
input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d"
node { calculator: "PassThroughCalculator" input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d" }
"""


@register_calculator
class KServeGreeter(Calculator):
    """Side packets and a text in, a text out."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(str)
        cc.outputs[0].set(str)
        cc.input_side_packets["GREETING"].set(str)
        cc.input_side_packets["TIMES"].set(int).optional()

    def process(self, cc: CalculatorContext) -> None:
        times = cc.input_side_packets["TIMES"].value if cc.input_side_packets.has_tag("TIMES") else 1
        greeting = cc.input_side_packets["GREETING"].value
        cc.outputs[0].add(", ".join([greeting] * times) + " " + cc.inputs[0].value)


GREETER = """
input_stream: "name" output_stream: "greeting"
node {
  calculator: "KServeGreeter" input_stream: "name" output_stream: "greeting"
  input_side_packet: "GREETING:greeting_word" input_side_packet: "TIMES:times"
}
"""


@register_calculator
class KServeSums(Calculator):
    """A whole request in, a whole response out."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs["REQUEST"].set(InferRequest)
        cc.outputs["RESPONSE"].set(InferResponse)

    def process(self, cc: CalculatorContext) -> None:
        request: InferRequest = cc.inputs["REQUEST"].value
        outputs = tuple(Tensor.of(f"sum of {each.name}", each.array().sum(keepdims=True)) for each in request.inputs)
        cc.outputs["RESPONSE"].add(InferResponse(outputs=outputs, parameters={"asked": len(request.parameters)}))


SUMS = """
input_stream: "REQUEST:req" output_stream: "RESPONSE:resp"
node { calculator: "KServeSums" input_stream: "REQUEST:req" output_stream: "RESPONSE:resp" }
"""


@register_calculator
class KServeOdd(Calculator):
    """Gives what its input asks for: nothing, a dict, NaN, bytes."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(str)
        cc.outputs[0].set_any()

    def process(self, cc: CalculatorContext) -> None:
        made: dict[str, Any] = {
            "dict": {},
            "nan": np.array([1, np.nan], np.float32),
            "bytes": b"\xff",
            "half": np.array([0.1, 2], np.float16),
            "nothing to send": np.zeros((0, 3), np.float32),
            "large": 2**63 - 1,
        }
        what = cc.inputs[0].value
        if what in made:
            cc.outputs[0].add(made[what])


ODD = """
input_stream: "what" output_stream: "out"
node { calculator: "KServeOdd" input_stream: "what" output_stream: "out" }
"""


@register_calculator
class KServeBlock(Calculator):
    """Waits for the test."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])

    def process(self, cc: CalculatorContext) -> None:
        from tests.server.conftest import _Gates

        _Gates.current.pass_through()
        cc.outputs[0].add_packet(cc.inputs[0].packet)


def numbers(name: str = "in", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0], **more}


def text(name: str, *values: str) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": list(values)}


async def error_of(response: Any, status: int) -> str:
    body = await response.json()
    assert response.status == status, body
    assert list(body) == ["error"]
    assert response.headers["x-request-id"]
    assert isinstance(body["error"], str)
    return body["error"]


# ---- metadata and readiness


async def test_the_server_says_what_it_is(serve: Serve) -> None:
    client = await serve()
    told = await (await client.get("/v2")).json()
    assert told["name"] == "graph-runtime"
    assert "binary_tensor_data" in told["extensions"]


@pytest.mark.parametrize(
    ("name", "path"),
    [("m", "m"), ("a/b", "a/b"), ("a/b", "a%2Fb"), ("a/ready", "a%2Fready"), ("a/versions/2", "a%2Fversions%2F2")],
)
@pytest.mark.parametrize("version", ["", "/versions/1", "/versions/27"])
async def test_a_model_is_asked_for_under_its_name_and_any_version(
    serve: Serve, models: Models, name: str, path: str, version: str
) -> None:
    models.add_text(name, PASS)
    client = await serve()
    for end in ("", "/"):
        response = await client.get(f"/v2/models/{path}{version}{end}")
        assert (await response.json())["name"] == name
    ready = await client.get(f"/v2/models/{path}{version}/ready")
    assert (ready.status, await ready.json()) == (200, {"name": name, "ready": True})
    answer = await client.post(f"/v2/models/{path}{version}/infer", json={"inputs": [numbers()]})
    assert (await answer.json())["model_name"] == name


async def test_metadata_has_the_datatypes_that_are_known(serve: Serve, models: Models) -> None:
    models.add_text("greeter", GREETER)
    client = await serve()
    assert await (await client.get("/v2/models/greeter")).json() == {
        "name": "greeter",
        "versions": ["1"],
        "platform": "OpenVINO",
        "inputs": [{"name": "name", "datatype": "BYTES", "shape": [1]}],
        "outputs": [{"name": "greeting", "datatype": "BYTES", "shape": [1]}],
    }


async def test_a_version_that_is_no_number_does_not_exist(serve: Serve, models: Models) -> None:
    models.add_text("m", PASS)
    client = await serve()
    assert "versions are numbers" in await error_of(await client.get("/v2/models/m/versions/latest"), 404)


async def test_a_model_that_loads_or_has_failed_is_not_ready(serve: Serve, models: Models, gate: Gate) -> None:
    models.add("slow", "HttpSlowToLoad")
    models.add("broken", "NoSuchCalculator")
    client = await serve(settled=False)
    await gate.wait_entered()
    loading = await client.get("/v2/models/slow/ready")
    assert (loading.status, await loading.json()) == (
        503,
        {"name": "slow", "ready": False, "error": "slow is still loading"},
    )
    index = await (await client.post("/v2/repository/index")).json()
    assert {"name": "slow", "version": "1", "state": "LOADING", "reason": ""} in index
    gate.released.set()
    await client.app[SERVABLES].settled.wait()
    assert (await client.get("/v2/models/slow/ready")).status == 200
    broken = await client.get("/v2/models/broken/ready")
    assert broken.status == 503
    assert "NoSuchCalculator" in (await broken.json())["error"]
    states = {each["name"]: each["state"] for each in await (await client.post("/v2/repository/index")).json()}
    assert states == {"slow": "READY", "broken": "UNAVAILABLE"}


# ---- JSON tensors


@pytest.mark.parametrize("data", [[1.5, -2.0], [[1.5, -2.0]]])
async def test_tensors_pass_as_json(serve: Serve, models: Models, data: list[Any]) -> None:
    models.add_text("m", PASS)
    client = await serve()
    response = await client.post("/v2/models/m/infer", json={"id": "mine", "inputs": [numbers(data=data)]})
    assert response.status == 200
    assert response.content_type == "application/json"
    assert await response.json() == {
        "model_name": "m",
        "model_version": "1",
        "id": "mine",
        "parameters": {"OVMS_MP_TIMESTAMP": 0},
        "outputs": [{"name": "out", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]}],
    }


async def test_two_inputs_give_two_outputs_or_the_one_that_is_asked_for(serve: Serve, models: Models) -> None:
    models.add_text("two", TWO)
    client = await serve()
    body: dict[str, Any] = {"inputs": [text("b", "\u00e4", ""), numbers("a")]}
    told = await (await client.post("/v2/models/two/infer", json=body)).json()
    assert [(each["name"], each["data"]) for each in told["outputs"]] == [("c", [1.5, -2.0]), ("d", ["\u00e4", ""])]
    body["outputs"] = [{"name": "d"}]
    told = await (await client.post("/v2/models/two/infer", json=body)).json()
    assert [each["name"] for each in told["outputs"]] == ["d"]


async def test_parameters_are_side_packets(serve: Serve, models: Models) -> None:
    models.add_text("greeter", GREETER)
    client = await serve()
    body = {"inputs": [text("name", "you")], "parameters": {"greeting_word": "hello", "times": 2}}
    response = await client.post("/v2/models/greeter/infer", json=body)
    assert (await response.json())["outputs"][0]["data"] == ["hello, hello you"]
    assert "x-ignored-parameters" not in response.headers


async def test_what_has_no_effect_is_listed(serve: Serve, models: Models) -> None:
    models.add_text("m", PASS)
    client = await serve()
    body = {
        "inputs": [numbers(comment="hi")],
        "outputs": [{"name": "out", "parameters": {"classification": 3}}],
        "parameters": {"priority": 1, "sequence_id": 7},
        "extra": True,
    }
    response = await client.post("/v2/models/m/infer", json=body)
    assert response.status == 200
    assert response.headers["x-ignored-parameters"] == "extra, in.comment, priority, sequence_id, out.classification"


@pytest.mark.parametrize("timestamp", [0, 5_000_000_000, -(2**63) + 3, 2**63 - 4])
async def test_a_timestamp_is_that_of_the_packets_and_comes_back_whole(
    serve: Serve, models: Models, timestamp: int
) -> None:
    models.add_text("m", PASS)
    client = await serve()
    body = {"inputs": [numbers()], "parameters": {"OVMS_MP_TIMESTAMP": timestamp}}
    told = await (await client.post("/v2/models/m/infer", json=body)).json()
    assert told["parameters"] == {"OVMS_MP_TIMESTAMP": timestamp}


async def test_a_graph_of_requests_takes_whatever_is_sent(serve: Serve, models: Models) -> None:
    models.add_text("sums", SUMS)
    client = await serve()
    body = {"inputs": [numbers("x"), numbers("y")], "parameters": {"any": 1}, "id": "7"}
    told = await (await client.post("/v2/models/sums/infer", json=body)).json()
    assert told["id"] == "7"
    assert told["parameters"] == {"OVMS_MP_TIMESTAMP": 0, "asked": 1}
    assert [(each["name"], each["data"]) for each in told["outputs"]] == [("sum of x", [-0.5]), ("sum of y", [-0.5])]


async def test_an_http_graph_is_called_with_its_body_as_a_text(serve: Serve, models: Models) -> None:
    models.add("echo", "HttpParts")
    client = await serve()
    response = await client.post("/v2/models/echo/infer", json={"inputs": [text("input", '{"a": 1}')]})
    told = json.loads((await response.json())["outputs"][0]["data"][0])
    assert told["json"] == {"model": "echo", "a": 1}
    assert told["base_url"] == f"http://{client.host}:{client.port}"


async def test_a_refusal_of_a_calculator_comes_in_kserves_form(serve: Serve, models: Models) -> None:
    models.add("refuse", "HttpRefuse")
    client = await serve()
    response = await client.post("/v2/models/refuse/infer", json={"inputs": [text("input", '{"status": 429}')]})
    assert await error_of(response, 429) == "steps is too large: 500; the most is 100"
    assert response.headers["Retry-After"] == "7"


# ---- what JSON cannot hold


@pytest.mark.parametrize(("what", "problem"), [("nan", "NaN or infinity"), ("bytes", "bytes that are no UTF-8 text")])
async def test_what_json_cannot_hold_is_refused_and_comes_in_binary_form(
    serve: Serve, models: Models, what: str, problem: str
) -> None:
    models.add_text("odd", ODD)
    client = await serve()
    error = await error_of(await client.post("/v2/models/odd/infer", json={"inputs": [text("what", what)]}), 400)
    assert f"'out' has {problem}" in error
    assert '"binary_data": true' in error
    body = {"inputs": [text("what", what)], "parameters": {"binary_data_output": True}}
    assert (await client.post("/v2/models/odd/infer", json=body)).status == 200


@pytest.mark.parametrize(
    ("what", "datatype", "shape", "data"),
    [
        ("half", "FP16", [2], [0.099975586, 2.0]),
        ("nothing to send", "FP32", [0, 3], []),
        ("large", "INT64", [1], [2**63 - 1]),
    ],
)
async def test_numbers_leave_as_json(
    serve: Serve, models: Models, what: str, datatype: str, shape: list[int], data: list[Any]
) -> None:
    models.add_text("odd", ODD)
    client = await serve()
    told = await (await client.post("/v2/models/odd/infer", json={"inputs": [text("what", what)]})).json()
    assert told["outputs"] == [{"name": "out", "datatype": datatype, "shape": shape, "data": data}]


async def test_a_graph_that_gives_nothing_or_no_tensor_fails(
    serve: Serve, models: Models, caplog: pytest.LogCaptureFixture
) -> None:
    models.add_text("odd", ODD)
    client = await serve()
    response = await client.post("/v2/models/odd/infer", json={"inputs": [text("what", "silence")]})
    assert "The graph gave no packet on 'out'" in await error_of(response, 500)
    response = await client.post("/v2/models/odd/infer", json={"inputs": [text("what", "dict")]})
    assert "the request id" in await error_of(response, 500)
    assert "a dict cannot be sent as a tensor" in caplog.text


# ---- binary tensors


def with_binary(body: dict[str, Any], *raw: bytes) -> dict[str, Any]:
    head = json.dumps(body).encode()
    return {"data": head + b"".join(raw), "headers": {HEADER: str(len(head))}}


async def read_binary(response: Any) -> tuple[dict[str, Any], bytes]:
    body = await response.read()
    assert response.status == 200, body
    assert response.content_type == "application/octet-stream"
    size = int(response.headers[HEADER])
    return json.loads(body[:size]), body[size:]


async def test_binary_tensors_go_in_and_out_beside_json(serve: Serve, models: Models) -> None:
    models.add_text("two", TWO)
    client = await serve()
    raw = np.arange(6, dtype="<i4").tobytes()
    body = {
        "inputs": [
            numbers("a"),
            {"name": "b", "datatype": "INT32", "shape": [2, 3], "parameters": {"binary_data_size": len(raw)}},
        ],
        "outputs": [{"name": "d", "parameters": {"binary_data": True}}, {"name": "c"}],
    }
    told, rest = await read_binary(await client.post("/v2/models/two/infer", **with_binary(body, raw)))
    assert rest == raw
    assert told["outputs"] == [
        {"name": "d", "datatype": "INT32", "shape": [2, 3], "parameters": {"binary_data_size": 24}},
        {"name": "c", "datatype": "FP32", "shape": [1, 2], "data": [1.5, -2.0]},
    ]


async def test_all_outputs_come_in_binary_form_but_those_that_say_no(serve: Serve, models: Models) -> None:
    models.add_text("two", TWO)
    client = await serve()
    body = {
        "inputs": [text("a", "x", "yz"), numbers("b")],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "c"}, {"name": "d", "parameters": {"binary_data": False}}],
    }
    response = await client.post("/v2/models/two/infer", json=body)
    told, rest = await read_binary(response)
    assert rest == b"\x01\x00\x00\x00x\x02\x00\x00\x00yz"
    assert told["outputs"][1]["data"] == [1.5, -2.0]
    assert "x-ignored-parameters" not in response.headers


@pytest.mark.parametrize(
    ("change", "text_"),
    [
        ({"headers": {HEADER: "9999"}}, "has to be the length of the JSON at the beginning of the body"),
        ({"headers": {HEADER: "0"}}, "has to be the length of the JSON"),
        ({"headers": {HEADER: "-1"}}, "has to be the length of the JSON"),
        ({"headers": {HEADER: "1" * 5000}}, "has to be the length of the JSON"),
        ({"headers": {}}, "Failed to parse JSON"),
        ({"size": 9}, "binary_data_size of the input 'in' is 9; 8 bytes are left"),
        ({"size": 4}, "has 8 bytes behind its JSON; the inputs take 4"),
        ({"size": -1}, "binary_data_size of the input 'in' is -1"),
        ({"size": "8"}, "binary_data_size of the input 'in' is 8"),
        ({"shape": [3]}, "has 8 bytes; FP32 of shape [3] is 12 bytes"),
        ({"extra": b"x"}, "has 9 bytes behind its JSON; the inputs take 8"),
        ({"data": [1.0, 2.0]}, "given in one way, as data or by binary_data_size; here are both"),
        ({"size": None}, "here are neither"),
    ],
)
async def test_a_binary_body_that_does_not_add_up_is_refused(
    serve: Serve, models: Models, change: dict[str, Any], text_: str
) -> None:
    models.add_text("m", PASS)
    client = await serve()
    tensor: dict[str, Any] = {"name": "in", "datatype": "FP32", "shape": change.get("shape", [2])}
    tensor["parameters"] = {"binary_data_size": change.get("size", 8)}
    if "data" in change:
        tensor["data"] = change["data"]
    call = with_binary({"inputs": [tensor]}, np.zeros(2, "<f4").tobytes(), change.get("extra", b""))
    call["headers"] = change.get("headers", call["headers"])
    assert text_ in await error_of(await client.post("/v2/models/m/infer", **call), 400)


# ---- compression, sizes


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_bodies_may_be_compressed_and_answers_are_where_that_alone_is_asked_for(
    serve: Serve, models: Models, coding: str, pack: Any
) -> None:
    models.add_text("m", PASS)
    client = await serve()
    raw = np.zeros(1000, "<f4").tobytes()
    tensor = {"name": "in", "datatype": "FP32", "shape": [1000], "parameters": {"binary_data_size": 4000}}
    call = with_binary({"inputs": [tensor], "parameters": {"binary_data_output": True}}, raw)
    headers = {**call["headers"], "Content-Encoding": coding, "Accept-Encoding": coding}
    response = await client.post("/v2/models/m/infer", data=pack(call["data"]), headers=headers)
    assert response.headers["Content-Encoding"] == coding
    assert (await read_binary(response))[1] == raw
    headers["Accept-Encoding"] = "gzip, deflate"
    response = await client.post("/v2/models/m/infer", data=pack(call["data"]), headers=headers)
    assert "Content-Encoding" not in response.headers
    assert (await read_binary(response))[1] == raw


async def test_a_large_request_can_be_cancelled_by_its_id_while_it_is_parsed(
    serve: Serve, models: Models, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add_text("m", PASS)
    client = await serve()
    read = read_request

    def read_when_released(*arguments: Any) -> Any:
        gate.pass_through()
        return read(*arguments)

    monkeypatch.setattr(kserve_routes, "read_request", read_when_released)
    tensor = {"name": "in", "datatype": "FP32", "shape": [500_000], "data": [0.5] * 500_000}
    body = io.BytesIO(json.dumps({"inputs": [tensor]}).encode())
    asked = asyncio.create_task(client.post("/v2/models/m/infer", data=body, headers={"x-request-id": "large"}))
    await gate.wait_entered()
    assert (await client.post("/v1/requests/large/cancel")).status == 200
    assert (await asked).status == 499
    gate.released.set()


async def test_large_tensors_pass_as_json_and_in_binary_form(serve: Serve, models: Models) -> None:
    models.add_text("m", PASS)
    client = await serve()
    values = np.linspace(0, 1, 30_000, dtype="<f4")
    tensor = {"name": "in", "datatype": "FP32"}
    body = {"inputs": [{**tensor, "shape": [3, 100, 100], "data": values.reshape(3, 100, 100).tolist()}]}
    told = await (await client.post("/v2/models/m/infer", json=body)).json()
    assert np.array_equal(np.array(told["outputs"][0]["data"], np.float32), values)
    raw = np.linspace(0, 1, 1_100_000, dtype="<f4").tobytes()
    described = {**tensor, "shape": [1_100_000], "parameters": {"binary_data_size": len(raw)}}
    call = with_binary({"inputs": [described], "parameters": {"binary_data_output": True}}, raw)
    call["data"] = io.BytesIO(call["data"])
    assert (await read_binary(await client.post("/v2/models/m/infer", **call)))[1] == raw


async def test_a_body_beyond_the_limit_is_refused(serve: Serve, models: Models) -> None:
    models.add_text("m", PASS)
    client = await serve(max_body_bytes=100)
    response = await client.post("/v2/models/m/infer", json={"inputs": [numbers(data=[1.0] * 100)]})
    assert "larger than 100 bytes" in await error_of(response, 413)


# ---- refusals


@pytest.mark.parametrize(
    ("body", "text_"),
    [
        ("{", "Failed to parse JSON"),
        ("[]", "must be an object"),
        ("\ufeff[]", "must be an object"),
        ('{"inputs": [], "inputs": []}', "The key 'inputs' stands twice"),
        ('{"inputs": [{"name": "in", "name": "in"}]}', "The key 'name' stands twice"),
        ('{"inputs": [{"name": "a:b", "name": "a:b"}]}', "The key 'name' stands twice"),
        ('{"inputs": [NaN]}', "Failed to parse JSON"),
        ("[" * 2000, "Failed to parse JSON"),
        ('{"inputs": 5}', "inputs is not an array of objects"),
        ('{"inputs": [5]}', "inputs is not an array of objects"),
        ('{"outputs": [{}]}', "The name of an output is missing"),
        ('{"id": 5}', "The id of the request is not a string"),
        ('{"parameters": []}', "The parameters of the request are not an object"),
        ('{"parameters": {"a": [1]}}', "The parameter 'a' of the request is not a string, a number or a boolean"),
        ('{"parameters": {"binary_data_output": 1}}', "The parameter binary_data_output is not a boolean"),
        ('{"inputs": [{}]}', "The name of an input is missing"),
        ('{"inputs": [{"name": 5}]}', "The name of an input is not a string"),
        ('{"inputs": [{"name": "in"}]}', "The datatype of the input 'in' is missing"),
        ('{"inputs": [{"name": "in", "datatype": "FP32"}]}', "The shape of the input 'in' is not an array"),
        ('{"inputs": [{"name": "in", "datatype": "FP32", "shape": [1.0]}]}', "The shape of the input 'in' is not"),
        ('{"inputs": [{"name": "in", "datatype": "FP32", "shape": [1]}]}', "here are neither"),
        ('{"inputs": [{"name": "in", "datatype": "FP32", "shape": [1], "data": 5}]}', "The data of the input 'in' is not"),
        (
            '{"inputs": [{"name": "in", "datatype": "FP32", "shape": [1], "parameters": {"shared_memory_region": "r"}}]}',
            "tensors in shared memory are not taken",
        ),
        ("{}", "Not all input packets created"),
        (json.dumps({"inputs": [numbers()], "outputs": [{"name": "nope"}]}), "Unexpected output 'nope'"),
        (json.dumps({"inputs": [numbers()], "parameters": {"py": "x"}}), "The parameter 'py' cannot be set"),
    ],
)  # fmt: skip
async def test_a_broken_request_is_a_400_that_says_what_is_wrong(
    serve: Serve, models: Models, body: str, text_: str
) -> None:
    models.add_text("m", PASS)
    client = await serve()
    assert text_ in await error_of(await client.post("/v2/models/m/infer", data=body.encode()), 400)


async def test_null_is_absent_and_a_text_with_colons_is_a_text(serve: Serve, models: Models) -> None:
    models.add_text("m", PASS)
    client = await serve()
    body = {
        "id": None,
        "parameters": None,
        "outputs": None,
        "inputs": [{**text("in", '{"a": ":"}'), "parameters": {"x": None}}],
    }
    response = await client.post("/v2/models/m/infer", json=body)
    assert (await response.json())["outputs"][0]["data"] == ['{"a": ":"}']


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/v2/models/m/infer", 405, "POST"),
        ("GET", "/v2/models/a/b/infer", 405, "POST"),
        ("POST", "/v2/models/m/ready", 405, "GET,HEAD"),
        ("POST", "/v2/models/m", 405, "GET,HEAD"),
        ("POST", "/v2", 405, "GET,HEAD"),
        ("DELETE", "/v2/health/live", 405, "GET,HEAD"),
        ("GET", "/v2/nothing", 404, None),
        ("GET", "/v2/models/nope", 404, None),
        ("POST", "/v2/models/nope/infer", 404, None),
    ],
)
async def test_wrong_methods_and_paths_are_told_in_kserves_form(
    serve: Serve, models: Models, method: str, path: str, status: int, allowed: str | None
) -> None:
    models.add_text("m", PASS)
    client = await serve()
    response = await client.request(method, path)
    await error_of(response, status)
    if allowed is not None:
        assert response.headers["Allow"].replace(" ", "") == allowed


async def test_errors_of_other_paths_keep_openais_form(serve: Serve) -> None:
    client = await serve()
    for path in ("/v3/models/v2/models/x", "/v2nothing"):
        assert isinstance((await (await client.get(path)).json())["error"], dict)


async def test_mounted_in_another_application_it_is_the_same(aiohttp_client: AiohttpClient, models: Models) -> None:
    models.add_text("m", PASS)
    models.add("echo", "HttpParts")
    inner, host = build_app(Settings(models=models.folder)), web.Application()
    host.add_subapp("/api/v1", inner)
    client: TestClient[Any, Any] = await aiohttp_client(host)
    await inner[SERVABLES].settled.wait()
    answer = await client.post("/api/v1/v2/models/m/infer", json={"inputs": [numbers()]})
    assert answer.status == 200
    told = await (await client.post("/api/v1/v2/models/echo/infer", json={"inputs": [text("input", "{}")]})).json()
    assert json.loads(told["outputs"][0]["data"][0])["base_url"].endswith("/api/v1")
    assert "does not exist" in await error_of(await client.get("/api/v1/v2/models/nope"), 404)
    assert "There is nothing under this path" in await error_of(await client.get("/api/v1/v2/nothing"), 404)
    openai = await (await client.get("/api/v1/v3/models/nope")).json()
    assert openai["error"]["code"] == "model_not_found"


async def test_requests_beyond_the_queue_are_refused(serve: Serve, models: Models, gate: Gate) -> None:
    models.add_text("block", PASS.replace("PassThroughCalculator", "KServeBlock"))
    client = await serve(runs_per_servable=1, queue_size=0)
    first = asyncio.create_task(client.post("/v2/models/block/infer", json={"inputs": [numbers()]}))
    await gate.wait_entered()
    second = await client.post("/v2/models/block/infer", json={"inputs": [numbers()]})
    await error_of(second, 429)
    assert second.headers["Retry-After"]
    gate.released.set()
    assert (await first).status == 200


async def test_a_large_body_that_is_there_at_once_is_read_as_any_other(
    aiohttp_client: AiohttpClient, models: Models
) -> None:
    models.add_text("pass", PASS)

    @web.middleware
    async def wait_for_all_of_it(request: web.Request, handler: Any) -> web.StreamResponse:
        arrived = asyncio.Event()
        request.content.on_eof(arrived.set)
        await arrived.wait()
        answer: web.StreamResponse = await handler(request)
        return answer

    app = build_app(Settings(models=models.folder))
    app.middlewares.append(wait_for_all_of_it)
    client: TestClient[Any, Any] = await aiohttp_client(app)
    await app[SERVABLES].settled.wait()
    body = json.dumps({"inputs": [numbers()]}).encode().ljust(131_072)
    response = await client.post("/v2/models/pass/infer", data=body)
    assert response.status == 200, await response.text()


async def test_many_small_elements_do_not_hold_up_the_event_loop(
    serve: Serve, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.add_text("pass", PASS)
    client = await serve()
    threads = threads_of_tensors(monkeypatch)
    tensor = {"name": "in", "datatype": "BYTES", "shape": [40_000], "parameters": {"binary_data_size": 160_000}}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    response = await client.post("/v2/models/pass/infer", data=text + bytes(160_000), headers={HEADER: str(len(text))})
    assert (await response.read()).endswith(bytes(160_000))
    assert sorted(what for what, _ in threads) == ["read", "written"]
    assert threading.main_thread() not in {thread for _, thread in threads}
