"""What every test is given."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from logging.handlers import WatchedFileHandler

import pytest


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A test that starts a server in this process makes it log; the next test's log is its own."""
    root = logging.getLogger()
    level = root.level
    yield
    for handler in root.handlers[:]:
        if type(handler) in (logging.StreamHandler, WatchedFileHandler):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)
