"""LoadError: a model could not be loaded."""

from __future__ import annotations

from typing import Any

from graph_runtime.errors import StatusCode


class LoadError(Exception):
    """A model could not be loaded.

    Attributes:
        message: why.
        field: the node option at fault, or None.
        code: the status code.
    """

    def __init__(
        self, message: str, *, field: str | None = None, code: StatusCode = StatusCode.FAILED_PRECONDITION
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.message, self.field, self.code)


def _rebuild(message: str, field: str | None, code: StatusCode) -> LoadError:
    return LoadError(message, field=field, code=code)
