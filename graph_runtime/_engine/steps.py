"""Which function runs a node: its *step*, chosen when the node opens.

A step is called, with the run's token held, when something at a node's inputs may have changed: it decides by the node's input
stream handler whether to process, to close or to pass a bound on, and does it. Three ways to call ``process``:

* *inline*: with the token held, for nodes that are quick. The call is announced in ``claims``, and a thread that has waited too
  long for the token takes the announcement away: it then owns the token, and this one rejoins when its call returns.
* *detached*: the token is given up for the time of the call, for slow nodes and for nodes of real thread pools.
* *parallel*: detached, with several calls of one node at once (``max_in_flight``), sent in the order of their timestamps.

Two inline forms write the default policy out for speed; ``stream_handlers/`` is its specification. Nothing here knows what a
calculator is called.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from graph_runtime._engine.calls import call, call_inline, look_by_handler, run_batch
from graph_runtime._engine.detached_steps import async_step, detached_step, parallel_step
from graph_runtime._engine.inline_steps import default_step, look_at_all, look_at_one, one_input_step
from graph_runtime._engine.node import Claims, NodeState, Step, do_nothing
from graph_runtime.calculator import STOP

SOURCE_TIMESTAMP: Final = 0


def choose_step(node: NodeState) -> Step:
    """The step for an opened node, which is made ready for it."""
    if node.plan.is_source:
        return _source_step
    if not node.in_streams:
        return do_nothing
    if node.plan.is_async:
        return async_step(node)
    if node.plan.max_in_flight > 1 and node.pool.max_threads > 1:
        return parallel_step(node)
    if not node.pool.is_inline or (node.plan.id in node.run.plan.slow_nodes and node.pool.max_threads > 1):
        return detached_step(node)
    if not node.plan.has_default_policy:
        node.look = look_by_handler
        return _policy_step
    if len(node.in_streams) > 1:
        node.inputs = list(zip(node.queues, node.bounds, node.context.inputs, strict=True))
        node.look = look_at_all
        return default_step
    _prepare_one_input(node)
    node.look = look_at_one
    return one_input_step


def _prepare_one_input(node: NodeState) -> None:
    """Set what one_input_step reads."""
    node.queue, node.in_stream, node.port = node.queues[0], node.in_streams[0], node.context.inputs.get_by_id(0)
    node.pending = []  # never has a packet: all goes through ``finish``
    is_plain = len(node.out_streams) == 1 and node.run.queue_limit > 1 and node.out_streams[0].takes_order()
    if is_plain and not node.out_streams[0].dropping:
        node.out = node.out_streams[0]
        node.pending = node.context.outputs.get_by_id(0)._pending
        consumers = node.run.plan.streams[node.plan.output_streams[0]].consumers
        if len(consumers) == 1 and consumers[0][0] > node.plan.id and not node.out.observers:
            node.following = node.run.nodes[consumers[0][0]]


def _policy_step(node: NodeState, claims: Claims) -> None:
    """Any input stream handler, as its file says; with batches where it asks for them."""
    if (node.is_scheduled or look_by_handler(node)) and run_batch(node, partial(call_inline, node, claims)):
        node.arrived()


def _source_step(node: NodeState, claims: Claims) -> None:
    context, run = node.context, node.run
    context._timestamp = SOURCE_TIMESTAMP
    if node.pool.is_inline:
        result = call_inline(node, claims)
    else:
        run.detach(node)
        result = call(node, context)
        run.rejoin(node, claims)
    stopped = result is STOP
    if result is not None and not stopped:
        run.take_result(node, result)
    elif node.send(context, "process") and (stopped or all(stream.is_done() for stream in node.out_streams)):
        node.close(regular=True)
