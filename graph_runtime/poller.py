"""OutputStreamPoller: take packets out of a running graph by asking for them, instead of being called."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from graph_runtime.arguments import check_timeout
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.packet import Packet

if TYPE_CHECKING:
    from graph_runtime._engine.run import Run


class OutputStreamPoller:
    """The packets of one stream, in order; made by ``CalculatorGraph.add_output_stream_poller`` before the run starts.

    ``for packet in poller`` ends with the run. The thread that asks runs nodes while it waits. Source: MediaPipe
    ``framework/output_stream_poller.h``.
    """

    def __init__(self, stream_name: str, current_run: Callable[[], Run | None]) -> None:
        self.stream_name = stream_name
        self._current_run = current_run
        self._packets: deque[Packet] = deque()

    def next(self, timeout_s: float | None = None) -> Packet | None:
        """The next packet; None when the run has ended, regularly or not, and no packet is left.

        Args:
            timeout_s: give up after so many seconds; None waits for ever.

        Raises:
            GraphRuntimeError: the graph was not started (FAILED_PRECONDITION), or the time is over (DEADLINE_EXCEEDED).
        """
        check_timeout(timeout_s)
        run = self._current_run()
        if run is None:
            raise GraphError("A poller is asked before start_run()", code=StatusCode.FAILED_PRECONDITION)
        if not self._packets and not run.wait_for(lambda: bool(self._packets), timeout_s):
            raise GraphError(
                f'No packet came on stream "{self.stream_name}" within {timeout_s:g} s',
                code=StatusCode.DEADLINE_EXCEEDED,
            )
        return self._packets.popleft() if self._packets else None

    def queue_size(self) -> int:
        """How many packets wait to be taken."""
        return len(self._packets)

    def reset(self) -> None:
        """Forget the packets that were not taken; between two runs."""
        self._packets.clear()

    def __iter__(self) -> Iterator[Packet]:
        while (packet := self.next()) is not None:
            yield packet

    def put(self, packet: Packet) -> None:
        """Called by the graph."""
        self._packets.append(packet)
        run = self._current_run()
        if run is not None:
            run.tell_watchers()
