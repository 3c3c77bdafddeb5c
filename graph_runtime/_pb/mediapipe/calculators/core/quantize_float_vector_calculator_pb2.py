"""Messages of mediapipe/calculators/core/quantize_float_vector_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/core/quantize_float_vector_calculator.proto", globals())
