"""Subgraphs: graphs that other graphs use as nodes; how one is written, registered and found.

A graph is a subgraph by its ``type``: any pbtxt with ``type: "Detect"`` can stand behind ``calculator: "Detect"``::

    register_graph(Path("detect.pbtxt"))            # for all graphs of the process
    Plan(text, subgraphs=[Path("detect.pbtxt")])    # for one graph; wins over a registered one of the same name

Where the graph depends on the node's options, a class makes it::

    @register_subgraph
    class Chain(Subgraph):
        def get_config(self, sc):
            count = sc.options(NodeChainSubgraphOptions).chain_length
            return "\\n".join(...)

Packages register theirs by entry point, in the group ``graph_runtime.subgraphs``: the name, and ``module:attribute`` of a Subgraph
class, of a ``pathlib.Path`` or of anything else that ``register_graph`` takes.

Source: MediaPipe ``framework/subgraph.h``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, overload

from google.protobuf.message import Message

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.arguments import wrong_type
from graph_runtime.config import GraphSource, Source, read_graph
from graph_runtime.errors import GraphError, StatusCode, raise_together
from graph_runtime.folder_code import folder_code_of
from graph_runtime.options import find_options
from graph_runtime.tracebacks import own_traceback

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP: Final = "graph_runtime.subgraphs"

M = TypeVar("M", bound=Message)
S = TypeVar("S", bound="type[Subgraph]")


class SubgraphContext:
    """What ``Subgraph.get_config`` works with.

    Attributes:
        node: the node that is to be replaced, with the names of the outer graph's streams. A copy.
        node_name: its canonical name.
    """

    __slots__ = ("node", "node_name")

    def __init__(self, node: CalculatorGraphConfig.Node, node_name: str) -> None:
        self.node = node
        self.node_name = node_name

    def options(self, message_class: type[M]) -> M:
        """The node's options of this message class; a default message when the node gives none."""
        found = find_options(self.node, message_class)
        return message_class() if found is None else found

    def has_options(self, message_class: type[Message]) -> bool:
        """Whether the node gives options of this message class."""
        return find_options(self.node, message_class) is not None


class Subgraph:
    """A graph that is made for each node that names it. Subclass it and write ``get_config``.

    The graph's ``input_stream``, ``output_stream``, ``input_side_packet`` and ``output_side_packet`` are its ports: those of the
    node are connected to them by tag and index. All names inside get the node's name as a prefix.
    """

    def get_config(self, sc: SubgraphContext) -> Source:
        """The graph for a node: pbtxt text, binary bytes, a ``pathlib.Path`` or a CalculatorGraphConfig.

        Called on a new object for each node, when a graph is validated. The result may depend on nothing but the node's options
        and ports. Raise ValueError or GraphError to refuse the node.
        """
        raise NotImplementedError(f"{type(self).__name__} has to define get_config(self, sc)")


Definition: TypeAlias = type[Subgraph] | GraphSource
"""What stands behind a name: a class that makes graphs, or a graph that was read."""

_NO_SUBGRAPHS: Final[Mapping[str, Definition]] = MappingProxyType({})
_registered: dict[str, Definition] = {}
_plug_ins: dict[str, EntryPoint] | None = None


@overload
def register_subgraph(target: S) -> S: ...
@overload
def register_subgraph(target: str) -> Callable[[S], S]: ...


def register_subgraph(target: S | str) -> S | Callable[[S], S]:
    """Make a Subgraph class known to every graph: ``@register_subgraph`` or ``@register_subgraph("OtherName")``.

    In a file of ``load_calculators`` it is known to the graphs there alone, and so is what ``register_graph`` registers there.

    Raises:
        AlreadyExistsError: another subgraph has the name. The same definition again (a reloaded module) replaces the old one.
    """
    definitions = _definitions_of(sys._getframe(1).f_globals)
    if isinstance(target, str):
        return lambda cls: _register_class(definitions, target, cls)
    return _register_class(definitions, getattr(target, "__name__", ""), target)


def register_graph(source: Source, *, name: str | None = None, file: str | None = None) -> str:
    """Make a graph known to every graph as a subgraph; its name is returned.

    Args:
        source: pbtxt text, binary bytes, a ``pathlib.Path`` or a CalculatorGraphConfig.
        name: what nodes call it; by default the ``type`` of the graph.
        file: the name to print in error places when ``source`` is text.

    Raises:
        AlreadyExistsError: another subgraph has the name. The same graph again changes nothing.
        GraphError: the graph cannot be read, or has neither a ``type`` nor a name.
    """
    graph = read_graph(source, file=file)
    name = name or _type_of(graph)
    _register(_definitions_of(sys._getframe(1).f_globals), name, _labelled(graph, name))
    return name


Subgraphs: TypeAlias = Mapping[str, Source | type[Subgraph]] | Iterable[Source | type[Subgraph]]
"""What a graph may bring along: graphs and classes, by name or under their own."""


def local_subgraphs(subgraphs: Subgraphs) -> dict[str, Definition]:
    """The subgraphs that one graph brings along, by name.

    Args:
        subgraphs: graphs and Subgraph classes, by name; or without names, which are then ``type`` and the name of the class.

    Raises:
        AlreadyExistsError: two have one name.
        GraphError: some cannot be read at all, or one has no name. What can be left out of one stands in its ``problems``.
    """
    if isinstance(subgraphs, str | bytes) or not isinstance(subgraphs, Iterable):
        raise wrong_type("subgraphs is a list of graphs and Subgraph classes, or name -> graph or class", subgraphs)
    pairs = subgraphs.items() if isinstance(subgraphs, Mapping) else ((None, each) for each in subgraphs)
    found: dict[str, Definition] = {}
    broken = []
    for at, (name, target) in enumerate(pairs):
        label = f"<{name}>" if name else f"<subgraphs[{at}]>"
        try:
            definition = _definition(target, keep_problems=True, label=label)
        except GraphError as error:
            broken.append(error)
            continue
        key = name or (_type_of(definition) if isinstance(definition, GraphSource) else definition.__name__)
        if key in found:
            raise GraphError(f'two subgraphs have the name "{key}"', code=StatusCode.ALREADY_EXISTS)
        found[key] = _labelled(definition, key) if isinstance(definition, GraphSource) else definition
    raise_together(broken)
    return found


def find_subgraph(
    name: str, package: str = "", local: Mapping[str, Definition] = _NO_SUBGRAPHS
) -> tuple[str, Definition] | None:
    """What stands behind a node's ``calculator``, and under which name; None where that is no subgraph.

    Looked up in the graph's package, then in each outer one, then globally; first among ``local``, then among the registered ones.

    Raises:
        GraphRuntimeError: the plug-in that has it cannot be imported or read (FAILED_PRECONDITION).
    """
    candidates = _candidates(name, package)
    for candidate in candidates:
        if candidate in local:
            return candidate, local[candidate]
    for candidate in candidates:
        if candidate not in _registered and candidate in _entry_points():
            _registered.setdefault(candidate, _load(candidate, _entry_points()[candidate]))
        if candidate in _registered:
            return candidate, _registered[candidate]
    return None


def known_subgraphs() -> list[str]:
    """The names of all registered subgraphs, sorted."""
    return sorted({*_registered, *_entry_points()})


def _candidates(name: str, package: str) -> list[str]:
    if name.startswith("."):
        return [name[1:]]
    parts = package.split(".") if package else []
    return [".".join([*parts[:count], name]) for count in range(len(parts), -1, -1)]


def _definitions_of(caller: Mapping[str, Any]) -> dict[str, Definition]:
    """Where what a module registers belongs: the globals of the module tell which."""
    code = folder_code_of(caller.get("__name__", ""))
    return _registered if code is None else code.subgraphs


def _register_class(definitions: dict[str, Definition], name: str, cls: S) -> S:
    if not (isinstance(cls, type) and issubclass(cls, Subgraph)):
        raise TypeError(f'register_subgraph("{name}") takes a subclass of Subgraph, not {cls!r}')
    _register(definitions, name, cls)
    return cls


def _register(definitions: dict[str, Definition], name: str, definition: Definition) -> None:
    have = definitions.get(name)
    if have is not None and not _is_same(have, definition):
        raise GraphError(
            f'Subgraph "{name}" is registered already, by {_describe(have)}; {_describe(definition)} needs another name, '
            "or can be given to the one graph that needs it: Plan(..., subgraphs=[...])",
            code=StatusCode.ALREADY_EXISTS,
        )
    definitions[name] = definition


def _is_same(left: Definition, right: Definition) -> bool:
    if isinstance(left, GraphSource) or isinstance(right, GraphSource):
        # Bytes are compared: == would unpack Any fields with the default pool under pure Python protobuf.
        return (
            isinstance(left, GraphSource)
            and isinstance(right, GraphSource)
            and left.config.SerializeToString(deterministic=True) == right.config.SerializeToString(deterministic=True)
        )
    return (left.__module__, left.__qualname__) == (right.__module__, right.__qualname__)


def _describe(definition: Definition) -> str:
    if isinstance(definition, GraphSource):
        return f"the graph {definition.positions.label}"
    return f"{definition.__module__}.{definition.__qualname__}"


def _definition(target: object, *, keep_problems: bool = False, label: str | None = None) -> Definition:
    if isinstance(target, type):
        if not issubclass(target, Subgraph):
            raise GraphError(
                f"{target.__name__} is no subclass of graph_runtime.Subgraph", code=StatusCode.INVALID_ARGUMENT
            )
        return target
    if isinstance(target, GraphSource):
        return target
    if isinstance(target, os.PathLike):
        label = None  # it has a name of its own
    graph = read_graph(target, file=label, keep_problems=keep_problems)  # type: ignore[arg-type]  # it refuses others
    return graph if label is None else replace(graph, file=None)


def _type_of(graph: GraphSource) -> str:
    if not graph.config.type:
        raise GraphError(
            f'{graph.positions.label}: a graph that is used as a subgraph needs a name: write type: "Name" in it',
            code=StatusCode.INVALID_ARGUMENT,
            place=graph.positions.label,
        )
    return graph.config.type


def _labelled(graph: GraphSource, name: str) -> GraphSource:
    """A graph that came without a file is called by its name in error places."""
    return graph if graph.file else replace(graph, positions=replace(graph.positions, label=f"<{name}>"))


def _entry_points() -> dict[str, EntryPoint]:
    global _plug_ins
    if _plug_ins is None:
        # Imported here because it costs as much as the rest of the runtime, and many programs never validate a graph.
        from importlib.metadata import entry_points

        _plug_ins = {found.name: found for found in entry_points(group=ENTRY_POINT_GROUP)}
    return _plug_ins


def _load(name: str, plug_in: EntryPoint) -> Definition:
    try:
        return _definition(plug_in.load())
    except Exception as error:
        raise GraphError(
            f'Subgraph "{name}" comes from the plug-in {plug_in.value}, which cannot be used:\n' + own_traceback(error),
            code=StatusCode.FAILED_PRECONDITION,
        ) from error
