"""KServe requests as packets of a graph, packets as KServe responses."""

from __future__ import annotations

import json
import pickle
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from calculators.http_payload import HttpPayload, RequestError
from calculators.kserve_payload import InferRequest, InferResponse, Parameter, RequestedOutput, Tensor
from graph_runtime import (
    Calculator,
    CalculatorContract,
    Image,
    ImageFormat,
    ImageFrame,
    Plan,
    Timestamp,
    register_calculator,
)
from graph_runtime.packet import FLOAT_VECTOR, INT64
from server.backend import Event
from server.interface import GraphInterface, PacketKind, Port, interface_of
from server.kserve_codec import (
    GraphInputs,
    first_of_each,
    metadata_of,
    packets_of,
    response_of,
    tensor_of,
    unary_response,
)
from server.replies import GraphAnswerError

TYPES: dict[str, Any] = {
    "text": str, "bytes": bytes, "int": int, "int64": INT64, "float": float, "bool": bool, "floats": FLOAT_VECTOR,
    "array": np.ndarray,    "frame": ImageFrame, "image": Image, "dict": dict, "payload": HttpPayload,
}  # fmt: skip


class _Taker(Calculator):
    takes: Any

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(cls.takes)
        cc.outputs[0].set_any()


for _name, _takes in TYPES.items():
    register_calculator(f"Takes_{_name}")(type(f"Takes_{_name}", (_Taker,), {"takes": _takes}))


@register_calculator
class TakesTextOrInt(Calculator):
    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_one_of(str, int)
        cc.outputs[0].set_any()


@register_calculator
class NeedsSidePackets(Calculator):
    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set_any()
        cc.outputs[0].set_same_as(cc.inputs[0])
        cc.input_side_packets["TEXT"].set(str)
        cc.input_side_packets["INT"].set(int).optional()
        cc.input_side_packets["FLOAT"].set(float).optional()
        cc.input_side_packets["FLAG"].set(bool).optional()
        cc.input_side_packets["ANY"].set_any().optional()
        cc.input_side_packets["DICT"].set(dict).optional()
        cc.input_side_packets["GIVEN"].set_any().optional()


def taking(kind: str) -> GraphInterface:
    calculator = kind if kind.startswith("Takes") else f"Takes_{kind}"
    return interface_of(
        Plan(
            'input_stream: "in" output_stream: "out" '
            'node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "mid" } '
            f'node {{ calculator: "{calculator}" input_stream: "mid" output_stream: "out" }}'
        )
    )


def passing(*ports: str) -> GraphInterface:
    """A graph that gives what it takes; ``ports`` are tags, or "" for none."""
    text = ""
    for number, tag in enumerate(ports):
        place = f"{tag}:in{number}" if tag else f"in{number}"
        text += (
            f'input_stream: "{place}" output_stream: "out{number}" '
            f'node {{ calculator: "PassThroughCalculator" input_stream: "in{number}" output_stream: "out{number}" }}\n'
        )
    return interface_of(Plan(text))


def side_packets(provided: tuple[str, ...] = ("given",)) -> GraphInterface:
    names = ("text", "int", "float", "flag", "any", "dict", "given")
    inputs = " ".join(f'input_side_packet: "{name.upper()}:{name}"' for name in names)
    plan = Plan(
        'input_stream: "in0" output_stream: "out0" input_side_packet: "declared" '
        f'node {{ calculator: "NeedsSidePackets" input_stream: "in0" output_stream: "out0" {inputs} }}'
    )
    return interface_of(plan, provided)


def asking(
    *tensors: Tensor, parameters: dict[str, Parameter] | None = None, outputs: tuple[str, ...] = ()
) -> InferRequest:
    return InferRequest("m", "", "7", parameters or {}, tensors, tuple(RequestedOutput(name) for name in outputs))


def numbers(name: str = "in0") -> Tensor:
    return Tensor(name, "FP32", (2,), [1.0, 2.0])


def refused(interface: GraphInterface, request: InferRequest) -> RequestError:
    with pytest.raises(RequestError) as caught:
        packets_of(interface, request)
    assert caught.value.status == 400
    return caught.value


# ---- values


@pytest.mark.parametrize("tag", ["", "OVTENSOR", "TENSOR", "TFTENSOR", "OVTENSOR1", "OVMS_PY_TENSOR", "ANYTHING"])
def test_a_stream_of_any_type_takes_arrays(tag: str) -> None:
    value = packets_of(passing(tag), asking(numbers())).values["in0"]
    assert isinstance(value, np.ndarray)
    assert (value.dtype, value.tolist()) == (np.float32, [1.0, 2.0])


@pytest.mark.parametrize(
    ("kind", "tensor", "value"),
    [
        ("text", Tensor("in", "BYTES", (1,), ["\u00e4"]), "\u00e4"),
        ("bytes", Tensor("in", "BYTES", (1, 1), b"\x01\x00\x00\x00\xff"), b"\xff"),
        ("int", Tensor("in", "UINT8", (), [7]), 7),
        ("int64", Tensor("in", "INT64", (1,), [2**62]), 2**62),
        ("float", Tensor("in", "FP32", (1,), [0.5]), 0.5),
        ("float", Tensor("in", "INT8", (1,), [3]), 3),
        ("bool", Tensor("in", "BOOL", (1,), [True]), True),
        ("floats", Tensor("in", "FP64", (2,), [1.0, 2.0]), [1.0, 2.0]),
        ("TakesTextOrInt", Tensor("in", "BYTES", (1,), ["a"]), "a"),
        ("TakesTextOrInt", Tensor("in", "INT64", (1,), [5]), 5),
    ],
)
def test_a_stream_gets_the_plain_value_that_its_calculator_asks_for(kind: str, tensor: Tensor, value: Any) -> None:
    found = packets_of(taking(kind), asking(tensor)).values["in"]
    assert found == value
    assert type(found) is type(value)


def test_a_stream_for_arrays_gets_an_array() -> None:
    assert isinstance(packets_of(taking("array"), asking(numbers("in"))).values["in"], np.ndarray)


@pytest.mark.parametrize(
    ("kind", "tensor", "code", "text"),
    [
        ("text", numbers("in"), "invalid_precision", "'in' is FP32; the graph takes BYTES"),
        ("int", Tensor("in", "BOOL", (1,), [True]), "invalid_precision", "is BOOL; the graph takes INT8, INT16"),
        ("bool", Tensor("in", "INT8", (1,), [1]), "invalid_precision", "the graph takes BOOL"),
        ("int", Tensor("in", "INT8", (2,), [1, 2]), "invalid_shape", "has 2 elements; the graph takes one"),
        ("text", Tensor("in", "BYTES", (2,), ["a", "b"]), "invalid_shape", "has 2 elements; the graph takes one"),
        ("text", Tensor("in", "BYTES", (1,), [b"\xff"]), "invalid_value", "no UTF-8 text"),
        ("dict", numbers("in"), "model_not_callable", "no tensor can be turned into"),
        ("payload", numbers("in"), "invalid_precision", "the body of an HTTP call"),
        ("text", Tensor("in", "FP32", (-1,), [1.0]), "invalid_shape", "negative"),
    ],
)
def test_a_tensor_that_the_stream_does_not_take_is_refused(kind: str, tensor: Tensor, code: str, text: str) -> None:
    error = refused(taking(kind), asking(tensor))
    assert error.code == code
    assert text in error.message


@pytest.mark.parametrize("kind", ["array", "text", "int", "dict", "payload"])
def test_a_refusal_does_not_repeat_a_datatype_of_megabytes(kind: str) -> None:
    error = refused(taking(kind), asking(Tensor("in", "F" * 1_000_000, (1,), [1])))
    assert len(error.message) < 500


@pytest.mark.parametrize(
    ("datatype", "channels", "image_format"),
    [
        ("UINT8", 1, ImageFormat.GRAY8), ("UINT8", 3, ImageFormat.SRGB), ("UINT8", 4, ImageFormat.SRGBA),
        ("INT8", 3, ImageFormat.SRGB), ("UINT16", 1, ImageFormat.GRAY16), ("UINT16", 3, ImageFormat.SRGB48),
        ("INT16", 4, ImageFormat.SRGBA64),        ("FP16", 3, ImageFormat.SRGB48),
        ("FP32", 1, ImageFormat.VEC32F1), ("FP32", 2, ImageFormat.VEC32F2),
        ("FP32", 4, ImageFormat.VEC32F4),
    ],
)  # fmt: skip
def test_an_image_stream_takes_pixels_and_gives_the_same_bits_back(
    datatype: str, channels: int, image_format: ImageFormat
) -> None:
    width = {"8": 1, "6": 2, "2": 4}[datatype[-1]]
    raw = bytes(range(2 * 3 * channels * width))
    interface = passing("IMAGE")
    frame = packets_of(interface, asking(Tensor("in0", datatype, (2, 3, channels), raw))).values["in0"]
    assert isinstance(frame, ImageFrame)
    assert (frame.image_format, frame.height, frame.width) == (image_format, 2, 3)
    sent = tensor_of(interface.outputs[0], frame)
    assert sent.shape == (2, 3, channels)
    assert bytes(sent.raw()) == raw


def test_a_stream_for_images_is_known_by_its_contract_too() -> None:
    pixels = Tensor("in", "UINT8", (2, 2, 3), bytes(12))
    assert isinstance(packets_of(taking("frame"), asking(pixels)).values["in"], ImageFrame)
    assert isinstance(packets_of(taking("image"), asking(pixels)).values["in"], Image)


@pytest.mark.parametrize(
    ("datatype", "shape"), [("UINT8", (2, 2)), ("UINT8", (2, 2, 2)), ("FP32", (2, 2, 3)), ("UINT8", (0, 2, 3))]
)
def test_pixels_of_a_shape_that_no_image_has_are_refused(datatype: str, shape: tuple[int, ...]) -> None:
    raw = bytes(int(np.prod(shape)) * (4 if datatype == "FP32" else 1))
    error = refused(passing("IMAGE"), asking(Tensor("in0", datatype, shape, raw)))
    assert error.code == "invalid_shape"
    assert "[height, width, channels]" in error.message


# ---- whole requests


def test_a_request_stream_gets_the_whole_request() -> None:
    request = asking(numbers("whatever"), parameters={"anything": 1.5})
    found = packets_of(passing("REQUEST"), request)
    assert found == GraphInputs({"in0": request}, {}, None, ())


def test_a_response_of_the_graph_is_completed() -> None:
    port = Port("RESPONSE", 0, "out", (PacketKind.RESPONSE,))
    interface = GraphInterface((Port("REQUEST", 0, "in", (PacketKind.REQUEST,)),), (port,), frozenset())
    made = InferResponse(outputs=(numbers("free"),), parameters={"mine": 1})
    found = response_of(interface, asking(), {"out": made}, 5)
    assert found == InferResponse("m", "1", "7", {"OVMS_MP_TIMESTAMP": 5, "mine": 1}, (numbers("free"),))
    with pytest.raises(GraphAnswerError, match="RESPONSE streams carry an InferResponse"):
        response_of(interface, asking(), {"out": np.zeros(1)}, 5)


@pytest.mark.parametrize(
    ("tensors", "code", "text"),
    [
        ((numbers("in0"),), "missing_input", "Not all input packets created: 'in1' is missing"),
        ((), "missing_input", "Not all input packets created: 'in0', 'in1' is missing"),
        (
            (numbers("in0"), numbers("in1"), numbers("other")),
            "unexpected_input",
            "'other': the graph takes 'in0', 'in1'",
        ),
        ((numbers("in0"), numbers("in0")), "unexpected_input", "'in0' is there twice"),
    ],
)
def test_every_input_is_there_once_and_no_other(tensors: tuple[Tensor, ...], code: str, text: str) -> None:
    error = refused(passing("", ""), asking(*tensors))
    assert error.code == code
    assert text in error.message


def test_requests_that_feed_a_run_may_leave_out_inputs() -> None:
    found = packets_of(passing("", ""), asking(numbers("in1")), streaming=True)
    assert list(found.values) == ["in1"]


def test_an_output_that_the_graph_does_not_have_is_refused() -> None:
    error = refused(passing(""), asking(numbers(), outputs=("out1",)))
    assert "Unexpected output 'out1': the graph gives 'out0'" in error.message


# ---- parameters


@pytest.mark.parametrize("value", [0, 7, int(Timestamp.MIN), int(Timestamp.MAX)])
def test_a_timestamp_is_taken(value: int) -> None:
    assert packets_of(passing(""), asking(numbers(), parameters={"OVMS_MP_TIMESTAMP": value})).timestamp == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", "Should be int64"), (5.0, "Should be int64"), (True, "Should be int64"), (2**63, "Should be int64"),
        (int(Timestamp.MIN) - 1, "a timestamp of a packet is from -9223372036854775805 to 9223372036854775804"),
        (int(Timestamp.MAX) + 1, "a timestamp of a packet is from"),
    ],
)  # fmt: skip
def test_what_is_no_timestamp_of_a_packet_is_refused(value: Parameter, text: str) -> None:
    error = refused(passing(""), asking(numbers(), parameters={"OVMS_MP_TIMESTAMP": value}))
    assert error.code == "invalid_timestamp"
    assert text in error.message


def test_parameters_become_side_packets_and_the_others_are_listed() -> None:
    given: dict[str, Parameter] = {"text": "a", "int": 1, "float": 2, "flag": True, "any": 0.5, "declared": "d"}
    found = packets_of(side_packets(), asking(numbers(), parameters={**given, "priority": 3, "OVMS_MP_TIMESTAMP": 1}))
    assert found.side_packets == given
    assert found.ignored == ("priority",)


@pytest.mark.parametrize(
    ("parameters", "code", "text"),
    [
        ({}, "missing_parameter", "needs the side packet 'text': send a parameter"),
        ({"text": 1}, "invalid_type", "'text' is an integer; the graph takes a string"),
        ({"text": "a", "int": True}, "invalid_type", "'int' is a boolean; the graph takes an integer"),
        ({"text": "a", "float": "x"}, "invalid_type", "the graph takes an integer or a number"),
        ({"text": "a", "int": 2**63}, "invalid_value", "does not fit into 64 bits"),
        ({"text": "a", "dict": "x"}, "reserved_parameter", "cannot be set by a parameter"),
        ({"text": "a", "given": "x"}, "reserved_parameter", "is the server's"),
        ({"text": "a", "py": "x"}, "reserved_parameter", "is the server's"),
    ],
)
def test_a_parameter_that_cannot_be_a_side_packet_is_refused(
    parameters: dict[str, Parameter], code: str, text: str
) -> None:
    error = refused(side_packets(), asking(numbers(), parameters=parameters))
    assert error.code == code
    assert text in error.message


def test_parameters_of_tensors_and_outputs_that_nobody_reads_are_listed() -> None:
    tensor = Tensor("in0", "FP32", (1,), [1.0], {"quality": 1})
    request = InferRequest("m", inputs=(tensor,), outputs=(RequestedOutput("out0", {"classification": 3}),))
    assert packets_of(passing(""), request).ignored == ("out0.classification", "in0.quality")


# ---- a graph that was made for a model


def test_clients_know_the_tensors_of_a_model_by_its_own_names() -> None:
    interface = GraphInterface(
        (Port("INPUT0", 0, "_0", datatype="FP32", shape=(-1,), tensor="0"),),
        (
            Port("OUTPUT0", 0, "a_b", datatype="FP32", shape=(-1,), tensor="A.b"),
            Port("OUTPUT1", 0, "a_b_", datatype="FP32", shape=(-1,), tensor="a_b"),
        ),
        frozenset({"OpenVINOInferenceCalculator"}),
    )
    described = metadata_of("m", interface)
    assert [each["name"] for each in (*described["inputs"], *described["outputs"])] == ["0", "A.b", "a_b"]
    request = InferRequest("m", inputs=(Tensor("0", "FP32", (1,), [1.0]),), outputs=(RequestedOutput("A.b"),))
    assert list(packets_of(interface, request).values) == ["_0"]
    events = {"a_b": Event("a_b", np.ones(1), 0), "a_b_": Event("a_b_", np.zeros(1), 0)}
    answer = unary_response(interface, request, events)
    assert [each.name for each in answer.outputs] == ["A.b"]
    error = refused(interface, InferRequest("m", inputs=(Tensor("_0", "FP32", (1,), [1.0]),)))
    assert error.message == "Unexpected input '_0': the graph takes '0'."
    error = refused(interface, InferRequest("m"))
    assert error.message == "Not all input packets created: '0' is missing."


# ---- HTTP calls in a tensor

PAYLOAD = GraphInterface(
    (Port("HTTP_REQUEST_PAYLOAD", 0, "input", (PacketKind.PAYLOAD,)),),
    (Port("HTTP_RESPONSE_PAYLOAD", 0, "output", (PacketKind.PAYLOAD,)),),
    frozenset({"ImageGenCalculator"}),
)


def body(parameters: dict[str, Parameter] | None = None, **fields: Any) -> InferRequest:
    return InferRequest("m", inputs=(Tensor("input", "BYTES", (1,), [json.dumps(fields)], parameters or {}),))


def test_an_http_call_is_a_text_with_its_body() -> None:
    payload = packets_of(PAYLOAD, body(prompt="a cat"), base_url="http://h").values["input"]
    assert isinstance(payload, HttpPayload)
    assert (payload.uri, payload.base_url) == ("/v3/images/generations", "http://h")
    assert payload.parsed_json == {"model": "m", "prompt": "a cat"} == json.loads(payload.body)
    assert payload.headers["content-type"] == "application/json"


def test_an_http_call_may_say_where_it_goes_and_what_it_is() -> None:
    parts = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na cat\r\n--x--\r\n'
    tensor = Tensor(
        "input", "BYTES", (1,), [parts], {"uri": "/v3/images/edits", "content_type": "multipart/form-data; boundary=x"}
    )
    found = packets_of(PAYLOAD, InferRequest("m", inputs=(tensor,)))
    payload = found.values["input"]
    assert payload.uri == "/v3/images/edits"
    assert [(part.name, part.data) for part in payload.parts] == [("prompt", b"a cat")]
    assert found.ignored == ()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (body(model="other"), "The body asks for the model 'other', the request for 'm'"),
        (body(stream=True), "for ModelStreamInfer"),
        (body({"uri": 5}), "The parameter uri of the input 'input' is not a string"),
        (InferRequest("m", inputs=(Tensor("input", "BYTES", (1,), ["{"]),)), "Failed to parse JSON"),
    ],
)
def test_a_broken_http_call_is_refused(request_: InferRequest, text: str) -> None:
    assert text in refused(PAYLOAD, request_).message


def test_the_answer_to_an_http_call_is_a_text() -> None:
    sent = tensor_of(PAYLOAD.outputs[0], '{"data":[]}')
    assert (sent.datatype, sent.shape, sent.array().tolist()) == ("BYTES", (1,), [b'{"data":[]}'])


# ---- responses


async def run(*events: Event) -> AsyncGenerator[Event, None]:
    for event in events:
        yield event


def array(*numbers: float) -> NDArray[Any]:
    return np.array(numbers, np.float32)


async def test_an_answer_has_the_first_packet_of_each_output_in_the_order_of_the_graph() -> None:
    events = run(Event("out1", array(1), 4), Event("out0", array(0), 4), Event("out0", array(9), 5))
    found = unary_response(passing("", ""), asking(), await first_of_each(events))
    assert (found.model_name, found.model_version, found.id) == ("m", "1", "7")
    assert found.parameters == {"OVMS_MP_TIMESTAMP": 4}
    assert [(each.name, each.array().tolist()) for each in found.outputs] == [("out0", [0]), ("out1", [1])]


async def test_an_answer_has_the_outputs_that_were_asked_for() -> None:
    events = run(Event("out1", array(1), 4), Event("out0", array(0), 4))
    found = unary_response(passing("", ""), asking(outputs=("out1",)), await first_of_each(events))
    assert [each.name for each in found.outputs] == ["out1"]


async def test_an_output_without_a_packet_is_named() -> None:
    with pytest.raises(RequestError, match="gave no packet on 'out1'") as caught:
        unary_response(passing("", ""), asking(), await first_of_each(run(Event("out0", array(0), 4))))
    assert (caught.value.status, caught.value.code) == (500, "no_output")
    only = unary_response(
        passing("", ""), asking(outputs=("out0",)), await first_of_each(run(Event("out0", array(0), 4)))
    )
    assert len(only.outputs) == 1


async def test_a_packet_that_is_no_tensor_is_the_graphs_fault() -> None:
    with pytest.raises(GraphAnswerError, match='output stream "out0": a dict cannot be sent as a tensor'):
        unary_response(passing(""), asking(), await first_of_each(run(Event("out0", {}, 0))))


# ---- metadata


@pytest.mark.parametrize(
    ("kind", "datatype", "shape"),
    [
        ("text", "BYTES", [1]), ("int", "INT64", [1]), ("float", "FP64", [1]), ("bool", "BOOL", [1]), ("payload", "BYTES", [1]),
        ("array", "INVALID", []), ("TakesTextOrInt", "INVALID", []),
    ],
)  # fmt: skip
def test_metadata_says_what_is_known(kind: str, datatype: str, shape: list[int]) -> None:
    assert metadata_of("a/b", taking(kind)) == {
        "name": "a/b",
        "versions": ["1"],
        "platform": "OpenVINO",
        "inputs": [{"name": "in", "datatype": datatype, "shape": shape}],
        "outputs": [{"name": "out", "datatype": "INVALID", "shape": []}],
    }


def test_an_interface_can_be_pickled() -> None:
    interface = side_packets()
    assert pickle.loads(pickle.dumps(interface)) == interface
