"""OpenVINOInferenceCalculator: a node that runs an OpenVINO model.

::

    node {
      calculator: "OpenVINOInferenceCalculator"
      input_side_packet: "SESSION:session"
      input_stream: "B:in"
      output_stream: "A:out"
      node_options: {
        [type.googleapis.com / mediapipe.OpenVINOInferenceCalculatorOptions]: {
          tag_to_input_tensor_names { key: "B" value: "b" }
          tag_to_output_tensor_names { key: "A" value: "a" }
        }
      }
    }

Packets are numpy arrays, or lists of them where the tag of the stream says so (``wiring``). The outputs have the timestamp of the
inputs; at a timestamp at which no input has a packet the node does nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from calculators.inference.arrays import invalid
from calculators.inference.session import Session
from calculators.inference.session_calculator import SESSION
from calculators.inference.wiring import Fault, carries_list, option_faults, wire
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, StatusCode
from graph_runtime._pb.mediapipe.calculators.inference.openvino_inference_calculator_pb2 import (
    OpenVINOInferenceCalculatorOptions,
)


class OpenVINOInferenceCalculator(Calculator):
    """Arrays to arrays; see the module."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for ports in (cc.inputs, cc.outputs):
            for port in ports:
                port.set(list if carries_list(port.tag) else np.ndarray)
        cc.input_side_packets[SESSION].set(Session)
        cc.set_timestamp_offset(0)
        _refuse(
            option_faults(
                cc.options(OpenVINOInferenceCalculatorOptions),
                [port.tag for port in cc.inputs],
                [port.tag for port in cc.outputs],
            )
        )

    def open(self, cc: CalculatorContext) -> None:
        self._session: Session = cc.input_side_packets[SESSION].value
        self._wiring, faults = wire(
            cc.options(OpenVINOInferenceCalculatorOptions),
            cc.inputs.tags,
            cc.outputs.tags,
            self._session.name,
            self._session.signature,
        )
        _refuse(faults)

    def process(self, cc: CalculatorContext) -> None:
        arrays: list[Any] = [None] * len(self._session.signature.inputs)
        for wire_ in self._wiring.inputs:
            stream = cc.inputs[wire_.tag]
            if stream.is_empty():
                raise invalid(
                    f'The stream "{stream.name}" has no packet at the timestamp {int(cc.input_timestamp)}, at which others have '
                    "one: the model needs all its inputs.",
                    stream.name,
                )
            values = stream.value if wire_.is_list else [stream.value]
            if len(values) != len(wire_.tensors):
                raise invalid(
                    f'The stream "{stream.name}" carries a list of {len(values)} tensors; the model takes {len(wire_.tensors)} '
                    "of it.",
                    stream.name,
                )
            for place, value in zip(wire_.tensors, values, strict=True):
                arrays[place] = value
        found = self._session.infer(arrays, on_cancel=cc.on_cancel)
        for wire_ in self._wiring.outputs:
            values = [found[place] for place in wire_.tensors]
            cc.outputs[wire_.tag].add(values if wire_.is_list else values[0], cc.input_timestamp)


def _refuse(faults: list[Fault]) -> None:
    if faults:
        text = "; ".join(f"{each.message} ({each.hint})" if each.hint else each.message for each in faults)
        raise GraphError(text, code=StatusCode.INVALID_ARGUMENT)
