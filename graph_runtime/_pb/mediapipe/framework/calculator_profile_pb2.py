"""Messages of mediapipe/framework/calculator_profile.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/calculator_profile.proto", globals())
