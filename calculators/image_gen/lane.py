"""Lanes: who runs the generations of a loaded model, one at a time, first come first served.

A :class:`Lane` is all that the rest of the package knows. :class:`QueuedLane` is the queue that both kinds share;
:class:`ThreadLane` runs the engine in this process, ``process_lane.ProcessLane`` in a supervised child.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from calculators.http_payload import RequestError
from calculators.image_gen.errors import (
    NOT_STARTED,
    GenerationCancelledError,
    cancelled_error,
    closed_error,
    is_spoilt_by,
    unavailable_error,
)
from calculators.image_gen.generation import (
    Cancellation,
    GenerationRequest,
    GenerationResult,
    OnCancel,
    OnPartial,
    OnStep,
    PartialImage,
)
from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.options import LoadSettings
from calculators.load_error import LoadError
from calculators.statistics import ImageStatistics

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IdleUnload:
    """When an idle lane gives its model's memory back; the next request waits for the model to be loaded again.

    Attributes:
        after_s: seconds without a request.
        clock: seconds that only grow; tests give another one.
    """

    after_s: float
    clock: Callable[[], float] = time.monotonic


class Lane(Protocol):
    """Runs the generations of one loaded model."""

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        """Wait for a turn, draw, return the pictures; blocks the calling thread, any number of threads may wait.

        Args:
            request: with a seed.
            on_cancel: where to register for cancellation. A request that waits then never starts; one that runs ends at its next
                step. The caller gets its error at once in either case.
            on_step: told about each step.
            on_partial: given each partial image.

        Raises:
            GenerationCancelledError: the caller cancelled.
            RequestError: the generation failed (500), or the lane is closed or cannot start its engine (503).
        """

    @property
    def trouble(self) -> str | None:
        """Why the lane cannot draw anything at present, for anybody to read; None if it can."""

    def describe(self) -> dict[str, Any]:
        """What the lane is and does, as JSON values."""

    def statistics(self) -> ImageStatistics:
        """What it has done so far."""

    def close(self) -> None:
        """Give the model back. Who waits or runs gets an error. Closing twice is fine."""


class Job:
    """A request on its way through a lane. The first outcome counts; later ones are dropped."""

    def __init__(self, request: GenerationRequest, on_step: OnStep | None, on_partial: OnPartial | None) -> None:
        self.request = request
        self.cancellation = Cancellation()
        self.steps_done = 0
        self._on_step = on_step
        self._on_partial = on_partial
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._outcome: GenerationResult | BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether there is an outcome."""
        return self._ended.is_set()

    @property
    def outcome(self) -> GenerationResult | BaseException | None:
        """What the caller gets, once it is known."""
        return self._outcome

    def end(self, outcome: GenerationResult | BaseException) -> None:
        """Give the waiting caller its result, or the error to raise."""
        with self._lock:
            if self._outcome is None:
                self._outcome = outcome
                self._ended.set()

    def wait(self) -> GenerationResult:
        """The result, once it is there."""
        self._ended.wait()
        outcome = self._outcome
        if isinstance(outcome, GenerationResult):
            return outcome
        assert outcome is not None
        raise outcome

    def cancelled(self) -> bool:
        """Whether to stop working on it."""
        return self.cancellation.cancelled

    def step(self, done: int, total: int) -> None:
        """Tell the caller about a step. What the caller's function raises is logged, and ends the reports, not the generation."""
        self.steps_done = done
        on_step = self._on_step
        if on_step is None or self.ended:
            return
        try:
            on_step(done, total)
        except Exception:
            self._on_step = None
            _log.exception("an on_step function failed; it is not called again for this request")

    def partial(self, image: PartialImage) -> None:
        """Give the caller a partial image, with the same promises as ``step``."""
        on_partial = self._on_partial
        if on_partial is None or self.ended:
            return
        try:
            on_partial(image)
        except Exception:
            self._on_partial = None
            _log.exception("an on_partial function failed; it is not called again for this request")


class QueuedLane(ABC):
    """The queue of a lane, and the thread that serves it.

    Args:
        name: for the thread and for messages.
        idle: when to give the model back although the lane goes on; None for never.
    """

    kind = ""

    def __init__(self, name: str, idle: IdleUnload | None = None) -> None:
        self.name = name
        self._idle = idle
        self._idle_since = 0.0
        self._unloaded = False
        """Whether the engine was given back for want of requests; the next one loads it again."""
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._served = 0
        self._statistics = ImageStatistics()
        self._restarts = 0
        """How often the engine was loaded anew after a failure."""
        self.loaded: dict[str, Any] = {}
        """What the engine says of itself."""
        self._reason = ""
        """Why there is no engine; for the operator, as it can hold paths."""
        self._thread = threading.Thread(target=self._serve, name=f"image lane {name}", daemon=True)

    def start(self) -> None:
        """Begin to serve; called once, by the constructor of a subclass when it is ready."""
        _open_lanes.add(self)
        self._thread.start()

    def generate(
        self,
        request: GenerationRequest,
        *,
        on_cancel: OnCancel | None = None,
        on_step: OnStep | None = None,
        on_partial: OnPartial | None = None,
    ) -> GenerationResult:
        """See :class:`Lane`."""
        job = Job(request, on_step, on_partial)
        forget = on_cancel(lambda: self._cancel(job)) if on_cancel is not None else None
        try:
            with self._changed:
                if self._closed:
                    raise closed_error()
                if not job.ended:  # cancelled before it came
                    self._waiting.append(job)
                    self._changed.notify()
            return job.wait()
        except BaseException:
            self._cancel(job)  # a KeyboardInterrupt in wait(), too, must not leave the job running
            raise
        finally:
            if forget is not None:
                forget()

    def describe(self) -> dict[str, Any]:
        """See :class:`Lane`."""
        with self._changed:
            about: dict[str, Any] = {
                "kind": self.kind,
                "state": self._state,
                "waiting": len(self._waiting),
                "served": self._served,
                "loaded": self.loaded,
            }
            return about | ({"reason": self._reason} if about["state"] == "broken" else {})

    @property
    def _state(self) -> str:
        """With the lock held."""
        if self._closed:
            return "closed"
        if self._reason:
            return "broken"
        if self._running is not None:
            return "busy"
        return "unloaded" if self._unloaded else "idle"

    def statistics(self) -> ImageStatistics:
        """See :class:`Lane`."""
        with self._changed:
            running = self._running.steps_done if self._running is not None else 0
            return self._statistics + ImageStatistics(lanes={self._state: 1}, steps=running, restarts=self._restarts)

    @property
    def trouble(self) -> str | None:
        """See :class:`Lane`."""
        return NOT_STARTED if self._reason else None

    def close(self) -> None:
        """See :class:`Lane`."""
        with self._changed:
            self._closed = True
            jobs = [*self._waiting, *([self._running] if self._running is not None else [])]
            self._waiting.clear()
            self._changed.notify()
        for job in jobs:
            job.end(closed_error())
            job.cancellation.cancel()
        self._shut()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        _open_lanes.discard(self)

    @abstractmethod
    def _run(self, job: Job) -> GenerationResult:
        """Draw the pictures of a job; called on the lane's thread alone."""

    @abstractmethod
    def _shut(self) -> None:
        """Make a running ``_run`` end soon, and release what the lane holds once it has; called by ``close``."""

    def _cancel(self, job: Job) -> None:
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
        job.end(cancelled_error())
        job.cancellation.cancel()

    def _mends_in_s(self) -> float | None:
        """How long an idle lane waits until it calls ``_mend``; None for ever."""
        return None

    def _mend(self) -> None:
        """Try to get an engine, while there is nothing else to do."""

    def _unload(self) -> None:
        """Give the engine back; called on the lane's thread alone, while there is nothing to do."""

    def _unloads_in_s(self) -> float | None:
        if self._idle is None or self._unloaded or self._reason:
            return None
        return max(0.0, self._idle_since + self._idle.after_s - self._idle.clock())

    def _next_chore(self) -> tuple[float | None, Callable[[], None]]:
        """What an idle lane does next by itself, and in how many seconds; None for never."""
        unloads_s, mends_s = self._unloads_in_s(), self._mends_in_s()
        if unloads_s is not None and (mends_s is None or unloads_s < mends_s):
            return unloads_s, self._unload_now
        return mends_s, self._mend

    def _unload_now(self) -> None:
        _log.info("%s: the model is unloaded: nobody has asked for it for a while", self.name)
        self._unloaded = True
        self._unload()

    def _serve(self) -> None:
        self._note_idle()
        while self._serve_next():  # a call each: its variables, pictures among them, are gone while the lane waits
            pass

    def _serve_next(self) -> bool:
        """Serve one request, or mend; False once the lane is closed."""
        with self._changed:
            self._running = None
            self._changed.notify_all()
            pause_s, chore = self._next_chore()
            while not self._waiting and not self._closed and (pause_s is None or pause_s > 0):
                self._changed.wait(pause_s)
                pause_s, chore = self._next_chore()
            if self._closed:
                return False
            job = self._running = self._waiting.popleft() if self._waiting else None
        if job is None:
            chore()
        elif not job.ended:
            try:
                outcome: GenerationResult | BaseException = self._run(job)
            except BaseException as error:
                outcome = error
            with self._changed:
                self._running = None
                self._served += 1
                self._statistics = _counted(self._statistics, job, outcome)
                self._note_idle()
            job.end(outcome)
        return True

    def _note_idle(self) -> None:
        if self._idle is not None:
            self._idle_since = self._idle.clock()


def _counted(so_far: ImageStatistics, job: Job, outcome: GenerationResult | BaseException) -> ImageStatistics:
    outcome = job.outcome or outcome  # the caller has its own already where it left, or where the engine crashed
    if isinstance(outcome, GenerationCancelledError):
        return so_far.after_request("cancelled", job.steps_done)
    if isinstance(outcome, GenerationResult):
        return so_far.after_pictures(len(outcome.images), job.steps_done, outcome.stage_s)
    refused = isinstance(outcome, RequestError) and outcome.status < 500
    return so_far.after_request("refused" if refused else "failed", job.steps_done)


class Engine(Protocol):
    """What a lane needs of an engine; ``engine.Engine`` is the real one."""

    def generate(
        self, request: GenerationRequest, *, cancelled: Callable[[], bool], on_step: OnStep, on_partial: OnPartial
    ) -> GenerationResult:
        """Draw the pictures of a request; see ``engine.Engine.generate``."""

    def about(self) -> dict[str, Any]:
        """What was loaded, as JSON values; see ``engine.Engine.about``."""


class ThreadLane(QueuedLane):
    """A lane in this process: for programs that embed graphs, and for one-shot commands.

    A crash of the native code takes the process along; ``ProcessLane`` is for those who cannot afford that. An engine that a
    failure may have spoilt is dropped at once, and loaded anew when the next request comes: a program that ends with the failure
    does not wait for a model that it does not need. A load that fails refuses that request (503); the next one tries again.

    Args:
        name: for the thread and for messages.
        engine: the loaded model.
        load_again: loads it again; raises LoadError.
        idle: when to give the model back although the lane goes on.
    """

    kind = "thread"

    def __init__(
        self, name: str, engine: Engine, load_again: Callable[[], Engine], idle: IdleUnload | None = None
    ) -> None:
        super().__init__(name, idle)
        self._engine: Engine | None = engine
        self._load_again = load_again
        self.loaded = engine.about()
        log_loaded(name, self.loaded)
        self.start()

    @classmethod
    def load(cls, name: str, load: LoadSettings, model: ModelInfo, idle: IdleUnload | None = None) -> ThreadLane:
        """A lane with the real engine.

        Raises:
            LoadError: the model cannot be loaded.
        """
        load_again = partial(load_engine, load, model)
        return cls(name, load_again(), load_again, idle)

    def _run(self, job: Job) -> GenerationResult:
        if self._engine is None:
            self._engine = self._new_engine()
        try:
            return self._engine.generate(job.request, cancelled=job.cancelled, on_step=job.step, on_partial=job.partial)
        except BaseException as error:
            if is_spoilt_by(error):
                self._engine = None
                _log.error("%s: a generation failed; the engine is loaded anew for the next one: %s", self.name, error)
            raise

    def _new_engine(self) -> Engine:
        try:
            engine = self._load_again()
        except LoadError as error:
            self._reason = error.message
            _log.error("%s: the engine could not be loaded again: %s", self.name, error)
            raise unavailable_error(NOT_STARTED) from error
        self._reason = ""
        self._restarts += not self._unloaded
        self._unloaded = False
        self.loaded = engine.about()
        return engine

    def _unload(self) -> None:
        self._engine = None

    def _shut(self) -> None:
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self._engine = None


def log_loaded(name: str, about: dict[str, Any]) -> None:
    """One line on what a model that was loaded can do, and what it cannot."""
    notes = "".join(f"; {note}" for note in about["notes"])
    _log.info("%s: loaded on %s, draws by %s%s", name, " ".join(about["devices"]), ", ".join(about["kinds"]), notes)


def load_engine(load: LoadSettings, model: ModelInfo) -> Engine:
    """The real engine.

    Raises:
        LoadError: the model cannot be loaded, or OpenVINO is not installed.
    """
    try:
        # Late: it imports OpenVINO, which lanes in child processes keep out of the process that has them.
        from calculators.image_gen.engine import Engine as RealEngine
    except ModuleNotFoundError as error:
        raise LoadError(
            f"the module {error.name} is not installed; image models need: pip install 'graph-runtime[serve]'"
        ) from error
    return RealEngine(load, model)


_open_lanes: Final[weakref.WeakSet[QueuedLane]] = weakref.WeakSet()


@atexit.register
def _close_open_lanes() -> None:
    """At the end of the program: native code must not be running while the interpreter goes down."""
    for lane in list(_open_lanes):
        lane.close()
