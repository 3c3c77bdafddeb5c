"""Messages of mediapipe/framework/formats/landmark.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/formats/landmark.proto", globals())
