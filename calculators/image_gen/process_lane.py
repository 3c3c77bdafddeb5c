"""ProcessLane: a lane whose engine lives in a supervised child process.

OpenVINO GenAI is native code: some inputs can crash it, loading a model holds the interpreter's lock for seconds, and its
memory comes back only when its process ends. In a child of its own none of this touches the server. A crash costs the request
that was running; the lane starts a new child at once and goes on. A generation that fails inside OpenVINO GenAI is treated as a
crash: what it leaves behind can make the next requests fail, so that the child is replaced too. If a child cannot be started,
requests are refused (503) until the next attempt is due, after 1, 2, 4 ... at most 60 seconds; the lane makes it by itself, so
that a server to which nobody sends requests, since it is not ready, becomes ready again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from calculators.child_process import ChildEndedError, ChildProcess
from calculators.http_payload import RequestError
from calculators.image_gen.errors import (
    NOT_STARTED,
    EngineSpoiltError,
    cancelled_error,
    closed_error,
    crashed_error,
    unavailable_error,
)
from calculators.image_gen.generation import GenerationResult, PartialImage
from calculators.image_gen.lane import IdleUnload, Job, QueuedLane, log_loaded
from calculators.image_gen.options import LoadSettings
from calculators.load_error import LoadError
from calculators.statistics import ImageStatistics
from graph_runtime.errors import StatusCode

_log = logging.getLogger(__name__)

_MOST_CHILDREN: Final = 3
_LONGEST_PAUSE_S: Final = 60.0
WORKER: Final = ("-m", "calculators.image_gen.lane_worker")


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a child process is watched.

    Attributes:
        load_s: the longest a model may take to load, in seconds.
        stall_s: the longest that a running generation may go without a step; then the child is ended as if it had crashed. Must be
            longer than one step of the largest picture, and than decoding and encoding it.
        command: arguments for the Python interpreter that start the worker.
        clock: seconds that only grow; tests give another one.
    """

    load_s: float = 1800.0
    stall_s: float = 600.0
    command: Sequence[str] = WORKER
    clock: Callable[[], float] = time.monotonic


class ProcessLane(QueuedLane):
    """A lane in a child process; see the module.

    Args:
        name: for messages.
        load: what to load.
        supervision: how the child is watched.
        idle: when to end the child although the lane goes on.

    Raises:
        LoadError: the model cannot be loaded, or the child process ended over it.
    """

    kind = "process"

    def __init__(
        self, name: str, load: LoadSettings, supervision: Supervision | None = None, idle: IdleUnload | None = None
    ) -> None:
        super().__init__(name, idle)
        self._load = load
        self._supervision = supervision or Supervision()
        self._child: _Child | None = None
        self._starting: _Child | None = None
        self._failed_starts = 0
        self._next_attempt = 0.0
        self._child = self._start_child()
        log_loaded(name, self.loaded)
        self.start()

    def describe(self) -> dict[str, Any]:
        """As every lane, and the child's process id and how often it was replaced."""
        child = self._child
        about = super().describe()
        about.update(pid=child.pid if child is not None and child.is_alive() else None, restarts=self._restarts)
        return about

    def statistics(self) -> ImageStatistics:
        """As every lane, and the memory of the child."""
        child = self._child
        return super().statistics() + ImageStatistics(memory_bytes=0 if child is None else child.memory_bytes())

    def _run(self, job: Job) -> GenerationResult:
        for _ in range(_MOST_CHILDREN):
            child = self._child or self._replace_child()
            try:
                return child.generate(job, self._supervision.stall_s)
            except EngineSpoiltError as error:
                self._child = None
                child.end()
                _log.error("%s: a generation failed; the engine is started anew: %s", self.name, error.message)
                job.end(error)  # before the new child loads: the caller need not wait for that
                with suppress(RequestError):
                    self._replace_child()
                raise
            except ChildEndedError as ended:
                self._child = None
                child.end()
                if self._closed:
                    raise closed_error() from ended
                _log.error("%s: the image engine %s", self.name, ended)
                if child.started_job:
                    job.end(crashed_error(ended.how))  # before the new child loads: the caller need not wait for that
                    with suppress(RequestError):
                        self._replace_child()
                    raise crashed_error(ended.how) from ended
                # It ended before this request had reached it: not this request's doing, so the next child gets it.
        raise crashed_error("ended again and again")

    def _replace_child(self) -> _Child:
        """A new child after one that ended.

        Raises:
            RequestError: 503, none can be started, or the next attempt is not due yet.
        """
        clock = self._supervision.clock
        wait_s = self._next_attempt - clock()
        if self._failed_starts and wait_s > 0:
            raise unavailable_error(NOT_STARTED, retry_after_s=wait_s)
        try:
            child = self._child = self._start_child()
        except LoadError as error:
            if self._closed:
                raise closed_error() from error
            self._failed_starts += 1
            self._reason = error.message
            pause_s = min(_LONGEST_PAUSE_S, 2.0 ** (self._failed_starts - 1))
            self._next_attempt = clock() + pause_s
            _log.error(
                "%s: the engine could not be started again; next attempt in %g s: %s", self.name, pause_s, error.message
            )
            raise unavailable_error(NOT_STARTED, retry_after_s=pause_s) from error
        if self._closed:  # a close() just now has seen it neither as starting nor as running
            child.end()
            raise closed_error()
        self._failed_starts = 0
        self._reason = ""
        self._restarts += not self._unloaded
        self._unloaded = False
        return child

    def _unload(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _mends_in_s(self) -> float | None:
        return max(0.0, self._next_attempt - self._supervision.clock()) if self._failed_starts else None

    def _mend(self) -> None:
        with suppress(RequestError):
            self._replace_child()

    def _start_child(self) -> _Child:
        child = self._starting = _Child(self.name, self._supervision.command)
        try:
            if self._closed:  # a close() that came before the line above has not seen this child
                raise closed_error()
            child.load(self._load, self._supervision.load_s)
            self.loaded = child.about
        except ChildEndedError as ended:
            child.end()
            wrote = " | ".join(ended.tail) or "it wrote nothing"
            raise LoadError(f"the process that loads the model {ended.how}: {wrote}") from ended
        except BaseException:
            child.end()
            raise
        finally:
            self._starting = None
        return child

    def _shut(self) -> None:
        for child in (self._starting, self._child):
            if child is not None:
                child.end()


class _Child(ChildProcess):
    """The process, and the talk with it. Used by the lane's thread; ``end`` and the sending of cancellations by any."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        super().__init__(name, command)
        self.about: dict[str, Any] = {}
        self.started_job = False
        self._jobs = 0

    def load(self, load: LoadSettings, timeout_s: float) -> None:
        self.send({"type": "load", "load": load.to_json()})
        answer, _ = self.receive(timeout_s, f"did not load within {timeout_s:g} s and was ended")
        if answer["type"] == "load_failed":
            raise LoadError(answer["message"], field=answer["field"], code=StatusCode(answer["code"]))
        self.about = answer["about"]

    def generate(self, job: Job, stall_s: float) -> GenerationResult:
        self._jobs += 1
        number = self._jobs
        self.started_job = False
        values, uploads = job.request.to_message()
        self.send({"type": "generate", "id": number, "request": values}, uploads)
        forget = job.cancellation.on_cancel(lambda: self._send_cancel(number))
        try:
            while True:
                message, block = self.receive(stall_s, f"made no step for {stall_s:g} s and was ended")
                self.started_job = True
                kind = message["type"]
                if kind == "step":
                    job.step(message["done"], message["total"])
                elif kind == "partial":
                    job.partial(PartialImage(message["picture"], message["index"], block))
                elif kind == "done":
                    return GenerationResult.from_message(message["result"], block)
                elif kind == "cancelled":
                    raise cancelled_error()
                elif kind == "failed":
                    raise (EngineSpoiltError if message["spoilt"] else RequestError)(**message["error"])
        finally:
            forget()

    def _send_cancel(self, number: int) -> None:
        with suppress(ChildEndedError):  # generate() notices that itself
            self.send({"type": "cancel", "id": number})
