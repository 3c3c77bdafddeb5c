"""ImageGenCalculator: a node that answers OpenAI images requests.

::

    node: {
      name: "ImageGenExecutor"
      calculator: "ImageGenCalculator"
      input_stream: "HTTP_REQUEST_PAYLOAD:input"
      input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
      output_stream: "HTTP_RESPONSE_PAYLOAD:output"
      node_options: {
          [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {
              models_path: "./"
          }
      }
    }

One HttpPayload in, one JSON text (``str``) out, at the same timestamp. A request that is refused ends the run with a
GraphError whose cause is the RequestError for the client. The model is loaded under the node's name, which must therefore be
given; loading says so if it is not, and reads the options: running needs none.
"""

from __future__ import annotations

import time
from typing import Any, Final

from calculators.http_payload import HttpPayload, RequestError
from calculators.image_gen.errors import GenerationCancelledError
from calculators.image_gen.pipelines import Pipelines
from calculators.image_gen.request import parse_generation
from calculators.image_gen.request_values import shortened
from calculators.image_gen.response import response_text
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, StatusCode

INPUT: Final = "HTTP_REQUEST_PAYLOAD"
OUTPUT: Final = "HTTP_RESPONSE_PAYLOAD"
RESOURCES: Final = "IMAGE_GEN_NODE_RESOURCES"
SIDE_PACKET: Final = "pipes"
SIDE_PACKET_LINE: Final = f'input_side_packet: "{RESOURCES}:{SIDE_PACKET}"'
GENERATIONS: Final = ("/v3/images/generations", "/v1/images/generations")
EDITS: Final = ("/v3/images/edits", "/v1/images/edits")


class ImageGenCalculator(Calculator):
    """Text to image; see the module."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[INPUT].set(HttpPayload)
        cc.outputs[OUTPUT].set(str)
        cc.input_side_packets[RESOURCES].set(dict)
        cc.set_timestamp_offset(0)
        _check_side_packet(cc)

    def open(self, cc: CalculatorContext) -> None:
        by_node: dict[str, Any] = cc.input_side_packets[RESOURCES].value
        found = by_node.get(cc.node_name)
        if found is None:
            raise GraphError(
                f"Could not find initialized Image Gen node named: {cc.node_name}; there are: {', '.join(by_node) or 'none'}",
                code=StatusCode.INTERNAL,
            )
        if not isinstance(found, Pipelines):
            raise GraphError(
                f'side packet "{SIDE_PACKET}": under the name {cc.node_name} stands a {type(found).__name__}; '
                "it has to be a Pipelines, as load_resources makes it",
                code=StatusCode.INVALID_ARGUMENT,
            )
        self._pipelines = found

    def process(self, cc: CalculatorContext) -> None:
        payload: HttpPayload = cc.inputs[INPUT].value
        _check_uri(payload.uri)
        request = parse_generation(payload.json_object(), self._pipelines.rules)
        try:
            result = self._pipelines.generate(request, on_cancel=cc.on_cancel)
        except GenerationCancelledError as error:  # the run was: nothing else cancels here
            raise GraphError(error.message, code=StatusCode.CANCELLED) from error
        cc.outputs[OUTPUT].add(response_text(request, result, created=int(time.time())))


def _check_side_packet(cc: CalculatorContract) -> None:
    side_packets = cc.input_side_packets
    if side_packets.has_tag(RESOURCES) and len(side_packets) == 1 and side_packets[RESOURCES].name == SIDE_PACKET:
        return
    found = ", ".join(f'"{port.tag}:{port.name}"' if port.tag else f'"{port.name}"' for port in side_packets)
    raise ValueError(
        f"exactly this line must stand in the node: {SIDE_PACKET_LINE}; input_side_packet is {found or 'missing'}"
    )


def _check_uri(uri: str) -> None:
    if uri.startswith(GENERATIONS):
        return
    if uri.startswith(EDITS):
        raise RequestError(
            "Edits of images are not supported by this version; /v3/images/generations makes pictures from text.",
            code="unsupported_endpoint",
        )
    raise RequestError(
        f"Unsupported URI: {shortened(uri)}; this model answers {' and '.join(GENERATIONS)}",
        status=404,
        code="unknown_url",
    )
