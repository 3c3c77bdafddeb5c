"""Messages of mediapipe/framework/graph_runtime_info.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/graph_runtime_info.proto", globals())
