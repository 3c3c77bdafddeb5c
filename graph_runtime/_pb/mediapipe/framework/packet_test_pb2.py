"""Messages of mediapipe/framework/packet_test.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/packet_test.proto", globals())
