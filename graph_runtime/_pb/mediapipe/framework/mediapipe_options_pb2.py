"""Messages of mediapipe/framework/mediapipe_options.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/mediapipe_options.proto", globals())
