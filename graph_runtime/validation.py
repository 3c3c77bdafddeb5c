"""From a parsed graph to what a :class:`Plan` is made of: everything that can be known before a run, checked once.

All problems of a graph are found in one go; ``stages`` says which of them gives the error its status code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.arguments import refuse_result
from graph_runtime.calculator import Calculator
from graph_runtime.config import GraphSource, find_options
from graph_runtime.contract import CalculatorContract, PortSpec, complain_about_ports
from graph_runtime.errors import GraphError, Problem, StatusCode, code_of, describe
from graph_runtime.executors import ExecutorPlan, check_default_executor, check_executor_names, plan_executors
from graph_runtime.handler_choice import (
    DEFAULT_INPUT_STREAM_HANDLER,
    check_output_stream_handler,
    choose_input_stream_handler,
    copy_to_nodes,
)
from graph_runtime.near_names import did_you_mean
from graph_runtime.node_names import canonical_names, debug_name
from graph_runtime.port_types import check_types, infer_types
from graph_runtime.registry import find_calculator
from graph_runtime.sorting import topological_order
from graph_runtime.stages import Stage, Stages
from graph_runtime.stream_handlers import HANDLERS, InputStreamHandler
from graph_runtime.subgraph import Definition, known_subgraphs
from graph_runtime.subgraph_expansion import expand
from graph_runtime.tags import TagIndexName, TagMap, describe_port, parse_tag_index, parse_tag_index_name

PORT_LISTS: Final = ("input_stream", "output_stream", "input_side_packet", "output_side_packet")
_EMPTY: Final = TagMap([])


class CheckedNode:
    """A node, as far as it has been checked.

    Attributes:
        position: where it stands in the graph, subgraphs expanded.
        name: its canonical name, in the order that was written and then in that of the run.
        maps: its port lists, by the name of their field.
        is_readable: whether all its lists could be read; one that could not is empty.
        back_edges: the port ids of inputs that close a loop.
    """

    def __init__(self, position: int, message: CalculatorGraphConfig.Node, name: str) -> None:
        self.position = position
        self.message = message
        self.name = name
        self.maps: dict[str, TagMap] = dict.fromkeys(PORT_LISTS, _EMPTY)
        self.is_readable = True
        self.back_edges: set[int] = set()
        self.calculator: type[Calculator] | None = None
        self.contract: CalculatorContract | None = None
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
        calculators: Mapping[str, type[Calculator]] | None = None,
        outer: CalculatorGraphConfig.Node | None = None,
    ) -> None:
        self.source = source
        self.given_executors = given_executors
        self.causes: list[Exception] = []
        self.executors: dict[str, ExecutorPlan] = {}
        self.calculators = calculators or {}
        self.subgraph_names = [*(subgraphs or {}), *known_subgraphs()]
        self.expansion = expand(source, subgraphs, outer)
        self.config = self.expansion.config
        self.warnings = list(self.expansion.warnings)
        self.stages = Stages()
        for graph in (source, *(subgraphs or {}).values()):
            if isinstance(graph, GraphSource):
                self.stages.reading.problems += graph.problems
        self.stages.expansion.problems += self.expansion.problems
        self.names = canonical_names(self.config.node)
        self.nodes = [CheckedNode(at, node, self.names[at]) for at, node in enumerate(self.config.node)]
        self.graph_maps: dict[str, TagMap] = dict.fromkeys(PORT_LISTS, _EMPTY)
        self.producers: dict[str, tuple[CheckedNode | None, int]] = {}
        self.side_producers: dict[str, tuple[CheckedNode, int]] = {}
        self.graph_ports: dict[str, PortSpec] = {}
        self._check()

    def _check(self) -> None:
        stages = self.stages
        inherited = copy_to_nodes(self.config)
        check_default_executor(self.config, partial(self._problem, stages.default_executor))
        self._refuse_old_nodes()
        for node in self.nodes:
            self._read_node(node)
            self._make_contract(node)
        self._find_side_packet_producers()
        self._find_stream_producers()
        self._read_side_packet_lists()
        if not any(
            (stages.reading.problems, stages.expansion.problems, stages.side_packets.problems, stages.streams.problems)
        ):
            self._sort()
        self._find_dangling_streams()
        self._warn_of_idle_outputs()
        if all(node.contract is not None for node in self.nodes):
            self._check_types()
        self._check_execution(inherited)
        self._raise()
        for node, name in zip(self.nodes, canonical_names([node.message for node in self.nodes]), strict=True):
            node.name = name

    # ---- reporting

    def _problem(
        self,
        stage: Stage,
        message: str,
        code: StatusCode,
        *path: str | int,
        hint: str | None = None,
    ) -> None:
        """Note a problem at a field of the expanded graph."""
        stage.problems.append(self._describe(message, code, path, hint))

    def _describe(self, message: str, code: StatusCode, path: tuple[str | int, ...], hint: str | None) -> Problem:
        node = self.names[int(path[1])] if path[0] == "node" else None
        return Problem(message, code, self.expansion.place(*path), node or None, self.expansion.note(path, hint))

    def _problem_of_node(
        self, stage: Stage, node: CheckedNode, message: str, code: StatusCode, *path: str | int, hint: str | None = None
    ) -> None:
        self._problem(stage, message, code, "node", node.position, *path, hint=hint)

    def _raise(self) -> None:
        failed = list(self.stages.failed())
        if not failed:
            return
        problems = [problem for stage in failed for problem in stage.problems]
        raise GraphError(
            "\n".join([failed[0].heading, *map(str, problems)]),
            code=failed[0].code(),
            node=problems[0].node,
            place=problems[0].place,
            problems=problems,
        ) from (self.causes[0] if self.causes else None)

    # ---- stages

    def _refuse_old_nodes(self) -> None:
        """What MediaPipe still does and this does not is refused, never ignored."""
        for field, what, stage in (
            ("packet_generator", "PacketGenerator", self.stages.generators),
            ("status_handler", "StatusHandler", self.stages.status_handlers),
        ):
            for position, each in enumerate(getattr(self.config, field)):
                for ports in ("input_side_packet", "output_side_packet"):
                    for error, where in _read_list(getattr(each, ports, ()))[1]:
                        text = f"NodeTypeInfo Initialization failed. {error.message}"
                        self._problem(stage, text, StatusCode.UNKNOWN, field, position, ports, *where)
                name = getattr(each, field)
                self._problem(
                    stage,
                    f'No registered object with name: {name.replace(".", "::")}; Unable to find {what} "{name}"',
                    StatusCode.NOT_FOUND,
                    field,
                    position,
                    hint=f"{field} is of MediaPipe's past and not supported; a calculator with side packets does the same",
                )

    def _read_node(self, node: CheckedNode) -> None:
        """Names and tags of a node's lists."""
        at, stage = ("node", node.position), self.stages.calculators
        for field in PORT_LISTS:
            tag_map, complaints = _read_list(getattr(node.message, field))
            node.maps[field] = tag_map
            for error, where in complaints:
                node.is_readable = False
                text = f"Unable to initialize TagMaps for node. {error.message}"
                self._problem(stage, text, StatusCode.UNKNOWN, *at, field, *where)
        if node.is_readable:
            self._read_input_stream_info(node)

    def _read_graph_list(self, field: str) -> None:
        """Names and tags of the graph's own streams."""
        self.graph_maps[field], complaints = _read_list(getattr(self.config, field))
        for error, where in complaints:
            self._problem(self.stages.streams, error.message, error.code, field, *where)

    def _read_side_packet_lists(self) -> None:
        """Names and tags of the graph's own side packets. They have no effect on a run, so that errors are but warnings."""
        for field in ("input_side_packet", "output_side_packet"):
            self.graph_maps[field], complaints = _read_list(getattr(self.config, field))
            for error, where in complaints:
                self.warnings.append(self._describe(error.message, error.code, (field, *where), None))

    def _read_input_stream_info(self, node: CheckedNode) -> None:
        seen: set[int] = set()
        inputs = node.maps["input_stream"]
        for position, info in enumerate(node.message.input_stream_info):
            report = partial(self._problem, self.stages.calculators)
            path = ("node", node.position, "input_stream_info", position, "tag_index")
            try:
                tag, index = parse_tag_index(info.tag_index)
            except GraphError as error:
                report(error.message, error.code, *path)
                continue
            port = inputs.id_of(tag, index)
            if port is None:
                have = ", ".join(describe_port(*each) for each in inputs) or "none"
                report(
                    f'Input stream with tag_index "{info.tag_index}" requested in InputStreamInfo '
                    "but is not an input stream of the calculator.",
                    StatusCode.INVALID_ARGUMENT, *path, hint=f"the inputs of the node are: {have}",
                )  # fmt: skip
            elif port in seen:
                report(
                    f'Input stream with tag_index "{info.tag_index}" has more than one InputStreamInfo.',
                    StatusCode.INVALID_ARGUMENT, *path,
                )  # fmt: skip
            else:
                seen.add(port)
                if info.back_edge:
                    node.back_edges.add(port)

    def _make_contract(self, node: CheckedNode) -> None:
        at, report = ("node", node.position), partial(self._problem, self.stages.calculators)
        calculator = node.message.calculator
        urls = [packed.type_url for packed in node.message.node_options]
        for position, url in enumerate(urls):
            if url in urls[:position]:
                report(
                    f"Options type: '{url}' specified more than once for a single calculator node config.",
                    StatusCode.INTERNAL, *at, "node_options", position,
                )  # fmt: skip
        try:
            node.calculator = find_calculator(
                calculator, self.config.package, subgraphs=self.subgraph_names, local=self.calculators
            )
        except GraphError as error:
            report(error.message, error.code, *at, "calculator")
            return
        if not node.is_readable:
            return
        asked: list[type[Any]] = []
        contract = CalculatorContract(
            node.name,
            *(node.maps[field] for field in PORT_LISTS),
            find_options=partial(_find_noting, asked, node.message),
            max_in_flight=max(1, node.message.max_in_flight),
        )
        try:
            refuse_result("get_contract", node.calculator.get_contract(contract))
        except Exception as error:  # any error of a user's contract is a problem of this node, never of the process
            if asked and node.position in self.expansion.gaps:
                return  # it may well have missed what could not be read, which is told already
            place = getattr(error, "path", ("calculator",))
            report(f"{calculator}: {describe(error)}", code_of(error), *at, *place)
            self.causes.append(error)
            return
        complaint = complain_about_ports(contract, calculator)
        if complaint is not None:
            report(complaint.text, StatusCode.INVALID_ARGUMENT, *at, *complaint.path, hint=complaint.hint)
            return
        node.contract = contract

    def _sort(self) -> None:
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
        order, cycle = topological_order(needs, gives)
        if cycle:
            names = ", ".join(self.nodes[position].name for position in cycle)
            self._problem(
                self.stages.order,
                f"Generator side packet cycle or calculator stream cycle detected in graph: [{names}]",
                StatusCode.UNKNOWN,
                "node",
                cycle[0],
                hint="mark the input that closes the loop with input_stream_info { tag_index: ... back_edge: true }",
            )
            return
        self.nodes = [self.nodes[position] for position in order]

    def _check_execution(self, inherited: set[int]) -> None:
        """Executors, handlers and parallelism."""
        stages = self.stages
        check_executor_names(self.config, partial(self._problem, stages.executor_names))
        self.executors = plan_executors(self.config, self.given_executors, partial(self._problem, stages.executors))
        for node in self.nodes:
            if not node.is_readable:
                continue
            report = partial(self._problem_of_node, stages.handlers, node)
            check_output_stream_handler(node.message, report)
            place = "calculator" if node.position in inherited else "input_stream_handler"
            chosen = choose_input_stream_handler(node.message, node.contract, node.maps["input_stream"], place, report)
            if chosen is not None:
                node.handler, node.handler_options = chosen

    def _find_side_packet_producers(self) -> None:
        for node in self.nodes:
            outputs = node.maps["output_side_packet"]
            for port, name in enumerate(outputs.names):
                if name in self.side_producers:
                    self._problem(
                        self.stages.side_packets,
                        f'Output Side Packet "{name}" defined twice.', StatusCode.UNKNOWN,
                        "node", node.position, "output_side_packet", outputs.source[port],
                        hint=f'node "{self.side_producers[name][0].name}" makes it too',
                    )  # fmt: skip
                else:
                    self.side_producers[name] = (node, port)

    def _find_stream_producers(self) -> None:
        self._read_graph_list("input_stream")
        for port, name in enumerate(self.graph_maps["input_stream"].names):
            if name in self.producers:
                self._problem(
                    self.stages.streams,
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
                        self.stages.streams,
                        f'Output Stream "{name}" defined twice.', StatusCode.UNKNOWN,
                        "node", node.position, "output_stream", outputs.source[port],
                        hint="it is an input of the graph too" if other is None else f'node "{other.name}" makes it too',
                    )  # fmt: skip
                else:
                    self.producers[name] = (node, port)
        self._read_graph_list("output_stream")

    def _find_dangling_streams(self) -> None:
        for sorted_index, node in enumerate(self.nodes):
            inputs = node.maps["input_stream"]
            for port, name in enumerate(inputs.names):
                if name in self.producers or name in self.expansion.missing:
                    continue
                if port in node.back_edges:
                    text = f'Unable to find upstream edge for back edge "{name}" (shouldn\'t have passed validation).'
                    stage, code = self.stages.back_edges, StatusCode.INTERNAL
                else:
                    text = (
                        f'Input Stream "{name}" for node with sorted index {sorted_index} name {node.name} '
                        "does not have a corresponding output stream."
                    )
                    stage, code = self.stages.producers, StatusCode.UNKNOWN
                have = ", ".join(sorted(self.producers)) or "none"
                hint = self.expansion.loose.get(name) or did_you_mean(name, self.producers)
                hint = hint or f"the streams of the graph are: {have}"
                self._problem(stage, text, code, "node", node.position, "input_stream", inputs.source[port], hint=hint)

    def _warn_of_idle_outputs(self) -> None:
        """Graph outputs and side packets that nobody makes; MediaPipe takes them without a word."""
        outputs = self.graph_maps["output_stream"]
        for port, name in enumerate(outputs.names):
            if name not in self.producers:
                have = ", ".join(sorted(self.producers)) or "none"
                text = f'the graph\'s output stream "{name}" is made by no node'
                hint = did_you_mean(name, self.producers) or f"the streams of the graph are: {have}"
                self.warnings.append(
                    self._describe(text, StatusCode.NOT_FOUND, ("output_stream", outputs.source[port]), hint)
                )
        for node in self.nodes:
            for spec in [] if node.contract is None else node.contract.output_side_packets.undeclared():
                where = node.maps["output_side_packet"].source_of(spec.tag, spec.index)
                text = (
                    f'the output side packet "{spec.name}" is never made: {node.message.calculator} declares no output '
                    f'side packet with tag "{spec.tag}" and index {spec.index}'
                )
                path = ("node", node.position, "output_side_packet", where)
                self.warnings.append(self._describe(text, StatusCode.NOT_FOUND, path, None))

    def _check_types(self) -> None:
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
        for edges in (stream_edges, side_edges):
            infer_types([(consumer, producer) for _, consumer, producer in edges])
        for what, field, stage, edges in (
            ("side packet", "input_side_packet", self.stages.side_packet_types, side_edges),
            ("stream", "input_stream", self.stages.stream_types, stream_edges),
        ):
            for node, consumer, producer in edges:
                text = check_types(what, debug_name(node.message), consumer, producer)
                if text is not None:
                    where = node.maps[field].source_of(consumer.tag, consumer.index)
                    self._problem(stage, text, StatusCode.UNKNOWN, "node", node.position, field, where)

    def stream_port(self, name: str) -> PortSpec | None:
        """The port that a stream comes from, where its producer and its contract are known."""
        found = self.producers.get(name)
        if found is None:
            return None
        node, port = found
        if node is None:
            return self.graph_ports[name]
        return None if node.contract is None else list(node.contract.outputs)[port]


def _find_noting(asked: list[type[Any]], carrier: Any, message_class: type[Any]) -> Any:
    asked.append(message_class)
    return find_options(carrier, message_class)


def _read_list(entries: Sequence[str]) -> tuple[TagMap, list[tuple[GraphError, tuple[int, ...]]]]:
    """The ports of a list, and what is wrong with it: errors, with the position of the entry for those of one entry."""
    parsed: list[TagIndexName] = []
    complaints: list[tuple[GraphError, tuple[int, ...]]] = []
    for position, entry in enumerate(entries):
        try:
            parsed.append(parse_tag_index_name(entry))
        except GraphError as error:
            complaints.append((error, (position,)))
    if complaints:
        return _EMPTY, complaints
    try:
        return TagMap(parsed), []
    except GraphError as error:
        return _EMPTY, [(error, ())]
