"""Seeing into a running graph: what each node holds, what it waits for, and who could give it that."""

from __future__ import annotations

from collections.abc import Sequence
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
        waits_for: why it does not go on, in words: what it waits for, or the call that it is in; None where nothing keeps it.
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
        full_inputs: graph inputs that take no packet now, and why: a line for each.
        unprocessed: of a run that has ended regularly, what was never processed: a line for each node.
    """

    state: str
    nodes: tuple[NodeSnapshot, ...]
    open_inputs: tuple[str, ...]
    errors: tuple[str, ...]
    full_inputs: tuple[str, ...] = ()
    unprocessed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The same as values that JSON knows."""
        return asdict(self)

    def hang_report(self) -> str:
        """What keeps the graph from going on: a line for each node that waits or works, and for its inputs."""
        lines = [f'node "{node.name}" {node.waits_for}' for node in self.nodes if node.waits_for is not None]
        lines += self.full_inputs
        if self.state == "paused":
            lines.append("the graph is paused: resume() lets it go on")
        if self.open_inputs and self.state in ("running", "paused"):
            lines.append(f"graph inputs that are not closed: {', '.join(self.open_inputs)}")
        return "\n".join([*lines, *self.unprocessed])


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
    run_nodes = run.nodes  # a run that ends meanwhile puts another list there
    nodes = tuple(_node(run, node, run_nodes) for node in run_nodes)
    full = [
        f'graph input "{name}" is full: {reason}'
        for name in run.open_inputs()
        if (reason := run.throttle.reason(name)) is not None
    ]
    errors = tuple(error.message for error in run.errors)
    return GraphSnapshot(state, nodes, tuple(run.open_inputs()), errors, tuple(full), run.unprocessed)


def never_processed(run: Run) -> list[str]:
    """What waits in the nodes of a run that is about to end regularly, and why: a line for each node.

    Packets on back edges do not count: the last ones of a loop have nobody to go to.
    """
    lines = []
    for node in run.nodes:
        inputs = _inputs(run, node, run.nodes)
        left = [each for port, each in enumerate(inputs) if each.queue_size and port not in node.plan.back_edges]
        if run.is_unopened(node):
            reason = _waits_to_open(run, node, inputs) or "was not opened"
            lines.append(f'node "{node.plan.name}" was never opened: it {reason}')
        elif not left:
            continue
        else:
            reason = _waits_for_input(run, node, inputs, run.nodes) or "was not ready for them"
            lines.append(f'node "{node.plan.name}" {reason}')
        lines[-1] += "".join(
            f'; {each.queue_size} packet(s) of stream "{each.stream}" were never processed' for each in left
        )
    return lines


def _node(run: Run, node: NodeState, nodes: Sequence[NodeState]) -> NodeSnapshot:
    inputs = _inputs(run, node, nodes)
    state = "open" if node.is_open else "unopened" if run.is_unopened(node) else "closed"
    if run.running_call(node) is not None:
        state = "running"
    return NodeSnapshot(
        node.plan.name,
        node.plan.calculator.__name__,
        state,
        inputs,
        None if run.tracer is None else run.tracer.calls(node.plan.name),
        _waits_for(run, node, state, inputs, nodes),
    )


def _inputs(run: Run, node: NodeState, nodes: Sequence[NodeState]) -> tuple[InputSnapshot, ...]:
    inputs = []
    for stream, queue in zip(node.in_streams, node.queues, strict=False):  # a run that ends clears queues
        producer = _producer(run, stream.name, nodes)
        name = "the graph's caller" if producer is None else f'node "{producer.plan.name}"'
        try:
            first: int | None = queue[0]._timestamp
        except IndexError:
            first = None
        inputs.append(InputSnapshot(stream.name, len(queue), first, stream.bound, name))
    return tuple(inputs)


def _producer(run: Run, stream: str, nodes: Sequence[NodeState]) -> NodeState | None:
    producer = run.plan.streams[run.plan.stream_ids[stream]].producer
    return None if producer is None else nodes[producer[0]]


def _waits_for(
    run: Run, node: NodeState, state: str, inputs: Sequence[InputSnapshot], nodes: Sequence[NodeState]
) -> str | None:
    if state == "running":
        timestamp = run.running_call(node)
        # A source works by itself: that it does is no news. And the call may have returned in this instant.
        if node.plan.is_source or timestamp is None:
            return None
        return f"is inside process() at {debug_string(timestamp)}"
    if state == "unopened":
        return _waits_to_open(run, node, inputs)
    if state == "open" and node.plan.is_source:
        reason = run.throttle.reason(node.plan.id)
        return None if reason is None else f"is held up: {reason}"
    return _waits_for_input(run, node, inputs, nodes) if state == "open" else None


def _waits_to_open(run: Run, node: NodeState, inputs: Sequence[InputSnapshot]) -> str | None:
    for name in node.plan.input_side_packets.names:
        if not run.knows_side_packet(name):
            maker = run.plan.produced_side_packets.get(name)
            by = "" if maker is None else f', by node "{run.plan.nodes[maker[0]].name}"'
            return f"cannot open before side packet {name} is made{by}"
    for port, stream in enumerate(node.in_streams):
        if not stream.is_header_known and port not in node.plan.back_edges:
            return f"cannot open before {inputs[port].producer} has"
    return None


def _waits_for_input(
    run: Run, node: NodeState, inputs: Sequence[InputSnapshot], nodes: Sequence[NodeState]
) -> str | None:
    """Of a node with packets that waits for other inputs: what they are, and which of the others is the last."""
    holding = [each for each in inputs if each.queue_size]
    blocking = [each for each in inputs if not each.queue_size and each.bound < ONE_OVER_POST_STREAM]
    if not holding or not blocking:
        return None
    slowest = min(blocking, key=lambda each: each.bound)
    first = min(each.first_timestamp if each.first_timestamp is not None else DONE for each in holding)
    if slowest.bound > first and not node.plan.handler.ignores_timestamps:
        return None
    text = (
        f'has {holding[0].queue_size} packet(s) from stream "{holding[0].stream}" at {debug_string(first)} and waits for stream '
        f'"{slowest.stream}", whose bound is {debug_string(slowest.bound)}, produced by {slowest.producer}'
    )
    producer = _producer(run, slowest.stream, nodes)
    if producer is not None and _is_done_with(run, producer, slowest.stream, first):
        text += (
            ", which has handled all it got and sent nothing there; with cc.set_timestamp_offset(0) in its contract "
            "(or an explicit bound) others would know"
        )
    return text


def _is_done_with(run: Run, node: NodeState, stream: str, timestamp: int) -> bool:
    """Whether a node has nothing to do up to a timestamp, and no offset that tells those behind it."""
    port = [each.name for each in node.out_streams].index(stream)
    return (
        node.is_open
        and not node.plan.is_source
        and run.running_call(node) is None
        and node.offsets[port] is None
        and all(not queue and each.bound > timestamp for queue, each in zip(node.queues, node.in_streams, strict=False))
    )
