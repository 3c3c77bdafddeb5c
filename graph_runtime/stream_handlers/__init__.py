"""Input stream handlers: one policy per file, under MediaPipe's names.

These functions are the specification. For the default handler the engine has compiled forms of its own, and a test holds both
equal.
"""

from __future__ import annotations

from typing import Final

from graph_runtime.stream_handlers.barrier import BarrierInputStreamHandler
from graph_runtime.stream_handlers.base import CLOSE, NOT_READY, InputStreamHandler
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.stream_handlers.early_close import EarlyCloseInputStreamHandler
from graph_runtime.stream_handlers.fixed_size import FixedSizeInputStreamHandler
from graph_runtime.stream_handlers.immediate import ImmediateInputStreamHandler
from graph_runtime.stream_handlers.mux import MuxInputStreamHandler
from graph_runtime.stream_handlers.sync_set import SyncSetInputStreamHandler
from graph_runtime.stream_handlers.timestamp_align import TimestampAlignInputStreamHandler

__all__ = ["CLOSE", "HANDLERS", "NOT_READY", "InputStreamHandler"]

HANDLERS: Final[dict[str, type[InputStreamHandler]]] = {
    each.__name__: each
    for each in (
        BarrierInputStreamHandler,
        DefaultInputStreamHandler,
        EarlyCloseInputStreamHandler,
        FixedSizeInputStreamHandler,
        ImmediateInputStreamHandler,
        MuxInputStreamHandler,
        SyncSetInputStreamHandler,
        TimestampAlignInputStreamHandler,
    )
}
"""Every handler by the name that stands in graphs."""
