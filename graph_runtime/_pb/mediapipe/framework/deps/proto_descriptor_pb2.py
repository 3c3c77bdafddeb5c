"""Messages of mediapipe/framework/deps/proto_descriptor.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/deps/proto_descriptor.proto", globals())
