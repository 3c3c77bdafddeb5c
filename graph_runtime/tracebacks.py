"""Tracebacks for the authors of plug-ins: their own lines, without those that led to them."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from typing import Final

_NOT_THEIRS: Final = (str(Path(__file__).parent), str(Path(importlib.__file__ or "").parent), "<frozen importlib")


def own_traceback(error: BaseException) -> str:
    """The traceback of an error in a plug-in, without the frames of this package and of Python's import system."""
    told = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [told]
    while pending:
        each = pending.pop()
        if each is not None:
            each.stack[:] = [frame for frame in each.stack if not _is_machinery(frame.filename)]
            pending += [each.__cause__, each.__context__]
    return "".join(told.format()).rstrip()


def _is_machinery(file: str) -> bool:
    # The metadata of entry points lie in a folder of importlib's own.
    return file.startswith(_NOT_THEIRS)
