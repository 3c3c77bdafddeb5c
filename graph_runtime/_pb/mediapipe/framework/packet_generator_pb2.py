"""Messages of mediapipe/framework/packet_generator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/packet_generator.proto", globals())
