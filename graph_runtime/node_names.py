"""The names that nodes go by: the canonical one, and the one in messages about packet types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig


def canonical_names(nodes: Sequence[CalculatorGraphConfig.Node]) -> list[str]:
    """The name of each node, or else its calculator; numbered from 1 where several share it."""
    plain = [node.name or node.calculator for node in nodes]
    count = Counter(plain)
    seen: Counter[str] = Counter()
    names = []
    for name in plain:
        seen[name] += 1
        names.append(f"{name}_{seen[name]}" if count[name] > 1 else name)
    return names


def debug_name(node: CalculatorGraphConfig.Node) -> str:
    """A node's name as it is written, else its calculator with its streams (MediaPipe ``DebugName``)."""
    if node.name:
        return node.name

    def streams(kind: str, entries: Sequence[str]) -> str:
        if not entries:
            return f"no {kind} streams"
        return f"{kind} stream: {entries[0]}" if len(entries) == 1 else f"{kind} streams: <{','.join(entries)}>"

    return f"[{node.calculator}, {streams('input', node.input_stream)}, and {streams('output', node.output_stream)}]"
