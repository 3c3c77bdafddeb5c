"""Tensors of KServe requests as arrays, and the other way round."""

from __future__ import annotations

import pickle
import struct
from typing import Any

import numpy as np
import pytest

from calculators.http_payload import RequestError
from calculators.kserve_payload import InferRequest, InferResponse, RequestedOutput, Tensor

NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(each)) + each for each in elements)


def refused(tensor: Tensor) -> RequestError:
    with pytest.raises(RequestError) as caught:
        tensor.array()
    assert caught.value.status == 400
    assert caught.value.param == tensor.name
    return caught.value


@pytest.mark.parametrize("datatype", NUMPY)
def test_numbers_come_in_binary_form_and_as_lists_and_leave_the_same(datatype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(NUMPY[datatype])
    for data in (array.tobytes(), memoryview(array.tobytes()), array.ravel().tolist(), array.tolist()):
        found = Tensor("x", datatype, (2, 3), data).array()
        assert found.dtype == np.dtype(NUMPY[datatype])
        assert np.array_equal(found, array)
        assert not found.flags.writeable
    sent = Tensor.of("y", array)
    assert (sent.name, sent.datatype, sent.shape) == ("y", datatype, (2, 3))
    assert bytes(sent.raw()) == array.tobytes()
    assert bytes(Tensor("x", datatype, (2, 3), array.tolist()).raw()) == array.tobytes()


def test_texts_come_in_binary_form_and_as_lists_and_leave_the_same() -> None:
    elements = [b"a", b"", "\u00e4".encode(), b"\x00\xff"]
    forms: list[Any] = [packed(*elements), memoryview(packed(*elements)), elements, [elements[:2], elements[2:]]]
    for data in forms:
        found = Tensor("t", "BYTES", (2, 2), data).array()
        assert found.tolist() == [elements[:2], elements[2:]]
    assert Tensor("t", "BYTES", (1,), ["\u00e4"]).array().tolist() == ["\u00e4".encode()]
    for value in (np.array(elements, object), elements):
        sent = Tensor.of("t", value)
        assert (sent.datatype, sent.shape) == ("BYTES", (4,))
        assert bytes(sent.raw()) == packed(*elements)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("datatype", ["FP32", "BOOL", "BYTES"])
def test_a_tensor_without_elements_keeps_its_shape(datatype: str, shape: tuple[int, ...]) -> None:
    empty: tuple[Any, ...] = (b"", [])
    for data in empty:
        found = Tensor("x", datatype, shape, data).array()
        assert found.shape == shape
        assert Tensor.of("x", found).shape == shape
        assert bytes(Tensor.of("x", found).raw()) == b""


@pytest.mark.parametrize(
    ("datatype", "element", "text"),
    [
        ("INT8", 128, "128 as element 1; INT8 takes whole numbers from -128 to 127"),
        ("UINT16", -1, "-1 as element 1; UINT16 takes whole numbers from 0 to 65535"),
        ("UINT64", 2**64, "UINT64 takes whole numbers from 0 to 18446744073709551615"),
        ("INT64", 1.5, "1.5 as element 1; INT64 takes whole numbers"),
        ("INT32", "7", "'7' as element 1; INT32 takes whole numbers"),
        ("FP32", "7", "'7' as element 1; FP32 takes numbers up to 3.4"),
        ("FP32", 1e39, "1e+39 as element 1; FP32 takes numbers up to 3.4"),
        ("FP16", 70000, "70000 as element 1; FP16 takes numbers up to 65504"),
        ("FP64", None, "None as element 1; FP64 takes numbers"),
        ("BOOL", 2, "2 as element 1; BOOL takes true and false"),
        ("BOOL", "true", "'true' as element 1; BOOL takes true and false"),
        ("BYTES", 7, "7 as element 1; BYTES takes texts"),
        ("FP32", [1.0], "[1.0] as element 1"),
    ],
)
def test_an_element_that_does_not_fit_is_named_with_its_place(datatype: str, element: Any, text: str) -> None:
    first = "a" if datatype == "BYTES" else 1
    error = refused(Tensor("x", datatype, (2,), [first, element]))
    assert text in error.message
    assert error.code == "invalid_value"


@pytest.mark.parametrize(
    ("tensor", "code", "text"),
    [
        (Tensor("x", "FP32", (-1, 2), b""), "invalid_shape", "no dimension can be negative"),
        (Tensor("x", "FP32", (2,), bytes(7)), "invalid_content_size", "has 7 bytes; FP32 of shape [2] is 8 bytes"),
        (Tensor("x", "FP32", (), b""), "invalid_content_size", "FP32 of shape [] is 4 bytes"),
        (Tensor("x", "FP32", (2,), [1.0]), "invalid_content_size", "has 1 elements; the shape [2] takes 2"),
        (Tensor("x", "FP32", (2, 2), [[1.0], [2.0, 3.0, 4.0]]), "invalid_content_size", "nested otherwise"),
        (Tensor("x", "FP32", (2, 2), [[1.0, 2.0], 3.0]), "invalid_content_size", "nested otherwise"),
        (Tensor("x", "BYTES", (2, 2), [["a", "b"], "cd"]), "invalid_content_size", "nested otherwise"),
        (Tensor("x", "FP32", (4,), [[1.0, 2.0], [3.0, 4.0]]), "invalid_content_size", "nested otherwise"),
        (Tensor("x", "FP128", (1,), b""), "invalid_precision", "one of BOOL, UINT8"),
        (Tensor("x", "BF16", (1,), b"ab"), "invalid_precision", "BF16 is not supported here"),
        (Tensor("x", "BYTES", (1,), b"\x05\x00\x00\x00abc"), "invalid_content_size", "not the 1 elements"),
        (Tensor("x", "BYTES", (1,), b"\x01\x00\x00\x00ab"), "invalid_content_size", "not the 1 elements"),
        (Tensor("x", "BYTES", (2,), packed(b"a")), "invalid_content_size", "not the 2 elements"),
        (Tensor("x", "BYTES", (1,), packed(b"a", b"b")), "invalid_content_size", "not the 1 elements"),
        (Tensor("x", "FP32", (1,) * 100, [1.0]), "invalid_shape", "has 100 dimensions; 64 are the most"),
        (Tensor("x", "FP32", (2**62,) * 300, b""), "invalid_shape", "has 300 dimensions"),
        (Tensor("x", "BYTES", (10**4000,) * 2, ["a"]), "invalid_shape", "no dimension can be more than"),
    ],
)
def test_data_that_is_not_what_the_tensor_says_is_refused(tensor: Tensor, code: str, text: str) -> None:
    error = refused(tensor)
    assert error.code == code
    assert text in error.message


@pytest.mark.parametrize("shape", [(2**40, 2**40), (0, 2**62, 2**62)])
@pytest.mark.parametrize("datatype", ["FP32", "BYTES"])
@pytest.mark.parametrize("data", [b"", []])
def test_a_lying_shape_allocates_nothing(shape: tuple[int, ...], datatype: str, data: Any) -> None:
    assert refused(Tensor("x", datatype, shape, data)).code in ("invalid_content_size", "invalid_shape")


def test_one_long_text_among_many_numbers_takes_no_memory_for_each() -> None:
    assert "element 99" in refused(Tensor("x", "FP32", (100,), [1.0] * 99 + ["x" * 10_000_000])).message


def test_a_tensor_that_starts_anywhere_gives_an_aligned_array() -> None:
    body = b"x" + np.arange(4, dtype="<f8").tobytes()
    found = Tensor("x", "FP64", (4,), memoryview(body)[1:]).array()
    assert found.flags.aligned
    assert found.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "datatype", "shape", "elements"),
    [
        (7, "INT64", (1,), [7]),
        (2**63, "UINT64", (1,), [2**63]),
        (True, "BOOL", (1,), [True]),
        (0.5, "FP64", (1,), [0.5]),
        ("\u00e4", "BYTES", (1,), ["\u00e4".encode()]),
        ("\ud800", "BYTES", (1,), [b"?"]),
        (b"\x00", "BYTES", (1,), [b"\x00"]),
        (["a", b"b"], "BYTES", (2,), [b"a", b"b"]),
        ([["a"], [b"b"]], "BYTES", (2, 1), [[b"a"], [b"b"]]),
        ([[1, 2]], "INT64", (1, 2), [[1, 2]]),
        (np.float16(2), "FP16", (1,), [2]),
        (np.float64(2), "FP64", (1,), [2]),
        (np.array(2, np.int8), "INT8", (), 2),
        (np.arange(4, dtype=">i4")[::-1], "INT32", (4,), [3, 2, 1, 0]),
        (np.array(["a", "bc"]), "BYTES", (2,), [b"a", b"bc"]),
    ],
)
def test_what_a_graph_gives_becomes_a_tensor(
    value: object, datatype: str, shape: tuple[int, ...], elements: Any
) -> None:
    made = Tensor.of("y", value)
    assert (made.datatype, made.shape) == (datatype, shape)
    assert made.array().tolist() == elements


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1},
        None,
        object(),
        2**64,
        pytest.param(10**5000, id="huge"),
        [[1], [2, 3]],
        [1, "a"],
        np.array([1j]),
        np.array([{}], object),
    ],
)
def test_what_is_no_tensor_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="cannot be sent as a tensor"):
        Tensor.of("y", value)


def test_an_array_is_sent_from_its_own_memory() -> None:
    array = np.arange(3, dtype="<f4")
    sent = Tensor.of("y", array)
    assert np.shares_memory(sent.array(), array)


def test_requests_and_responses_can_be_pickled() -> None:
    tensor = Tensor("x", "UINT8", (2,), memoryview(b"ab"), {"p": 1})
    request = InferRequest("m", "1", "id", {"a": True}, (tensor,), (RequestedOutput("y", {"binary_data": True}),))
    assert pickle.loads(pickle.dumps(request)) == request
    response = InferResponse("m", "1", "id", {}, (tensor,))
    assert pickle.loads(pickle.dumps(response)) == response
