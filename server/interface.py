"""What a graph looks like from outside: its streams, and which of them speak HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from calculators.http_payload import RequestError
from graph_runtime import Plan, Problem

IMAGE_CALCULATOR = "ImageGenCalculator"

# Source: OVMS; the first of each pair is the tag of today, the second an older one that is still in use.
_REQUEST_TAGS = ("HTTP_REQUEST_PAYLOAD", "REQUEST_PAYLOAD")
_RESPONSE_TAGS = ("HTTP_RESPONSE_PAYLOAD", "RESPONSE_PAYLOAD")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output stream of a whole graph: ``TAG:index:name``."""

    tag: str
    index: int
    name: str


@dataclass(frozen=True, slots=True)
class GraphInterface:
    """What callers need to know of a graph: its streams, and which calculators are in it. Picklable."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calculators: frozenset[str]

    @property
    def makes_images(self) -> bool:
        """Whether it can be asked for pictures."""
        return IMAGE_CALCULATOR in self.calculators


def interface_of(plan: Plan) -> GraphInterface:
    """The interface of a planned graph."""
    return GraphInterface(
        tuple(Port(*port) for port in plan.graph_inputs),
        tuple(Port(*port) for port in plan.graph_outputs),
        frozenset(node.calculator for node in plan.config.node),
    )


def http_gap(interface: GraphInterface) -> str | None:
    """Why a graph cannot be called over HTTP, to stand after its name; None if it can."""
    if _tagged(interface.inputs, _REQUEST_TAGS) is not None and _tagged(interface.outputs, _RESPONSE_TAGS) is not None:
        return None
    return (
        f'takes no HTTP payload, so that no HTTP call can use it: that takes input_stream: "{_REQUEST_TAGS[0]}:input" and '
        f'output_stream: "{_RESPONSE_TAGS[0]}:output"'
    )


def no_nodes(plan: Plan) -> list[Problem]:
    """The problem of a graph without nodes, which MediaPipe runs: it does nothing."""
    if plan.nodes:
        return []
    return [Problem("the graph has no node, so that it does nothing", place=plan.file, hint="give nodes")]


def unservable(plan: Plan) -> list[Problem]:
    """What is wrong with a valid graph of which every HTTP call would fail.

    Outputs that are not for HTTP may stay without a maker, as in MediaPipe.
    """
    sink = _tagged(interface_of(plan).outputs, _RESPONSE_TAGS)
    return no_nodes(plan) or ([] if sink is None or sink.name in plan.stream_ids else list(plan.warnings))


def http_ports(name: str, interface: GraphInterface) -> tuple[Port, Port]:
    """The streams of a graph that take an HttpPayload and give the answer.

    Raises:
        RequestError: 400; the graph is not made for HTTP calls.
    """
    source, sink = _tagged(interface.inputs, _REQUEST_TAGS), _tagged(interface.outputs, _RESPONSE_TAGS)
    if source is None or sink is None:
        raise RequestError(
            f'The graph {name!r} cannot be called over HTTP: that takes input_stream: "{_REQUEST_TAGS[0]}:input" and '
            f'output_stream: "{_RESPONSE_TAGS[0]}:output"; it has inputs {_shown(interface.inputs)} and outputs '
            f"{_shown(interface.outputs)}.",
            param="model",
            code="model_not_callable",
        )
    return source, sink


def _tagged(ports: Sequence[Port], tags: Sequence[str]) -> Port | None:
    return next((port for tag in tags for port in ports if port.tag == tag), None)


def _shown(ports: Sequence[Port]) -> str:
    return ", ".join(f"{port.tag}:{port.name}" if port.tag else port.name for port in ports) or "none"
