"""Messages of grpc/reflection/v1/reflection.proto. Made by proto/build.py; do not edit."""

from server import _pb

DESCRIPTOR = _pb.export("grpc/reflection/v1/reflection.proto", globals())
