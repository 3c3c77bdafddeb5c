"""KServe's REST form, whatever a client sends."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferResponse, Tensor
from calculators.kserve_tensors import DATATYPES
from graph_runtime import Plan
from server.interface import interface_of
from server.kserve_codec import packets_of
from server.kserve_json import Forms, read_request, split_body, write_response

INTERFACE = interface_of(
    Plan(
        'input_stream: "a" input_stream: "IMAGE:b" output_stream: "c" output_stream: "d" '
        'node { calculator: "PassThroughCalculator" input_stream: "a" input_stream: "b" output_stream: "c" output_stream: "d" }'
    )
)

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=4)
PARAMETERS = st.dictionaries(
    st.sampled_from(["OVMS_MP_TIMESTAMP", "py", "x", "binary_data", "binary_data_size", "binary_data_output"]),
    SCALARS | st.integers(0, 40) | st.lists(SCALARS, max_size=1),
    max_size=2,
)
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=12)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)
INPUT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["a", "b", "other"]) | SCALARS,
        "datatype": st.sampled_from([*DATATYPES, "BF16"]) | SCALARS,
        "shape": st.lists(st.integers(-1, 5) | st.just(2**62), max_size=4) | SCALARS,
        "data": DATA,
        "parameters": PARAMETERS | SCALARS,
    },
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "id": SCALARS,
        "inputs": st.lists(INPUT, max_size=3) | SCALARS,
        "outputs": st.lists(
            st.fixed_dictionaries({}, optional={"name": st.sampled_from(["c", "e"]), "parameters": PARAMETERS})
        ),
        "parameters": PARAMETERS | SCALARS,
        "more": DATA,
    },
)


@given(body=REQUEST | ANYTHING, behind=st.binary(max_size=40), header=st.booleans())
def test_any_json_is_a_request_or_a_refusal(body: Any, behind: bytes, header: bool) -> None:
    text = json.dumps(body).encode()
    with suppress(RequestError):
        head, binary = split_body(text + behind, str(len(text)) if header else None)
        packets_of(INTERFACE, read_request(head, binary, "m", "").request)


@pytest.mark.parametrize(
    "length",
    ["0", "-1", "+2", "3", "0x2", "\u0662", "", "2" + "0" * 5000, "0" * 5000 + "2", "0" * 19 + "2" + "0" * 5000],
)
def test_a_length_of_the_json_that_cannot_be_is_refused(length: str) -> None:
    with pytest.raises(RequestError, match="it has to be the length of the JSON"):
        split_body(b"{}", length)


def test_objects_and_numbers_in_one_list_and_deep_ones_are_no_fault_of_the_server() -> None:
    for more in ('[{"a": 1}, 1.5, "b", null]', '{"a":' * 1000 + "1" + "}" * 1000):
        with suppress(RequestError):
            assert read_request(f'{{"inputs": [], "more": {more}}}'.encode(), memoryview(b""), "m", "").ignored == [
                "more"
            ]


@given(
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(["?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]),
    st.binary(min_size=27 * 8, max_size=27 * 8),
    st.booleans(),
)
def test_what_is_written_can_be_read_to_the_bit(shape: list[int], dtype: str, raw: bytes, binary: bool) -> None:
    count = int(np.prod(shape, dtype=int))
    made = np.frombuffer(raw, "u1", count) > 127 if dtype == "?" else np.nan_to_num(np.frombuffer(raw, dtype, count))
    array = made.reshape(shape)
    body, size = write_response(InferResponse("m", "1", "", {}, (Tensor.of("a", array),)), Forms(binary))
    assert (size is not None) == binary
    answer = json.loads(body[:size])
    asked = json.dumps({"inputs": answer["outputs"]}).encode()
    (tensor,) = read_request(asked, memoryview(body)[size or len(body) :], "m", "").request.inputs
    found = tensor.array()
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()
