"""Which packet types streams and side packets carry: inference over the edges of a graph, and the check.

Source: MediaPipe ``validated_graph_config.cc`` (type resolution) and ``packet_type.cc`` (consistency).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graph_runtime.contract import ANY, EXACT, NONE, ONE_OF, SAME_AS, UNDEFINED, PortSpec
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import Packet, stored_type


def infer_types(edges: Sequence[tuple[PortSpec, PortSpec]]) -> None:
    """Let concrete types flow over the ``(consumer, producer)`` edges into ports of any type, then settle ``one_of`` ports."""
    for consumer_port, producer_port in edges:
        consumer, producer = consumer_port.root(), producer_port.root()
        if consumer is producer:
            continue
        if consumer.kind == ANY:
            consumer.kind, consumer.link = SAME_AS, producer
        elif producer.kind == ANY:
            producer.kind, producer.link = SAME_AS, consumer
    for consumer_port, producer_port in edges:
        consumer, producer = consumer_port.root(), producer_port.root()
        for open_port, other in ((consumer, producer), (producer, consumer)):
            if open_port.kind == ONE_OF and other.kind == EXACT and _consistent(open_port, other):
                open_port.kind, open_port.link = SAME_AS, other


def check_types(what: str, node: str, consumer: PortSpec, producer: PortSpec) -> str | None:
    """The complaint about one edge, in MediaPipe's words, or None when its types fit."""
    if _consistent(consumer.root(), producer.root()):
        return None
    if what == "side packet":
        return (
            f'Input side packet "{consumer.name}" of Calculator "{node}" expected a packet of type '
            f'"{consumer.type_name()}" but the connected output side packet will be of type "{producer.type_name()}"'
        )
    return (
        f'Input stream "{consumer.name}" of calculator "{node}" expects packets of type "{consumer.type_name()}" '
        f'but the connected output stream will contain packets of type "{producer.type_name()}"'
    )


def _consistent(a: PortSpec, b: PortSpec) -> bool:
    if UNDEFINED in (a.kind, b.kind):  # an output side packet that its calculator does not declare
        return False
    if ANY in (a.kind, b.kind):
        return True
    if NONE in (a.kind, b.kind):
        return a.kind == b.kind
    return any(x.is_consistent_with(y) for x in a.types for y in b.types)


def packet_mismatch(port: PortSpec, packet: Packet) -> str | None:
    """What is wrong with the type of a packet at a port, in MediaPipe's words, or None."""
    root = port.root()
    if packet.is_empty():
        if root.kind == EXACT:
            return f"Expected a Packet of type: {root.type_name()}, but received an empty Packet."
        return f"Empty packets are not allowed for type: {root.type_name()}"
    if root.kind in (ANY, UNDEFINED) or any(each.accepts(packet) for each in root.types):
        return None
    stored = stored_type(packet).name
    if root.kind == NONE:
        return f'The Packet stores "{stored}", but no packet may come here.'
    names = [f'"{each.name}"' for each in root.types]
    if len(names) == 1:
        return f'The Packet stores "{stored}", but {names[0]} was requested.'
    return f'The Packet stores "{stored}", but one of {", ".join(names)} was requested.'


def type_check(port: PortSpec, where: str) -> Callable[[Packet], None] | None:
    """A function that raises for packets of a wrong type, or None where every type may pass.

    Args:
        port: the port whose declared type counts.
        where: the beginning of the error text, such as ``Packet type mismatch on calculator outputting to stream "s"``.
    """
    root = port.root()
    if root.kind in (ANY, UNDEFINED):
        return None

    def check(packet: Packet) -> None:
        mismatch = packet_mismatch(root, packet)
        if mismatch is not None:
            raise GraphError(f"{where}: {mismatch}", code=StatusCode.INVALID_ARGUMENT)

    return check
