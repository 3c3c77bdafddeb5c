"""``pyovms.Tensor``: what it says of its buffer, and that it is one."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest

from calculators.python_node.tensor import FORMATS, Tensor, array_of, received

NUMBERS = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "INT8": np.int8,
    "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip


@pytest.mark.parametrize("datatype", NUMBERS)
def test_a_tensor_of_an_array_is_the_same_buffer_with_a_name(datatype: str) -> None:
    array: Any = np.ones((1, 3, 30, 2), NUMBERS[datatype])
    tensor = Tensor("input", array)
    assert (tensor.name, tensor.datatype, tensor.shape) == ("input", datatype, (1, 3, 30, 2))
    assert tensor.size == array.nbytes
    buffer: Any = tensor  # to the type checker arrays are no buffers before Python 3.12
    for view in (tensor.data, memoryview(buffer)):
        assert (view.shape, view.format, view.strides) == (array.shape, array.data.format, array.strides)
    assert bytes(tensor) == array.tobytes()
    again = np.array(tensor)
    assert type(again) is np.ndarray
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    array[0, 0, 0, 0] = 0  # it has been copied into nothing
    assert tensor.data.tobytes() == array.tobytes() != again.tobytes()


@pytest.mark.parametrize("datatype", NUMBERS)
def test_a_tensor_of_a_request_has_the_format_of_its_datatype(datatype: str) -> None:
    array: Any = np.arange(6).reshape(2, 3).astype(NUMBERS[datatype])
    tensor = received("x", array.tobytes(), (2, 3), datatype)
    assert (tensor.data.format, tensor.data.shape, tensor.shape) == (FORMATS[datatype], (2, 3), (2, 3))
    np.testing.assert_array_equal(np.array(tensor), array)
    np.testing.assert_array_equal(array_of(tensor), array)


def test_a_tensor_of_bytes_is_a_row_of_uint8() -> None:
    tensor = Tensor("out", b"some text")
    assert (tensor.shape, tensor.datatype, tensor.size) == ((9,), "UINT8", 9)
    assert (tensor.data.format, tensor.data.itemsize, tensor.data.strides) == ("B", 1, (1,))
    assert bytes(tensor).decode() == "some text"


@pytest.mark.parametrize("texts", ["one", ["some", "more"]])
def test_a_format_that_has_no_datatype_is_the_datatype(texts: Any) -> None:
    array = np.array(texts)
    tensor = Tensor("out", array)
    assert tensor.datatype == tensor.data.format == array.data.format
    assert tensor.shape == array.shape
    assert bytes(tensor) == array.tobytes()
    assert Tensor("out", array, datatype=array.dtype.str).datatype == array.dtype.str


@pytest.mark.parametrize("datatype", ["my_string", "BYTES", "BF16"])
def test_data_of_another_datatype_is_raw_and_its_shape_is_what_was_said(datatype: str) -> None:
    tensor = received("x", b"null0terminated0string0", (3,), datatype)
    assert (tensor.datatype, tensor.shape, tensor.size) == (datatype, (3,), 23)
    assert (tensor.data.format, tensor.data.shape) == ("B", (23,))
    assert np.frombuffer(tensor, np.uint8).shape == (23,)
    with pytest.raises(ValueError, match=f"the datatype {datatype} has no array"):
        array_of(tensor)


def test_shape_and_datatype_can_be_said_anew_and_change_nothing_in_the_buffer() -> None:
    tensor = Tensor("out", np.zeros((2, 3), np.float32), shape=[6, -1], datatype="mine")
    assert (tensor.shape, tensor.datatype) == ((6, -1), "mine")
    assert (tensor.data.shape, tensor.data.format, tensor.size) == ((2, 3), "f", 24)


def test_the_bytes_of_an_array_with_gaps_are_its_elements() -> None:
    array = np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2]
    tensor = Tensor("out", array)
    assert (bytes(tensor), tensor.size) == (array.tobytes(), 24)
    np.testing.assert_array_equal(array_of(tensor), array)


def test_numbers_without_dimensions_and_empty_tensors_work() -> None:
    assert Tensor("out", np.float32(3)).shape == ()
    assert array_of(Tensor("out", np.float32(3))) == 3
    empty = received("x", b"", (0, 3), "FP32")
    assert (empty.shape, empty.size, array_of(empty).shape) == ((0, 3), 0, (0, 3))


def test_a_node_may_write_into_what_came() -> None:
    tensor = received("x", bytes(8), (2,), "FP32")
    np.asarray(tensor)[1] = 5
    assert array_of(tensor).tolist() == [0, 5]


def test_what_numpy_makes_of_a_tensor_is_an_array() -> None:
    tensor = received("x", np.arange(6, dtype=np.float32).tobytes(), (2, 3), "FP32")
    for made in (tensor + 1, tensor.sum(axis=0), np.exp(tensor), np.array(tensor)):
        assert type(made) is np.ndarray
    assert tensor.max() == 5
    assert np.mean(np.array(tensor)) == np.mean(tensor) == 2.5
    turned: Any = tensor.reshape(3, 2)
    assert (turned.shape, turned.size) == ((3, 2), 6)
    with pytest.raises(AttributeError, match="has no name; make a Tensor of it"):
        turned.name  # noqa: B018  # this is what is tested


@pytest.mark.parametrize(
    "calculate",
    [
        *(np.mean, np.median, np.std, np.average, np.size, np.shape, np.squeeze, np.atleast_2d),
        lambda x: np.tile(x, 2),
        lambda x: np.roll(x, 1),
        lambda x: np.stack([x, x]),
        lambda x: np.expand_dims(x, axis=0),
    ],
)
def test_functions_of_numpy_see_the_buffer_whatever_shape_the_tensor_says(calculate: Any) -> None:
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    for shape in (None, [6], [1]):
        made = calculate(Tensor("x", numbers, shape))
        assert not isinstance(made, Tensor)
        assert np.array_equal(made, calculate(numbers))


def test_its_attributes_cannot_be_changed() -> None:
    tensor = Tensor("out", b"12")
    for name in ("name", "shape", "datatype", "size"):
        with pytest.raises(AttributeError, match=f"the {name} of a pyovms.Tensor cannot be changed"):
            setattr(tensor, name, "x")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("out", "text"), "a str is none; give text.encode()"),
        (("out", [1, 2]), "a list is none; give np.array"),
        (("out", None), "a NoneType is none"),
        (("out", np.array(["text", None])), "an array of object holds no bytes of its elements"),
        (("out", np.array(["2026-11-27"], "M8[D]")), "an array of datetime64[D] holds no bytes"),
        ((5, b""), "the name of a Tensor is a str, not int"),
        (("out", b"", None, 5), "the datatype of a Tensor is a str, not int"),
    ],
)
def test_what_is_no_buffer_is_refused(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        Tensor(*arguments)


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor("x", bytes(5), (2,), "FP32"), "the buffer has 5 bytes; FP32 of shape [2] is 8 bytes"),
        (Tensor("x", bytes(8), (-1, 2), "FP32"), "the shape [-1, 2] has a negative dimension"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_no_array(tensor: Tensor, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        array_of(tensor)


def test_a_tensor_tells_what_it_is_and_can_be_pickled() -> None:
    tensor = Tensor("out", np.zeros(2, np.float32), (1, 2))
    assert repr(tensor) == str(tensor) == "Tensor('out', FP32, [1, 2], 8 bytes)"
    again = pickle.loads(pickle.dumps(tensor))
    assert (again.name, again.shape, again.datatype, bytes(again)) == ("out", (1, 2), "FP32", bytes(8))
