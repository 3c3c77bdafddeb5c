"""KServe's gRPC messages as requests, and responses as messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferResponse, Tensor
from server._pb.inference import grpc_predict_v2_pb2 as pb
from server.kserve_messages import request_of, response_message
from server.replies import GraphAnswerError
from tests.server.grpc_client import request, tensor

Input = pb.ModelInferRequest.InferInputTensor


def message(*inputs: Input, raw: list[bytes] | None = None) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(model_name="m", inputs=inputs, raw_input_contents=raw or [])


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-32768, 32767]),
        ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 65535]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -2.0]),
        ("FP64", "fp64_contents", [0.1, 1e300]),
        ("BYTES", "bytes_contents", [b"\x00\xff", b""]),
    ],
)
def test_typed_contents_of_every_datatype_become_its_elements(datatype: str, field: str, values: list[Any]) -> None:
    contents = pb.InferTensorContents(**{field: values})
    (made,) = request_of(message(Input(name="in", datatype=datatype, shape=[2], contents=contents))).inputs
    assert made.array().tolist() == values


def test_a_number_that_does_not_fit_its_datatype_is_refused() -> None:
    contents = pb.InferTensorContents(int_contents=[128])
    (made,) = request_of(message(Input(name="in", datatype="INT8", shape=[1], contents=contents))).inputs
    with pytest.raises(RequestError, match="128"):
        made.array()


def test_raw_contents_go_to_the_inputs_in_their_order() -> None:
    arrays = [np.arange(6, dtype="<f4").reshape(2, 3), np.array([7], "<i8")]
    read = request_of(
        message(
            Input(name="a", datatype="FP32", shape=[2, 3]),
            Input(name="b", datatype="INT64", shape=[1]),
            raw=[each.tobytes() for each in arrays],
        )
    )
    for made, array in zip(read.inputs, arrays, strict=True):
        np.testing.assert_array_equal(made.array(), array)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (message(tensor("in", 1.0), raw=[b"\0\0\0\0"]), "both contents and raw_input_contents"),
        (message(Input(name="in"), raw=[b"", b""]), "1 input.s. and 2 raw_input_contents"),
        (
            message(Input(name="in", datatype="INT32", contents=pb.InferTensorContents(fp32_contents=[1.0]))),
            "contents of INT32 are in int_contents",
        ),
        (
            message(Input(name="in", datatype="FP16", contents=pb.InferTensorContents(fp32_contents=[1.0]))),
            "it takes raw_input_contents",
        ),
        (
            message(
                Input(
                    name="in",
                    datatype="FP32",
                    contents=pb.InferTensorContents(fp32_contents=[1.0], int_contents=[1]),
                )
            ),
            "int_contents, fp32_contents",
        ),
        (pb.ModelInferRequest(parameters={"p": pb.InferParameter()}), "'p' has no value"),
    ],
)
def test_contents_that_are_not_where_they_have_to_be_are_refused(bad: pb.ModelInferRequest, text: str) -> None:
    with pytest.raises(RequestError, match=text) as refused:
        request_of(bad)
    assert (refused.value.status, refused.value.code) == (400, "invalid_message")


def test_parameters_keep_their_types() -> None:
    parameters: dict[str, Any] = {"text": "a", "whole": -3, "truth": True, "number": 0.25}
    assert request_of(request("m", **parameters)).parameters == parameters
    large = pb.ModelInferRequest(parameters={"large": pb.InferParameter(uint64_param=2**64 - 1)})
    assert request_of(large).parameters == {"large": 2**64 - 1}


def test_a_response_has_raw_outputs_in_order_and_typed_parameters() -> None:
    made = response_message(
        InferResponse(
            "m",
            "1",
            "id",
            {"OVMS_MP_TIMESTAMP": 2**40, "large": 2**64 - 1, "truth": True, "text": "a", "number": 0.5},
            (Tensor.of("a", np.ones((2, 2), np.float32)), Tensor.of("b", "text")),
        )
    )
    assert [(each.name, each.datatype, [*each.shape]) for each in made.outputs] == [
        ("a", "FP32", [2, 2]),
        ("b", "BYTES", [1]),
    ]
    assert made.raw_output_contents == [np.ones((2, 2), np.float32).tobytes(), b"\4\0\0\0text"]
    assert not any(each.HasField("contents") for each in made.outputs)
    choices = {name: each.WhichOneof("parameter_choice") for name, each in made.parameters.items()}
    assert choices == {
        "OVMS_MP_TIMESTAMP": "int64_param",
        "large": "uint64_param",
        "truth": "bool_param",
        "text": "string_param",
        "number": "double_param",
    }


@pytest.mark.parametrize(
    "bad",
    [
        InferResponse(parameters={"p": 2**64}),
        InferResponse(outputs=(Tensor("a", "FP33", (1,), [1]),)),
        InferResponse(outputs=(Tensor("a", "FP32", (2**63,), b""),)),
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_fault_of_the_graph(bad: InferResponse) -> None:
    with pytest.raises(GraphAnswerError):
        response_message(bad)
