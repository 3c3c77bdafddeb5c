"""The log: lines for people, or a JSON object a line for machines.

What stands in it: what the server does, a line for each request, and for each fault of ours the traceback, with the id of the
request. What never does, whatever the level: bodies, prompts, queries, headers, keys.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from calculators.http_payload import RequestError
from server.keys import ERROR_CODE, MODEL, REQUEST_ID

FIELDS: Final = ("request_id", "method", "path", "model", "status", "code", "ms")
"""What log calls may give as ``extra``, beside their message: of which request they speak."""

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
TRACE: Final = 5
"""A level below DEBUG: all that libraries have to tell."""
TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """A record as one line with a JSON object: time (UTC), level, logger, message, those of ``FIELDS`` that it has, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        told.update((name, getattr(record, name)) for name in FIELDS if hasattr(record, name))
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def about(request: web.Request) -> dict[str, object]:
    """The ``extra`` of a record that speaks of a request, without its answer."""
    known: dict[str, object] = {
        "request_id": request[REQUEST_ID],
        "method": request.method,
        "path": request.rel_url.raw_path,
    }
    return known | ({"model": request[MODEL]} if MODEL in request else {})


def note_code(request: web.Request, error: RequestError) -> None:
    """Keep the code of an error for the line of its request."""
    code = plain_code(error)
    if code is not None:
        request[ERROR_CODE] = code


def plain_code(error: RequestError) -> str | None:
    """The code of an error, if it is a plain word: a calculator of somebody else's can give anything as code."""
    return error.code if error.code is not None and _CODE.fullmatch(error.code) else None


def start_logging(level: str, form: str, path: Path | None = None) -> None:
    """Write the log of this process to stderr, and to a file if there is one, from a level on, as ``text`` or ``json``.

    Raises:
        OSError: the file cannot be written.
    """
    logging.addLevelName(TRACE, "TRACE")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        handlers.append(WatchedFileHandler(path, encoding="utf-8"))  # whoever rotates it may move it away
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=level, handlers=handlers, force=True)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of each event, and of each second without one
