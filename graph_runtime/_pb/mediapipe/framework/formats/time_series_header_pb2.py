"""Messages of mediapipe/framework/formats/time_series_header.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/formats/time_series_header.proto", globals())
