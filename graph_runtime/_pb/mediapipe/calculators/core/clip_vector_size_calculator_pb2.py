"""Messages of mediapipe/calculators/core/clip_vector_size_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/core/clip_vector_size_calculator.proto", globals())
