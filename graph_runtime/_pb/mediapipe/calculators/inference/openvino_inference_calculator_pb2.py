"""Messages of mediapipe/calculators/inference/openvino_inference_calculator.proto. Made by proto/build.py; do not edit."""

from graph_runtime import _pb

DESCRIPTOR = _pb.export("mediapipe/calculators/inference/openvino_inference_calculator.proto", globals())
