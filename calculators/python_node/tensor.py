"""``pyovms.Tensor``: the named tensor of Python nodes, which is also a buffer.

Source of the rules: OpenVINO Model Server, Python execution, "Python Tensor" and "Datatype considerations".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS: Final = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""KServe's datatypes -> the format characters of ``struct``. Data of any other datatype is raw bytes, ``B``."""
_DATATYPES: Final = {**{code: name for name, code in FORMATS.items()}, "l": "INT64", "L": "UINT64"}
_RAW: Final = "B"


class _Field:
    """An attribute of a Tensor; views that numpy makes of one are plain arrays, and have numpy's."""

    def __init__(self, name: str, about: str) -> None:
        self._name = name
        self._of_array = getattr(np.ndarray, name, None)
        self.__doc__ = about

    def __get__(self, tensor: Tensor | None, owner: type[Tensor]) -> Any:
        if tensor is None:
            return self
        if tensor._fields is not None:
            return tensor._fields[self._name]
        if self._of_array is None:
            raise AttributeError(f"an array that was made of a pyovms.Tensor has no {self._name}; make a Tensor of it")
        return self._of_array.__get__(tensor)

    def __set__(self, tensor: Tensor, value: Any) -> None:
        if tensor._fields is not None or self._of_array is None:
            raise AttributeError(f"the {self._name} of a pyovms.Tensor cannot be changed; make another Tensor")
        self._of_array.__set__(tensor, value)


class Tensor(np.ndarray[Any, Any]):
    """A tensor with a name: ``Tensor(name, data, shape=None, datatype=None)``.

    It is a buffer: ``bytes(tensor)``, ``memoryview(tensor)``, ``np.array(tensor)`` and ``np.frombuffer(tensor, ...)`` work. It
    shares the memory of ``data``. ``shape`` and ``datatype`` say something else of the same buffer, and change nothing in it.

    Args:
        name: of the stream that it comes from, or is for.
        data: anything with Python's buffer protocol: bytes, an array.
        shape: what ``shape`` is to be; that of the buffer unless given.
        datatype: what ``datatype`` is to be; KServe's word for the format of the buffer unless given, or the format itself where
            KServe has none.

    Attributes:
        name: as given.
        shape: a tuple.
        datatype: KServe's word, such as ``FP32`` or ``BYTES``, or any other text.
        data: a memoryview of the buffer.
        size: of the buffer, in bytes.

    Raises:
        TypeError: ``data`` is no buffer, or something else is of a wrong type.
    """

    # A subclass of an array, since Python before 3.12 has no other way to write a buffer of several dimensions.

    _fields: dict[str, Any] | None = None

    name = _Field("name", "The name.")
    shape = _Field("shape", "The sizes of the dimensions.")
    size = _Field("size", "The bytes of the buffer.")
    datatype = _Field("datatype", "The type of the elements.")

    def __new__(cls, name: str, data: Any, shape: Iterable[int] | None = None, datatype: str | None = None) -> Tensor:
        """Make one; see the class."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a Tensor is a str, not {type(name).__name__}")
        if not isinstance(datatype, str | None):
            raise TypeError(f"the datatype of a Tensor is a str, not {type(datatype).__name__}")
        buffer = _array(data)
        wanted = buffer.shape if shape is None else tuple(int(size) for size in shape)
        if datatype is None:
            code = buffer.data.format
            datatype = _DATATYPES.get(code, code)
        made = buffer.view(cls)
        made._fields = {"name": name, "shape": wanted, "datatype": datatype, "size": buffer.nbytes}
        return made

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """numpy's functions get the plain array: ``shape`` and ``size`` of a Tensor would mislead those that read them."""
        return func(*_plain(args), **_plain(kwargs))

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """What numpy calculates with a Tensor is an array, or a number."""
        plain = np.asarray(array)
        return plain[()] if return_scalar or not plain.ndim else plain

    def __repr__(self) -> str:
        if self._fields is None:
            return repr(np.asarray(self))
        return f"Tensor({self.name!r}, {self.datatype}, {list(self.shape)}, {self.size} bytes)"

    def __str__(self) -> str:
        return repr(self)

    def __bytes__(self) -> bytes:
        return self.tobytes()

    def __reduce__(self) -> tuple[Any, ...]:
        plain = np.asarray(self)
        if self._fields is None:
            return np.array, (plain.copy(),)
        return Tensor, (self.name, plain.copy(), self.shape, self.datatype)


def received(name: str, raw: bytes | memoryview, shape: tuple[int, ...], datatype: str) -> Tensor:
    """The tensor of a request: a copy of the bytes, so that a node may write into it.

    Args:
        name: of the input.
        raw: the elements in KServe's binary form; as many as the shape says, where the datatype is one of ``FORMATS``.
        shape: as the client sent it.
        datatype: as the client sent it.
    """
    code = FORMATS.get(datatype)
    buffer = np.frombuffer(bytearray(raw), np.dtype(code or _RAW))
    return Tensor(name, buffer if code is None else buffer.reshape(shape), shape, datatype)


def array_of(tensor: Tensor) -> NDArray[Any]:
    """The elements, as datatype and shape say.

    Raises:
        ValueError: the datatype is none of ``FORMATS``, or the buffer is not as large as both say.
    """
    code = FORMATS.get(tensor.datatype)
    if code is None:
        raise ValueError(f"the datatype {tensor.datatype} has no array; {', '.join(FORMATS)} have")
    dtype, shape = np.dtype(code), tuple(tensor.shape)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {list(shape)} has a negative dimension")
    wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if wanted != tensor.size:
        raise ValueError(
            f"the buffer has {tensor.size} bytes; {tensor.datatype} of shape {list(shape)} is {wanted} bytes"
        )
    return np.ascontiguousarray(tensor).view(np.ndarray).reshape(-1).view(dtype).reshape(shape)


def _plain(arguments: Any) -> Any:
    """Arguments of a function of numpy, with arrays in place of Tensors."""
    if isinstance(arguments, Tensor):
        return arguments.view(np.ndarray)
    if isinstance(arguments, (list, tuple)):
        made = map(_plain, arguments)
        return list(made) if isinstance(arguments, list) else tuple(made)
    if isinstance(arguments, dict):
        return {name: _plain(value) for name, value in arguments.items()}
    return arguments


def _array(data: Any) -> NDArray[Any]:
    array = _any_array(data)
    if array.dtype.hasobject or array.dtype.kind in "mM":  # addresses, which would be sent; and no format there is
        raise TypeError(
            f"an array of {array.dtype} holds no bytes of its elements that a Tensor could take; give numbers or encoded texts"
        )
    return array


def _any_array(data: Any) -> NDArray[Any]:
    if isinstance(data, np.ndarray):
        return data.view(np.ndarray)
    try:
        view = memoryview(data)
    except TypeError:
        hint = "text.encode()" if isinstance(data, str) else "np.array(...)"
        raise TypeError(
            f"the data of a Tensor is a buffer, such as bytes or an array, and a {type(data).__name__} is none; "
            f"give {hint}"
        ) from None
    return np.asarray(view)
