"""OVMS's comment ``# OVMS_GRAPH_QUEUE_MAX_SIZE: N`` in a graph file: how many runs of the graph go on at the same time.

There it sizes a pool of graph objects that requests share. Here each run has a graph object of its own, at next to no cost,
and what remains of the pool is its bound. Source: OVMS, the grammar of the comment and its rules; its environment variable
``OVMS_GRAPH_QUEUE_OFF``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from graph_runtime.config import GraphSource
from graph_runtime.errors import Problem

AUTO: Final = "AUTO"
_DIRECTIVE: Final = re.compile(r"(?:^|\n)\s*#\s*OVMS_GRAPH_QUEUE_MAX_SIZE\s*:\s*(\S+)\s*(?:\r?\n|$)")
_MENTION: Final = re.compile(r"#[^\n]*OVMS_GRAPH_QUEUE_MAX_SIZE")


@dataclass(frozen=True, slots=True)
class GraphQueue:
    """What the comment says.

    Attributes:
        size: "AUTO" leaves it to the server; 0 is the same as no comment; else the most runs at the same time.
        problems: what keeps the graph from being served.
        warnings: why ``size`` is not what is written.
    """

    size: int | str = 0
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def bound(self) -> int | None:
        """The most runs at the same time; None leaves it to the server."""
        return self.size if isinstance(self.size, int) and self.size > 0 else None


def read_graph_queue(source: GraphSource) -> GraphQueue:
    """What the comment in a graph file says, if there is one."""
    text = source.text or ""
    found = _DIRECTIVE.search(text)
    if found is None:
        mention = _MENTION.search(text)
        if mention is None:
            return GraphQueue()
        text = "this comment has no effect; it is # OVMS_GRAPH_QUEUE_MAX_SIZE: and one word, AUTO or a number, in a line of its own"
        return GraphQueue(warnings=(Problem(text, place=source.positions.place_of_offset(mention.start())),))
    place = source.positions.place_of_offset(found.start(1))
    size, warnings = _size(found[1], place)
    if size is None:
        text = f'OVMS_GRAPH_QUEUE_MAX_SIZE is "{found[1]}"'
        return GraphQueue(problems=(Problem(text, place=place, hint="give AUTO, a number of runs, or 0 for no bound"),))
    if size == 0 or os.environ.get("OVMS_GRAPH_QUEUE_OFF") == "1":
        return GraphQueue()
    for position, node in enumerate(source.config.node):
        if node.calculator == "PythonExecutorCalculator" and "LOOPBACK" in _tags(node.input_stream):
            text = "a PythonExecutorCalculator with LOOPBACK keeps a state for each stream, and cannot be used with a graph queue"
            where = source.positions.place("node", position)
            hint = "take the comment OVMS_GRAPH_QUEUE_MAX_SIZE out, or write 0"
            return GraphQueue(problems=(Problem(text, place=where, node=node.name or None, hint=hint),))
        if node.calculator == "HttpLLMCalculator" and "LLM_NODE_EXECUTION_CONTEXTS" not in _tags(
            node.input_side_packet
        ):
            text = "OVMS_GRAPH_QUEUE_MAX_SIZE has no effect, as an HttpLLMCalculator has no side packet LLM_NODE_EXECUTION_CONTEXTS"
            return GraphQueue(warnings=(Problem(text, place=place, node=node.name or None),))
    return GraphQueue(size, warnings=warnings)


def _size(word: str, place: str) -> tuple[int | str | None, tuple[Problem, ...]]:
    """The number in the comment, not above that of the machine's cores, and the warning if it was; None for another word."""
    if word == AUTO:
        return AUTO, ()
    if re.fullmatch(r"[0-9]{1,18}", word) is None:
        return None, ()
    cores = os.cpu_count() or 1
    if int(word) <= cores:
        return int(word), ()
    text = f"OVMS_GRAPH_QUEUE_MAX_SIZE is {word}, more than this machine has cores; {cores} counts"
    return cores, (Problem(text, place=place),)


def _tags(entries: Iterable[str]) -> set[str]:
    return {entry.partition(":")[0] for entry in entries if ":" in entry}
