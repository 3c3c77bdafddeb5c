"""KServe tensors <-> numpy arrays; whatever a client may send, nothing is allocated that its own bytes do not fill."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from calculators.http_payload import RequestError
from calculators.kserve_payload import Tensor

_DTYPES: Final = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_NAMES: Final = {dtype: name for name, dtype in _DTYPES.items()}

# How a list is read. array.array is strict where numpy is not (texts and fractions are no whole numbers, nothing wraps around),
# and as fast; halves go through double, so that numpy says what is too large.
_CODES: Final = {
    "BOOL": "B", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "d", "FP32": "f", "FP64": "d",
}  # fmt: skip

BYTES: Final = "BYTES"
DATATYPES: Final = (*_DTYPES, BYTES)
_LENGTH: Final = struct.Struct("<I")
_MOST_DIMENSIONS: Final = 64  # as numpy
_LARGEST_DIMENSION: Final = 2**63 - 1  # as KServe's messages
_SHOWN: Final = 40


def array_of(tensor: Tensor) -> NDArray[Any]:
    """See :meth:`Tensor.array`."""
    elements = _objects(elements_of(tensor)) if tensor.datatype == BYTES else numbers_of(tensor)
    try:
        shaped: NDArray[Any] = elements.reshape(tensor.shape)
    except ValueError as error:  # too many dimensions, or a product that overflows beside a zero
        _refuse(tensor, f"has the shape {_shape(tensor)}, which cannot be: {error}", "invalid_shape")
    shaped.flags.writeable = False  # a packet is shared by all who take it
    return shaped


def numbers_of(tensor: Tensor) -> NDArray[Any]:
    """The elements of a tensor of numbers in a row; raises as :meth:`Tensor.array`."""
    count = count_of(tensor)
    return _from_list(tensor, count) if isinstance(tensor.data, list) else _from_raw(tensor, count)


def elements_of(tensor: Tensor) -> list[bytes]:
    """The elements of a BYTES tensor; raises as :meth:`Tensor.array`."""
    count = count_of(tensor)
    if not isinstance(tensor.data, list):
        return _unpack(tensor, count)
    flat = _flat(tensor, count)
    if not set(map(type, flat)) <= {str, bytes}:
        wrong = next(position for position, each in enumerate(flat) if not isinstance(each, (str, bytes)))
        _refuse(tensor, f"has {_short(flat[wrong])} as element {wrong}; BYTES takes texts", "invalid_value")
    return [_text(each) for each in flat]


def raw_of(tensor: Tensor) -> bytes | memoryview:
    """See :meth:`Tensor.raw`."""
    if not isinstance(tensor.data, list):
        return tensor.data
    if tensor.datatype == BYTES:
        return b"".join(chain.from_iterable((_LENGTH.pack(len(each)), each) for each in elements_of(tensor)))
    return _memory(array_of(tensor))


def tensor_of(name: str, value: object) -> Tensor:
    """See :meth:`Tensor.of`."""
    if isinstance(value, np.ndarray):
        return _of_array(name, value)
    if isinstance(value, str):
        return Tensor(name, BYTES, (1,), [_text(value)])
    if isinstance(value, bytes):
        return Tensor(name, BYTES, (1,), [value])
    if isinstance(value, np.generic):
        return _of_array(name, np.asarray(value).reshape(1))
    if isinstance(value, (bool, int, float)):
        return _of_array(name, _number(value))
    if isinstance(value, (list, tuple)) and value and all(isinstance(each, (str, bytes)) for each in value):
        return Tensor(name, BYTES, (len(value),), [_text(each) for each in value])
    if not isinstance(value, (list, tuple)) and not hasattr(value, "__array_interface__"):
        raise TypeError(f"a {type(value).__name__} cannot be sent as a tensor")
    try:
        made = np.asarray(value)
        if made.dtype.kind in "SU" and isinstance(value, (list, tuple)):
            made = np.asarray(value, object)  # numpy has made texts of numbers
    except (ValueError, OverflowError) as error:
        raise TypeError(f"a {type(value).__name__} cannot be sent as a tensor: {error}") from error
    return _of_array(name, made)


def datatype_of(dtype: np.dtype[Any]) -> str | None:
    """KServe's word for the elements of an array; None if it has none."""
    return _NAMES.get(dtype) or _NAMES.get(dtype.newbyteorder("<"))


def count_of(tensor: Tensor) -> int:
    """How many elements the shape asks for.

    Raises:
        RequestError: 400; the datatype is not known, or no array has such a shape.
    """
    if tensor.datatype not in DATATYPES:
        reason = "BF16 is not supported here, as numpy has no such type; send FP32" if tensor.datatype == "BF16" else ""
        _refuse(
            tensor,
            f"has the datatype {_short(tensor.datatype)}: {reason or 'it takes one of ' + ', '.join(DATATYPES)}",
            "invalid_precision",
        )
    if len(tensor.shape) > _MOST_DIMENSIONS:  # to multiply millions of them would take hours
        _refuse(tensor, f"has {len(tensor.shape)} dimensions; {_MOST_DIMENSIONS} are the most", "invalid_shape")
    if max(tensor.shape, default=0) > _LARGEST_DIMENSION:
        _refuse(
            tensor,
            f"has the shape {_shape(tensor)}; no dimension can be more than {_LARGEST_DIMENSION}",
            "invalid_shape",
        )
    if min(tensor.shape, default=0) < 0:
        _refuse(tensor, f"has the shape {_shape(tensor)}; no dimension can be negative", "invalid_shape")
    return math.prod(tensor.shape)


def _from_raw(tensor: Tensor, count: int) -> NDArray[Any]:
    assert not isinstance(tensor.data, list)
    dtype = _DTYPES[tensor.datatype]
    if len(tensor.data) != count * dtype.itemsize:
        _refuse(
            tensor,
            f"has {len(tensor.data)} bytes; {tensor.datatype} of shape {_shape(tensor)} is {count * dtype.itemsize} bytes",
            "invalid_content_size",
        )
    if tensor.datatype == "BOOL":
        return np.not_equal(np.frombuffer(tensor.data, np.uint8), 0)
    elements: NDArray[Any] = np.frombuffer(tensor.data, dtype)
    # Behind a JSON part a tensor starts anywhere; calculators may hand arrays to native code, which wants them aligned.
    return elements if elements.flags.aligned else elements.copy()


def _from_list(tensor: Tensor, count: int) -> NDArray[Any]:
    flat = _flat(tensor, count)
    try:
        return _numbers(flat, tensor.datatype)
    except (TypeError, OverflowError, FloatingPointError):
        wrong = next(position for position, each in enumerate(flat) if not _fits(each, tensor.datatype))
        _refuse(tensor, f"has {_short(flat[wrong])} as element {wrong}; {_takes(tensor.datatype)}", "invalid_value")


def _numbers(flat: list[Any], datatype: str) -> NDArray[Any]:
    code = _CODES[datatype]
    read = np.frombuffer(array(code, flat), code)
    if datatype == "BOOL" and flat and read.max() > 1:
        raise OverflowError
    if code == "f" and not np.isfinite(read).all():  # array.array makes infinities of what is too large
        read = np.frombuffer(array("d", flat), "d")
    dtype = _DTYPES[datatype]
    if read.dtype == dtype:
        return read
    with np.errstate(over="raise"):
        return read.astype(dtype)


def _fits(element: Any, datatype: str) -> bool:
    try:
        _numbers([element], datatype)
    except (TypeError, OverflowError, FloatingPointError):
        return False
    return True


def _takes(datatype: str) -> str:
    dtype = _DTYPES[datatype]
    if datatype == "BOOL":
        return "BOOL takes true and false"
    if dtype.kind == "f":
        largest = {2: 65504.0, 4: 3.4028235e38, 8: 1.7976931348623157e308}[dtype.itemsize]
        return f"{datatype} takes numbers up to {largest:g}"
    bits = dtype.itemsize * 8 - (dtype.kind == "i")
    return f"{datatype} takes whole numbers from {-(2**bits) if dtype.kind == 'i' else 0} to {2**bits - 1}"


def _flat(tensor: Tensor, count: int) -> list[Any]:
    """The elements of a list that is flat, or nested as the shape says."""
    assert isinstance(tensor.data, list)
    if not tensor.data or not isinstance(tensor.data[0], list):
        if len(tensor.data) != count:
            _refuse(
                tensor,
                f"has {len(tensor.data)} elements; the shape {_shape(tensor)} takes {count}",
                "invalid_content_size",
            )
        return tensor.data
    level = [tensor.data]
    for size in tensor.shape:
        if not all(isinstance(row, list) and len(row) == size for row in level):
            _refuse(tensor, f"is nested otherwise than its shape {_shape(tensor)} says", "invalid_content_size")
        level = list(chain.from_iterable(level))
    return level


def _objects(elements: Sequence[bytes]) -> NDArray[Any]:
    made = np.empty(len(elements), object)
    made[:] = elements
    return made


def _unpack(tensor: Tensor, count: int) -> list[bytes]:
    assert not isinstance(tensor.data, list)
    data, position = tensor.data, 0
    elements: list[bytes] = []
    size = len(data)
    while position + 4 <= size and len(elements) < count:
        (length,) = _LENGTH.unpack_from(data, position)
        position += 4 + length
        if position > size:
            break
        elements.append(bytes(data[position - length : position]))
    if position != size or len(elements) != count:
        _refuse(
            tensor,
            f"has {size} bytes, which are not the {count} elements of its shape {_shape(tensor)}: BYTES has the length of each "
            "element in four bytes, little-endian, before it",
            "invalid_content_size",
        )
    return elements


def _of_array(name: str, made: NDArray[Any]) -> Tensor:
    if made.dtype.kind in "OSU":
        flat = made.ravel().tolist()
        if not all(isinstance(each, (str, bytes)) for each in flat):
            raise TypeError("an array of objects cannot be sent as a tensor, unless all are texts or bytes")
        return Tensor(name, BYTES, made.shape, [_text(each) for each in flat])
    datatype = datatype_of(made.dtype)
    if datatype is None:
        raise TypeError(f"an array of {made.dtype} cannot be sent as a tensor")
    return Tensor(name, datatype, made.shape, _memory(made.astype(_DTYPES[datatype], copy=False)))


def _memory(made: NDArray[Any]) -> bytes | memoryview:
    return np.ascontiguousarray(made).data.cast("B") if made.size else b""


def _number(value: float) -> NDArray[Any]:
    if isinstance(value, bool):
        return np.array([value])
    if isinstance(value, float):
        return np.array([value], np.float64)
    if not -(2**63) <= value < 2**64:
        raise TypeError("an int of more than 64 bits cannot be sent as a tensor")
    return np.array([value], np.int64 if value < 2**63 else np.uint64)


def _text(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode(errors="replace")


def _shape(tensor: Tensor) -> str:
    text = ", ".join(_short(size) for size in tensor.shape[:8])
    return f"[{text}, ...]" if len(tensor.shape) > 8 else f"[{text}]"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _refuse(tensor: Tensor, what: str, code: str) -> NoReturn:
    raise RequestError(f"The tensor {_short(tensor.name)} {what}.", param=tensor.name[:100], code=code)
