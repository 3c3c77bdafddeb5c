"""Messages of inference/grpc_predict_v2.proto. Made by proto/build.py; do not edit."""

from server import _pb

DESCRIPTOR = _pb.export("inference/grpc_predict_v2.proto", globals())
