"""The text of a graph.pbtxt for an image model: options -> text, in the form that OVMS's own exporter writes and reads."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any, Final

from google.protobuf import text_format

from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions

# Source: OVMS, the graph that its exporter writes for image generation; its parser takes this form of node_options.
_TEXT: Final = """\
# File created with: graph-runtime {version}
# OVMS_GRAPH_QUEUE_MAX_SIZE: AUTO

input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"

node: {{
  name: "ImageGenExecutor"
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options: {{
      [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {{
{options}
      }}
  }}
}}
"""

ORDER: Final = (
    "models_path", "device", "plugin_config", "resolution", "num_images_per_prompt", "guidance_scale", "max_resolution",
    "default_resolution", "max_num_images_per_prompt", "default_num_inference_steps", "max_num_inference_steps",
    "lora_adapters", "composite_lora_adapters",
)  # fmt: skip
"""The options in the order in which they are written, which is OVMS's."""


def graph_text(options: ImageGenCalculatorOptions) -> str:
    """A whole graph with one image node; only options that are set are written.

    Raises:
        ValueError: ``models_path`` is not set; a graph without it cannot be read.
    """
    if not options.models_path:
        raise ValueError('models_path is not set; "./" is the folder of the graph itself')
    lines = [line for name in ORDER for line in option_lines(options, name)]
    return _TEXT.format(version=version("graph-runtime"), options="\n".join(f"          {line}" for line in lines))


def option_lines(options: ImageGenCalculatorOptions, name: str) -> list[str]:
    """One option as it is written, a line for each value; none if it is not set."""
    value: Any = {field.name: value for field, value in options.ListFields()}.get(name)
    if value is None:
        return []
    if name.endswith("_adapters"):
        return [f"{name}: {{ {text_format.MessageToString(each, as_one_line=True, as_utf8=True)} }}" for each in value]
    if name == "plugin_config" and '"' in value and not re.search(r"['\\]|[^ -~]", value):
        return [f"{name}: '{value}'"]  # JSON, as OVMS writes it, and as it can be read
    alone = ImageGenCalculatorOptions(**{name: value})
    return [text_format.MessageToString(alone, as_one_line=True, as_utf8=True)]
