"""Messages of mediapipe/framework/tool/packet_generator_wrapper_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/tool/packet_generator_wrapper_calculator.proto", globals())
