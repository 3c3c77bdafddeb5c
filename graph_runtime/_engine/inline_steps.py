"""Steps that call ``process`` inline, with the default policy written out for speed; see ``steps.py``.

``stream_handlers/default.py`` is their specification; random graphs are run both ways by the tests.
"""

from __future__ import annotations

from heapq import heappush

from graph_runtime._engine.calls import Failed
from graph_runtime._engine.node import NodeState, Step
from graph_runtime.packet import NOTHING, Packet
from graph_runtime.timestamp import DONE, MAX, ONE_OVER_POST_STREAM, PRE_STREAM, previous_allowed


def chain_step(node: NodeState) -> Step:
    """One input, one output with one consumer, default policy: the common way of one packet is written out."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    queue, in_stream, port = node.queues[0], node.in_streams[0], context.inputs.get_by_id(0)
    pop, ready, out_stream = queue.popleft, node.pool.heap, node.out_streams[0]
    pending = context.outputs.get_by_id(0)._pending
    take, (sink, sink_heap, sink_key) = pending.pop, out_stream.sinks[0]
    put, has_offset, limit = sink.append, node.offsets[0] is not None, run.queue_limit - 1
    claims = run.claims

    def step() -> None:
        if not queue:
            if in_stream.bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            elif has_offset:
                node.pass_bound(in_stream.bound)
            return
        packet = pop()
        context._timestamp = timestamp = packet._timestamp
        port.packet = packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if result is None and len(pending) == 1:
            packet = pending[0]
            sent = packet._timestamp
            if out_stream.bound <= sent < MAX and sent != PRE_STREAM and packet._value is not NOTHING:
                take()
                out_stream.bound = sent + 1
                if not sink:
                    heappush(sink_heap, sink_key)
                elif len(sink) >= limit:
                    run.may_be_full(sink)
                put(packet)
                if has_offset and sent < timestamp and not finish(context, timestamp, None):
                    return
            elif not finish(context, timestamp, None):
                return
        elif not finish(context, timestamp, result):
            return
        if queue or in_stream.bound >= ONE_OVER_POST_STREAM:
            heappush(ready, key)

    return step


def one_output_step(node: NodeState) -> Step:
    """One input, one output with any number of consumers and observers, default policy; otherwise as the chain step."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    queue, in_stream, port = node.queues[0], node.in_streams[0], context.inputs.get_by_id(0)
    pop, ready, out_stream = queue.popleft, node.pool.heap, node.out_streams[0]
    pending, sinks, observers = context.outputs.get_by_id(0)._pending, out_stream.sinks, out_stream.observers
    take, has_offset, limit = pending.pop, node.offsets[0] is not None, run.queue_limit - 1
    claims = run.claims

    def step() -> None:
        if not queue:
            if in_stream.bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            elif has_offset:
                node.pass_bound(in_stream.bound)
            return
        packet = pop()
        context._timestamp = timestamp = packet._timestamp
        port.packet = packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if result is None and len(pending) == 1:
            packet = pending[0]
            sent = packet._timestamp
            if out_stream.bound <= sent < MAX and sent != PRE_STREAM and packet._value is not NOTHING:
                take()
                out_stream.bound = sent + 1
                for sink, sink_heap, sink_key in sinks:
                    if not sink:
                        heappush(sink_heap, sink_key)
                    elif len(sink) >= limit:
                        run.may_be_full(sink)
                    sink.append(packet)
                if observers and not node.show(observers, packet):
                    return
                if has_offset and sent < timestamp and not finish(context, timestamp, None):
                    return
            elif not finish(context, timestamp, None):
                return
        elif not finish(context, timestamp, result):
            return
        if queue or in_stream.bound >= ONE_OVER_POST_STREAM:
            heappush(ready, key)

    return step


def single_input_step(node: NodeState) -> Step:
    """One input, default policy: the head of the queue is always next."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    queue, in_stream, port = node.queues[0], node.in_streams[0], context.inputs.get_by_id(0)
    pop, ready = queue.popleft, node.pool.heap
    claims = run.claims

    def step() -> None:
        if not queue:
            if in_stream.bound >= ONE_OVER_POST_STREAM:
                node.close(regular=True)
            else:
                node.pass_bound(in_stream.bound)
            return
        packet = pop()
        context._timestamp = timestamp = packet._timestamp
        port.packet = packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if finish(context, timestamp, result) and (queue or in_stream.bound >= ONE_OVER_POST_STREAM):
            heappush(ready, key)

    return step


def default_step(node: NodeState) -> Step:
    """Several inputs, default policy: process the smallest timestamp that no input can still undercut."""
    assert node.context is not None
    process = node.process
    context, run, key, finish = node.context, node.run, node.key, node.finish
    ready = node.pool.heap
    inputs = list(zip(node.queues, node.in_streams, context.inputs, strict=True))
    claims = run.claims

    def step() -> None:
        min_packet = min_bound = DONE
        for queue, stream, _ in inputs:
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
        for queue, stream, port in inputs:
            if not queue:
                port.packet = Packet(NOTHING, previous_allowed(stream.bound))
            elif queue[0]._timestamp == min_packet:
                port.packet = queue.popleft()
            else:
                port.packet = Packet(NOTHING, previous_allowed(queue[0]._timestamp))
        context._timestamp = min_packet
        claims[key] = None
        try:
            result = process(context)
        except BaseException as error:
            result = Failed(error)
        try:
            del claims[key]
        except KeyError:
            run.rejoin(key)
        if finish(context, min_packet, result):
            heappush(ready, key)

    return step
