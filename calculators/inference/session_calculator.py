"""OpenVINOModelServerSessionCalculator: a node that names an OpenVINO model for others.

::

    node {
      calculator: "OpenVINOModelServerSessionCalculator"
      output_side_packet: "SESSION:session"
      node_options: {
        [type.googleapis.com / mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {
          servable_name: "dummy"
        }
      }
    }

The model is one of config.json or subconfig.json; ``load_resources`` loads it before the graph runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from calculators.inference.session import Session
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, StatusCode
from graph_runtime._pb.mediapipe.calculators.inference.openvino_session_calculator_pb2 import (
    OpenVINOModelServerSessionCalculatorOptions,
)

SESSION: Final = "SESSION"
SERVICE: Final = "openvino_models"
"""The sessions of a graph: (servable_name, servable_version) as the options have them -> Session."""


class OpenVINOModelServerSessionCalculator(Calculator):
    """Gives the session of a model; see the module."""

    nonblocking = True

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.output_side_packets[SESSION].set(Session)
        cc.use_service(SERVICE, optional=True)

    def open(self, cc: CalculatorContext) -> None:
        options = cc.options(OpenVINOModelServerSessionCalculatorOptions)
        sessions: Mapping[tuple[str, str], Session] = cc.service(SERVICE) or {}
        found = sessions.get((options.servable_name, options.servable_version))
        if found is None:
            raise GraphError(
                f'The model "{options.servable_name}" is not loaded: load what the graph needs with '
                "calculators.load_resources(config, folder), and run Resources.graph(plan)",
                code=StatusCode.FAILED_PRECONDITION,
            )
        cc.output_side_packets[SESSION].set(found)
