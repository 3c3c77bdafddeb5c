"""Seeing into a running graph: what each node holds, what it waits for, and who could give it that."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from graph_runtime.timestamp import DONE, ONE_OVER_POST_STREAM, debug_string

if TYPE_CHECKING:
    from graph_runtime._engine.node import NodeState
    from graph_runtime._engine.run import Run
    from graph_runtime.plan import Plan


@dataclass(frozen=True, slots=True)
class InputSnapshot:
    """One input of a node: packets that wait in its queue, their first timestamp, and the stream's bound."""

    stream: str
    queue_size: int
    first_timestamp: int | None
    bound: int
    producer: str


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One node.

    Attributes:
        state: ``"unopened"``, ``"open"``, ``"running"`` (a call of it is going on) or ``"closed"``.
        calls: how often ``process`` has been called; only while tracing is on, else None.
        waits_for: why it does not run although packets wait, in words; None where nothing keeps it.
    """

    name: str
    calculator: str
    state: str
    inputs: tuple[InputSnapshot, ...]
    calls: int | None
    waits_for: str | None


@dataclass(frozen=True, slots=True)
class GraphSnapshot:
    """A graph at one moment; not exact while it runs, since nothing is stopped for it.

    Attributes:
        state: ``"not started"``, ``"running"``, ``"paused"``, ``"failed"`` or ``"done"``.
        open_inputs: graph inputs that nobody has closed.
        errors: texts of what has failed.
    """

    state: str
    nodes: tuple[NodeSnapshot, ...]
    open_inputs: tuple[str, ...]
    errors: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same as values that JSON knows."""
        return asdict(self)

    def hang_report(self) -> str:
        """One line for each node that waits, and one for the inputs that keep the graph from ending."""
        lines = [f'node "{node.name}" {node.waits_for}' for node in self.nodes if node.waits_for is not None]
        if self.open_inputs and self.state == "running":
            lines.append(f"graph inputs that are not closed: {', '.join(self.open_inputs)}")
        return "\n".join(lines)


def take_snapshot(plan: Plan, run: Run | None) -> GraphSnapshot:
    """What a graph is doing now."""
    if run is None:
        return GraphSnapshot("not started", (), tuple(name for _, _, name in plan.graph_inputs), ())
    state = "running"
    if run.errors:
        state = "failed"
    elif run.is_done:
        state = "done"
    elif run.is_paused:
        state = "paused"
    nodes = tuple(_node(plan, run, node) for node in run.nodes)
    return GraphSnapshot(state, nodes, tuple(run.open_inputs()), tuple(error.message for error in run.errors))


def _node(plan: Plan, run: Run, node: NodeState) -> NodeSnapshot:
    inputs = []
    for stream, queue in zip(node.in_streams, node.queues, strict=True):
        producer = plan.streams[plan.stream_ids[stream.name]].producer
        name = "the graph's caller" if producer is None else f'node "{plan.nodes[producer[0]].name}"'
        try:
            first: int | None = queue[0]._timestamp
        except IndexError:
            first = None
        inputs.append(InputSnapshot(stream.name, len(queue), first, stream.bound, name))
    state = "open" if node.is_open else "unopened" if run.is_unopened(node) else "closed"
    if run.is_running(node):
        state = "running"
    return NodeSnapshot(
        node.plan.name,
        node.plan.calculator.__name__,
        state,
        tuple(inputs),
        None if run.tracer is None else run.tracer.calls(node.plan.name),
        _waits_for(run, node, state, inputs),
    )


def _waits_for(run: Run, node: NodeState, state: str, inputs: list[InputSnapshot]) -> str | None:
    if state == "unopened":
        missing = [
            name
            for name in node.plan.input_side_packets.names
            if name not in run.side_packets and name not in run.absent_side_packets
        ]
        if missing:
            return f"cannot open before side packet {missing[0]} is made"
        headers = [each.producer for each in inputs if each.stream not in run.headers_known]
        return f"cannot open before {headers[0]} has" if headers else None
    holding = [each for each in inputs if each.queue_size]
    blocking = [each for each in inputs if not each.queue_size and each.bound < ONE_OVER_POST_STREAM]
    if state != "open" or not holding or not blocking:
        return None
    slowest = min(blocking, key=lambda each: each.bound)
    first = min(each.first_timestamp if each.first_timestamp is not None else DONE for each in holding)
    if slowest.bound > first:
        return None
    return (
        f'has {holding[0].queue_size} packet(s) from stream "{holding[0].stream}" at {debug_string(first)} and waits for stream '
        f'"{slowest.stream}", whose bound is {debug_string(slowest.bound)}, produced by {slowest.producer}'
    )
