"""Messages of grpc/reflection/v1alpha/reflection.proto. Made by proto/build.py; do not edit."""

from server import _pb

DESCRIPTOR = _pb.export("grpc/reflection/v1alpha/reflection.proto", globals())
