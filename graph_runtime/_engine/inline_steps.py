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

    A call that sends one packet on an only output is common, and sent from here; ``finish`` does all others. What the scheduler
    would take next is called at once, without a way round by the heap: the only consumer, if it is a node of this kind with an
    empty queue, and otherwise this node with its next packet.
    """
    if not node.queue:
        bound = node.in_stream.bound
        if bound >= ONE_OVER_POST_STREAM:
            node.close(regular=True)
        else:
            node.pass_bound(bound)
        return
    heap, run = node.pool.heap, node.run
    packet = node.queue.popleft()
    timestamp = packet._timestamp
    bound_after = timestamp + 1 if MIN <= timestamp < MAX else None
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
        except IndexError:  # the run went on meanwhile, and may have failed or been paused
            run.rejoin(node, claims)
            node.is_scheduled = False
            if node.finish(context, timestamp, result):
                node.arrived()
            return
        pending = node.pending
        if result is None and len(pending) == 1:
            out = node.out
            packet = pending[0]
            try:
                sent = packet._timestamp
            except AttributeError:  # no packet, as finish will say
                node.finish(context, timestamp, result)
                return
            pending.pop()
            if sent is not timestamp:
                # A bound that the offset gives would be news after an earlier packet.
                is_plain = MIN <= sent < MAX and (sent >= timestamp or node.offsets[0] is None)
                bound_after = sent + 1 if is_plain else None
            if sent < out.bound or packet._value is NOTHING:
                bound_after = None
            if bound_after is None:
                pending.append(packet)
        else:
            bound_after = None
        if bound_after is None:
            if not node.finish(context, timestamp, result):
                return
        else:
            out.bound = bound_after
            following = node.following
            if (
                following is not None
                and following.step is one_input_step
                and not (following.queue or run.inbox or run.is_halted)
                and (not heap or following.key < heap[0])
                and (node.queue or node.in_stream.bound <= timestamp + 1)  # else the bound has to follow the packet
            ):
                if node.queue:
                    heappush(heap, node.key)
                node, timestamp = following, sent
                continue
            for sink, sink_heap, key in out.sinks:
                if not sink:
                    heappush(sink_heap, key)
                elif len(sink) >= run.nearly_full:
                    run.may_be_full(sink)
                sink.append(packet)
            if out.observers and not node.show(out.observers, packet):
                return
        if not node.queue:
            if node.in_stream.bound > timestamp + 1:
                node.arrived()
            return
        if run.inbox or run.is_halted or (heap and heap[0] < node.key):
            heappush(heap, node.key)
            return
        packet = node.queue.popleft()
        timestamp = packet._timestamp
        bound_after = timestamp + 1 if MIN <= timestamp < MAX else None


def look_at_one(node: NodeState) -> bool:
    """``NodeState.look`` for ``one_input_step``."""
    if node.queue or node.in_stream.bound >= ONE_OVER_POST_STREAM:
        return True
    node.pass_bound(node.in_stream.bound)
    return False


def look_at_all(node: NodeState) -> bool:
    """``NodeState.look`` for ``default_step``: the smallest timestamp that no input can still undercut is next."""
    min_packet = min_bound = DONE
    for queue, stream, _ in node.inputs:
        if queue:
            if queue[0]._timestamp < min_packet:
                min_packet = queue[0]._timestamp
        elif stream.bound < min_bound:
            min_bound = stream.bound
    if min_packet >= min_bound and min_bound < ONE_OVER_POST_STREAM:
        node.pass_bound(min_bound)
        return False
    node.is_scheduled = True
    node.context._timestamp = min_packet
    for queue, stream, port in node.inputs:
        if not queue:
            port.packet = Packet(NOTHING, previous_allowed(stream.bound))
        elif queue[0]._timestamp == min_packet:
            port.packet = queue.popleft()
        else:
            port.packet = Packet(NOTHING, previous_allowed(queue[0]._timestamp))
    return True


def default_step(node: NodeState, claims: Claims) -> None:
    """Several inputs, default policy: process what ``look_at_all`` has got ready."""
    if not node.is_scheduled and not look_at_all(node):
        return
    context = node.context
    timestamp = context._timestamp
    if timestamp == DONE:
        node.close(regular=True)
    elif node.finish(context, timestamp, call_inline(node, claims)):
        node.is_scheduled = False
        node.arrived()
