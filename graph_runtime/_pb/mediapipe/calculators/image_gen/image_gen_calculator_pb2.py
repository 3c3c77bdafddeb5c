"""Messages of mediapipe/calculators/image_gen/image_gen_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/image_gen/image_gen_calculator.proto", globals())
