"""What OVMS accepts and refuses of KServe requests to graphs, and which paths it knows, case by case."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from graph_runtime import Calculator, CalculatorContext, CalculatorContract, Plan, Timestamp, register_calculator
from server.app import build_app
from server.interface import PacketKind, interface_of
from server.keys import SERVABLES
from server.settings import Settings

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "ovms_cases.json").read_text(encoding="utf-8"))[
    "cases"
]

Serve = Callable[[str, str], Awaitable[TestClient[web.Request, web.Application]]]


def cases(kind: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["kind"] == kind]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["id"])


@pytest.fixture
def serve(aiohttp_client: AiohttpClient, tmp_path: Path) -> Serve:
    """A server of one graph, by its name and its text."""

    async def start(name: str, text: str) -> TestClient[web.Request, web.Application]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "graph.pbtxt").write_text(text)
        client = await aiohttp_client(build_app(Settings(models=tmp_path)))
        await client.app[SERVABLES].settled.wait()
        return client

    return start


def passing(inputs: int) -> str:
    """A graph with some tensor inputs, which it gives back."""
    ports = [
        f'input_stream: "OVTENSOR{n}:in{n}" output_stream: "OVTENSOR{n}:out{n}" '
        f'node {{ calculator: "PassThroughCalculator" input_stream: "in{n}" output_stream: "out{n}" }}'
        for n in range(inputs)
    ]
    return "\n".join(ports)


# ---- requests

GRAPHS: Final = {"Ok1Input": 1, "Ok2Inputs": 2, "NotEnoughInputs": 2, "NoDataInRawField": 1}
"""The inputs of the graph that each scenario is about."""
SENT: Final = {"NotEnoughInputs": 1}
"""How many of them are sent, where it is not all."""


@cases("kserve_graph_request")
async def test_requests_with_raw_tensors(case: dict[str, Any], serve: Serve) -> None:
    scenario = case["input"]["scenario"]
    client = await serve("graph", passing(GRAPHS[scenario]))
    raw = b"" if scenario == "NoDataInRawField" else np.arange(10, dtype="<f4").tobytes()
    inputs = [
        {"name": f"in{n}", "datatype": "FP32", "shape": [1, 10], "parameters": {"binary_data_size": len(raw)}}
        for n in range(SENT.get(scenario, GRAPHS[scenario]))
    ]
    head = json.dumps({"inputs": inputs}).encode()
    response = await client.post(
        "/v2/models/graph/infer",
        data=head + raw * len(inputs),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    told = await response.json()
    if case["expect"]["result"] == "accept":
        assert [each["data"] for each in told["outputs"]] == [list(range(10))] * len(inputs)
    else:
        assert (response.status, case["expect"]["grpc"]) == (400, "INVALID_ARGUMENT")
        assert "'in" in told["error"]


# ---- parameters


@register_calculator
class EchoesParameters(Calculator):
    """Gives its side packets as outputs."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        for tag, kind in (("STRING", str), ("BOOL", bool), ("INT64", int)):
            cc.input_side_packets[tag].set(kind)
            cc.outputs[tag].set(kind)

    def process(self, cc: CalculatorContext) -> None:
        for tag in cc.outputs.tags:
            cc.outputs[tag].add(cc.input_side_packets[tag].value)


TENSOR: Final = {"name": "in", "datatype": "FP32", "shape": [1], "data": [0.0]}


@cases("kserve_side_packets")
async def test_parameters_become_side_packets(case: dict[str, Any], serve: Serve) -> None:
    parameters = case["input"]["parameters"]
    ports = {name: name.removesuffix("_param").upper() for name in parameters}
    client = await serve(
        "graph",
        'input_stream: "in" '
        + " ".join(f'output_stream: "{tag}:{name}_out"' for name, tag in ports.items())
        + ' node { calculator: "EchoesParameters" input_stream: "in" '
        + " ".join(
            f'input_side_packet: "{tag}:{name}" output_stream: "{tag}:{name}_out"' for name, tag in ports.items()
        )
        + " }",
    )
    response = await client.post("/v2/models/graph/infer", json={"inputs": [TENSOR], "parameters": parameters})
    echoed = {each["name"].removesuffix("_out"): each["data"] for each in (await response.json())["outputs"]}
    assert case["expect"] == {"result": "accept", "echo": True}
    assert echoed == {name: [value] for name, value in parameters.items()}


@cases("mp_timestamp")
async def test_timestamps(case: dict[str, Any], serve: Serve) -> None:
    assert case["input"]["OVMS_MP_TIMESTAMP"] == "Timestamp::Min (int64min+3)"
    assert case["expect"] == {"result": "accept", "response_timestamp": "same"}
    client = await serve("graph", passing(1))
    body = {"inputs": [{**TENSOR, "name": "in0"}], "parameters": {"OVMS_MP_TIMESTAMP": -(2**63) + 3}}
    told = await (await client.post("/v2/models/graph/infer", json=body)).json()
    assert told["parameters"]["OVMS_MP_TIMESTAMP"] == -(2**63) + 3 == int(Timestamp.MIN)


# ---- streams and paths

KINDS: Final = {
    "MPTENSOR": PacketKind.ARRAY,
    "MEDIAPIPE_IMAGE": PacketKind.IMAGE_FRAME,
    "UNKNOWN": PacketKind.ARRAY,
}
"""OVMS's types of packets and what they are here: every tensor is a numpy array."""


@cases("stream_type")
def test_types_of_streams(case: dict[str, Any]) -> None:
    assert case["input"]["direction"] == "output"
    declaration = case["input"]["declaration"]
    name = declaration.rpartition(":")[2]
    plan = Plan(
        f'input_stream: "in" output_stream: "{declaration}" '
        f'node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "{name}" }}'
    )
    (port,) = interface_of(plan).outputs
    assert case["expect"] == {"result": "accept", "name": port.name, "packet_type": case["expect"]["packet_type"]}
    assert port.kinds == (KINDS[case["expect"]["packet_type"]],)


@cases("rest_route")
async def test_paths(case: dict[str, Any], serve: Serve) -> None:
    """OVMS answers a wrong method with 406; here it is 405."""
    asked = case["input"]
    client = await serve("dummy", passing(1))
    response = await client.request(asked["method"], quote(asked["uri"], safe="/"))
    if case["expect"]["result"] == "reject":
        assert case["expect"]["status"] == "REST_UNSUPPORTED_METHOD"
        assert response.status == 405
        assert response.headers["Allow"]
    elif "type" in case["expect"]:
        assert case["expect"]["type"] == "KFS_GetServerLive"
        assert await response.json() == {"live": True}
    else:  # about how the path is read; a folder whose name starts with a dot is no model here
        assert (await response.json())["error"].startswith("The model '..iO!.0?E*' does not exist")
