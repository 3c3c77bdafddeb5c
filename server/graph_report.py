"""What can be seen of a loaded graph: what it is made of, what it does now, and what its last runs did. Plain and picklable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, NamedTuple

from graph_runtime import Plan
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import to_text
from graph_runtime.contract import PortSpec
from graph_runtime.drawing import Drawing, drawing_of
from graph_runtime.trace import Call
from server.discovery import ServableSpec

Outcome = Literal["done", "refused", "failed", "cancelled"]


class PortDetails(NamedTuple):
    """A port of a node, as its contract has it; ``of`` is the list that it is in, such as ``"input_stream"``."""

    of: str
    tag: str
    name: str
    type: str
    optional: bool


class NodeDetails(NamedTuple):
    """What is known of a node before it runs.

    Attributes:
        executor: "" for the default one.
        handler: its input stream handler.
        options: as pbtxt; "" where it has none.
        place: ``file:line:column``, from the model folder on.
    """

    name: str
    calculator: str
    executor: str
    handler: str
    max_in_flight: int
    ports: tuple[PortDetails, ...]
    options: str
    place: str | None


class GraphPicture(NamedTuple):
    """A graph to be shown: a drawing, and more on each of its nodes."""

    drawing: Drawing
    nodes: tuple[NodeDetails, ...]


class QueueReport(NamedTuple):
    """The queues of one input in all runs that go on: packets in all of them, and in the fullest."""

    stream: str
    packets: int
    most: int


class NodeReport(NamedTuple):
    """A node over all runs since its graph was loaded, or as many as were recorded.

    Attributes:
        calls: of ``process``.
        mean_ms, last_ms, longest_ms: how long they took; None without any.
        running: in how many runs a call of it goes on.
        progress: what such a call last told of itself, such as ``"3 of 20"``.
        waits_for: in runs that go on, why it does not: each reason once, at most ``recording.KEPT_REASONS``.
    """

    name: str
    calls: int
    mean_ms: float | None
    last_ms: float | None
    longest_ms: float | None
    running: int
    progress: str | None
    queues: tuple[QueueReport, ...]
    waits_for: tuple[str, ...]


class RunReport(NamedTuple):
    """A run that has ended.

    Attributes:
        number: of the runs that were recorded since the graph was loaded, from 1.
        began_s: seconds since 1970.
        start_ns: the same moment as calls have theirs.
        calls: the last calls, at most ``recording.KEPT_CALLS``.
        left_out: how many calls before them there were.
        threads: the names of their threads.
    """

    number: int
    api: str
    outcome: Outcome
    began_s: float
    start_ns: int
    duration_ns: int
    calls: tuple[Call, ...]
    left_out: int
    threads: Mapping[int, str]


class GraphReport(NamedTuple):
    """A loaded graph at one moment.

    Attributes:
        nodes: in the order of the Plan.
        ages_s: how long each run that goes on has been going on, the oldest first.
        runs: the last runs, the newest last.
        recorded: how many runs were recorded since the graph was loaded.
        always_recorded: whether every run is; else only those while somebody looks.
        max_queue_size: packets that an input may hold before the graph takes no more; None for no limit.
    """

    nodes: tuple[NodeReport, ...]
    ages_s: tuple[float, ...]
    runs: tuple[RunReport, ...]
    recorded: int
    always_recorded: bool
    max_queue_size: int | None


def picture_of(plan: Plan, spec: ServableSpec) -> GraphPicture:
    """How a Plan is shown. Places begin with the model's name: nobody need know where on the disk its folder is."""
    drawing = drawing_of(plan, title=spec.name)
    drawing = replace(drawing, nodes=tuple(replace(node, place=_public(node.place, spec)) for node in drawing.nodes))
    return GraphPicture(
        drawing,
        tuple(
            NodeDetails(
                name=node.name,
                calculator=message.calculator,
                executor=node.executor,
                handler=node.handler.__name__,
                max_in_flight=node.max_in_flight,
                ports=tuple(
                    _port(of, port)
                    for of, ports in (
                        ("input_stream", node.contract.inputs),
                        ("output_stream", node.contract.outputs),
                        ("input_side_packet", node.contract.input_side_packets),
                        ("output_side_packet", node.contract.output_side_packets),
                    )
                    for port in ports
                ),
                options=_options(message),
                place=drawn.place,
            )
            for node, message, drawn in zip(plan.nodes, plan.config.node, drawing.nodes, strict=True)
        ),
    )


def _public(place: str | None, spec: ServableSpec) -> str | None:
    return None if place is None else place.replace(f"{spec.shown_file.parent}/", f"{spec.name}/")


def _port(of: str, port: PortSpec) -> PortDetails:
    tag = f"{port.tag}:{port.index}" if port.index else port.tag
    return PortDetails(of, tag, port.name, port.type_name(), port.is_optional)


def _options(node: CalculatorGraphConfig.Node) -> str:
    """The options of a node as pbtxt."""
    alone = CalculatorGraphConfig.Node(node_options=node.node_options)
    if node.HasField("options"):
        alone.options.CopyFrom(node.options)
    return to_text(alone).rstrip()
