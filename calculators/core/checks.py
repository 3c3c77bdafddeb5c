"""What several core calculators do alike: refuse what is not allowed, pass headers on, read options from packets."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from graph_runtime._pb.mediapipe.framework.calculator_options_pb2 import CalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.calculator import CalculatorContext
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.options import find_options
from graph_runtime.packet import Packet

M = TypeVar("M", bound=Message)


def require(condition: bool, message: str, code: StatusCode = StatusCode.INTERNAL) -> None:
    """Raise a GraphError with ``message`` unless ``condition`` holds.

    The code is INTERNAL by default because MediaPipe reports a failed check (``RET_CHECK``) so.
    """
    if not condition:
        raise GraphError(message, code=code)


def copy_headers(cc: CalculatorContext) -> None:
    """In ``open``: give each untagged output the header of the untagged input with its index, if that has one."""
    for index in range(min(cc.inputs.num_entries(""), cc.outputs.num_entries(""))):
        header = cc.inputs[index].header
        if not header.is_empty():
            cc.outputs[index].set_header(header)


def merged_options(base: M, packet: Packet) -> M:
    """Options with those from a packet merged in; ``base`` itself when the packet is empty.

    The packet holds a message of the same type, or CalculatorOptions with that type as an extension. Fields that it sets replace
    those of ``base``, repeated ones are appended (MediaPipe ``tool/options_util.h``).
    """
    if packet.is_empty():
        return base
    found = packet.value
    if isinstance(found, CalculatorOptions):
        found = find_options(CalculatorGraphConfig.Node(options=found), type(base))
    merged = type(base)()
    merged.CopyFrom(base)
    if found is not None:
        merged.MergeFrom(found)
    return merged
