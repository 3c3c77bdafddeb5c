"""Messages of google/protobuf/any.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("google/protobuf/any.proto", globals())
