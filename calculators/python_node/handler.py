"""The object behind a Python node: an ``OvmsPythonModel`` of a file in the model folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from calculators.http_payload import RequestError
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.folder_code import FolderCode

CLASS: Final = "OvmsPythonModel"

_log = logging.getLogger("graph_runtime.python_node")


class Handler:
    """One object for one node, for all runs of the graph; ``execute`` may be called on several threads at once.

    Args:
        node: the name of the node.
        file: what to call the file in messages.
        path: the file.
        code: the modules of its folder.
        model: the OvmsPythonModel.
    """

    def __init__(self, node: str, file: str, path: Path, code: FolderCode, model: Any) -> None:
        self.node = node
        self.file = file
        self._path = path
        self._code = code
        self._model = model

    def execute(self, inputs: list[Any]) -> object:
        """What the class makes of the tensors."""
        result: object = self._model.execute(inputs)
        return result

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the author's code raises into a GraphError (INTERNAL) with the lines of that code.

        A RequestError goes through: it is what the client is to be told.
        """
        try:
            with self._code.blaming(self._path, passing=(RequestError,)):
                yield
        except GraphError as error:
            text = f"Error occurred during graph execution: {error.message}"
            raise GraphError(text, code=StatusCode.INTERNAL, problems=error.problems) from error.__cause__

    def finalize(self) -> None:
        """Call the class's ``finalize``, if there is one; what it raises is logged."""
        finalize = getattr(self._model, "finalize", None)
        if finalize is None:
            return
        try:
            finalize()
        except BaseException:  # of an author's code, and nobody is left who could be told
            _log.exception('node "%s": finalize of %s failed', self.node, self.file)
