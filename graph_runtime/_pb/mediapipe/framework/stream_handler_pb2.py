"""Messages of mediapipe/framework/stream_handler.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/stream_handler.proto", globals())
