"""The Plan: a validated graph in the form in which it is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime._pb.mediapipe.framework.thread_pool_executor_pb2 import ThreadPoolExecutorOptions
from graph_runtime.calculator import Calculator
from graph_runtime.config import find_options, read_graph
from graph_runtime.contract import CalculatorContract, PortSpec, Service
from graph_runtime.errors import GraphError, Problem, raise_together
from graph_runtime.executors import ExecutorPlan
from graph_runtime.origins import Origin
from graph_runtime.packet import Packet
from graph_runtime.port_types import type_check
from graph_runtime.registry import local_calculators
from graph_runtime.stream_handlers import InputStreamHandler
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.subgraph import Subgraphs, local_subgraphs
from graph_runtime.tags import TagMap
from graph_runtime.trace import DEFAULT_CAPACITY
from graph_runtime.validation import CheckedNode, Validator

DEFAULT_MAX_QUEUE_SIZE: Final = 100
UNLIMITED: Final = sys.maxsize


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node, ready to be run.

    Attributes:
        id: position in the validated graph; a node that comes later has the higher priority.
        name: the node's canonical name: ``name``, else the calculator, numbered where several share it.
        input_streams, output_streams: positions in ``Plan.streams``, in port id order.
        back_edges: the port ids of inputs that close a loop.
        has_default_policy: whether the engine may use its compiled form of the default input policy.
        is_async: whether ``process`` is a coroutine function.
        is_source: whether the node makes packets without taking any.
    """

    id: int
    name: str
    calculator: type[Calculator]
    contract: CalculatorContract
    inputs: TagMap
    outputs: TagMap
    input_side_packets: TagMap
    output_side_packets: TagMap
    input_streams: tuple[int, ...]
    output_streams: tuple[int, ...]
    back_edges: frozenset[int]
    source_layer: int
    executor: str
    max_in_flight: int
    handler: type[InputStreamHandler]
    handler_options: Any
    find_options: Callable[[type[Any]], Any]
    has_default_policy: bool
    is_async: bool
    is_source: bool


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One stream: who makes it (a node and its port, or the graph's caller) and which inputs it feeds.

    ``check`` raises for a packet of a wrong type; None where every type may pass.
    """

    id: int
    name: str
    producer: tuple[int, int] | None
    port: PortSpec
    consumers: tuple[tuple[int, int], ...]
    check: Callable[[Packet], None] | None


class Plan:
    """A validated graph: parsed and checked once, immutable, shared by any number of runs and threads.

    Args:
        source: pbtxt text, binary bytes, a path to either, or a CalculatorGraphConfig message.
        file: the name to print in error places when ``source`` is text.
        subgraphs: graphs that this one may use as nodes, by their ``type``, beside those that are registered.
        calculators: name -> class, for this graph and its subgraphs alone; they win over those that are registered.
        executors: names of executors that the caller will bring; see CalculatorGraph.

    Attributes:
        config: the CalculatorGraphConfig, nodes in the order in which they run.
        nodes, streams: the compiled parts.
        origins: where each node was written.
        has_sources: whether any node is a source.
        graph_inputs, graph_outputs: ``(tag, index, name)`` of the graph's own streams.
        executors: name -> how its nodes are run; "" is the default executor.
        max_queue_size: packets that an input may hold before graph inputs and sources are throttled.
        trace_capacity: how many events to keep of each run; None where the graph does not ask for any.
        ancestors: for each node, the sources (node ids) and graph inputs (names) that feed it.
        slow_nodes: ids of nodes whose calls were slow lately; a hint, kept up by the runs.
        warnings: what MediaPipe ignores without a word, and is probably a mistake.
        required_side_packets: name -> the ports that need it, for side packets that no node makes.
        services: (node name, key, service) for all that nodes use.

    Raises:
        GraphError: the graph is not valid; ``problems`` lists all that was found.
    """

    __slots__ = (
        "ancestors", "config", "executors", "file", "graph_inputs", "graph_outputs", "graph_side_packets", "has_sources",
        "max_queue_size", "nodes", "origins", "produced_side_packets", "required_side_packets", "services", "slow_nodes",
        "stream_ids", "streams", "trace_capacity", "warnings",
    )  # fmt: skip

    config: CalculatorGraphConfig
    file: str | None
    nodes: tuple[NodePlan, ...]
    origins: tuple[Origin, ...]
    has_sources: bool
    streams: tuple[StreamPlan, ...]
    stream_ids: dict[str, int]
    executors: dict[str, ExecutorPlan]
    max_queue_size: int
    trace_capacity: int | None
    ancestors: tuple[frozenset[int | str], ...]
    slow_nodes: set[int]
    warnings: tuple[Problem, ...]
    graph_inputs: tuple[tuple[str, int, str], ...]
    graph_outputs: tuple[tuple[str, int, str], ...]
    graph_side_packets: tuple[tuple[str, int, str], ...]
    produced_side_packets: dict[str, tuple[int, int]]
    required_side_packets: dict[str, tuple[PortSpec, ...]]
    services: tuple[tuple[str, str, Service], ...]

    def __init__(
        self,
        source: str | bytes | os.PathLike[str] | CalculatorGraphConfig,
        *,
        file: str | None = None,
        executors: Iterable[str] = (),
        subgraphs: Subgraphs = (),
        calculators: Mapping[str, type[Calculator]] | None = None,
    ) -> None:
        own = local_calculators({} if calculators is None else calculators)
        broken = []
        read, local = None, {}
        try:
            read = read_graph(source, file=file, keep_problems=True)
        except GraphError as error:
            broken.append(error)
        try:
            local = local_subgraphs(subgraphs)
        except GraphError as error:
            broken.append(error)
        raise_together(broken)
        assert read is not None
        self._fill(Validator(read, frozenset(executors), subgraphs=local, calculators=own))

    @property
    def nonblocking(self) -> bool:
        """Whether a run does all its work, within microseconds, in the thread that waits for it.

        All its nodes promise it (``Calculator.nonblocking``), none is a source, and no executor brings threads of its own.
        """
        return (
            all(vars(node.calculator).get("nonblocking", False) and not node.is_async for node in self.nodes)
            and not self.has_sources
            and all(executor.is_inline and not executor.given_by_caller for executor in self.executors.values())
        )

    def _fill(self, graph: Validator) -> None:
        ids = {name: position for position, name in enumerate(graph.producers)}
        node_ids = {id(node): position for position, node in enumerate(graph.nodes)}
        consumers: dict[str, list[tuple[int, int]]] = {name: [] for name in graph.producers}
        for position, node in enumerate(graph.nodes):
            for port, name in enumerate(node.maps["input_stream"].names):
                consumers[name].append((position, port))
        self.file = graph.source.file
        self.streams = tuple(
            _stream_plan(
                ids[name],
                name,
                None if node is None else (node_ids[id(node)], port),
                graph.stream_port(name) or PortSpec("", 0, name).set_any(),
                consumers[name],
            )
            for name, (node, port) in graph.producers.items()
        )
        self.stream_ids = ids
        self.nodes = tuple(_node_plan(position, node, ids) for position, node in enumerate(graph.nodes))
        self.origins = tuple(graph.expansion.origin("node", node.position) for node in graph.nodes)
        self.has_sources = any(node.is_source for node in self.nodes)
        self.graph_inputs = _ports_of(graph.graph_maps["input_stream"])
        self.graph_outputs = _ports_of(graph.graph_maps["output_stream"])
        self.graph_side_packets = _ports_of(graph.graph_maps["input_side_packet"])
        self.produced_side_packets = {
            name: (node_ids[id(node)], port) for name, (node, port) in graph.side_producers.items()
        }
        required: dict[str, list[PortSpec]] = {}
        for node in graph.nodes:
            assert node.contract is not None
            for side_port in node.contract.input_side_packets:
                if side_port.name not in graph.side_producers:
                    required.setdefault(side_port.name, []).append(side_port)
        self.required_side_packets = {name: tuple(ports) for name, ports in required.items()}
        self.services = tuple(
            (node.name, key, service) for node in self.nodes for key, service in node.contract.services.items()
        )
        self.executors = graph.executors
        self.max_queue_size = _max_queue_size(graph.config)
        profiler = graph.config.profiler_config
        self.trace_capacity = profiler.trace_log_capacity or DEFAULT_CAPACITY if profiler.trace_enabled else None
        self.ancestors = _ancestors(self.nodes, self.streams)
        self.slow_nodes = set()
        self.warnings = tuple(graph.warnings)
        messages = [node.message for node in graph.nodes]
        config = CalculatorGraphConfig()
        config.CopyFrom(graph.config)
        del config.node[:]
        config.node.extend(messages)
        if not any(not executor.name for executor in config.executor):
            default = config.executor.add()
            if config.num_threads:
                default.options.Extensions[ThreadPoolExecutorOptions.ext].num_threads = config.num_threads
                config.num_threads = 0
        self.config = config


def _stream_plan(
    position: int, name: str, producer: tuple[int, int] | None, port: PortSpec, consumers: list[tuple[int, int]]
) -> StreamPlan:
    check = type_check(port, f'Packet type mismatch on calculator outputting to stream "{name}"')
    return StreamPlan(position, name, producer, port, tuple(consumers), check)


def _node_plan(position: int, node: CheckedNode, ids: dict[str, int]) -> NodePlan:
    assert node.calculator is not None
    assert node.contract is not None
    return NodePlan(
        id=position,
        name=node.name,
        calculator=node.calculator,
        contract=node.contract,
        inputs=node.maps["input_stream"],
        outputs=node.maps["output_stream"],
        input_side_packets=node.maps["input_side_packet"],
        output_side_packets=node.maps["output_side_packet"],
        input_streams=tuple(ids[name] for name in node.maps["input_stream"].names),
        output_streams=tuple(ids[name] for name in node.maps["output_stream"].names),
        back_edges=frozenset(node.back_edges),
        executor=node.message.executor,
        max_in_flight=max(1, node.message.max_in_flight),
        handler=node.handler,
        handler_options=node.handler_options,
        source_layer=node.message.source_layer,
        find_options=partial(find_options, node.message),
        has_default_policy=node.handler is DefaultInputStreamHandler
        and node.handler_options == 1  # its batch size
        and not node.contract.process_timestamp_bounds,
        is_async=iscoroutinefunction(node.calculator.process),
        is_source=not node.maps["input_stream"].names and bool(node.maps["output_stream"].names),
    )


def _ports_of(tag_map: TagMap) -> tuple[tuple[str, int, str], ...]:
    return tuple((tag, index, name) for (tag, index), name in zip(tag_map, tag_map.names, strict=True))


def _max_queue_size(config: CalculatorGraphConfig) -> int:
    """One limit for the whole graph: its own, or the largest hint of a node (MediaPipe ``calculator_graph.cc``)."""
    hints = [node.buffer_size_hint for node in config.node if node.buffer_size_hint > 0]
    own = config.max_queue_size or DEFAULT_MAX_QUEUE_SIZE
    if own < 0:
        return max(hints, default=UNLIMITED)
    return max([own, *hints])


def _ancestors(nodes: Sequence[NodePlan], streams: Sequence[StreamPlan]) -> tuple[frozenset[int | str], ...]:
    """The sources and graph inputs upstream of each node; back edges do not count."""
    known: list[frozenset[int | str]] = []
    for node in nodes:
        upstream: set[int | str] = {node.id} if node.is_source else set()
        for port, stream in enumerate(node.input_streams):
            producer = streams[stream].producer
            if producer is None:
                upstream.add(streams[stream].name)
            elif port not in node.back_edges:
                upstream |= known[producer[0]]
        known.append(frozenset(upstream))
    return tuple(known)
