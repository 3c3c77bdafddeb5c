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

One HttpPayload in, one JSON text (``str``) out, at the same timestamp. A request with ``stream: true`` gets one text for each
event: the first at the same timestamp, each further one a microsecond later, and partial images while ``process`` goes on. Where a
graph is fed several requests, an answer whose timestamp has been used up by an earlier stream gets the next free one.

A request that is refused ends the run with a GraphError whose cause is the RequestError for the client. The model is loaded under
the node's name, which must therefore be given; loading says so if it is not, and reads the options: running needs none. Each step
is told to the service ``progress``, where there is one.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, Final

from calculators.http_payload import HttpPayload
from calculators.image_gen.errors import GenerationCancelledError
from calculators.image_gen.generation import PartialImage
from calculators.image_gen.pipelines import Pipelines
from calculators.image_gen.request import ImagesRequest, parse_request
from calculators.image_gen.response import completed_events, partial_event, response_text
from calculators.progress import PROGRESS, Progress
from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, StatusCode

INPUT: Final = "HTTP_REQUEST_PAYLOAD"
OUTPUT: Final = "HTTP_RESPONSE_PAYLOAD"
RESOURCES: Final = "IMAGE_GEN_NODE_RESOURCES"
SIDE_PACKET: Final = "pipes"
SIDE_PACKET_LINE: Final = f'input_side_packet: "{RESOURCES}:{SIDE_PACKET}"'


class ImageGenCalculator(Calculator):
    """Text, or a picture and a text, to image; see the module."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[INPUT].set(HttpPayload)
        cc.outputs[OUTPUT].set(str)
        cc.input_side_packets[RESOURCES].set(dict)
        cc.use_service(PROGRESS, optional=True)
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
        self._next_timestamp: int | None = None
        progress: Progress | None = cc.service(PROGRESS)
        self._on_step = None if progress is None else partial(progress.tell, cc.node_name)

    def process(self, cc: CalculatorContext) -> None:
        payload: HttpPayload = cc.inputs[INPUT].value
        request = parse_request(payload, self._pipelines.rules)
        timestamp = int(cc.input_timestamp)
        if self._next_timestamp is not None:
            timestamp = max(timestamp, self._next_timestamp)
        answer = _Answer(cc, request, timestamp)
        try:
            result = self._pipelines.generate(
                request.generation, on_cancel=cc.on_cancel, on_step=self._on_step, on_partial=answer.add_partial
            )
        except GenerationCancelledError as error:  # the run was: nothing else cancels here
            raise GraphError(error.message, code=StatusCode.CANCELLED) from error
        finally:
            answer.end_partials()
        created = int(time.time())
        if request.answer.stream:
            for event in completed_events(request, result, created=created):
                answer.add(event)
        else:
            store = self._pipelines.rules.requests.store
            answer.add(response_text(request, result, created=created, store=store, base_url=payload.base_url))
        self._next_timestamp = answer.timestamp


class _Answer:
    """Sends what answers one request, each text at a timestamp of its own.

    Attributes:
        timestamp: that of the next text.
    """

    def __init__(self, cc: CalculatorContext, request: ImagesRequest, timestamp: int) -> None:
        self.timestamp = timestamp
        self._cc = cc
        self._request = request
        self._lock = threading.Lock()
        self._partials_ended = False

    def add_partial(self, partial: PartialImage) -> None:
        """Send a partial image at once; called on a thread of the lane. One that comes too late is dropped."""
        event = partial_event(self._request, partial, created=int(time.time()))
        with self._lock:
            if self._partials_ended:
                return
            self.add(event)
        self._cc.flush()

    def end_partials(self) -> None:
        """Take no more partial images: the context is not ours any more once ``process`` has returned."""
        with self._lock:
            self._partials_ended = True

    def add(self, text: str) -> None:
        """Send a text."""
        self._cc.outputs[OUTPUT].add(text, self.timestamp)
        self.timestamp += 1


def _check_side_packet(cc: CalculatorContract) -> None:
    side_packets = cc.input_side_packets
    if side_packets.has_tag(RESOURCES) and len(side_packets) == 1 and side_packets[RESOURCES].name == SIDE_PACKET:
        return
    found = ", ".join(f'"{port.tag}:{port.name}"' if port.tag else f'"{port.name}"' for port in side_packets)
    raise ValueError(
        f"exactly this line must stand in the node: {SIDE_PACKET_LINE}; input_side_packet is {found or 'missing'}"
    )
