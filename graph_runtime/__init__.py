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
