"""Messages of mediapipe/framework/status_handler.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/status_handler.proto", globals())
