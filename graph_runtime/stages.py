"""The stages of validation, in MediaPipe's order, and which of them gives the error its status code.

MediaPipe ends with the first stage that finds something. Here all stages are gone through, so that all problems are told at
once, and the first that found something makes the error what it is.

Source: MediaPipe ``ValidatedGraphConfig::Initialize``, then ``CalculatorGraph::Initialize``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from graph_runtime.errors import Problem, StatusCode

VALIDATION_FAILED: Final = "ValidatedGraphConfig Initialization failed."


@dataclass(slots=True)
class Stage:
    """One stage.

    Attributes:
        heading: the first line of an error that it gives.
        is_combined: MediaPipe looks at all nodes, reports the first problem of each, and gives the code that these have in common
            or UNKNOWN; otherwise it ends with the first problem.
        problems: what was found, in MediaPipe's order.
    """

    heading: str = VALIDATION_FAILED
    is_combined: bool = False
    problems: list[Problem] = field(default_factory=list)

    def code(self) -> StatusCode:
        """The code of an error that this stage gives."""
        if not self.is_combined:
            return self.problems[0].code
        firsts: dict[str | None, StatusCode] = {}
        for problem in self.problems:
            firsts.setdefault(problem.node or problem.place, problem.code)
        codes = set(firsts.values())
        return codes.pop() if len(codes) == 1 else StatusCode.UNKNOWN


def _combined(heading: str = VALIDATION_FAILED) -> Stage:
    return Stage(heading, is_combined=True)


@dataclass(slots=True)
class Stages:
    """All stages, in their order."""

    reading: Stage = field(default_factory=lambda: Stage("Failed to parse:"))
    expansion: Stage = field(default_factory=Stage)
    default_executor: Stage = field(default_factory=Stage)
    generators: Stage = field(default_factory=_combined)
    calculators: Stage = field(default_factory=_combined)
    status_handlers: Stage = field(default_factory=_combined)
    side_packets: Stage = field(default_factory=Stage)
    streams: Stage = field(default_factory=Stage)
    order: Stage = field(default_factory=Stage)
    producers: Stage = field(default_factory=Stage)
    back_edges: Stage = field(default_factory=Stage)
    side_packet_types: Stage = field(default_factory=Stage)
    stream_types: Stage = field(default_factory=Stage)
    executor_names: Stage = field(default_factory=Stage)
    executors: Stage = field(default_factory=Stage)
    handlers: Stage = field(
        default_factory=lambda: _combined("CalculatorGraph::InitializeCalculatorNodes failed:"),
    )

    def failed(self) -> Iterable[Stage]:
        """The stages that found something."""
        return [stage for each in fields(self) if (stage := getattr(self, each.name)).problems]
