"""Messages of mediapipe/framework/tool/source.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/tool/source.proto", globals())
