"""Messages of mediapipe/framework/test_calculators.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/test_calculators.proto", globals())
