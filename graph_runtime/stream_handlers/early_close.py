"""EarlyCloseInputStreamHandler: as the default handler, but the node ends with the first input that ends."""

from __future__ import annotations

from graph_runtime.stream_handlers.base import CLOSE
from graph_runtime.stream_handlers.default import DefaultInputStreamHandler
from graph_runtime.timestamp import ONE_OVER_POST_STREAM


class EarlyCloseInputStreamHandler(DefaultInputStreamHandler):
    """Done when any input is done and has no packets left."""

    def decide(self) -> int | None:
        for queue, stream in zip(self.queues, self.streams, strict=True):
            if not queue and stream.bound >= ONE_OVER_POST_STREAM:
                return CLOSE
        return super().decide()
