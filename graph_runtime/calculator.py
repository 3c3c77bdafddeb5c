"""The base class of calculators, and the context that their methods get.

This docstring and that of :class:`Calculator` are the contract for authors; a test runs the example below.

Life of a calculator object, once per node and run (MediaPipe ``calculator_base.h``):

1. ``get_contract`` (class method, at validation): declare ports; no work.
2. ``__init__`` without arguments, at the start of the run.
3. ``open`` once, when all side packets that it needs are there. Outputs may be sent already.
4. ``process`` for each input timestamp, in increasing order, never two calls at once. The thread may differ between calls.
   A node without inputs is a source: ``process`` is called until it returns ``STOP``.
5. ``close`` once if ``open`` returned; outputs may still be sent when the run ends regularly.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine
from operator import index as exact_int
from typing import Any, ClassVar, Final, TypeVar

from graph_runtime.arguments import check_callable, check_offset, wrong_type
from graph_runtime.contract import CalculatorContract, missing_port, split_key
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import NOTHING, BoundMark, Packet, PacketType
from graph_runtime.tags import PortKey, TagMap
from graph_runtime.timestamp import (
    DONE,
    ONE_OVER_POST_STREAM,
    PRE_STREAM,
    UNSET,
    UNSTARTED,
    Timestamp,
    as_timestamp,
    debug_string,
)

M = TypeVar("M")
P = TypeVar("P")


class Stop:
    """Returned by ``process`` to end a source, or to ask that the sources of the graph end."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "STOP"


STOP: Final = Stop()
EMPTY_PACKET: Final = Packet()


class Calculator:
    """A node's code. Subclass it, declare the ports, write ``process``; all other methods are optional.

    ::

        @register_calculator
        class Scale(Calculator):
            @classmethod
            def get_contract(cls, cc):
                cc.inputs["IN"].set(float)
                cc.input_side_packets["FACTOR"].set(float)
                cc.outputs["OUT"].set(float)
                cc.set_timestamp_offset(0)

            def open(self, cc):
                self.factor = cc.input_side_packets["FACTOR"].value

            def process(self, cc):
                cc.outputs["OUT"].add(cc.inputs["IN"].value * self.factor)

    An exception from any method ends the run with a GraphError that names the node and the method. Packets are sent with
    ``cc.outputs``; returning one from ``process`` is an error.
    """

    nonblocking: ClassVar[bool] = False
    """A promise: every method waits for nothing and nobody, and takes microseconds. A server may then run a graph of such nodes
    on its event loop, and save the way to a thread and back. Counts for the class that states it alone, since a subclass may do
    more."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Declare ports, options and habits; raise ValueError or GraphError to refuse a node."""
        raise NotImplementedError(f"{cls.__name__} has to define get_contract(cls, cc)")

    def open(self, cc: CalculatorContext) -> None:
        """Prepare; called once before any ``process``."""

    def process(self, cc: CalculatorContext) -> Stop | Coroutine[Any, Any, Stop | None] | None:
        """Handle the packets at ``cc.input_timestamp``; return None, or ``STOP``."""
        raise NotImplementedError(f"{type(self).__name__} has to define process(self, cc)")

    def close(self, cc: CalculatorContext) -> None:
        """Finish; called once after the last ``process``."""


class InputStream:
    """An input of a node as ``process`` sees it."""

    __slots__ = ("_queue", "_stream", "header", "name", "packet")

    def __init__(self, stream: Any, queue: Any) -> None:
        self.name: str = stream.name
        self.packet: Packet = EMPTY_PACKET
        self.header: Packet = stream.header
        self._stream = stream
        self._queue = queue

    @property
    def value(self) -> Any:
        """The payload at the input timestamp.

        Raises:
            GraphRuntimeError: there is no packet at this timestamp; ask ``is_empty()`` where that can be.
        """
        value = self.packet._value
        if value is NOTHING:
            raise GraphError(
                f'Stream "{self.name}" has no packet at this input timestamp; ask is_empty() before reading value.',
                code=StatusCode.FAILED_PRECONDITION,
            )
        return value

    def is_empty(self) -> bool:
        """Whether there is no packet at the input timestamp."""
        return self.packet._value is NOTHING

    def is_done(self) -> bool:
        """Whether no further packet can come, nor waits."""
        return not self._queue and bool(self._stream.is_done())


class OutputStream:
    """An output of a node as ``open``, ``process`` and ``close`` see it.

    What is sent goes out when the method returns, or before that with ``cc.flush``.
    """

    __slots__ = ("_context", "_header", "_offset", "_pending", "_type_check", "add_packet", "is_closed", "name")

    def __init__(self, name: str, context: CalculatorContext, type_check: Callable[[Packet], None] | None) -> None:
        self.name = name
        self.is_closed = False
        """Whether this node has closed the stream."""
        # A bound list method where the type is free: nearly every packet of every graph goes through here.
        self._pending: list[Packet] = []
        self.add_packet: Callable[[Packet], None] = self._pending.append if type_check is None else self._add_checked
        """Send a packet at its own timestamp; an empty one only moves the bound to just after its timestamp."""
        self._context = context
        self._header: Packet | None = None
        self._offset: int | None = None
        self._type_check = type_check

    def add(self, value: Any, timestamp: int | None = None) -> None:
        """Send ``value`` at ``timestamp`` (microseconds), by default the input timestamp."""
        self.add_packet(Packet(value, self._context._timestamp if timestamp is None else timestamp))

    def set_next_timestamp_bound(self, timestamp: int) -> None:
        """Promise that no packet before ``timestamp`` will be sent.

        Raises:
            InvalidArgumentError: the timestamp can be no bound (UNSET, UNSTARTED, DONE).
        """
        if not PRE_STREAM <= exact_int(timestamp) <= ONE_OVER_POST_STREAM:
            raise GraphError(
                f'In stream "{self.name}", timestamp bound set to illegal value: {debug_string(timestamp)}',
                code=StatusCode.INVALID_ARGUMENT,
            )
        if not self.is_closed:
            self._pending.append(BoundMark(NOTHING, timestamp))

    def close(self) -> None:
        """Send nothing more; consumers see the stream as done. Closing twice is fine."""
        if not self.is_closed:
            self.is_closed = True
            self._pending.append(BoundMark(NOTHING, DONE))
            self.add_packet = self._refuse

    def set_header(self, header: Packet) -> None:
        """Give the stream a header packet (without timestamp); only in ``open``."""
        self._only_in_open("SetHeader")
        if self.is_closed:
            raise GraphError(
                f'SetHeader must be called before the stream is closed. Stream: "{self.name}".',
                code=StatusCode.FAILED_PRECONDITION,
            )
        if not isinstance(header, Packet):
            raise wrong_type("a header is a Packet", header)
        if header._timestamp != UNSET:
            raise GraphError(
                f'Headers must not have a timestamp.  Stream: "{self.name}".', code=StatusCode.INVALID_ARGUMENT
            )
        self._header = header

    def set_offset(self, offset: int) -> None:
        """As ``cc.set_timestamp_offset`` in the contract, for this stream alone; only in ``open``."""
        self._only_in_open("SetOffset")
        check_offset(offset)
        self._offset = offset

    def _only_in_open(self, what: str) -> None:
        if self._context._phase != "open":
            raise GraphError(
                f'{what} must be called from Calculator::Open(). Stream: "{self.name}".',
                code=StatusCode.FAILED_PRECONDITION,
            )

    def _add_checked(self, packet: Packet) -> None:
        if packet._value is not NOTHING and self._type_check is not None:
            self._type_check(packet)
        self._pending.append(packet)

    def _refuse(self, packet: Packet) -> None:
        raise GraphError(f'Packet sent to closed stream "{self.name}".', code=StatusCode.FAILED_PRECONDITION)


class InputSidePacket:
    """A side packet that a node takes."""

    __slots__ = ("name", "packet")

    def __init__(self, name: str, packet: Packet) -> None:
        self.name = name
        self.packet = packet

    @property
    def value(self) -> Any:
        """The payload."""
        return self.packet.value

    def is_empty(self) -> bool:
        """Whether it carries nothing."""
        return self.packet.is_empty()


class OutputSidePacket:
    """A side packet that a node makes, once in a run."""

    __slots__ = ("_send", "name")

    def __init__(self, name: str, send: Callable[[str, Packet], None]) -> None:
        self.name = name
        self._send = send

    def set(self, value: Any, *, packet_type: PacketType | None = None) -> None:
        """Make it; nodes that need it open now. A Packet is taken as it is, anything else is wrapped.

        Raises:
            GraphError: it was set already in this run, is empty, has a timestamp or the wrong type.
        """
        self._send(self.name, value if isinstance(value, Packet) else Packet(value, packet_type=packet_type))


_item = list.__getitem__


class Ports(list[P]):
    """The ports of a node in id order; ``ports["TAG"]``, ``ports[0]`` (untagged), ``ports["TAG", 1]``.

    A list, because subclasses of tuple have no slots; nobody changes it.
    """

    __slots__ = ("_tag_map", "_what")

    _tag_map: TagMap
    _what: str

    @classmethod
    def of(cls, ports: list[P], tag_map: TagMap, what: str) -> Ports[P]:
        """The ports, one per entry of the tag map."""
        made = cls(ports)
        made._tag_map = tag_map
        made._what = what
        return made

    def __getitem__(self, key: PortKey) -> P:  # type: ignore[override]  # a list by iteration only: users index by tag
        try:
            return _item(self, self._tag_map.id_by_key[key])
        except KeyError:
            raise missing_port(self._what, *split_key(key), self._tag_map) from None

    def get_by_id(self, port_id: int) -> P:
        """The port at a position of the id order."""
        return _item(self, port_id)

    def has_tag(self, tag: str) -> bool:
        """Whether the node has a port with this tag."""
        return self._tag_map.id_of(tag) is not None

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags in use, sorted; "" for untagged ports."""
        return tuple(self._tag_map.tags)

    def num_entries(self, tag: str | None = None) -> int:
        """How many ports there are, of one tag or in all."""
        return len(self) if tag is None else self._tag_map.num_entries(tag)


class CalculatorContext:
    """What ``open``, ``process`` and ``close`` work with."""

    __slots__ = (
        "_find_options", "_flush", "_phase", "_run", "_services", "_timestamp", "input_side_packets", "inputs", "node_name",
        "output_side_packets", "outputs",
    )  # fmt: skip

    inputs: Ports[InputStream]
    outputs: Ports[OutputStream]
    input_side_packets: Ports[InputSidePacket]
    output_side_packets: Ports[OutputSidePacket]

    def __init__(
        self, node_name: str, run: Any, find_options: Callable[[type[Any]], Any], services: Container[str]
    ) -> None:
        self.node_name = node_name
        self._run = run
        self._services = services
        self._find_options = find_options
        self._timestamp: int = UNSTARTED
        self._phase = "open"
        self._flush: Callable[[CalculatorContext], None] | None = None

    @property
    def input_timestamp(self) -> Timestamp:
        """The time that is being processed: UNSTARTED in ``open``, DONE in ``close``, 0 in a source."""
        return as_timestamp(self._timestamp)

    def options(self, message_class: type[M]) -> M:
        """The node's options of this message class; a default message when the node gives none."""
        found: M | None = self._find_options(message_class)
        return message_class() if found is None else found

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled: long work should end soon."""
        return bool(self._run.cancelled)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback()`` when the run is cancelled, on the cancelling thread; at once if it is cancelled already.

        Returns a function that takes the callback away again.
        """
        check_callable(callback, "on_cancel() takes callback()")
        remove: Callable[[], None] = self._run.on_cancel(callback)
        return remove

    def flush(self) -> None:
        """Send what the outputs hold now, while ``process`` goes on: for long calls that have news on the way.

        May be called by any thread for as long as ``process`` runs; nodes downstream and observers then get the packets at once,
        on other threads. The rules of the streams hold as ever: timestamps increase, and a packet that is refused fails the
        run. Where the graph has no thread for it (the application thread executor), or an earlier timestamp of this node is
        still being processed (``max_in_flight``), the packets wait for that. In ``open`` and ``close`` it does nothing.
        """
        if self._flush is not None:
            self._flush(self)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the run; ``CalculatorGraph.counters`` has them."""
        self._run.count(name, by)

    def service(self, key: str) -> Any:
        """The object of a service that the contract uses; None when an optional one is not there.

        Raises:
            GraphRuntimeError: the contract does not use it.
        """
        services: dict[str, Any] = self._run.services
        if key not in self._services:
            raise GraphError(
                f'Service "{key}" is not used by the contract of node "{self.node_name}": '
                f'call cc.use_service("{key}") in get_contract',
                code=StatusCode.FAILED_PRECONDITION,
            )
        return services.get(key)

    @property
    def graph_status(self) -> GraphError | None:
        """The error that ended the run, in ``close``; None while all is well."""
        status: GraphError | None = self._run.status()
        return status
