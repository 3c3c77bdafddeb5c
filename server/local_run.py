"""A loaded graph and its runs: each on a worker thread, seen from the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import takewhile

from calculators import PROGRESS, Progress, Resources
from graph_runtime import CalculatorGraph, Packet, Plan
from graph_runtime.folder_code import FolderCode
from server.backend import Event, Refused, RunCancelledError, RunProgress, RunRequest
from server.clock import Clock
from server.fair_slots import GroupSlots
from server.graph_report import GraphPicture
from server.recording import Recorder, Recording


class Loaded:
    """A graph with its resources, and the runs that use them: ``works_at_once`` of them are truly worked on, others wait inside."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        resources: Resources,
        runs_at_once: int,
        works_at_once: int,
        own: FolderCode | None,
        picture: GraphPicture,
        clock: Clock,
    ) -> None:
        self.name = name
        self.plan = plan
        self.picture = picture
        self.resources = resources
        self._own = own
        self.recorder = Recorder(plan, clock)
        self.slots = asyncio.Semaphore(runs_at_once)
        self.works_at_once = works_at_once
        self.runs: dict[LocalRun, None] = {}
        """In the order in which they came."""
        self.idle = asyncio.Event()
        self.idle.set()

    def add(self, run: LocalRun) -> None:
        """Count a run in."""
        self.runs[run] = None
        self.idle.clear()

    def remove(self, run: LocalRun) -> None:
        """Count a run out."""
        self.runs.pop(run, None)
        if not self.runs:
            self.idle.set()

    def close(self) -> None:
        """Give back what was loaded, and forget the calculators of its folder."""
        self.resources.close()
        if self._own is not None:
            self._own.close()


def drive(
    loaded: Loaded,
    request: RunRequest,
    emit: Callable[[str, Packet], None],
    started: Callable[[CalculatorGraph], None] = lambda graph: None,
    feed: Callable[[CalculatorGraph], None] | None = None,
    on_done: Callable[[], None] | None = None,
    progress: Progress | None = None,
    *,
    recorded: bool = True,
) -> Exception | None:
    """Run a graph once in this thread, from its start to its end.

    Args:
        loaded: the graph.
        request: what to run it with.
        emit: is given each output stream and packet.
        started: is given the graph as soon as it runs.
        feed: adds its packets, instead of those of the request, over time: nobody waits for the graph meanwhile, so that it gets
            threads of its own.
        on_done: called on some thread when the run has ended.
        progress: is told how far its nodes are.
        recorded: whether its calls are kept for those who look at the graph.

    Returns:
        What it failed with; None if it went well.
    """
    recording: Recording | None = None
    failure: Exception | None = None
    try:
        graph = loaded.resources.graph(loaded.plan)
        if recorded:
            recording = loaded.recorder.begin(graph, request)
        for port in loaded.plan.graph_outputs:
            graph.observe_output_stream(port[2], emit)
        side_packets = {**loaded.resources.side_packets, **request.side_packets}
        if progress is not None:
            graph.set_service(PROGRESS, progress)
            if recording is not None:
                progress.on_tell = recording.tracer.note_step
        graph.start_run(side_packets, deferred=feed is None, on_done=on_done)
        started(graph)
        if feed is not None:
            feed(graph)
        else:
            for stream, value in request.inputs.items():
                graph.add_packet_to_input_stream(stream, Packet(value).at(request.timestamp))
        graph.close_all_packet_sources()
        graph.wait_until_done()
    except Exception as error:
        failure = error
    except BaseException as error:
        # SystemExit and its like must not travel into the event loop, where they would end the server.
        failure = RuntimeError(f"a calculator raised {error!r}")
        failure.__cause__ = error
    if recording is not None:
        loaded.recorder.end(recording, failure)
    return failure


def run_at_once(loaded: Loaded, request: RunRequest) -> list[Event]:
    """Run a graph whose nodes never wait (``Plan.nonblocking``) in this thread; its output packets.

    Raises:
        GraphError: the run failed.
    """
    events: list[Event] = []
    error = drive(
        loaded,
        request,
        lambda stream, packet: events.append(Event(stream, packet.value, int(packet.timestamp))),
        recorded=loaded.recorder.is_watched,
    )
    if error is not None:
        raise error
    return events


class LocalRun:
    """One run between the event loop, where its caller waits, and the worker thread that drives the graph.

    Everything is called on the event loop, but for ``_drive``, ``_emit`` and ``_notify``, which the graph's threads call.
    """

    def __init__(self, loaded: Loaded, request: RunRequest) -> None:
        self.loaded = loaded
        self.request = request
        self._progress = Progress()
        self.held: list[asyncio.Semaphore | GroupSlots] = []
        self.started = False
        self._loop = asyncio.get_running_loop()
        self._cancelled: RunCancelledError | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._graph: CalculatorGraph | None = None
        self._events: deque[Event | Refused] = deque()
        self._error: Exception | None = None
        self._driven = False
        self._ended = False
        self._notified = False
        self._wanted: asyncio.Future[None] | None = None
        self._on_end: Callable[[LocalRun], None] = lambda run: None

    async def wait_for(self, slots: asyncio.Semaphore | GroupSlots) -> None:
        """Take a slot, unless ``cancel`` comes first.

        Raises:
            RunCancelledError: it did.
        """
        self._waiting = task = asyncio.current_task()
        try:
            await slots.acquire()
        except asyncio.CancelledError:
            # As asyncio.timeout does it: a cancellation that we asked for becomes our exception, one from outside goes on.
            if self._cancelled is not None and task is not None and task.uncancel() == 0:
                raise self._cancelled.with_traceback(None) from None
            raise
        finally:
            self._waiting = None
        self.held.append(slots)

    def start(self, pool: ThreadPoolExecutor, on_end: Callable[[LocalRun], None]) -> None:
        """Begin; ``on_end`` is called on the event loop when the graph is done, whether anybody still waits or not."""
        self.started = True
        self._on_end = on_end
        pool.submit(self._drive)

    async def next_event(self) -> Event | Refused | None:
        """The next output packet; None at the end of a run that went well.

        Raises:
            RunCancelledError: as soon as the run is cancelled; the graph may need a while to end.
            GraphError: the run failed.
        """
        while True:
            if self._cancelled is not None:
                raise self._cancelled.with_traceback(None)
            if self._events:
                return self._events.popleft()
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._wanted = self._loop.create_future()
            await self._wanted

    @property
    def progress(self) -> RunProgress | None:
        """How far it is; None once it was cancelled."""
        if self._cancelled is not None:
            return None
        name, at_once = self.loaded.name, self.loaded.works_at_once
        steps = self._progress.steps
        earlier = list(takewhile(lambda run: run is not self, self.loaded.runs))
        begun = sum(run.started for run in earlier)
        if steps is None and (not self.started or begun >= at_once):
            return RunProgress("waiting", name, position=len(earlier) - min(begun, at_once) + 1)
        return RunProgress("running", name, None, *(steps or ()))

    def cancel(self, why: RunCancelledError) -> None:
        """Make the run end soon; nothing happens to one that has ended, or is cancelled already."""
        if self._ended or self._cancelled is not None:
            return
        self._cancelled = why
        if self._waiting is not None:
            self._waiting.cancel()
        if self._graph is not None:
            # on_cancel callbacks of calculators run inside: not on the event loop.
            threading.Thread(target=self._graph.cancel, name="graph-cancel", daemon=True).start()
        self._wake()

    def _drive(self) -> None:
        self._driven_by()

    def _driven_by(
        self, feed: Callable[[CalculatorGraph], None] | None = None, on_done: Callable[[], None] | None = None
    ) -> None:
        self._error = drive(self.loaded, self.request, self._emit, self._started_graph, feed, on_done, self._progress)
        self._driven = True
        self._notify()

    def _started_graph(self, graph: CalculatorGraph) -> None:
        # cancel() sets the reason before it looks for the graph, we do it the other way round: one of us sees both.
        self._graph = graph
        if self._cancelled is not None:
            graph.cancel()

    def _emit(self, stream: str, packet: Packet) -> None:
        self._events.append(Event(stream, packet.value, int(packet.timestamp)))
        self._notify()

    def _notify(self) -> None:
        if self._notified:
            return
        self._notified = True
        with suppress(RuntimeError):  # the loop is closed: the server has gone without waiting for this run
            self._loop.call_soon_threadsafe(self._notice)

    def _notice(self) -> None:
        self._notified = False  # before looking: what comes after this line notifies anew
        if self._driven and not self._ended:
            self._ended = True
            self._graph = None
            self._on_end(self)
        self._wake()

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
