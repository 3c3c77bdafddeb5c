"""How a node's ``process`` is called: what every kind of step shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graph_runtime._engine.node import Claims, NodeState
from graph_runtime.calculator import CalculatorContext
from graph_runtime.packet import Packet
from graph_runtime.timestamp import ONE_OVER_POST_STREAM


class Failed:
    """What ``process`` raised, in the place of its result."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def call(node: NodeState, context: CalculatorContext) -> Any:
    """Call ``process``; an exception comes back as a result."""
    try:
        return node.process(context)
    except BaseException as error:
        return Failed(error)


def call_inline(node: NodeState, claims: Claims) -> Any:
    """Call ``process`` with the token held, and announced."""
    claims.append(node)
    try:
        result = node.process(node.context)
    except BaseException as error:
        result = Failed(error)
    try:
        claims.pop()
    except IndexError:
        node.run.rejoin(node, claims)
    return result


def decide(node: NodeState) -> int | None:
    """Ask the handler; a handler that was fed something impossible fails the run."""
    try:
        return node.handler.decide()
    except Exception as error:
        node.run.fail(node.failure("process", error))
        return ONE_OVER_POST_STREAM


def look_by_handler(node: NodeState) -> bool:
    """``NodeState.look`` for any input stream handler: fills the node's batch."""
    handler, batch = node.handler, node.batch
    while len(batch) < handler.batch_size:
        timestamp = decide(node)
        if timestamp is None:
            node.pass_bound(batch[0][0] if batch else handler.bound)
            return False
        if timestamp >= ONE_OVER_POST_STREAM:
            batch.append((timestamp, []))
            break
        batch.append((timestamp, handler.fill(timestamp)))
    node.is_scheduled = True
    return not node.run.errors


def run_batch(node: NodeState, invoke: Callable[[], Any]) -> bool:
    """Make the calls that are on their way, by ``invoke``, or the closing; whether the node is there for the next ones."""
    for timestamp, packets in node.batch:
        if timestamp >= ONE_OVER_POST_STREAM:
            node.close(regular=True)
            return False
        fill(node.context, timestamp, packets)
        if not node.finish(node.context, timestamp, invoke()):
            return False
    node.batch.clear()
    node.is_scheduled = False
    return True


def fill(context: CalculatorContext, timestamp: int, packets: list[Packet]) -> None:
    context._timestamp = timestamp
    for port, packet in zip(context.inputs, packets, strict=True):
        port.packet = packet
