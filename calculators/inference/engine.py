"""OpenVINO itself: a compiled model with its infer requests. The only module of this package that imports it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from calculators.image_gen.plugin_config import parse_plugin_config
from calculators.inference.arrays import Array
from calculators.inference.errors import InferenceCancelledError, InferenceFailedError
from calculators.inference.model_load import ModelLoad
from calculators.inference.tensors import Signature, TensorInfo, lacking_arrays
from calculators.load_error import LoadError
from calculators.openvino_errors import readable


class Engine:
    """A compiled model.

    Args:
        load: what to load.

    Attributes:
        signature: its tensors.
        requests: how many inferences go on at the same time; each has a number below that.

    Raises:
        LoadError: it cannot be loaded.
    """

    def __init__(self, load: ModelLoad) -> None:
        core = openvino.Core()
        properties: dict[str, Any] = {**parse_plugin_config(load.plugin_config)}
        if load.cache_dir:
            properties.setdefault("CACHE_DIR", load.cache_dir)
        try:
            model = core.read_model(load.file)
            _reshape(model, load)
            compiled = core.compile_model(model, load.device, properties)
            count = load.requests or int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            self._requests = [compiled.create_infer_request() for _ in range(count)]
        except LoadError:
            raise
        except Exception as error:
            raise LoadError(
                f"OpenVINO cannot load {Path(load.file).name} on {load.device} (there are {', '.join(core.available_devices)}): "
                f"{readable(error)}"
            ) from error
        self.requests = count
        self.signature = Signature(tuple(map(_info, compiled.inputs)), tuple(map(_info, compiled.outputs)))
        lacking = lacking_arrays(self.signature)
        if lacking is not None:
            raise LoadError(lacking)
        self._lock = threading.Lock()
        self._cancelled = [0] * count
        self._running = [0] * count

    def infer(self, number: int, job: int, arrays: Sequence[Array]) -> list[Array]:
        """Run the model.

        Args:
            number: of the infer request; one caller at a time for each.
            job: a number for ``cancel``, larger than any before it.
            arrays: one for each input, in the model's order, of fitting precision and shape.

        Returns:
            One array for each output; the caller's own.

        Raises:
            InferenceCancelledError: it was cancelled.
            InferenceFailedError: OpenVINO failed.
        """
        request = self._requests[number]
        held = [np.require(array, requirements=("C", "W")) for array in arrays]  # read until the inference ends
        try:
            for place, array in enumerate(held):
                request.set_input_tensor(place, openvino.Tensor(array, shared_memory=True))
            with self._lock:
                if self._cancelled[number] >= job:
                    raise InferenceCancelledError
                self._running[number] = job
                request.start_async()
            request.wait()
            return [np.array(request.get_output_tensor(place).data) for place in range(len(self.signature.outputs))]
        except RuntimeError as error:
            if self._cancelled[number] >= job:
                raise InferenceCancelledError from error
            raise InferenceFailedError(readable(error)) from error
        finally:
            with self._lock:
                self._running[number] = 0

    def cancel(self, number: int, job: int) -> None:
        """End an inference soon, or keep it from starting."""
        with self._lock:
            self._cancelled[number] = job
            if self._running[number] == job:
                self._requests[number].cancel()


def _reshape(model: Any, load: ModelLoad) -> None:
    if load.batch_size:
        model.reshape({each: _with_batch(each, load.batch_size) for each in model.inputs})
    if not load.shape:
        return
    shapes = dict(load.shape)
    known = [each.get_any_name() if each.get_names() else each.node.friendly_name for each in model.inputs]
    if "" in shapes:
        if len(model.inputs) != 1:
            raise LoadError(f'shape: the model has {len(model.inputs)} inputs; name them: {{"{known[0]}": ...}}')
        shapes = {known[0]: shapes[""]}
    wanted = {}
    for name, text in shapes.items():
        found = next(
            (each for each in model.inputs if name in each.get_names() or name == each.node.friendly_name), None
        )
        if found is None:
            raise LoadError(f'shape: the model has no input "{name}"; its inputs are {", ".join(known)}')
        wanted[found] = openvino.PartialShape(text)
    model.reshape(wanted)


def _with_batch(port: Any, batch: str) -> Any:
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic or not len(shape):
        raise LoadError(f"batch_size: the input {port.get_any_name()!r} has no first side")
    shape[0] = openvino.PartialShape(f"[{batch}]")[0]
    return shape


def _info(port: Any) -> TensorInfo:
    shape = port.get_partial_shape()
    names = tuple(sorted(port.get_names())) or (_friendly_name(port),)
    sides = None if shape.rank.is_dynamic else tuple(map(_side, shape))
    return TensorInfo(names, port.get_element_type().get_type_name(), sides)


def _friendly_name(port: Any) -> str:
    """An input's own name; of an output, that of the layer which makes it."""
    node = port.get_node()
    source = node if node.get_type_name() == "Parameter" else node.input_value(0).get_node()
    return str(source.get_friendly_name())


def _side(side: Any) -> tuple[int, int | None]:
    most = side.get_max_length()
    return side.get_min_length(), None if most < 0 or most >= 2**31 - 1 else most
