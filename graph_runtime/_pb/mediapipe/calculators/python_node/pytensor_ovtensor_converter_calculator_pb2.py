"""Messages of mediapipe/calculators/python_node/pytensor_ovtensor_converter_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/python_node/pytensor_ovtensor_converter_calculator.proto", globals())
