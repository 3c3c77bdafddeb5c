"""Progress: how far the nodes of a run are, told by them and read by whoever watches the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

PROGRESS: Final = "progress"
"""The key of the service. A node that tells asks for it in ``get_contract`` with ``cc.use_service(PROGRESS, optional=True)``;
``cc.service(PROGRESS)`` is then a :class:`Progress`, or None where nobody watches."""


class Steps(NamedTuple):
    """Steps that are done, and steps in all."""

    done: int
    total: int


class Progress:
    """Of one run; ``CalculatorGraph.set_service(PROGRESS, Progress())`` before it starts. Any thread may tell and read.

    Attributes:
        on_tell: is told the same, if it is set.
    """

    def __init__(self) -> None:
        self.on_tell: Callable[[str, int, int], None] | None = None
        self._by_node: dict[str, Steps] = {}

    def tell(self, node: str, done: int, total: int) -> None:
        """Note that a node has done so many steps of what it works on; it costs next to nothing."""
        self._by_node[node] = Steps(done, total)
        if self.on_tell is not None:
            self.on_tell(node, done, total)

    @property
    def steps(self) -> Steps | None:
        """Those of all nodes that have told of any, added up; None before the first one has."""
        told = list(self._by_node.values())
        return Steps(sum(each.done for each in told), sum(each.total for each in told)) if told else None
