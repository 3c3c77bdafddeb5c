"""Messages of grpc/health/v1/health.proto. Made by proto/build.py; do not edit."""

from server import _pb

DESCRIPTOR = _pb.export("grpc/health/v1/health.proto", globals())
