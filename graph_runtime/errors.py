"""Every exception that graph_runtime raises, and how they relate.

::

    Exception
    └── GraphError                    anything wrong with a graph; carries code, phase, node, place, problems
        ├── InvalidArgumentError      also ValueError          INVALID_ARGUMENT
        ├── AlreadyExistsError        also FileExistsError     ALREADY_EXISTS
        ├── UnimplementedError        also NotImplementedError UNIMPLEMENTED
        ├── GraphFileNotFoundError    also FileNotFoundError   NOT_FOUND, for a path on disk
        └── GraphRuntimeError         also RuntimeError        every other code

The second base follows the status code exactly as in the Python API of MediaPipe 0.10.x, so that ``except ValueError`` and
``except RuntimeError`` written for it go on working.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


class StatusCode(enum.IntEnum):
    """The canonical status codes that MediaPipe reports (absl::StatusCode), with their numbers."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a graph file.

    Attributes:
        message: what is wrong, in a sentence; MediaPipe's key phrase where it has one.
        code: the status code that MediaPipe gives for it.
        place: ``file:line:column`` (1-based) of the text at fault, or None where there is no text.
        node: name of the node at fault, or None for the graph itself.
        hint: what to do about it, or None.
    """

    message: str
    code: StatusCode = StatusCode.INVALID_ARGUMENT
    place: str | None = None
    node: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        text = self.message if self.hint is None else f"{self.message}; {self.hint}"
        if self.node is not None:
            text = f'node "{self.node}": {text}'
        return text if self.place is None else f"{self.place}: {text}"


class GraphError(Exception):
    """Something is wrong with a graph: its file, its wiring or its run.

    ``GraphError(message, code=...)`` makes an instance of the subclass that belongs to the code, so that one ``raise`` serves
    every code and callers may catch either the family or the built-in class.

    Attributes:
        code: the status code.
        phase: ``"open"``, ``"process"`` or ``"close"`` when a calculator failed, else None.
        node: name of the node that failed, or None.
        place: ``file:line:column`` of the text at fault, or None.
        problems: every problem that was found, where several can be (validation); empty otherwise.
    """

    message: str
    code: StatusCode
    phase: str | None
    node: str | None
    place: str | None
    problems: tuple[Problem, ...]

    def __new__(cls, message: str = "", *, code: StatusCode = StatusCode.UNKNOWN, **details: Any) -> GraphError:
        """Make an instance of the subclass that belongs to ``code``."""
        if cls is GraphError:
            target = _CLASS_OF_CODE.get(code, GraphRuntimeError)
            return target.__new__(target, message, code=code, **details)
        return super().__new__(cls, message)

    def __init__(
        self,
        message: str = "",
        *,
        code: StatusCode = StatusCode.UNKNOWN,
        phase: str | None = None,
        node: str | None = None,
        place: str | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.phase = phase
        self.node = node
        self.place = place
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return self.message  # FileNotFoundError and KeyError relatives would format their arguments otherwise

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.code, self.phase, self.node, self.place, self.problems)


class InvalidArgumentError(GraphError, ValueError):
    """The graph, a packet or a call is wrong in itself (INVALID_ARGUMENT)."""


class AlreadyExistsError(GraphError, FileExistsError):
    """Something that may be given once was given twice (ALREADY_EXISTS)."""


class UnimplementedError(GraphError, NotImplementedError):
    """The graph asks for something that this version does not do (UNIMPLEMENTED)."""


class GraphFileNotFoundError(GraphError, FileNotFoundError):
    """A graph file is not there (NOT_FOUND)."""


class GraphRuntimeError(GraphError, RuntimeError):
    """Every other failure: a calculator failed, a stream is out of order, a name is unknown."""


_CLASS_OF_CODE: dict[StatusCode, type[GraphError]] = {
    StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    StatusCode.UNIMPLEMENTED: UnimplementedError,
}


def _rebuild(
    cls: type[GraphError],
    message: str,
    code: StatusCode,
    phase: str | None,
    node: str | None,
    place: str | None,
    problems: tuple[Problem, ...],
) -> GraphError:
    return cls(message, code=code, phase=phase, node=node, place=place, problems=problems)


def code_of(error: BaseException) -> StatusCode:
    """The status code of any exception: its own for a GraphError, else the one whose class it is (UNKNOWN when none fits)."""
    if isinstance(error, GraphError):
        return error.code
    if isinstance(error, NotImplementedError):
        return StatusCode.UNIMPLEMENTED
    if isinstance(error, (ValueError, TypeError)):
        return StatusCode.INVALID_ARGUMENT
    return StatusCode.UNKNOWN


def describe(error: BaseException) -> str:
    """The text of any exception; with its class where the text alone would say little."""
    text = str(error)
    if text and isinstance(error, (GraphError, ValueError, RuntimeError)):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def combine(prefix: str, errors: Sequence[GraphError], *, separator: str = "\n") -> GraphError:
    """One error for several: their common code or UNKNOWN, and their texts below the prefix, one a line.

    Source: MediaPipe ``tool::CombinedStatus``. A single error keeps its node, phase and cause.
    """
    if not errors:
        raise ValueError("combine() needs at least one error")
    codes = {error.code for error in errors}
    text = (
        separator.join([prefix, *(error.message for error in errors)])
        if prefix
        else separator.join(e.message for e in errors)
    )
    first = errors[0]
    combined = GraphError(
        text,
        code=first.code if len(codes) == 1 else StatusCode.UNKNOWN,
        phase=first.phase,
        node=first.node,
        place=first.place,
        problems=[problem for error in errors for problem in error.problems],
    )
    combined.__cause__ = first.__cause__ if first.__cause__ is not None else first
    return combined


def raise_together(errors: Sequence[GraphError]) -> None:
    """Raise what is wrong with several files as one error; a single one as it is, and nothing when there are none."""
    if len(errors) == 1:
        raise errors[0]
    raise_problems(
        "Failed to parse:",
        [
            problem
            for error in errors
            for problem in error.problems or (Problem(error.message, error.code, error.place, error.node),)
        ],
    )


def raise_problems(prefix: str, problems: Iterable[Problem]) -> None:
    """Raise one GraphError that lists the problems; do nothing when there are none.

    Its code is the problems' common one, or UNKNOWN where they differ (MediaPipe's rule for combined statuses).
    """
    found = list(problems)
    if not found:
        return
    codes = {problem.code for problem in found}
    raise GraphError(
        "\n".join([prefix, *map(str, found)]) if prefix else "\n".join(map(str, found)),
        code=codes.pop() if len(codes) == 1 else StatusCode.UNKNOWN,
        node=found[0].node,
        place=found[0].place,
        problems=found,
    )
