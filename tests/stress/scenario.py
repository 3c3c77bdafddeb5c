"""One scenario of the stress run: a random graph, run by several threads that do to it all that its methods allow."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from random import Random
from typing import Any

from graph_runtime import CalculatorGraph, GraphError, GraphInputStreamAddMode, Packet, Plan, StatusCode, aio
from graph_runtime._engine import workers
from graph_runtime._engine.run import Run
from graph_runtime.poller import OutputStreamPoller
from tests.stress.graphs import RandomGraph, random_graph
from tests.stress.ledger import PLANNED, Ledger, check, row

MEANT = (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.OUT_OF_RANGE)
"""Codes of errors that calls with a time limit, full graphs and ended runs raise."""


class FaultError(AssertionError):
    """The graph did what it may not do."""


class Scenario:
    """Everything that follows from one seed, but for the timing of threads."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.random_graph: RandomGraph = random_graph(self.rng)
        self.plan = Plan(self.random_graph.text, executors=self.random_graph.callers_executors)
        self.watched: list[CalculatorGraph] = []
        """For the watchdog."""

    def play(self) -> None:
        """Run the graph, or several of the plan at once.

        Raises:
            FaultError: something is wrong.
        """
        with self._executors() as executors:
            # Adding by asyncio waits for room, which may never come beside a source that keeps the graph from being idle.
            is_plain = not (self.random_graph.fed_inside or self.random_graph.has_endless_source)
            if self.rng.random() < 0.12 and is_plain:
                asyncio.run(_AsyncPlay(self, executors).play())
            elif self.rng.random() < 0.15:
                plays = [_Play(self, executors, self.rng.randrange(2**32)) for _ in range(3)]
                _join([_Thread(play.play) for play in plays])
            else:
                _Play(self, executors, self.rng.randrange(2**32)).play()

    @contextmanager
    def _executors(self) -> Iterator[dict[str, Any]]:
        pools = {name: ThreadPoolExecutor(self.rng.randint(1, 4)) for name in self.random_graph.callers_executors}
        try:
            yield {name: pool.submit for name, pool in pools.items()}
        finally:
            for pool in pools.values():
                pool.shutdown()

    def new_graph(self, executors: dict[str, Any]) -> CalculatorGraph:
        """A graph of the plan, which the watchdog knows."""
        graph = CalculatorGraph(self.plan, executors=executors)
        self.watched.append(graph)
        return graph


class _Play:
    """One graph object: one to three runs."""

    def __init__(self, scenario: Scenario, executors: dict[str, Any], seed: int) -> None:
        self.rng = rng = Random(seed)
        self.random_graph = scenario.random_graph
        self.graph = scenario.new_graph(executors)
        # A source that never rests keeps the graph from being idle, and what is full because another input is not fed from growing.
        if self.random_graph.has_endless_source or rng.random() < 0.3:
            self.graph.graph_input_stream_add_mode = GraphInputStreamAddMode.ADD_IF_NOT_FULL
        if rng.random() < 0.1:
            self.graph.enable_tracing(capacity=50)
        self.ledger = Ledger(self.random_graph.habits, self.graph)
        self.pollers: list[OutputStreamPoller] = []
        streams = self.random_graph.streams
        observed = rng.sample(streams, rng.randint(0, min(3, len(streams))))
        polled = rng.sample(streams, rng.choice([0, 0, 1]))
        self.callback_fails_at = rng.randint(0, 30) if observed and rng.random() < 0.03 else -1
        self.callback_cancels_at = rng.randint(0, 30) if observed and rng.random() < 0.03 else -1
        self.callbacks = 0
        self.fed = 0
        # Whoever closes an input knows what was added before it.
        self.locks = {name: threading.Lock() for name in self.random_graph.inputs + self.random_graph.fed_inside}
        self.closed: set[str] = set()
        for name in observed:
            self.graph.observe_output_stream(name, self._on_packet)
        for name in polled:
            self.pollers.append(self.graph.add_output_stream_poller(name))
        self.observed = [*observed, *polled]
        self.error_texts: list[str] = []

    def _on_packet(self, name: str, packet: Packet) -> None:
        ledger = self.ledger
        if not packet.is_empty():
            ledger.observed[name].append(row(packet))
        self.callbacks += 1
        if self.callbacks - 1 == self.callback_fails_at:
            ledger.plan("callback fails")
            raise ValueError(f"callback {PLANNED}")
        if self.callbacks - 1 == self.callback_cancels_at:
            ledger.plan("cancel")
            self.graph.cancel()
        for stream in self.random_graph.fed_inside:
            if self.fed < 30:
                with self.locks[stream]:  # callbacks of different streams may come at once
                    self.fed += 1
                    self._add_locked(stream, self.fed)

    def play(self) -> None:
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            self._run_once()

    def _run_once(self) -> None:
        ledger = self.ledger = Ledger(self.random_graph.habits, self.graph)
        self.callbacks = self.fed = 0
        self.closed.clear()
        self.error_texts = []
        for poller in self.pollers:
            poller.reset()
        self._try(lambda: self.graph.start_run({"ledger": ledger}, deferred=self.rng.random() < 0.2))
        run = weakref.ref(self.graph._run) if self.graph._run is not None else None
        count = self.rng.randint(1, 3)
        may_end_early = self.rng.random() < 0.3
        threads = [
            _Thread(self._drive, Random(self.rng.randrange(2**32)), number, count, may_end_early)
            for number in range(count)
        ]
        _join(threads)
        self._try(self.graph.resume)
        if self.random_graph.has_endless_source or self.rng.random() < 0.5:
            self._close_all()
        else:
            for name in self.locks:
                self._close(name)
        polled = self.rng.random() < 0.7 and self.pollers
        if polled:
            self._poll_to_the_end()
        if not self._try(self.graph.wait_until_done):
            self._try(self.graph.wait_until_done)  # after a KeyboardInterrupt
        ledger.is_over = True
        if run is not None and run() is not None and not run().is_done:  # type: ignore[union-attr]
            raise FaultError("wait_until_done returned before the end")
        self._poll_to_the_end()
        self._judge()

    def _poll_to_the_end(self) -> None:
        for poller in self.pollers:
            rows = self.ledger.polled[poller.stream_name]
            for _ in range(2):  # once more after a KeyboardInterrupt
                self._try(partial(rows.extend, map(row, poller)))

    def _judge(self) -> None:
        ledger = self.ledger
        failed = bool(self.error_texts)
        meant = ledger.planned["cancel"] or any(kind.endswith("fails") for kind in ledger.planned)
        unplanned = [text for text in self.error_texts if PLANNED not in text and "was cancelled" not in text]
        if failed and not meant:
            raise FaultError(f"the run failed without a reason: {self.error_texts}")
        if unplanned:
            raise FaultError(f"errors that nobody planned: {unplanned}")
        if self.graph.has_error():
            raise FaultError("has_error() after wait_until_done()")
        is_regular = not failed and not ledger.planned["cancel"]
        if is_regular and any(kind.endswith("fails") for kind in ledger.planned):
            raise FaultError(f"a failure was swallowed: {dict(ledger.planned)}")
        wrong = check(ledger, is_regular=is_regular)
        if wrong:
            raise FaultError("\n".join(wrong))

    # ---- what the threads do

    def _drive(self, rng: Random, number: int, count: int, may_end_early: bool) -> None:
        mine = [name for position, name in enumerate(self.random_graph.inputs) if position % count == number]
        clocks = dict.fromkeys(mine, 0)
        actions: list[Callable[[], object]] = [
            lambda: self.graph.wait_until_idle(timeout_s=rng.choice([0.0, 0.001, 0.02])),
            lambda: self.graph.wait_until_done(timeout_s=rng.choice([0.0, 0.001])),
            self.graph.snapshot,
            lambda: self.graph.snapshot().hang_report(),
            lambda: self._pause(rng),
            lambda: time.sleep(rng.choice([0.0, 0.0005, 0.003])),
        ]
        if self.observed:
            actions.append(lambda: self.graph.wait_for_observed_output(timeout_s=rng.choice([0.0, 0.002])))
        if number == 0:
            actions += [lambda poller=poller: self._poll(poller) for poller in self.pollers]  # type: ignore[misc]
        for _ in range(rng.randint(1, 60)):
            chance = rng.random()
            if mine and chance < 0.75:
                name = rng.choice(mine)
                for _ in range(rng.choice([1, 1, 3, 20])):
                    clocks[name] += rng.choice([1, 1, 2, 10])
                    self._add(name, clocks[name], is_empty=rng.random() < 0.1)
            elif may_end_early and chance < 0.78:
                self._end_early(rng, mine)
            else:
                self._try(rng.choice(actions))

    def _end_early(self, rng: Random, mine: list[str]) -> None:
        kind = rng.random()
        if kind < 0.3:
            self.ledger.plan("cancel")
            self._try(self.graph.cancel)
        elif kind < 0.5:
            self._close_all()
        elif mine:
            self._close(rng.choice(mine))

    def _close_all(self) -> None:
        with ExitStack() as locks:
            for lock in self.locks.values():
                locks.enter_context(lock)
            self.closed.update(self.locks)
            self._try(self.graph.close_all_packet_sources)

    def _close(self, name: str) -> None:
        with self.locks[name]:
            self.closed.add(name)
            self._try(lambda: self.graph.close_input_stream(name))

    def _add(self, name: str, timestamp: int, *, is_empty: bool = False) -> None:
        with self.locks[name]:
            self._add_locked(name, timestamp, is_empty=is_empty)

    def _add_locked(self, name: str, timestamp: int, *, is_empty: bool = False) -> None:
        if name in self.closed:
            return  # an error of the run, like a packet that is out of order
        sent, entry = self.ledger.sent[name], (timestamp, (name, timestamp))
        if not is_empty:
            sent.append(entry)  # first, for the packet may arrive before the call returns
        packet = Packet() if is_empty else Packet(entry[1])
        if not self._try(lambda: self.graph.add_packet_to_input_stream(name, packet, timestamp)) and not is_empty:
            sent.remove(entry)

    def _pause(self, rng: Random) -> None:
        self.graph.pause()
        try:
            time.sleep(rng.choice([0.0, 0.002]))
            self.graph.snapshot()
        finally:
            self.graph.resume()

    def _poll(self, poller: OutputStreamPoller) -> None:
        packet = poller.next(timeout_s=0.001)
        if packet is not None:
            self.ledger.polled[poller.stream_name].append(row(packet))

    def _try(self, action: Callable[[], object]) -> bool:
        """Do it; errors that the run has a reason for are noted. False when it raised."""
        try:
            action()
        except GraphError as error:
            self._note_error(error)
            return False
        except KeyboardInterrupt as error:
            if PLANNED not in str(error):
                raise
            self.error_texts.append(str(error))
            return False
        return True

    def _note_error(self, error: GraphError) -> None:
        if error.code in MEANT:
            return
        if "before StartRun" in error.message and (self.graph._run is None or self.graph._run.is_over):
            return
        self.error_texts.append(error.message)


class _AsyncPlay:
    """The same in an asyncio program."""

    def __init__(self, scenario: Scenario, executors: dict[str, Any]) -> None:
        self.rng = Random(scenario.rng.randrange(2**32))
        self.random_graph = scenario.random_graph
        self.graph = scenario.new_graph(executors)

    async def play(self) -> None:
        for _ in range(self.rng.choice([1, 2])):
            await self._run_once()

    async def _run_once(self) -> None:
        ledger = Ledger(self.random_graph.habits, self.graph)
        streams = self.random_graph.streams
        outputs = self.rng.sample(streams, min(len(streams), 2))
        leaves = self.rng.random() < 0.3
        error: BaseException | None = None
        try:
            async with (
                asyncio.timeout(0.01 if leaves else None),
                aio.running(self.graph, {"ledger": ledger}, outputs=outputs) as run,
                asyncio.TaskGroup() as group,
            ):
                for name in outputs:
                    group.create_task(self._take(run, ledger, name))
                await asyncio.gather(*(self._feed(run, ledger, name) for name in self.random_graph.inputs))
                run.close_inputs()
        except TimeoutError as raised:
            error = raised
            ledger.plan("cancel")
        except (GraphError, BaseExceptionGroup) as raised:
            error = raised
        ledger.is_over = True
        run_now = self.graph._run
        if run_now is not None and not run_now.is_done:
            raise FaultError("aio.running ended before its run")
        failed = any(kind.endswith("fails") for kind in ledger.planned)
        if (error is not None) != (failed or bool(ledger.planned["cancel"])):
            raise FaultError(f"raised {error!r}, planned {dict(ledger.planned)}") from error
        wrong = check(ledger, is_regular=error is None)
        if wrong:
            raise FaultError("\n".join(wrong))

    async def _feed(self, run: aio.AsyncRun, ledger: Ledger, name: str) -> None:
        for timestamp in range(1, self.rng.randint(1, 60)):
            value = (name, timestamp)
            ledger.sent[name].append((timestamp, value))
            await run.add(name, Packet(value), timestamp)
        self.graph.close_input_stream(name)

    async def _take(self, run: aio.AsyncRun, ledger: Ledger, name: str) -> None:
        async for packet in run.output(name):
            ledger.observed[name].append(row(packet))


class _Thread(threading.Thread):
    """A thread whose exception is raised where it is joined."""

    def __init__(self, action: Callable[..., None], *arguments: Any) -> None:
        super().__init__(name="stress", daemon=True)
        self._action = action
        self._arguments = arguments
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._action(*self._arguments)
        except BaseException as error:
            self.error = error


def _join(threads: list[_Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in threads:
        if thread.error is not None:
            raise thread.error


def kept_runs() -> list[Run]:
    """The runs that are in memory."""
    gc.collect()
    with suppress(ReferenceError):
        return [each for each in gc.get_objects() if type(each) is Run]
    return []


def check_for_leaks(others: Sequence[Run] = (), patience_s: float = 10.0) -> None:
    """Between scenarios: no thread is busy, and no run is kept.

    Args:
        others: runs from before the first scenario: what else went on in this process may keep some.
        patience_s: how long threads may be busy.

    Raises:
        FaultError: some are.
    """
    deadline = time.monotonic() + patience_s
    while True:
        ours = [thread for thread in threading.enumerate() if isinstance(thread, workers._Worker)]
        busy = [thread for thread in ours if thread not in workers._idle and thread.is_alive()]
        if not busy or time.monotonic() > deadline:
            break
        time.sleep(0.002)
    if busy:
        raise FaultError(f"{len(busy)} worker threads do not come back")
    left = [thread.name for thread in threading.enumerate() if thread.name == "stress"]
    if left:
        raise FaultError(f"{len(left)} threads of the stress run itself are left")
    runs = [run for run in kept_runs() if not any(run is other for other in others)]
    if runs:
        raise FaultError(f"{len(runs)} finished runs are kept in memory")
