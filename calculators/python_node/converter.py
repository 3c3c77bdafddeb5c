"""PyTensorOvTensorConverterCalculator: tensors of Python nodes <-> OVTENSOR streams, which are numpy arrays here.

One input and one output, the one with the tag ``OVMS_PY_TENSOR`` and the other with ``OVTENSOR``. The option
``tag_to_output_tensor_names`` names the tensors that it makes for Python nodes. Source: OpenVINO Model Server.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from calculators.kserve_tensors import datatype_of
from calculators.python_node.tensor import Tensor, array_of
from graph_runtime import Calculator, CalculatorContext, CalculatorContract
from graph_runtime._pb.mediapipe.calculators.python_node.pytensor_ovtensor_converter_calculator_pb2 import (
    PyTensorOvTensorConverterCalculatorOptions,
)

PY: Final = "OVMS_PY_TENSOR"
OV: Final = "OVTENSOR"


class PyTensorOvTensorConverterCalculator(Calculator):
    """See the module."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        tags = ([port.tag for port in cc.inputs], [port.tag for port in cc.outputs])
        if tags not in (([PY], [OV]), ([OV], [PY])):
            raise ValueError(f"the node takes one input and one output, the one with the tag {PY}, the other with {OV}")
        names = cc.options(PyTensorOvTensorConverterCalculatorOptions).tag_to_output_tensor_names
        if tags[1] == [PY] and PY not in names:
            raise ValueError(
                f'tag_to_output_tensor_names has no "{PY}": give tag_to_output_tensor_names {{ key: "{PY}" value: "name" }}, the '
                "name that the tensors get"
            )
        for ports in (cc.inputs, cc.outputs):
            for port in ports:
                port.set(Tensor if port.tag == PY else np.ndarray)
        cc.set_timestamp_offset(0)

    def open(self, cc: CalculatorContext) -> None:
        self._name = cc.options(PyTensorOvTensorConverterCalculatorOptions).tag_to_output_tensor_names.get(PY)

    def process(self, cc: CalculatorContext) -> None:
        if self._name is None or cc.inputs.has_tag(PY):
            cc.outputs[OV].add(array_of(cc.inputs[PY].value))
            return
        array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] = cc.inputs[OV].value
        if datatype_of(array.dtype) is None:
            raise ValueError(f"an array of {array.dtype} has no datatype that a Python node knows")
        native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        cc.outputs[PY].add(Tensor(self._name, native))
