"""A dataflow graph runtime with MediaPipe's semantics: read a ``graph.pbtxt``, run calculators on packets with timestamps.

General layout, from the ground up; imports go downwards only, and nothing here but protobuf and the standard library is needed:

* ``errors``, ``timestamp``, ``image``, ``packet``, ``tags``: the words that everything else is written in.
* ``contract``, ``calculator``, ``registry``: what authors of calculators use; ``folder_code``: files of theirs beside a graph.
* ``config``, ``positions``, ``_pb``: graph files and where things stand in them; ``options``, ``proto_files``: options of nodes.
* ``subgraph`` (with ``subgraph_expansion``, ``subgraph_ports``, ``origins``, ``option_value``): graphs as nodes of other graphs.
* ``validation`` (with ``stages``, ``sorting``, ``port_types``) and ``plan``: a graph file becomes a ``Plan`` or a list of problems.
* ``_engine``: runs a Plan; the only place with threads and locks.
* ``graph``: ``CalculatorGraph``, the public face of a run; ``packet_creator`` and ``packet_getter`` are the old API's helpers.
* ``sync`` and ``aio``: a run as a block, for programs with threads and for asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from graph_runtime import packet_creator, packet_getter
    from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
    from graph_runtime.calculator import STOP, Calculator, CalculatorContext, Stop
    from graph_runtime.config import parse_graph_config
    from graph_runtime.contract import CalculatorContract
    from graph_runtime.errors import GraphError, Problem, StatusCode
    from graph_runtime.folder_code import load_calculators
    from graph_runtime.graph import CalculatorGraph, GraphInputStreamAddMode
    from graph_runtime.image import Image, ImageFormat, ImageFrame
    from graph_runtime.options import register_options
    from graph_runtime.packet import Packet, PacketType
    from graph_runtime.plan import Plan
    from graph_runtime.proto_files import proto_path
    from graph_runtime.registry import find_calculator, known_calculators, register_calculator
    from graph_runtime.subgraph import Subgraph, SubgraphContext, register_graph, register_subgraph
    from graph_runtime.sync import run, running
    from graph_runtime.timestamp import Timestamp
    from graph_runtime.validated_graph_config import ValidatedGraphConfig

__all__ = [
    "STOP",
    "Calculator",
    "CalculatorContext",
    "CalculatorContract",
    "CalculatorGraph",
    "CalculatorGraphConfig",
    "GraphError",
    "GraphInputStreamAddMode",
    "Image",
    "ImageFormat",
    "ImageFrame",
    "Packet",
    "PacketType",
    "Plan",
    "Problem",
    "StatusCode",
    "Stop",
    "Subgraph",
    "SubgraphContext",
    "Timestamp",
    "ValidatedGraphConfig",
    "find_calculator",
    "known_calculators",
    "load_calculators",
    "packet_creator",
    "packet_getter",
    "parse_graph_config",
    "proto_path",
    "register_calculator",
    "register_graph",
    "register_options",
    "register_subgraph",
    "run",
    "running",
]

_PLACES: Final = {
    "CalculatorGraphConfig": "_pb.mediapipe.framework.calculator_pb2",
    "STOP": "calculator",
    "Calculator": "calculator",
    "CalculatorContext": "calculator",
    "Stop": "calculator",
    "parse_graph_config": "config",
    "CalculatorContract": "contract",
    "GraphError": "errors",
    "Problem": "errors",
    "StatusCode": "errors",
    "load_calculators": "folder_code",
    "CalculatorGraph": "graph",
    "GraphInputStreamAddMode": "graph",
    "Image": "image",
    "ImageFormat": "image",
    "ImageFrame": "image",
    "register_options": "options",
    "Packet": "packet",
    "PacketType": "packet",
    "Plan": "plan",
    "proto_path": "proto_files",
    "find_calculator": "registry",
    "known_calculators": "registry",
    "register_calculator": "registry",
    "Subgraph": "subgraph",
    "SubgraphContext": "subgraph",
    "register_graph": "subgraph",
    "register_subgraph": "subgraph",
    "run": "sync",
    "running": "sync",
    "Timestamp": "timestamp",
    "ValidatedGraphConfig": "validated_graph_config",
}
"""Name -> the module that has it; all other names are modules."""


if not TYPE_CHECKING:  # else a misspelt name would have a type

    def __getattr__(name: str) -> Any:
        """A public name, on its first use: ``graph-runtime --help`` does not wait for protobuf and the engine."""
        module = _PLACES.get(name, name)
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            found = import_module(f"{__name__}.{module}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{module}":
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name) from None
        if name in _PLACES:
            globals()[name] = found = getattr(found, name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
