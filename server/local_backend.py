"""The backend of one process: every run has a CalculatorGraph of its own, and a worker thread unless none of its nodes waits."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from calculators import load_resources
from calculators.image_gen.abilities import ImageAbilities
from calculators.image_gen.calculator import SIDE_PACKET
from calculators.image_gen.request_rules import ImageStore, RequestSettings
from calculators.inference.session_calculator import SERVICE
from calculators.inference.session_pool import SessionPool
from calculators.statistics import ImageStatistics
from graph_runtime.errors import raise_problems
from graph_runtime.folder_code import FolderCode
from server.arrival import too_late
from server.backend import (
    Event,
    Feed,
    Handle,
    Limits,
    Occupancy,
    Refused,
    RunCancelledError,
    RunProgress,
    RunRequest,
    StoppedError,
)
from server.classic_models import graph_of
from server.clock import Clock, SystemClock
from server.conversation import Conversation
from server.discovery import ServableSpec
from server.fair_slots import FairSlots
from server.graph_checks import graph_problems
from server.graph_queue import read_graph_queue
from server.graph_report import GraphPicture, GraphReport, picture_of
from server.graph_source import calculators_beside, loadable, plan_servable, read_servable
from server.interface import interface_of, unservable
from server.local_run import Loaded, LocalRun, run_at_once
from server.settings import Settings

T = TypeVar("T")
WAITING_FOR_EACH = 16
"""How many requests may wait for each that is worked on, where nothing is said: a client that waits for a picture of ten seconds
waits less than three minutes."""

_log = logging.getLogger("graph_runtime.server")


class LocalBackend:
    """Runs graphs on worker threads of this process; image models live in child processes (``load_resources``).

    Requests beyond the limits of the settings wait as coroutines and hold no thread: first come first served, servables in turn.
    See :class:`server.backend.Backend` for what the methods promise.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, store: ImageStore | None = None) -> None:
        self._settings = settings
        self._clock = SystemClock() if clock is None else clock
        self._store = store
        self._pool = ThreadPoolExecutor(settings.run_threads, thread_name_prefix="graph-run")
        self._slots = FairSlots(settings.run_threads)
        self._sessions = SessionPool()
        self._loaded: dict[int, Loaded] = {}
        self._closing: dict[int, asyncio.Task[None]] = {}
        self._done_before: dict[str, dict[str, ImageStatistics]] = {}
        """What unloaded versions have done: a counter does not go back when a servable is loaded anew."""
        self._runs: dict[LocalRun, None] = {}
        self._keys = itertools.count(1)
        self._stopped: StoppedError | None = None

    async def load(self, spec: ServableSpec) -> Handle:
        """Parse, validate and load, on a thread of its own."""
        requests = RequestSettings(
            spec.model.quality, self._settings.max_upload_bytes, self._settings.max_upload_pixels, self._store
        )
        loaded, limits = await in_thread(
            f"load {spec.name}",
            lambda: _load(spec, requests, self._settings, self._sessions, self._clock),
            undo=lambda made: made[0].close(),
        )
        plan, resources = loaded.plan, loaded.resources
        interface = interface_of(
            plan,
            resources.side_packets,
            resources.tensors,
            is_model=spec.graph_file is None and spec.models is not None,
        )
        handle = Handle(
            spec.name,
            next(self._keys),
            interface,
            resources.aliases(),
            limits,
            plan.nonblocking,
            next(
                (ImageAbilities.of(each.rules) for each in resources.side_packets.get(SIDE_PACKET, {}).values()), None
            ),
        )
        self._loaded[handle.key] = loaded
        return handle

    def run(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Run; see ``_lead``."""
        return self._at_once(handle, request) if handle.nonblocking else self._lead(LocalRun, handle, request)

    def run_now(self, handle: Handle, request: RunRequest) -> list[Event]:
        """Run in this thread: sooner done than handed to another."""
        self._refuse_if_stopped()
        return run_at_once(self._loaded[handle.key], request)

    async def _at_once(self, handle: Handle, request: RunRequest) -> AsyncGenerator[Event, None]:
        for event in self.run_now(handle, request):
            yield event

    def _refuse_if_stopped(self) -> None:
        if self._stopped is not None:
            raise self._stopped.with_traceback(None)  # one object for all: it must not collect their tracebacks

    def converse(
        self, handle: Handle, request: RunRequest, feeds: AsyncIterator[Feed | Refused]
    ) -> AsyncGenerator[Event | Refused, None]:
        """Run and feed; see ``_lead``."""
        return self._lead(partial(Conversation, feeds=feeds), handle, request)

    async def _lead(
        self, kind: Callable[[Loaded, RunRequest], LocalRun], handle: Handle, request: RunRequest
    ) -> AsyncGenerator[Any, None]:
        """Wait for a free slot, then run; the slot is free again when the run has really ended."""
        self._refuse_if_stopped()
        run = kind(self._loaded[handle.key], request)
        self._runs[run] = None
        run.loaded.add(run)
        timer = asyncio.create_task(self._end_in_time(run)) if request.timeout_s else None
        try:
            try:
                await run.wait_for(run.loaded.slots)
                await run.wait_for(self._slots.of(run.loaded.name))
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

    async def _end_in_time(self, run: LocalRun) -> None:
        await self._clock.sleep(max(0.0, run.request.timeout_s - run.request.age_s))
        run.cancel(too_late(run.request.timeout_s))

    def _forget(self, run: LocalRun) -> None:
        for slots in run.held:
            slots.release()
        self._runs.pop(run, None)
        run.loaded.remove(run)

    def cancel(self, run_id: str, reason: str) -> int:
        """Cancel by id."""
        chosen = [run for run in self._runs if run.request.run_id == run_id]
        for run in chosen:
            run.cancel(RunCancelledError(reason))
        return len(chosen)

    def progress(self, run_id: str) -> RunProgress | None:
        """Of the first run with this id that was not cancelled."""
        found = (run.progress for run in self._runs if run.request.run_id == run_id)
        return next((each for each in found if each is not None), None)

    def occupancy(self, handle: Handle) -> Occupancy:
        """Count the runs of a servable."""
        loaded = self._loaded.get(handle.key)
        runs = loaded.runs if loaded is not None else ()
        running = min(sum(run.started for run in runs), handle.limits.at_once)
        return Occupancy(running, len(runs) - running)

    def picture(self, handle: Handle) -> GraphPicture:
        """What was made of it at load."""
        return self._loaded[handle.key].picture

    def report(self, handle: Handle) -> GraphReport:
        """What the recorder has."""
        return self._loaded[handle.key].recorder.report()

    def statistics(self) -> Mapping[str, Mapping[str, ImageStatistics]]:
        """What the resources say, those that are gone included."""
        found = {name: dict(nodes) for name, nodes in self._done_before.items()}
        for loaded in self._loaded.values():
            _add_up(found, loaded.name, loaded.resources.statistics())
        return found

    def trouble(self, handle: Handle) -> str | None:
        """What the resources say."""
        loaded = self._loaded.get(handle.key)
        nodes = {} if loaded is None else loaded.resources.trouble()
        return "\n".join(f'node "{name}": {why}' for name, why in nodes.items()) or None

    async def unload(self, handle: Handle) -> None:
        """Wait for the runs, then close the resources on a thread of their own."""
        await self._loaded[handle.key].idle.wait()
        closing = self._close_resources(handle.key)
        try:
            await asyncio.shield(closing)
        finally:
            if closing.done():  # else whoever waited was cancelled, and close() waits for it
                loaded = self._loaded.pop(handle.key, None)
                if loaded is not None:
                    gone = {
                        node: replace(record, lanes={}, memory_bytes=0)
                        for node, record in loaded.resources.statistics().items()
                    }
                    _add_up(self._done_before, loaded.name, gone)
                self._closing.pop(handle.key, None)

    def _close_resources(self, key: int) -> asyncio.Task[None]:
        """Give the resources of a loaded graph back, once."""
        if key not in self._closing:
            loaded = self._loaded[key]
            self._closing[key] = asyncio.create_task(in_thread(f"unload {loaded.name}", loaded.close))
        return self._closing[key]

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
            async with asyncio.timeout(self._settings.cancel_grace_s):
                for loaded in list(self._loaded.values()):
                    await loaded.idle.wait()
        closing = {self._close_resources(key): loaded for key, loaded in self._loaded.items()}
        if closing:
            done, pending = await asyncio.wait(closing, timeout=self._settings.cancel_grace_s)
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


def _add_up(
    found: dict[str, dict[str, ImageStatistics]], name: str, nodes: Mapping[str, ImageStatistics], **instead: Any
) -> None:
    mine = found.setdefault(name, {})
    for node, record in nodes.items():
        mine[node] = mine.get(node, ImageStatistics()) + replace(record, **instead)


def _limits(spec: ServableSpec, bound: int | None, lanes: int | None, settings: Settings) -> tuple[int, Limits]:
    """How many runs of a servable go on at the same time, and what it can do.

    The setting of the model counts before the bound that the graph itself gives, and this before the server's.

    A run that waits for a lane holds a thread, which other servables may need: one beside those that draw is enough to have the
    next request read and checked when a lane is free.
    """
    model = spec.model
    runs = model.runs_at_once or bound or settings.runs_per_servable
    if lanes is not None and model.runs_at_once is None:
        runs = min(runs, lanes + 1)
    at_once = runs if lanes is None else min(runs, lanes)
    size = settings.queue_size if model.queue_size is None else model.queue_size
    timeout_s = settings.request_timeout_s if model.request_timeout_s is None else model.request_timeout_s
    return runs, Limits(at_once, WAITING_FOR_EACH * at_once if size is None else size, timeout_s)


def _load(
    spec: ServableSpec, requests: RequestSettings, settings: Settings, sessions: SessionPool, clock: Clock
) -> tuple[Loaded, Limits]:
    """The graph with what its nodes need, and what it can do."""
    own = calculators_beside(spec, allowed=settings.allow_python_nodes)
    try:
        return _load_with(own, spec, requests, settings, sessions, clock)
    except BaseException:
        if own is not None:
            own.close()
        raise


def _load_with(
    own: FolderCode | None,
    spec: ServableSpec,
    requests: RequestSettings,
    settings: Settings,
    sessions: SessionPool,
    clock: Clock,
) -> tuple[Loaded, Limits]:
    # Places in error texts start at the model folder: clients see them, and need not know the rest of the path.
    label = f"{spec.name}/{spec.shown_file.name}"
    load = partial(
        load_resources,
        base_dir=spec.base_dir,
        lane="process",
        requests=requests,
        cache_dir=settings.cache_dir,
        lanes=spec.model.lanes,
        idle_unload_s=spec.model.idle_unload_s,
        allow_python_nodes=settings.allow_python_nodes,
        models=spec.models,
        sessions=sessions,
    )
    if spec.is_session:
        with load(read_servable(spec, file=label)) as resources:  # the graph below shares the model
            (session,) = resources.services[SERVICE].values()
            whole = replace(spec, graph_text=graph_of(spec.name, session.signature), is_session=False)
            return _load_with(own, whole, requests, settings, sessions, clock)
    plan = plan_servable(spec, own=own, file=label)
    source = read_servable(spec, file=label)
    queue = read_graph_queue(source)
    problems = [*unservable(plan), *graph_problems(source), *queue.problems]
    raise_problems("This graph cannot be served.", list(dict.fromkeys(problems)))
    for warning in queue.warnings:
        _log.warning("%s", warning)
    resources = load(loadable(plan, source))
    runs, limits = _limits(spec, queue.bound, resources.at_once, settings)
    return Loaded(spec.name, plan, resources, runs, limits.at_once, own, picture_of(plan, spec), clock), limits


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
