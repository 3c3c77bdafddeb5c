"""Expansion: every node that names a subgraph is replaced by the nodes of that graph, until none is left.

Source: MediaPipe ``tool/subgraph_expansion.cc``. What MediaPipe drops without a word becomes a warning here, and a graph that
contains itself an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from graph_runtime import _pb
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import GraphSource, read_graph
from graph_runtime.errors import GraphError, Problem, StatusCode, code_of
from graph_runtime.node_names import canonical_names
from graph_runtime.option_value import apply_option_values
from graph_runtime.origins import Origin, Use
from graph_runtime.positions import FieldPath, Positions
from graph_runtime.subgraph import Definition, SubgraphContext, find_subgraph
from graph_runtime.subgraph_ports import PORT_LISTS, Renamings, connect, name_of

MAX_DEPTH: Final = 100
MAX_SUBGRAPH_NODES: Final = 10_000
"""Limits for classes that make graphs which contain themselves; other recursion is recognized as such."""

_NOT_FOR_SUBGRAPHS: Final = ("source_layer", "buffer_size_hint", "output_stream_handler", "input_stream_info")

_INSIDE: Final = "set it on the nodes inside the subgraph"
_AT_THE_TOP: Final = "set it in the graph that uses the subgraph"
_OLD: Final = "it is of MediaPipe's past; take it out"

# Fields that MediaPipe reads and drops, with what to do instead.
_IDLE_ON_SUBGRAPH_NODE: Final = {"executor": _INSIDE, "max_in_flight": _INSIDE, "input_stream_handler": _INSIDE}
_IDLE_ON_NODE: Final = {"external_input": "write input_side_packet", "profiler_config": _OLD}
_IDLE_IN_GRAPH: Final = {"output_stream_handler": "set it on the nodes", "packet_factory": _OLD}
_IDLE_IN_SUBGRAPH: Final = {
    "num_threads": _AT_THE_TOP,
    "executor": f"{_AT_THE_TOP}; nodes keep the names of their executors",
    "max_queue_size": _AT_THE_TOP,
    "input_stream_handler": "set it on the nodes",
    "output_stream_handler": "set it on the nodes",
    "package": "names are looked up in the package of the graph that uses the subgraph",
    "profiler_config": _AT_THE_TOP,
    "report_deadlock": _AT_THE_TOP,
    "runtime_info": _AT_THE_TOP,
}


@dataclass(frozen=True, slots=True)
class Expansion:
    """A graph without subgraph nodes.

    Attributes:
        config: the graph.
        problems: what is wrong; nodes that could not be replaced are left out.
        warnings: what has no effect, or hardly the meant one.
        missing: streams that would be there but for the problems.
        loose: streams that a subgraph offers and does not make, with a sentence on it.
        top: the places of the graph itself.
        origins: for nodes, packet generators and status handlers, by path, where they differ from the graph itself.
        gaps: positions of the nodes that may lack what they need, because something in the text of it could not be read.
    """

    config: CalculatorGraphConfig
    problems: list[Problem]
    warnings: list[Problem]
    missing: set[str]
    loose: dict[str, str]
    top: Origin
    origins: dict[FieldPath, Origin]
    gaps: frozenset[int]

    def place(self, *path: str | int) -> str:
        """``file:line:column`` of a field of ``config``, in the text that it comes from."""
        return self.top.place(*path) if len(path) < 2 else self.origin(*path[:2]).place(*path[2:])

    def origin(self, *path: str | int) -> Origin:
        """Where a node, a packet generator or a status handler of ``config`` was written."""
        return self.origins.get(path) or Origin(self.top.positions, path)

    def note(self, path: FieldPath, hint: str | None) -> str | None:
        """A hint, and which subgraph nodes a part of ``config`` comes from."""
        origin = self.origins.get(path[:2])
        return hint if origin is None else origin.note(hint)


@dataclass(slots=True)
class _Part:
    message: Any  # a node, a packet generator or a status handler
    origin: Origin
    has_gap: bool = False


def expand(
    source: GraphSource,
    local: Mapping[str, Definition] | None = None,
    outer: CalculatorGraphConfig.Node | None = None,
) -> Expansion:
    """Evaluate ``option_value`` and replace all subgraph nodes, level by level.

    Args:
        source: the graph; it stays as it is.
        local: subgraphs that this graph brings along; see ``graph_runtime.subgraph.local_subgraphs``.
        outer: a node whose options the graph gets as if it were its subgraph node.
    """
    return _Expander(source, local or {}).run(outer or CalculatorGraphConfig.Node())


class _Expander:
    """The work of ``expand``."""

    def __init__(self, source: GraphSource, local: Mapping[str, Definition]) -> None:
        self.local = local
        self.config = CalculatorGraphConfig()
        self.config.CopyFrom(source.config)
        self.top = Origin(source.positions)
        self.gaps = source.gaps
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.missing: set[str] = set()
        self.loose: dict[str, str] = {}
        self.extra: dict[str, list[_Part]] = {"packet_generator": [], "status_handler": []}
        self.found: dict[str, tuple[str, Definition] | None] = {}
        self.count = 0

    def run(self, outer: CalculatorGraphConfig.Node) -> Expansion:
        config = self.config
        self._warn_of_idle(config, _IDLE_IN_GRAPH, "in a graph", self.top)
        self._apply_options(config, outer, self.top, canonical_names(config.node), self.gaps)
        parts = [
            _Part(node, Origin(self.top.positions, ("node", at)), at in self.gaps)
            for at, node in enumerate(config.node)
        ]
        for part in parts:
            self._warn_of_idle(part.message, _IDLE_ON_NODE, "on a node", part.origin, part.message.name or None)
        origins: dict[FieldPath, Origin] = {}
        while any(self._find(part) for part in parts):
            plain = [part for part in parts if self._find(part) is None]
            nodes = [part for part in parts if self._find(part) is not None]
            names = canonical_names([part.message for part in (*plain, *nodes)])[len(plain) :]
            parts = plain + [
                inner for part, name in zip(nodes, names, strict=True) for inner in self._replace(part, name)
            ]
            origins = {("node", at): part.origin for at, part in enumerate(parts)}
        if self.count:
            messages = [part.message for part in parts]
            del config.node[:]
            config.node.extend(messages)
        for field_name, added in self.extra.items():
            have = getattr(config, field_name)
            for part in added:
                origins[field_name, len(have)] = part.origin
                have.append(part.message)
        gaps = frozenset(at for at, part in enumerate(parts) if part.has_gap)
        return Expansion(config, self.problems, self.warnings, self.missing, self.loose, self.top, origins, gaps)

    # ---- reporting

    def _report(
        self,
        message: str,
        code: StatusCode,
        origin: Origin,
        *path: str | int,
        node: str | None = None,
        hint: str | None = None,
        into: list[Problem] | None = None,
    ) -> None:
        place = origin.place(*path) or None
        (self.problems if into is None else into).append(Problem(message, code, place, node, origin.note(hint)))

    def _warn_of_idle(
        self, message: Any, fields: Mapping[str, str], where: str, origin: Origin, node: str | None = None
    ) -> None:
        """Warn of fields that have no effect; ``fields`` says what to do instead."""
        for have, _ in message.ListFields():
            if have.name in fields:
                self._report(
                    f'"{have.name}" has no effect {where}', StatusCode.INVALID_ARGUMENT, origin, *_path(have),
                    node=node, hint=fields[have.name], into=self.warnings,
                )  # fmt: skip

    def _apply_options(
        self,
        config: CalculatorGraphConfig,
        outer: CalculatorGraphConfig.Node,
        origin: Origin,
        names: Sequence[str],
        gaps: frozenset[int | None],
    ) -> None:
        for finding in apply_option_values(config, outer):
            if finding.node in gaps or None in gaps:
                continue  # options that could not be read are told already, and what they would have held is missed here
            self._report(
                finding.message,
                finding.code or StatusCode.INVALID_ARGUMENT,
                origin, "node", finding.node, "option_value", finding.entry,
                node=names[finding.node],
                into=self.warnings if finding.code is None else self.problems,
            )  # fmt: skip

    # ---- one node

    def _find(self, part: _Part) -> tuple[str, Definition] | None:
        calculator: str = part.message.calculator
        if calculator not in self.found:
            try:
                self.found[calculator] = find_subgraph(calculator, self.config.package, self.local)
            except GraphError as error:
                self.found[calculator] = None
                self._report(error.message, error.code, part.origin, "calculator", node=part.message.name or calculator)
        return self.found[calculator]

    def _replace(self, part: _Part, node_name: str) -> list[_Part]:
        """The parts that a subgraph node is made of; none when something is badly wrong with it."""
        node: CalculatorGraphConfig.Node = part.message
        found = self._find(part)
        assert found is not None
        self.count += 1
        use = Use(found[0], node_name, part.origin, _key(found[0], node))
        self._check_fields(node, node_name, part.origin)
        graph = None if self._is_endless(use) else self._graph(found[1], part, use)
        if graph is None:
            self.missing.update(name_of(entry) for entry in node.output_stream)
            return []
        config = CalculatorGraphConfig()
        config.CopyFrom(graph.config)
        has_place = bool(graph.positions.line_starts) or graph.file is not None
        inside = Origin(graph.positions if has_place else None, use=use)
        prefix = use.prefix
        names = [prefix + name for name in canonical_names(config.node)]
        if config.package == self.config.package:
            config.ClearField("package")  # of no effect either, but it does no harm
        self._warn_of_idle(config, _IDLE_IN_SUBGRAPH, "in a subgraph", inside, node_name)
        if config.packet_factory:
            text = f'Subgraph "{use.subgraph}" has a packet_factory, which no subgraph can have.'
            self._report(text, StatusCode.INTERNAL, inside, "packet_factory", 0, node=node_name, hint=_OLD)
        self._apply_options(config, node, inside, names, graph.gaps | ({None} if part.has_gap else set()))
        renamings = connect(config, inside, node, use, prefix, self._report)
        self.missing |= renamings.missing
        parts = []
        for at, (message, name) in enumerate(zip(config.node, names, strict=True)):
            origin = Origin(inside.positions, ("node", at), renamings.rename(message), use)
            message.name = name
            self._warn_of_idle(message, _IDLE_ON_NODE, "on a node", origin, name)
            parts.append(_Part(message, origin, part.has_gap or at in graph.gaps))
        for field_name, extra in self.extra.items():
            for at, message in enumerate(getattr(config, field_name)):
                extra.append(_Part(message, Origin(inside.positions, (field_name, at), renamings.rename(message), use)))
        self._find_loose(config, node, use, inside, renamings)
        return parts

    def _check_fields(self, node: CalculatorGraphConfig.Node, node_name: str, origin: Origin) -> None:
        for have, _ in node.ListFields():
            if have.name in _NOT_FOR_SUBGRAPHS:
                self._report(
                    f'Subgraph "{node.name or node_name}" has a field that is only applicable to calculators.',
                    StatusCode.INVALID_ARGUMENT, origin, *_path(have),
                    node=node_name, hint=f'take "{have.name}" out, or {_INSIDE}',
                )  # fmt: skip
        self._warn_of_idle(node, _IDLE_ON_SUBGRAPH_NODE, "on a subgraph node", origin, node_name)

    def _is_endless(self, use: Use) -> bool:
        """Whether the same graph stands around this one already."""
        chain = [use, *use.origin.uses()]
        same = next((at for at, each in enumerate(chain) if at and each.key == use.key), None)
        if same is None and len(chain) <= MAX_DEPTH and self.count <= MAX_SUBGRAPH_NODES:
            return False
        kept = chain[: len(chain) if same is None else same + 1]
        names = " -> ".join(f'"{each.subgraph}"' for each in reversed(kept[:20]))
        text = f"Subgraph recursion: {names}"
        if same is None:
            text += f"; subgraphs may be {MAX_DEPTH} deep, and be used {MAX_SUBGRAPH_NODES} times"
        if self.count <= MAX_SUBGRAPH_NODES + 1:  # said once
            self._report(text, StatusCode.INVALID_ARGUMENT, use.origin, "calculator", node=use.node)
        return True

    def _graph(self, definition: Definition, part: _Part, use: Use) -> GraphSource | None:
        """The graph behind a subgraph node, as far as it can be read."""
        if isinstance(definition, GraphSource):
            return definition
        node: CalculatorGraphConfig.Node = part.message
        copy = CalculatorGraphConfig.Node()
        copy.CopyFrom(node)
        try:
            made = definition().get_config(SubgraphContext(copy, use.node))
            graph = read_graph(made, file=f"<{use.subgraph}>" if isinstance(made, str) else None, keep_problems=True)
            problems: Iterable[Problem] = graph.problems
        except Exception as error:  # any error of a user's class is a problem of this node, never of the process
            graph, problems = None, error.problems if isinstance(error, GraphError) else ()
            if not problems and not part.has_gap:
                path = getattr(error, "path", ("calculator",))
                self._report(f"{node.calculator}: {error}", code_of(error), use.origin, *path, node=use.node)
        inside = Origin(Positions(f"<{use.subgraph}>"), use=use)
        self.problems += [replace(problem, hint=inside.note(problem.hint)) for problem in problems]
        return graph

    def _find_loose(
        self,
        config: CalculatorGraphConfig,
        node: CalculatorGraphConfig.Node,
        use: Use,
        inside: Origin,
        names: Renamings,
    ) -> None:
        """Warn of output streams that are offered, connected, and made by nobody."""
        made = {name_of(entry) for inner in config.node for entry in inner.output_stream}
        wanted = {name_of(entry) for entry in node.output_stream}
        inputs = {name_of(entry) for entry in config.input_stream}
        for at, entry in enumerate(config.output_stream):
            stream = names.streams.get(name_of(entry))
            if stream is None or stream not in wanted or stream in made or stream in self.missing:
                continue
            hint = "put a PassThroughCalculator between the input and the output" if name_of(entry) in inputs else None
            text = f'the output stream "{entry}" of subgraph "{use.subgraph}" is made by none of its nodes'
            self.loose[stream] = text if hint is None else f"{text}; {hint}"
            self._report(
                text, StatusCode.UNKNOWN, inside, "output_stream", at, node=use.node, hint=hint, into=self.warnings
            )


def _path(field: Any) -> tuple[str | int, ...]:
    """The path of a field, or of its first value."""
    return (field.name, 0) if _pb.is_repeated(field) else (field.name,)


def _key(subgraph: str, node: CalculatorGraphConfig.Node) -> tuple[object, ...]:
    """What a subgraph node's graph depends on: which it is, its options and its ports, but for their names."""
    return (
        subgraph,
        node.options.SerializePartialToString(deterministic=True),
        *(packed.SerializePartialToString(deterministic=True) for packed in node.node_options),
        *(entry.rpartition(":")[0] for field_name in PORT_LISTS for entry in (field_name, *getattr(node, field_name))),
    )
