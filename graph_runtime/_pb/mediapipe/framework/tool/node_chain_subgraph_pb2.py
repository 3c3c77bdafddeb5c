"""Messages of mediapipe/framework/tool/node_chain_subgraph.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/framework/tool/node_chain_subgraph.proto", globals())
