"""Messages of mediapipe/calculators/python_node/python_executor_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/python_node/python_executor_calculator.proto", globals())
