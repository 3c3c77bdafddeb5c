"""Messages of mediapipe/framework/tool/switch_container.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/tool/switch_container.proto", globals())
