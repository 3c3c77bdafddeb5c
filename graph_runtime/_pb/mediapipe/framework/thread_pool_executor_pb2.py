"""Messages of mediapipe/framework/thread_pool_executor.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/thread_pool_executor.proto", globals())
