"""What a calculator promises about its ports: the contract that validation checks a graph against.

Source: MediaPipe ``framework/calculator_contract.h`` and ``packet_type.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from graph_runtime.arguments import check_name, check_offset, wrong_type
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.near_names import did_you_mean
from graph_runtime.packet import PacketType, as_packet_type
from graph_runtime.tags import PortKey, TagMap, describe_port

M = TypeVar("M")

UNDEFINED: Final = "undefined"
ANY: Final = "any"
NONE: Final = "none"
EXACT: Final = "exact"
ONE_OF: Final = "one_of"
SAME_AS: Final = "same_as"


def split_key(key: PortKey) -> tuple[str, int]:
    """``"TAG"``, ``2`` (untagged) or ``("TAG", 1)`` as (tag, index)."""
    if isinstance(key, str):
        return key, 0
    if isinstance(key, int):
        return "", key
    if not (isinstance(key, tuple) and len(key) == 2):
        raise TypeError(f'a port is named by "TAG", 2 or "TAG", 1, not {key!r}')
    return key


class PortSpec:
    """One port in a contract: its type, and whether a node may leave it out.

    Attributes:
        tag, index: where it is among the node's ports.
        name: the stream or side packet that the node connects here; "" when the node has no such port.
        kind, types, link: the declared type; read by validation.
    """

    __slots__ = ("index", "is_optional", "kind", "link", "name", "tag", "types")

    def __init__(self, tag: str, index: int, name: str) -> None:
        self.tag = tag
        self.index = index
        self.name = name
        self.kind = UNDEFINED
        self.types: tuple[PacketType, ...] = ()
        self.link: PortSpec | None = None
        self.is_optional = False

    def set(self, packet_type: PacketType | type) -> PortSpec:
        """Packets here are of this Python class or MediaPipe type."""
        return self._declare(EXACT, (as_packet_type(packet_type),))

    def set_any(self) -> PortSpec:
        """Packets here may be of any type."""
        return self._declare(ANY)

    def set_none(self) -> PortSpec:
        """No packet comes here (a stream that only carries a header, or bounds)."""
        return self._declare(NONE)

    def set_one_of(self, *packet_types: PacketType | type) -> PortSpec:
        """Packets here are of one of these types."""
        if not packet_types:
            raise TypeError("set_one_of() takes at least one type")
        return self._declare(ONE_OF, tuple(as_packet_type(each) for each in packet_types))

    def set_same_as(self, port: PortSpec) -> PortSpec:
        """Packets here are of the type that ``port`` has."""
        if not isinstance(port, PortSpec):
            raise wrong_type("set_same_as() takes a port of the contract", port)
        self._declare(SAME_AS)
        self.link = port
        return self

    def optional(self) -> PortSpec:
        """A node may leave this port out."""
        self.is_optional = True
        return self

    def root(self) -> PortSpec:
        """The port whose type counts: follow the links of ``set_same_as``. A loop of links ends where it began, as any type."""
        seen = {id(self)}
        port = self
        while port.kind == SAME_AS and port.link is not None:
            port = port.link
            if id(port) in seen:
                port.kind, port.link = ANY, None
                break
            seen.add(id(port))
        return port

    def type_name(self) -> str:
        """The type as error messages print it."""
        if self.kind == SAME_AS:
            return f"[Same Type As {self.root().type_name()}]"
        if self.kind == EXACT:
            return self.types[0].name
        if self.kind == ONE_OF:
            return "OneOf<" + ", ".join(each.name for each in self.types) + ">"
        return {ANY: "[Any Type]", NONE: "[No Type]"}.get(self.kind, "[Undefined Type]")

    def _declare(self, kind: str, types: tuple[PacketType, ...] = ()) -> PortSpec:
        self.kind = kind
        self.types = types
        self.link = None
        return self


class PortSpecs:
    """The ports of one list of a node, as its contract sees them; ``specs["TAG"]``, ``specs[0]``, ``specs["TAG", 1]``.

    Asking for a port that the node does not have is no error at once: the port is reported by validation unless the contract
    calls ``.optional()`` on it.
    """

    __slots__ = ("_asked", "_missing", "_ports", "tag_map")

    def __init__(self, tag_map: TagMap) -> None:
        self.tag_map = tag_map
        self._ports = [PortSpec(tag, index, name) for (tag, index), name in zip(tag_map, tag_map.names, strict=True)]
        self._missing: dict[tuple[str, int], PortSpec] = {}
        self._asked: set[str] = set()
        """Tags that the contract knows and the node may not have."""

    def __getitem__(self, key: PortKey) -> PortSpec:
        tag, index = split_key(key)
        port_id = self.tag_map.id_of(tag, index)
        if port_id is not None:
            return self._ports[port_id]
        return self._missing.setdefault((tag, index), PortSpec(tag, index, ""))

    def __iter__(self) -> Iterator[PortSpec]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)

    def has_tag(self, tag: str) -> bool:
        """Whether the node has a port with this tag."""
        self._asked.add(tag)
        return self.tag_map.id_of(tag) is not None

    @property
    def tags(self) -> Sequence[str]:
        """The tags that the node uses, sorted; "" for untagged ports."""
        return tuple(self.tag_map.tags)

    def num_entries(self, tag: str | None = None) -> int:
        """How many ports there are, of one tag or in all."""
        if tag is None:
            return len(self._ports)
        self._asked.add(tag)
        return self.tag_map.num_entries(tag)

    def missing(self) -> list[str]:
        """The complaints about ports of the contract that the node lacks, in MediaPipe's words."""
        return [
            f'Failed to get tag "{port.tag}" index {port.index}'
            for port in self._missing.values()
            if not port.is_optional
        ]

    def undeclared(self) -> list[PortSpec]:
        """The node's ports that the contract says nothing about."""
        return [port for port in self._ports if port.kind == UNDEFINED]

    def hint(self, extra: Sequence[PortSpec], what: str) -> str:
        """What the contract knows: the port that is nearest to the first of ``extra``, or all; ``what`` they are."""
        declared = [port for port in self._ports if port.kind != UNDEFINED]
        ports = {(port.tag, port.index) for port in (*declared, *self._missing.values())}
        known = sorted(describe_port(*port) for port in ports | {(tag, 0) for tag in self._asked})
        is_slip = bool(extra) and extra[0].tag not in {tag for tag, _ in ports} | self._asked
        near = did_you_mean(describe_port(extra[0].tag, extra[0].index), known) if is_slip else None
        return near or f"the calculator's {what} are: {', '.join(known) or 'none'}"


@dataclass(frozen=True, slots=True)
class Service:
    """What a contract says about a service that its node uses."""

    optional: bool
    default: Callable[[], Any] | None


class CalculatorContract:
    """What a node's calculator is given in ``get_contract`` to declare ports, options and habits."""

    __slots__ = (
        "_find_options", "input_side_packets", "input_stream_handler", "input_stream_handler_options", "inputs",
        "max_in_flight", "node_name", "output_side_packets", "outputs", "process_timestamp_bounds", "services", "timestamp_offset",
    )  # fmt: skip

    def __init__(
        self,
        node_name: str,
        inputs: TagMap,
        outputs: TagMap,
        input_side_packets: TagMap,
        output_side_packets: TagMap,
        *,
        find_options: Callable[[type[Any]], Any],
        max_in_flight: int = 1,
    ) -> None:
        self.node_name = node_name
        self.inputs = PortSpecs(inputs)
        self.outputs = PortSpecs(outputs)
        self.input_side_packets = PortSpecs(input_side_packets)
        self.output_side_packets = PortSpecs(output_side_packets)
        self.max_in_flight = max_in_flight
        self.input_stream_handler: str | None = None
        self.input_stream_handler_options: Any = None
        self.process_timestamp_bounds = False
        self.services: dict[str, Service] = {}
        self.timestamp_offset: int | None = None
        self._find_options = find_options

    def options(self, message_class: type[M]) -> M:
        """The node's options of this message class; a default message when the node gives none.

        Both forms are looked up: the extension in ``options`` first, then the Any in ``node_options``.
        """
        found: M | None = self._find_options(message_class)
        return message_class() if found is None else found

    def has_options(self, message_class: type[Any]) -> bool:
        """Whether the node gives options of this message class."""
        return self._find_options(message_class) is not None

    def set_input_stream_handler(self, name: str, options: Any = None) -> None:
        """The input stream handler that nodes of this calculator get unless the graph names another.

        Args:
            name: one of ``graph_runtime.stream_handlers.HANDLERS``.
            options: its options message, where it has one.
        """
        if not isinstance(name, str):
            raise wrong_type("an input stream handler is named by a str", name)
        self.input_stream_handler = name
        self.input_stream_handler_options = options

    def use_service(self, key: str, *, optional: bool = False, default: Callable[[], Any] | None = None) -> None:
        """Ask for a service: an object that all nodes of a graph share (``CalculatorGraph.set_service``).

        Args:
            key: its name.
            optional: the node can do without.
            default: makes the object where the caller gives none.
        """
        check_name(key)
        self.services[key] = Service(optional, default)

    def set_process_timestamp_bounds(self, value: bool = True) -> None:
        """Call ``process`` for settled timestamps without packets too."""
        self.process_timestamp_bounds = value

    def set_timestamp_offset(self, offset: int) -> None:
        """Output at ``input timestamp + offset`` or later: lets output bounds follow input bounds without a call."""
        check_offset(offset)
        self.timestamp_offset = offset


class Misfit(NamedTuple):
    """What does not fit between a node's ports and its contract.

    Attributes:
        text: all of it, in MediaPipe's words.
        hint: what the contract knows.
        path: where the first port that it does not know stands, below the node; the calculator where there is none.
    """

    text: str
    hint: str
    path: tuple[str | int, ...]


def complain_about_ports(contract: CalculatorContract, calculator: str) -> Misfit | None:
    """Everything that does not fit between a node's ports and its contract, or None.

    Output side packets that the contract does not declare are no complaint: MediaPipe accepts them.
    """
    texts, hints = [], []
    path: tuple[str | int, ...] = ("calculator",)
    for field, specs in (
        ("input_stream", contract.inputs),
        ("output_stream", contract.outputs),
        ("input_side_packet", contract.input_side_packets),
        ("output_side_packet", contract.output_side_packets),
    ):
        extra = [] if field == "output_side_packet" else specs.undeclared()
        complaints = specs.missing() + [f'Tag "{port.tag}" index {port.index} was not expected.' for port in extra]
        if not complaints:
            continue
        what = f"{field.replace('_', ' ')}s"
        texts.append(f"For {what} ValidatePacketTypeSet failed: {'; '.join(complaints)}")
        hints.append(specs.hint(extra, what))
        if extra and path == ("calculator",):
            path = (field, specs.tag_map.source_of(extra[0].tag, extra[0].index))
    if not texts:
        return None
    return Misfit(f"{calculator}::GetContract failed to validate: {'; '.join(texts)}", "; ".join(hints), path)


def missing_port(what: str, tag: str, index: int, have: TagMap) -> GraphError:
    """The error for asking a context for a port that the node does not have."""
    ports = ", ".join(describe_port(*port) for port in have) or "none"
    return GraphError(
        f'Failed to get tag "{tag}" index {index}: the node has these {what}: {ports}', code=StatusCode.INVALID_ARGUMENT
    )
