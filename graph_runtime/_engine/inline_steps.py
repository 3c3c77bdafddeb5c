"""Steps that call ``process`` inline, with the default policy written out for speed; see ``steps.py``.

``stream_handlers/default.py`` is their specification; random graphs are run both ways by the tests.
"""

from __future__ import annotations

from heapq import heappush

from graph_runtime._engine.calls import Failed, call_inline
from graph_runtime._engine.node import Claims, NodeState
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.timestamp import DONE, MAX, MIN, ONE_OVER_POST_STREAM, previous_allowed


def one_input_step(node: NodeState, claims: Claims) -> None:
    """One input, default policy: the head of the queue is always next.

    A call that sends one packet on an only output is common, and sent from here; ``finish`` does all others. When the only
    consumer is such a node too, has nothing waiting and is what the scheduler would take next, the packet goes straight to it,
    without its queue and without the heap: the loop goes down a chain.
    """
    if not node.queue:
        bound = node.in_stream.bound
        if bound >= ONE_OVER_POST_STREAM:
            node.close(regular=True)
        else:
            node.pass_bound(bound)
        return
    packet = node.queue.popleft()
    timestamp = packet._timestamp
    bound_after = timestamp + 1 if MIN <= timestamp < MAX else None
    heap, inbox = node.pool.heap, node.run.inbox
    came_straight = False
    while True:
        context = node.context
        context._timestamp = timestamp
        node.port.packet = packet
        claims.append(node)  # as call_inline; one call less counts here
        try:
            result = node.process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            claims.pop()
        except IndexError:
            node.run.rejoin(node, claims)
            break  # the run went on meanwhile, and may have failed or been paused
        pending = node.pending
        if result is not None or len(pending) != 1:
            break
        packet = pending.pop()
        sent = packet._timestamp
        if sent is not timestamp:
            # A bound that the offset gives would be news after an earlier packet.
            is_plain = MIN <= sent < MAX and (sent >= timestamp or node.offsets[0] is None)
            bound_after = sent + 1 if is_plain else None
        out = node.out
        if bound_after is None or sent < out.bound or packet._value is NOTHING:
            pending.append(packet)
            break
        out.bound = bound_after
        if not came_straight and (node.queue or node.in_stream.bound > timestamp + 1):
            heappush(heap, node.key)
        following = node.following
        if (
            following is None
            or following.step is not one_input_step
            or following.queue
            or inbox
            or (heap and heap[0] < following.key)
        ):
            for sink, sink_heap, key in out.sinks:
                if not sink:
                    heappush(sink_heap, key)
                elif len(sink) >= node.run.nearly_full:
                    node.run.may_be_full(sink)
                sink.append(packet)
            if out.observers:
                node.show(out.observers, packet)
            return
        node, timestamp, came_straight = following, sent, True
    if node.finish(context, timestamp, result) and (node.queue or node.in_stream.bound > timestamp + 1):
        heappush(heap, node.key)


def default_step(node: NodeState, claims: Claims) -> None:
    """Several inputs, default policy: process the smallest timestamp that no input can still undercut."""
    min_packet = min_bound = DONE
    for queue, stream, _ in node.inputs:
        if queue:
            if queue[0]._timestamp < min_packet:
                min_packet = queue[0]._timestamp
        elif stream.bound < min_bound:
            min_bound = stream.bound
    if min_packet >= min_bound:
        if min_bound >= ONE_OVER_POST_STREAM:
            node.close(regular=True)
        else:
            node.pass_bound(min_bound)
        return
    for queue, stream, port in node.inputs:
        if not queue:
            port.packet = Packet(NOTHING, previous_allowed(stream.bound))
        elif queue[0]._timestamp == min_packet:
            port.packet = queue.popleft()
        else:
            port.packet = Packet(NOTHING, previous_allowed(queue[0]._timestamp))
    context = node.context
    context._timestamp = min_packet
    if node.finish(context, min_packet, call_inline(node, claims)):
        heappush(node.pool.heap, node.key)
