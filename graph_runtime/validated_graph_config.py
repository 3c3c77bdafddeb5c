"""ValidatedGraphConfig: check a graph without running it (MediaPipe's Python API)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.arguments import check_name
from graph_runtime.calculator import Calculator
from graph_runtime.config import to_text
from graph_runtime.contract import EXACT, ONE_OF, PortSpec
from graph_runtime.errors import GraphError, GraphFileNotFoundError, StatusCode
from graph_runtime.plan import Plan
from graph_runtime.subgraph import Subgraphs

_SOURCES = "binary_graph_path, graph_config, validated_graph_config"


class ValidatedGraphConfig:
    """A graph to be checked by ``initialize``."""

    def __init__(self) -> None:
        self._plan: Plan | None = None

    def initialize(self, **source: Any) -> None:
        """Parse and validate; the keywords are those of CalculatorGraph. May be called once.

        Raises:
            GraphError: the graph is not valid, or this object is initialized already.
        """
        if self._plan is not None:
            raise GraphError("ValidatedGraphConfig can be initialized only once.", code=StatusCode.FAILED_PRECONDITION)
        self._plan = plan_from_keywords(**source)

    def initialized(self) -> bool:
        """Whether ``initialize`` has succeeded."""
        return self._plan is not None

    @property
    def plan(self) -> Plan:
        """The validated graph."""
        if self._plan is None:
            raise GraphError("ValidatedGraphConfig is not initialized.", code=StatusCode.FAILED_PRECONDITION)
        return self._plan

    @property
    def text_config(self) -> str:
        """The validated graph as pbtxt."""
        return to_text(self.plan.config)

    @property
    def binary_config(self) -> bytes:
        """The validated graph, serialized."""
        return self.plan.config.SerializeToString()

    def registered_stream_type_name(self, stream: str) -> str:
        """The packet type of a stream.

        Raises:
            InvalidArgumentError: there is no such stream.
            GraphRuntimeError: its type is not determined.
        """
        check_name(stream)
        position = self.plan.stream_ids.get(stream)
        if position is None:
            raise GraphError(f'Stream "{stream}" is not defined in the config.', code=StatusCode.INVALID_ARGUMENT)
        return _type_name("stream", stream, self.plan.streams[position].port)

    def registered_side_packet_type_name(self, side_packet: str) -> str:
        """The packet type of a side packet; errors as for streams."""
        check_name(side_packet)
        produced = self.plan.produced_side_packets.get(side_packet)
        if produced is not None:
            ports = list(self.plan.nodes[produced[0]].contract.output_side_packets)
            return _type_name("side packet", side_packet, ports[produced[1]])
        required = self.plan.required_side_packets.get(side_packet)
        if required is None:
            raise GraphError(
                f'Side packet "{side_packet}" is not defined in the config.', code=StatusCode.INVALID_ARGUMENT
            )
        return _type_name("side packet", side_packet, required[0])


def _type_name(what: str, name: str, port: PortSpec) -> str:
    root = port.root()
    if root.kind not in (EXACT, ONE_OF):
        raise GraphError(
            f'Unable to find the type for {what} "{name}".  It may be set to AnyType or something else that isn\'t '
            "determinable, or the type may be defined but not registered.",
            code=StatusCode.UNKNOWN,
        )
    return root.type_name()


def plan_from_keywords(
    *,
    graph_config: str | CalculatorGraphConfig | None = None,
    binary_graph_path: str | os.PathLike[str] | None = None,
    validated_graph_config: ValidatedGraphConfig | None = None,
    executors: Iterable[str] = (),
    subgraphs: Subgraphs = (),
    calculators: Mapping[str, type[Calculator]] | None = None,
    **unknown: Any,
) -> Plan:
    """The Plan for exactly one of the keywords.

    Raises:
        GraphError: none or several are given, one is unknown, the file is missing, or the graph is not valid.
    """
    if unknown:
        raise GraphError(f"Unknown kwargs input argument: {next(iter(unknown))}", code=StatusCode.UNKNOWN)
    given = [value for value in (graph_config, binary_graph_path, validated_graph_config) if value is not None]
    if len(given) != 1:
        raise GraphError(
            f"Please provide one of the following: {_SOURCES}" + (", not several." if given else "."),
            code=StatusCode.INVALID_ARGUMENT,
        )
    if validated_graph_config is not None:
        if not isinstance(validated_graph_config, ValidatedGraphConfig):
            raise TypeError(f"a ValidatedGraphConfig is needed, not {type(validated_graph_config).__name__}")
        return validated_graph_config.plan
    if binary_graph_path is not None:
        source, file = _read_binary(Path(binary_graph_path)), str(binary_graph_path)
        return Plan(source, file=file, executors=executors, subgraphs=subgraphs, calculators=calculators)
    assert graph_config is not None
    return Plan(graph_config, executors=executors, subgraphs=subgraphs, calculators=calculators)


def _read_binary(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise GraphFileNotFoundError(f"The path does not exist: {path}", code=StatusCode.NOT_FOUND) from error
    except OSError as error:
        raise GraphError(f"Error while reading file: {path}: {error.strerror}", code=StatusCode.UNKNOWN) from error
