"""Numpy arrays for the tensors of a model: which fit, and their bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from calculators.http_payload import RequestError
from calculators.inference.tensors import PRECISIONS, TensorInfo
from graph_runtime.errors import GraphError, StatusCode

Array: TypeAlias = NDArray[Any]

DTYPES: Final = {name: np.dtype(code) for name, (_, code) in PRECISIONS.items()}
_NAMES: Final = {DTYPES[name]: datatype for name, (datatype, _) in PRECISIONS.items()}


def checked(model: str, info: TensorInfo, array: Any) -> Array:
    """An array for an input, as it is.

    Raises:
        GraphError: it does not fit (INVALID_ARGUMENT); the text names input, precision and shape, those found and those expected.
    """
    if not isinstance(array, np.ndarray):
        raise _misfit(model, info, f"a {type(array).__name__}")
    found = _NAMES.get(array.dtype, str(array.dtype))
    if array.dtype != DTYPES[info.precision] or not info.fits(array.shape):
        raise _misfit(model, info, f"{found} [{','.join(map(str, array.shape))}]")
    return array


def invalid(text: str, param: str) -> GraphError:
    """What a client gets whose tensors do not fit."""
    error = GraphError(text, code=StatusCode.INVALID_ARGUMENT)
    error.__cause__ = RequestError(text, param=param, code="invalid_tensor")
    return error


def arrays_of(tensors: Sequence[TensorInfo], shapes: Sequence[Sequence[int]], block: bytearray) -> list[Array]:
    """The arrays in a block of bytes, one for each tensor; they share its memory."""
    arrays, start = [], 0
    for info, shape in zip(tensors, shapes, strict=True):
        dtype = DTYPES[info.precision]
        count = math.prod(shape)
        arrays.append(np.frombuffer(block, dtype, count, start).reshape(shape))
        start += count * dtype.itemsize
    return arrays


def bytes_of(array: Array) -> memoryview:
    """The elements of an array, to be sent."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _misfit(model: str, info: TensorInfo, found: str) -> GraphError:
    return invalid(
        f'The input "{info.name}" of the model "{model}" takes {info.datatype} {info.shown_shape}, and got {found}.',
        info.name,
    )
