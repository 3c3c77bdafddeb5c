"""From a parsed graph to a :class:`Plan`: everything that can be known before a run, checked once.

All problems of a graph are found in one go. The stages follow MediaPipe's ``ValidatedGraphConfig::Initialize``; the status code
of the error is that of the first stage that fails, so that it is the code MediaPipe would give.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.calculator import Calculator
from graph_runtime.config import GraphSource, find_options
from graph_runtime.contract import CalculatorContract, PortSpec, complain_about_ports
from graph_runtime.errors import GraphError, Problem, StatusCode, code_of, describe
from graph_runtime.executors import ExecutorPlan, is_reserved, plan_executors
from graph_runtime.port_types import check_types, infer_types
from graph_runtime.registry import find_calculator
from graph_runtime.sorting import find_cycle, topological_order
from graph_runtime.stream_handlers import HANDLERS, InputStreamHandler
from graph_runtime.subgraph import Definition
from graph_runtime.subgraph_expansion import expand
from graph_runtime.tags import TagIndexName, TagMap, describe_port, parse_tag_index, parse_tag_index_name

PORT_LISTS: Final = ("input_stream", "output_stream", "input_side_packet", "output_side_packet")
OUTPUT_STREAM_HANDLER: Final = "InOrderOutputStreamHandler"
DEFAULT_INPUT_STREAM_HANDLER: Final = "DefaultInputStreamHandler"
_EMPTY: Final = TagMap([])


class CheckedNode:
    """A node, as far as it has been checked.

    Attributes:
        position: where it stands in the graph, subgraphs expanded.
        maps: its port lists, by the name of their field.
        back_edges: the port ids of inputs that close a loop.
    """

    def __init__(self, position: int, message: CalculatorGraphConfig.Node) -> None:
        self.position = position
        self.message = message
        self.maps: dict[str, TagMap] = {}
        self.back_edges: set[int] = set()
        self.calculator: type[Calculator] | None = None
        self.contract: CalculatorContract | None = None
        self.name = ""
        self.handler: type[InputStreamHandler] = HANDLERS[DEFAULT_INPUT_STREAM_HANDLER]
        self.handler_options: Any = None

    def forward_inputs(self) -> list[str]:
        """The streams that have to be made before this node can run: all inputs but back edges."""
        return [name for port, name in enumerate(self.maps["input_stream"].names) if port not in self.back_edges]


class Validator:
    """Runs all checks on one graph, at once; what it found out is what a Plan is made from.

    Raises:
        GraphError: the graph is not valid; ``problems`` lists all that was found.
    """

    def __init__(
        self,
        source: GraphSource,
        given_executors: frozenset[str] = frozenset(),
        *,
        subgraphs: Mapping[str, Definition] | None = None,
        outer: CalculatorGraphConfig.Node | None = None,
    ) -> None:
        self.source = source
        self.given_executors = given_executors
        self.causes: list[Exception] = []
        self.executors: dict[str, ExecutorPlan] = {}
        self.expansion = expand(source, subgraphs, outer)
        self.config = self.expansion.config
        self.warnings = tuple(self.expansion.warnings)
        unread = [graph for graph in (source, *(subgraphs or {}).values()) if isinstance(graph, GraphSource)]
        self.unread = [problem for graph in unread for problem in graph.problems]
        self.stages: list[list[Problem]] = [self.unread, self.expansion.problems]
        self.nodes = [CheckedNode(position, node) for position, node in enumerate(self.config.node)]
        self.graph_maps: dict[str, TagMap] = {}
        self.producers: dict[str, tuple[CheckedNode | None, int]] = {}
        self.side_producers: dict[str, tuple[CheckedNode, int]] = {}
        self.graph_ports: dict[str, PortSpec] = {}
        self._check()

    def _check(self) -> None:
        read_ports, contracts, support, side_packets, producers, consumers, order, types = (
            self._new_stage() for _ in range(8)
        )
        self._read_ports(read_ports)
        self._find_side_packet_producers(side_packets)
        self._find_stream_producers(producers)
        if not any(self.stages):
            self._sort(order)
        self._make_contracts(contracts)
        self._check_execution(support)
        self._find_dangling_streams(consumers)
        self._warn_of_idle_outputs()
        if all(node.contract is not None for node in self.nodes):
            self._check_types(types)
        self._raise()

    # ---- reporting

    def _new_stage(self) -> list[Problem]:
        """The next stage, in MediaPipe's order; checks may fill them in another one."""
        self.stages.append([])
        return self.stages[-1]

    def _problem(
        self,
        stage: list[Problem],
        message: str,
        code: StatusCode = StatusCode.INVALID_ARGUMENT,
        *path: str | int,
        node: CheckedNode | None = None,
        hint: str | None = None,
    ) -> None:
        if node is not None:
            path = ("node", node.position, *path)
        place, hint = self.expansion.place(*path), self.expansion.note(path, hint)
        stage.append(Problem(message, code, place, None if node is None else node.name or None, hint))

    def _raise(self) -> None:
        problems = [problem for stage in self.stages for problem in stage]
        if not problems:
            return
        first = next(stage for stage in self.stages if stage)
        codes = {problem.code for problem in first}
        heading = "Failed to parse:" if self.unread else "ValidatedGraphConfig Initialization failed."
        raise GraphError(
            "\n".join([heading, *map(str, problems)]),
            code=first[0].code if len(codes) == 1 else StatusCode.UNKNOWN,
            node=first[0].node,
            place=first[0].place,
            problems=problems,
        ) from (self.causes[0] if self.causes else None)

    # ---- stages

    def _read_ports(self, stage: list[Problem]) -> None:
        """Names and tags of every list; canonical node names in the order of the file."""
        self._name_nodes(self.nodes)
        for field in PORT_LISTS:
            self.graph_maps[field] = self._tag_map(stage, getattr(self.config, field), (field,), None)
        for node in self.nodes:
            for field in PORT_LISTS:
                node.maps[field] = self._tag_map(stage, getattr(node.message, field), (field,), node)
            self._read_input_stream_info(stage, node)

    def _tag_map(
        self, stage: list[Problem], entries: Sequence[str], path: tuple[str], node: CheckedNode | None
    ) -> TagMap:
        parsed: list[TagIndexName | None] = []
        for position, entry in enumerate(entries):
            try:
                parsed.append(parse_tag_index_name(entry))
            except GraphError as error:
                self._problem(
                    stage, error.message, error.code if node is None else StatusCode.UNKNOWN, *path, position, node=node
                )
                parsed.append(None)
        if None in parsed:
            return _EMPTY
        try:
            return TagMap(parsed)
        except GraphError as error:
            if node is None:
                self._problem(stage, error.message, error.code, *path)
            else:
                self._problem(
                    stage,
                    f"Unable to initialize TagMaps for node. {error.message}",
                    StatusCode.UNKNOWN,
                    *path,
                    node=node,
                )
            return _EMPTY

    def _read_input_stream_info(self, stage: list[Problem], node: CheckedNode) -> None:
        seen: set[int] = set()
        inputs = node.maps["input_stream"]
        for position, info in enumerate(node.message.input_stream_info):
            path = ("input_stream_info", position, "tag_index")
            try:
                tag, index = parse_tag_index(info.tag_index)
            except GraphError as error:
                self._problem(stage, error.message, error.code, *path, node=node)
                continue
            port = inputs.id_of(tag, index)
            if port is None:
                have = ", ".join(describe_port(*each) for each in inputs) or "none"
                self._problem(
                    stage,
                    f'Input stream with tag_index "{info.tag_index}" requested in InputStreamInfo '
                    "but is not an input stream of the calculator.",
                    StatusCode.INVALID_ARGUMENT, *path, node=node, hint=f"the inputs of the node are: {have}",
                )  # fmt: skip
            elif port in seen:
                self._problem(
                    stage,
                    f'Input stream with tag_index "{info.tag_index}" has more than one InputStreamInfo.',
                    StatusCode.INVALID_ARGUMENT, *path, node=node,
                )  # fmt: skip
            else:
                seen.add(port)
                if info.back_edge:
                    node.back_edges.add(port)

    def _sort(self, stage: list[Problem]) -> None:
        """Put producers before consumers; the written order stays where it is already right."""
        needs = [
            [("stream", name) for name in node.forward_inputs()]
            + [("side packet", name) for name in node.maps["input_side_packet"].names]
            for node in self.nodes
        ]
        gives = [
            [("stream", name) for name in node.maps["output_stream"].names]
            + [("side packet", name) for name in node.maps["output_side_packet"].names]
            for node in self.nodes
        ]
        order = topological_order(needs, gives)
        if order is None:
            cycle = find_cycle(needs, gives)
            names = ", ".join(self.nodes[position].name for position in cycle)
            self._problem(
                stage,
                f"Generator side packet cycle or calculator stream cycle detected in graph: [{names}]",
                StatusCode.UNKNOWN,
                node=self.nodes[cycle[0]],
                hint="mark the input that closes the loop with input_stream_info { tag_index: ... back_edge: true }",
            )
            return
        self.nodes = [self.nodes[position] for position in order]
        self._name_nodes(self.nodes)

    def _name_nodes(self, nodes: Iterable[CheckedNode]) -> None:
        plain = [node.message.name or node.message.calculator for node in nodes]
        count = Counter(plain)
        seen: Counter[str] = Counter()
        for node, name in zip(nodes, plain, strict=True):
            seen[name] += 1
            node.name = f"{name}_{seen[name]}" if count[name] > 1 else name

    def _make_contracts(self, stage: list[Problem]) -> None:
        for node in self.nodes:
            calculator = node.message.calculator
            try:
                node.calculator = find_calculator(calculator, self.config.package)
            except GraphError as error:
                self._problem(stage, error.message, error.code, "calculator", node=node)
                continue
            asked: list[type[Any]] = []
            contract = CalculatorContract(
                node.name,
                *(node.maps[field] for field in PORT_LISTS),
                find_options=partial(_find_noting, asked, node.message),
                max_in_flight=max(1, node.message.max_in_flight),
            )
            try:
                node.calculator.get_contract(contract)
            except Exception as error:  # any error of a user's contract is a problem of this node, never of the process
                if asked and node.position in self.expansion.gaps:
                    continue  # it may well have missed what could not be read, which is told already
                place_path = getattr(error, "path", ("calculator",))
                self._problem(stage, f"{calculator}: {describe(error)}", code_of(error), *place_path, node=node)
                self.causes.append(error)
                continue
            complaint = complain_about_ports(contract, calculator)
            if complaint is not None:
                self._problem(stage, complaint, StatusCode.INVALID_ARGUMENT, "calculator", node=node)
                continue
            node.contract = contract

    def _check_execution(self, stage: list[Problem]) -> None:
        """Executors, handlers and parallelism; what MediaPipe does and this does not is refused, never ignored."""
        config = self.config
        for field, what in (("packet_generator", "PacketGenerator"), ("status_handler", "StatusHandler")):
            for position, each in enumerate(getattr(config, field)):
                self._problem(
                    stage,
                    f'Unable to find {what} "{getattr(each, field)}"',
                    StatusCode.NOT_FOUND,
                    field,
                    position,
                    hint=f"{field} is of MediaPipe's past and not supported; a calculator with side packets does the same",
                )
        self.executors = plan_executors(config, self.given_executors, partial(self._problem, stage))
        for node in self.nodes:
            message = node.message
            self._choose_handler(stage, node)
            if message.HasField("output_stream_handler"):
                name = message.output_stream_handler.output_stream_handler
                if name != OUTPUT_STREAM_HANDLER:
                    self._problem(
                        stage,
                        f'"{name}" is not a registered output stream handler.',
                        StatusCode.NOT_FOUND,
                        "output_stream_handler",
                        node=node,
                        hint=f"there is: {OUTPUT_STREAM_HANDLER}",
                    )
            if message.executor and is_reserved(message.executor):
                self._problem(
                    stage,
                    f'"{message.executor}" is a reserved executor name.',
                    StatusCode.INVALID_ARGUMENT,
                    "executor",
                    node=node,
                )
            elif message.executor not in self.executors:
                self._problem(
                    stage,
                    f'The executor "{message.executor}" is not declared in an ExecutorConfig.',
                    StatusCode.INVALID_ARGUMENT,
                    "executor",
                    node=node,
                    hint=did_you_mean(message.executor, [name for name in self.executors if name]),
                )

    def _choose_handler(self, stage: list[Problem], node: CheckedNode) -> None:
        """The node's input stream handler: its own, else the graph's, else the contract's, else the default one."""
        given = path = None
        if node.message.input_stream_handler.HasField("input_stream_handler"):
            given, path = node.message.input_stream_handler, ("input_stream_handler",)
        elif self.config.input_stream_handler.HasField("input_stream_handler"):
            given = self.config.input_stream_handler
        contract = node.contract
        options: Callable[[type[Any]], Any] = _no_options
        name = DEFAULT_INPUT_STREAM_HANDLER
        if given is not None:
            name, options = given.input_stream_handler, partial(find_options, given)
        elif contract is not None and contract.input_stream_handler is not None:
            name = contract.input_stream_handler
            options = partial(_same_message, contract.input_stream_handler_options)
        handler = HANDLERS.get(name)
        if handler is None:
            self._problem(
                stage,
                f'"{name}" is not a registered input stream handler.',
                StatusCode.NOT_FOUND,
                *(path or ("calculator",)),
                node=node,
                hint=did_you_mean(name, HANDLERS) or f"there are: {', '.join(HANDLERS)}",
            )
            return
        node.handler = handler
        node.handler_options, text = handler.check(options, node.maps["input_stream"])
        if text is None and node.message.max_in_flight > 1 and node.handler_options not in (1, None):
            text = "batches cannot be combined with max_in_flight" if isinstance(node.handler_options, int) else None
        if text is not None:
            self._problem(stage, f"{name}: {text}", StatusCode.INVALID_ARGUMENT, *(path or ("calculator",)), node=node)

    def _find_side_packet_producers(self, stage: list[Problem]) -> None:
        for node in self.nodes:
            outputs = node.maps["output_side_packet"]
            for port, name in enumerate(outputs.names):
                if name in self.side_producers:
                    self._problem(
                    stage,
                        f'Output Side Packet "{name}" defined twice.', StatusCode.UNKNOWN,
                        "output_side_packet", outputs.source[port], node=node,
                        hint=f'node "{self.side_producers[name][0].name}" makes it too',
                    )  # fmt: skip
                else:
                    self.side_producers[name] = (node, port)

    def _find_stream_producers(self, stage: list[Problem]) -> None:
        for port, name in enumerate(self.graph_maps["input_stream"].names):
            if name in self.producers:
                self._problem(
                    stage,
                    f'Output Stream "{name}" defined twice.', StatusCode.UNKNOWN,
                    "input_stream", self.graph_maps["input_stream"].source[port], hint="it is an input of the graph already",
                )  # fmt: skip
            self.producers.setdefault(name, (None, port))
        for node in self.nodes:
            outputs = node.maps["output_stream"]
            for port, name in enumerate(outputs.names):
                if name in self.producers:
                    other = self.producers[name][0]
                    self._problem(
                    stage,
                        f'Output Stream "{name}" defined twice.', StatusCode.UNKNOWN,
                        "output_stream", outputs.source[port], node=node,
                        hint="it is an input of the graph too" if other is None else f'node "{other.name}" makes it too',
                    )  # fmt: skip
                else:
                    self.producers[name] = (node, port)

    def _find_dangling_streams(self, stage: list[Problem]) -> None:
        for sorted_index, node in enumerate(self.nodes):
            inputs = node.maps["input_stream"]
            for port, name in enumerate(inputs.names):
                if name in self.producers or name in self.expansion.missing:
                    continue
                if port in node.back_edges:
                    text = f'Unable to find upstream edge for back edge "{name}" (shouldn\'t have passed validation).'
                    code = StatusCode.INTERNAL
                else:
                    text = (
                        f'Input Stream "{name}" for node with sorted index {sorted_index} name {node.name} '
                        "does not have a corresponding output stream."
                    )
                    code = StatusCode.UNKNOWN
                have = ", ".join(sorted(self.producers)) or "none"
                hint = self.expansion.loose.get(name) or did_you_mean(name, self.producers)
                hint = hint or f"the streams of the graph are: {have}"
                self._problem(stage, text, code, "input_stream", inputs.source[port], node=node, hint=hint)

    def _warn_of_idle_outputs(self) -> None:
        """Graph outputs and side packets that nobody makes; MediaPipe takes them without a word."""
        outputs = self.graph_maps["output_stream"]
        found: list[Problem] = []
        for port, name in enumerate(outputs.names):
            if name not in self.producers:
                have = ", ".join(sorted(self.producers)) or "none"
                self._problem(
                    found,
                    f'the graph\'s output stream "{name}" is made by no node',
                    StatusCode.NOT_FOUND,
                    "output_stream",
                    outputs.source[port],
                    hint=did_you_mean(name, self.producers) or f"the streams of the graph are: {have}",
                )
        for node in self.nodes:
            side_outputs = node.maps["output_side_packet"]
            for spec in [] if node.contract is None else node.contract.output_side_packets.undeclared():
                place = side_outputs.source[side_outputs.names.index(spec.name)]
                self._problem(
                    found,
                    f'the output side packet "{spec.name}" is never made: {node.message.calculator} declares no output '
                    f'side packet with tag "{spec.tag}" and index {spec.index}',
                    StatusCode.NOT_FOUND, "output_side_packet", place, node=node,
                )  # fmt: skip
        self.warnings += tuple(found)

    def _check_types(self, stage: list[Problem]) -> None:
        graph_inputs = self.graph_maps["input_stream"]
        self.graph_ports = {
            name: PortSpec(tag, index, name).set_any()
            for (tag, index), name in zip(graph_inputs, graph_inputs.names, strict=True)
        }
        stream_edges = []
        side_edges = []
        for node in self.nodes:
            assert node.contract is not None
            for consumer in node.contract.inputs:
                producer = self.stream_port(consumer.name)
                if producer is not None:
                    stream_edges.append((node, consumer, producer))
            for consumer in node.contract.input_side_packets:
                made = self.side_producers.get(consumer.name)
                if made is not None and made[0].contract is not None:
                    side_edges.append((node, consumer, list(made[0].contract.output_side_packets)[made[1]]))
        for what, edges in (("stream", stream_edges), ("side packet", side_edges)):
            infer_types([(consumer, producer) for _, consumer, producer in edges])
            for node, consumer, producer in edges:
                text = check_types(what, debug_name(node.message, node.name), consumer, producer)
                if text is not None:
                    field = "input_stream" if what == "stream" else "input_side_packet"
                    tag_map = node.maps[field]
                    port = tag_map.id_of(consumer.tag, consumer.index)
                    assert port is not None
                    self._problem(stage, text, StatusCode.UNKNOWN, field, tag_map.source[port], node=node)

    def stream_port(self, name: str) -> PortSpec | None:
        """The port that a stream comes from, where its producer and its contract are known."""
        found = self.producers.get(name)
        if found is None:
            return None
        node, port = found
        if node is None:
            return self.graph_ports[name]
        return None if node.contract is None else list(node.contract.outputs)[port]


def debug_name(node: CalculatorGraphConfig.Node, name: str) -> str:
    """How MediaPipe names a node in messages: its name, else its calculator with its streams."""
    if node.name:
        return name

    def streams(kind: str, entries: Sequence[str]) -> str:
        if not entries:
            return f"no {kind} streams"
        return f"{kind} stream: {entries[0]}" if len(entries) == 1 else f"{kind} streams: <{','.join(entries)}>"

    return f"[{node.calculator}, {streams('input', node.input_stream)}, and {streams('output', node.output_stream)}]"


def _find_noting(asked: list[type[Any]], carrier: Any, message_class: type[Any]) -> Any:
    asked.append(message_class)
    return find_options(carrier, message_class)


def _no_options(message_class: type[Any]) -> None:
    return None


def _same_message(message: Any, message_class: type[Any]) -> Any:
    return message if message is not None and message.DESCRIPTOR is message_class.DESCRIPTOR else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """``did you mean "x"?`` for the known name that is nearest, or None when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else None
