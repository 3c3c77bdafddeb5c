"""Messages of mediapipe/calculators/core/split_vector_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/core/split_vector_calculator.proto", globals())
