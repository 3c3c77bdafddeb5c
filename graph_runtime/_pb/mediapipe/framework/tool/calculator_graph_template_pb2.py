"""Messages of mediapipe/framework/tool/calculator_graph_template.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/tool/calculator_graph_template.proto", globals())
