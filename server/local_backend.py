"""The backend of one process: every run has a CalculatorGraph and a worker thread of its own."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from calculators import Resources, load_resources
from calculators.image_gen.request_rules import ImageStore, RequestSettings
from graph_runtime import CalculatorGraph, Packet, Plan
from graph_runtime.config import read_graph
from graph_runtime.errors import raise_problems
from server.backend import DeadlineError, Event, Handle, Occupancy, RunCancelledError, RunRequest, StoppedError
from server.clock import Clock, SystemClock
from server.discovery import GRAPH_FILE, ServableSpec
from server.interface import interface_of, unservable
from server.settings import Settings

T = TypeVar("T")
_log = logging.getLogger("graph_runtime.server")


class LocalBackend:
    """Runs graphs on worker threads of this process; image models live in child processes (``load_resources``).

    Requests beyond the limits of the settings wait as coroutines, first come first served, and hold no thread.
    See :class:`server.backend.Backend` for what the methods promise.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, store: ImageStore | None = None) -> None:
        self._settings = settings
        self._clock = SystemClock() if clock is None else clock
        self._store = store
        self._pool = ThreadPoolExecutor(settings.run_threads, thread_name_prefix="graph-run")
        self._slots = asyncio.Semaphore(settings.run_threads)
        self._loaded: dict[int, _Loaded] = {}
        self._runs: set[_Run] = set()
        self._keys = itertools.count(1)
        self._stopped: StoppedError | None = None

    async def load(self, spec: ServableSpec) -> Handle:
        """Parse, validate and load, on a thread of its own."""
        requests = RequestSettings(
            spec.model.quality, self._settings.max_upload_bytes, self._settings.max_upload_pixels, self._store
        )
        plan, resources = await in_thread(
            f"load {spec.name}",
            lambda: _load(spec, requests, self._settings.cache_dir),
            undo=lambda made: made[1].close(),
        )
        handle = Handle(spec.name, next(self._keys), interface_of(plan), resources.aliases())
        self._loaded[handle.key] = _Loaded(spec.name, plan, resources, self._settings.runs_per_servable)
        return handle

    async def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Wait for a free slot, then run; the slot is free again when the run has really ended."""
        if self._stopped is not None:
            raise self._stopped.with_traceback(None)  # one object for all: it must not collect their tracebacks
        run = _Run(self._loaded[handle.key], request)
        self._runs.add(run)
        run.loaded.add(run)
        timer = asyncio.create_task(self._end_in_time(run)) if request.timeout_s else None
        try:
            try:
                await run.wait_for(run.loaded.slots)
                await run.wait_for(self._slots)
            except BaseException:
                self._forget(run)
                raise
            run.start(self._pool, self._forget)
            try:
                while True:
                    event = await run.next_event()
                    if event is None:
                        break
                    yield event
            finally:
                run.cancel(RunCancelledError("its caller left"))
        finally:
            if timer is not None:
                timer.cancel()

    async def _end_in_time(self, run: _Run) -> None:
        limit_s = run.request.timeout_s
        await self._clock.sleep(limit_s)
        run.cancel(DeadlineError(f"it took longer than {limit_s:g} seconds, the most that this server allows"))

    def _forget(self, run: _Run) -> None:
        for semaphore in run.held:
            semaphore.release()
        self._runs.discard(run)
        run.loaded.remove(run)

    def cancel(self, run_id: str, reason: str) -> int:
        """Cancel by id."""
        chosen = [run for run in self._runs if run.request.run_id == run_id]
        for run in chosen:
            run.cancel(RunCancelledError(reason))
        return len(chosen)

    def occupancy(self, handle: Handle) -> Occupancy:
        """Count the runs of a servable."""
        loaded = self._loaded.get(handle.key)
        runs = loaded.runs if loaded is not None else ()
        running = sum(run.started for run in runs)
        return Occupancy(running, len(runs) - running)

    def trouble(self, handle: Handle) -> str | None:
        """What the resources say."""
        loaded = self._loaded.get(handle.key)
        nodes = {} if loaded is None else loaded.resources.trouble()
        return "\n".join(f'node "{name}": {why}' for name, why in nodes.items()) or None

    async def unload(self, handle: Handle) -> None:
        """Wait for the runs, then close the resources on a thread of their own."""
        loaded = self._loaded.pop(handle.key)
        await loaded.idle.wait()
        await in_thread(f"unload {loaded.name}", loaded.resources.close)

    def stop(self, reason: str) -> None:
        """Cancel every run and refuse new ones."""
        self._stopped = StoppedError(reason)
        for run in list(self._runs):
            run.cancel(self._stopped)

    async def close(self) -> list[str]:
        """Stop; give runs and resources the grace of the settings each."""
        if self._stopped is None:
            self.stop("the server is shutting down")
        late = []
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.shutdown_grace_s):
                for loaded in self._loaded.values():
                    await loaded.idle.wait()
        closing = {
            asyncio.create_task(in_thread(f"unload {loaded.name}", loaded.resources.close)): loaded
            for loaded in self._loaded.values()
        }
        if closing:
            done, pending = await asyncio.wait(closing, timeout=self._settings.shutdown_grace_s)
            late += [f"{closing[task].name}: its resources were not given back in time" for task in pending]
            for task in pending:
                task.cancel()
            for task in done:
                error = task.exception()
                if error is not None:
                    _log.error("unloading %s failed", closing[task].name, exc_info=error)
        late += [
            f"{loaded.name}: {len(loaded.runs)} run(s) did not end in time"
            for loaded in self._loaded.values()
            if loaded.runs
        ]
        self._loaded.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        return late


def _load(spec: ServableSpec, requests: RequestSettings, cache_dir: Path | None) -> tuple[Plan, Resources]:
    # Places in error texts start at the model folder: clients see them, and need not know the rest of the path.
    label = f"{spec.name}/{GRAPH_FILE}"
    plan = Plan(spec.graph_file, file=label)
    raise_problems("This graph cannot be served.", unservable(plan))
    source = read_graph(spec.graph_file, file=label)
    return plan, load_resources(
        source,
        spec.base_dir,
        lane="process",
        requests=requests,
        cache_dir=cache_dir,
        lanes=spec.model.lanes,
        idle_unload_s=spec.model.idle_unload_s,
    )


class _Loaded:
    """A graph with its resources, and the runs that use them."""

    def __init__(self, name: str, plan: Plan, resources: Resources, runs_at_once: int) -> None:
        self.name = name
        self.plan = plan
        self.resources = resources
        self.slots = asyncio.Semaphore(runs_at_once)
        self.runs: set[_Run] = set()
        self.idle = asyncio.Event()
        self.idle.set()

    def add(self, run: _Run) -> None:
        self.runs.add(run)
        self.idle.clear()

    def remove(self, run: _Run) -> None:
        self.runs.discard(run)
        if not self.runs:
            self.idle.set()


class _Run:
    """One run between the event loop, where its caller waits, and the worker thread that drives the graph.

    Everything is called on the event loop, but for ``_drive``, ``_emit`` and ``_notify``, which the graph's threads call.
    """

    def __init__(self, loaded: _Loaded, request: RunRequest) -> None:
        self.loaded = loaded
        self.request = request
        self.held: list[asyncio.Semaphore] = []
        self.started = False
        self._loop = asyncio.get_running_loop()
        self._cancelled: RunCancelledError | None = None
        self._waiting: asyncio.Task[object] | None = None
        self._graph: CalculatorGraph | None = None
        self._events: deque[Event] = deque()
        self._error: Exception | None = None
        self._driven = False
        self._ended = False
        self._notified = False
        self._wanted: asyncio.Future[None] | None = None
        self._on_end: Callable[[_Run], None] = lambda run: None

    async def wait_for(self, slots: asyncio.Semaphore) -> None:
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

    def start(self, pool: ThreadPoolExecutor, on_end: Callable[[_Run], None]) -> None:
        """Begin; ``on_end`` is called on the event loop when the graph is done, whether anybody still waits or not."""
        self.started = True
        self._on_end = on_end
        pool.submit(self._drive)

    async def next_event(self) -> Event | None:
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
        try:
            graph = CalculatorGraph(self.loaded.plan)
            for port in self.loaded.plan.graph_outputs:
                graph.observe_output_stream(port[2], self._emit)
            graph.start_run({**self.loaded.resources.side_packets, **self.request.side_packets}, deferred=True)
            # cancel() sets the reason before it looks for the graph, we do it the other way round: one of us sees both.
            self._graph = graph
            if self._cancelled is not None:
                graph.cancel()
            for stream, value in self.request.inputs.items():
                graph.add_packet_to_input_stream(stream, Packet(value).at(0))
            graph.close_all_packet_sources()
            graph.wait_until_done()
        except Exception as error:
            self._error = error
        except BaseException as error:
            # SystemExit and its like must not travel into the event loop, where they would end the server.
            self._error = RuntimeError(f"a calculator raised {error!r}")
            self._error.__cause__ = error
        self._driven = True
        self._notify()

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


async def in_thread(name: str, work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Do blocking work on a daemon thread of its own, which never holds up the end of the process.

    When the waiting task is cancelled the work goes on, and ``undo`` takes its result back.
    """
    loop = asyncio.get_running_loop()
    finished = loop.create_future()
    lock = threading.Lock()
    results: list[T] = []
    errors: list[Exception] = []
    abandoned = False

    def arrived() -> None:
        if not finished.done():
            finished.set_result(None)

    def body() -> None:
        try:
            result = work()
        except Exception as error:
            errors.append(error)
        except BaseException as error:
            errors.append(RuntimeError(f"{name}: raised {error!r}"))
        else:
            with lock:
                results.append(result)
                late = abandoned
            if late and undo is not None:
                undo(result)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(arrived)

    threading.Thread(target=body, name=name, daemon=True).start()
    try:
        await finished
    except asyncio.CancelledError:
        with lock:
            abandoned = True
            done = list(results)
        if done and undo is not None:
            threading.Thread(target=undo, args=(done[0],), name=f"undo {name}", daemon=True).start()
        raise
    if errors:
        raise errors[0]
    return results[0]
