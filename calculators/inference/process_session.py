"""ProcessSession: a session whose model lives in a supervised child process.

A crash costs the inferences that were running; the session starts a new child at once, and those that waited go on with it. A child
that does not answer in time is ended as if it had crashed. If none can be started, requests are refused (503) until the next
attempt, after 1, 2, 4 ... at most 60 seconds, has gone well; the session makes it by itself.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from calculators.child_process import ChildEndedError, ChildProcess
from calculators.inference.arrays import Array, arrays_of, bytes_of
from calculators.inference.errors import (
    NOT_STARTED,
    cancelled_error,
    closed_error,
    crashed_error,
    failed_error,
    unavailable_error,
)
from calculators.inference.model_load import ModelLoad
from calculators.inference.session import Job, Session
from calculators.inference.tensors import Signature
from calculators.load_error import LoadError
from graph_runtime.errors import StatusCode

_log = logging.getLogger(__name__)

_LONGEST_PAUSE_S: Final = 60.0
WORKER: Final = ("-m", "calculators.inference.worker")


@dataclass(frozen=True, slots=True)
class SessionSupervision:
    """How a child process is watched.

    Attributes:
        load_s: the longest a model may take to load, in seconds.
        infer_s: the longest that one inference may take; then the child is ended as if it had crashed.
        idle_unload_s: give the memory back after so many seconds without a request; the next one loads the model again.
        command: arguments for the Python interpreter that start the worker.
        clock: seconds that only grow; tests give another one.
    """

    load_s: float = 1800.0
    infer_s: float = 600.0
    idle_unload_s: float | None = None
    command: Sequence[str] = WORKER
    clock: Callable[[], float] = time.monotonic


class ProcessSession(Session):
    """A model in a child process; see the module.

    Args:
        load: what to load.
        supervision: how the child is watched.

    Raises:
        LoadError: the model cannot be loaded, or the child process ended over it.
    """

    kind = "process"

    def __init__(self, load: ModelLoad, supervision: SessionSupervision | None = None) -> None:
        super().__init__(load.name)
        self._load = load
        self._supervision = supervision or SessionSupervision()
        self._starting: _Child | None = None
        self._waiting = 0
        self._reason = ""
        self._failed_starts = 0
        self._next_attempt = 0.0
        self._unloaded = False
        self._restarts = 0
        self._child: _Child | None = self._start_child()
        self.signature = self._child.signature
        self.requests = self._child.requests
        self._used = self._supervision.clock()
        self._keeper = threading.Thread(target=self._keep, name=f"model {load.name}", daemon=True)
        self._keeper.start()

    @property
    def trouble(self) -> str | None:
        """See :class:`Session`."""
        return NOT_STARTED if self._reason else None

    def memory_bytes(self) -> int:
        """See :class:`Session`."""
        child = self._child
        return 0 if child is None else child.memory_bytes()

    def describe(self) -> dict[str, Any]:
        """As every session, and the child's process id and how often it was replaced."""
        child = self._child
        about = super().describe()
        about.update(pid=child.pid if child is not None and child.is_alive() else None, restarts=self._restarts)
        return about | ({"reason": self._reason} if self._reason else {})

    def close(self) -> None:
        """See :class:`Session`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            children = (self._starting, self._child)
        for child in children:
            if child is not None:
                child.end()
        if self._keeper is not threading.current_thread():
            self._keeper.join()

    def _infer(self, job: Job, arrays: Sequence[Array]) -> list[Array]:
        child, number = self._take(job)
        try:
            child.jobs[number] += 1
            count = child.jobs[number]
            job.stop = lambda: child.cancel(number, count)
            if job.cancelled:
                raise cancelled_error(self.name)
            return child.infer(self.name, number, arrays, self._supervision.infer_s)
        except ChildEndedError as ended:
            self._lost(child, ended)
            if self._closed:
                raise closed_error(self.name) from ended
            raise crashed_error(self.name, ended.how) from ended
        finally:
            job.stop = None
            with self._changed:
                self._running -= 1
                self._used = self._supervision.clock()
                child.free.append(number)
                self._changed.notify_all()

    def _take(self, job: Job) -> tuple[_Child, int]:
        """A child and the number of a free request of it."""
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()  # the keeper may have to load the model again
            try:
                while True:
                    self._check(job)
                    if self._reason:
                        raise unavailable_error(self.name, NOT_STARTED)
                    child = self._child
                    if (
                        child is not None and not child.is_alive()
                    ):  # it ended while nobody looked: not this request's doing
                        _log.error("%s: its process has ended while it had nothing to do", self.name)
                        child.end()
                        child = self._child = None
                        self._changed.notify_all()  # the keeper starts another one
                    if child is not None and child.free:
                        self._running += 1
                        return child, child.free.pop()
                    self._changed.wait()
            finally:
                self._waiting -= 1

    def _lost(self, child: _Child, ended: ChildEndedError) -> None:
        child.end()
        with self._changed:
            if self._child is child and not self._closed:
                _log.error("%s: its process %s", self.name, ended)
                self._child = None
                self._changed.notify_all()

    # ---- what the keeper does: start a child where there has to be one, end it where nobody needs it

    def _keep(self) -> None:
        while True:
            with self._changed:
                while True:
                    if self._closed:
                        return
                    todo, due_s = self._chore()
                    if due_s is not None and due_s <= 0:
                        break
                    self._changed.wait(due_s)
            todo()

    def _chore(self) -> tuple[Callable[[], None], float | None]:
        """What is to be done next, and in how many seconds; None for when something has changed."""
        clock, idle_s = self._supervision.clock, self._supervision.idle_unload_s
        if self._child is None and (self._waiting or not self._unloaded):
            return self._start, self._next_attempt - clock() if self._failed_starts else 0.0
        if self._child is not None and idle_s is not None and not self._running and not self._waiting:
            return self._unload, self._used + idle_s - clock()
        return self._unload, None

    def _start(self) -> None:
        try:
            child = self._start_child()
        except LoadError as error:
            with self._changed:
                self._failed_starts += 1
                self._reason = error.message
                pause_s = min(_LONGEST_PAUSE_S, 2.0 ** (self._failed_starts - 1))
                self._next_attempt = self._supervision.clock() + pause_s
                self._changed.notify_all()
            _log.error("%s: it could not be started again; next attempt in %g s: %s", self.name, pause_s, error.message)
            return
        with self._changed:
            if not self._closed:
                self._child = child
                self._failed_starts = 0
                self._reason = ""
                self._restarts += not self._unloaded
                self._unloaded = False
                self._used = self._supervision.clock()
                self._changed.notify_all()
                return
        child.end()  # a close() just now has not seen it

    def _unload(self) -> None:
        with self._changed:
            if self._running or self._waiting:
                return
            child, self._child = self._child, None
            self._unloaded = True
        _log.info("%s: the model is unloaded: nobody has asked for it for a while", self.name)
        if child is not None:
            child.end()

    def _start_child(self) -> _Child:
        child = self._starting = _Child(self.name, self._supervision.command)
        try:
            if self._closed:  # a close() that came before the line above has not seen this child
                raise LoadError("the model has been unloaded")
            child.load(self._load, self._supervision.load_s)
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


class _Child(ChildProcess):
    """The process, and a channel to it for each infer request."""

    signature: Signature
    requests: int

    def __init__(self, name: str, command: Sequence[str]) -> None:
        super().__init__(name, command)
        self.free: list[int] = []
        self.jobs: list[int] = []
        self._channels: list[socket.socket] = []

    def load(self, load: ModelLoad, timeout_s: float) -> None:
        self.send({"type": "load", "load": load.to_json()})
        answer, _ = self.receive(timeout_s, f"did not load within {timeout_s:g} s and was ended")
        if answer["type"] == "load_failed":
            raise LoadError(answer["message"], field=answer["field"], code=StatusCode(answer["code"]))
        self.signature = Signature.from_json(answer["signature"])
        self.requests = answer["requests"]
        self._channels = self.open_channels(self.requests)
        self.jobs = [0] * self.requests
        self.free = list(range(self.requests))

    def infer(self, model: str, number: int, arrays: Sequence[Array], timeout_s: float) -> list[Array]:
        answer, block = self.exchange(
            self._channels[number],
            timeout_s,
            f"did not answer within {timeout_s:g} s and was ended",
            {"job": self.jobs[number], "shapes": [array.shape for array in arrays]},
            *map(bytes_of, arrays),
        )
        match answer["outcome"]:
            case "done":
                return arrays_of(self.signature.outputs, answer["outputs"], block)
            case "cancelled":
                raise cancelled_error(model)
        raise failed_error(model, answer["message"])

    def cancel(self, number: int, job: int) -> None:
        with suppress(ChildEndedError):  # infer() notices that itself
            self.send({"type": "cancel", "request": number, "job": job})

    def end(self) -> None:
        super().end()
        for channel in self._channels:
            with suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)
            channel.close()
