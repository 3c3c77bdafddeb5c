"""Messages of mediapipe/calculators/core/constant_side_packet_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/core/constant_side_packet_calculator.proto", globals())
