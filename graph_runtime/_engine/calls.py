"""How a node's ``process`` is called: what every kind of step shares."""

from __future__ import annotations

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


def fill(context: CalculatorContext, timestamp: int, packets: list[Packet]) -> None:
    context._timestamp = timestamp
    for port, packet in zip(context.inputs, packets, strict=True):
        port.packet = packet
