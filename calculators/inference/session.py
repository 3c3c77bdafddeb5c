"""Sessions: loaded OpenVINO models, as SESSION side packets carry them."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from calculators.inference.arrays import Array, checked
from calculators.inference.errors import (
    InferenceCancelledError,
    InferenceFailedError,
    cancelled_error,
    closed_error,
    failed_error,
)
from calculators.inference.model_load import ModelLoad
from calculators.inference.tensors import Signature
from calculators.load_error import LoadError

OnCancel: TypeAlias = Callable[[Callable[[], None]], Callable[[], None]]
"""Registers a function for cancellation, and returns one that takes it away; ``CalculatorContext.on_cancel`` is one."""


@dataclass(slots=True, eq=False)
class Job:
    """An inference on its way."""

    cancelled: bool = False
    stop: Callable[[], None] | None = field(default=None)
    """Ends it, while it runs."""


class Session(ABC):
    """A loaded model: runs inferences, several at the same time; any number of threads may call it.

    Args:
        name: of the model.
    """

    kind = ""
    signature: Signature
    requests: int
    """How many inferences go on at the same time; others wait."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._changed = threading.Condition()
        self._closed = False
        self._running = 0

    def infer(self, arrays: Sequence[Any], on_cancel: OnCancel | None = None) -> list[Array]:
        """Run the model once.

        Args:
            arrays: numpy arrays, one for each input, in the order of ``signature.inputs``; nobody may change them meanwhile.
            on_cancel: where to register for cancellation.

        Returns:
            One array for each output, in the order of ``signature.outputs``; of the dtype and shape that the model gives them.

        Raises:
            GraphError: an array does not fit (INVALID_ARGUMENT), or the inference was cancelled (CANCELLED).
            RequestError: the model failed (500), or is not there any more (503).
        """
        ready = [checked(self.name, info, array) for info, array in zip(self.signature.inputs, arrays, strict=True)]
        job = Job()
        forget = None if on_cancel is None else on_cancel(lambda: self._cancel(job))
        try:
            return self._infer(job, ready)
        finally:
            if forget is not None:
                forget()

    @abstractmethod
    def _infer(self, job: Job, arrays: Sequence[Array]) -> list[Array]:
        """Wait for a free request, and use it."""

    @abstractmethod
    def close(self) -> None:
        """Give the model back; who waits gets an error. Closing twice is fine."""

    @property
    def trouble(self) -> str | None:
        """Why it cannot work at present, for anybody to read; None if it can."""
        return None

    def memory_bytes(self) -> int:
        """What the process that holds the model has in memory; 0 where it is this one."""
        return 0

    def describe(self) -> dict[str, Any]:
        """What it is and does, as JSON values."""
        with self._changed:
            return {"model": self.name, "kind": self.kind, "requests": self.requests, "running": self._running}

    def _cancel(self, job: Job) -> None:
        job.cancelled = True
        with self._changed:
            self._changed.notify_all()
            stop = job.stop
        if stop is not None:
            stop()

    def _check(self, job: Job) -> None:
        """Raise what a waiting job ends with; called with the lock held."""
        if self._closed:
            raise closed_error(self.name)
        if job.cancelled:
            raise cancelled_error(self.name)


class Engine(Protocol):
    """What a session needs of an engine; ``engine.Engine`` is the real one."""

    signature: Signature
    requests: int

    def infer(self, number: int, job: int, arrays: Sequence[Array]) -> list[Array]:
        """See ``engine.Engine.infer``."""

    def cancel(self, number: int, job: int) -> None:
        """See ``engine.Engine.cancel``."""


def load_engine(load: ModelLoad) -> Engine:
    """The real engine.

    Raises:
        LoadError: the model cannot be loaded, or OpenVINO is not installed.
    """
    try:
        from calculators.inference.engine import Engine as RealEngine  # late: it imports OpenVINO
    except ModuleNotFoundError as error:
        raise LoadError(
            f"the module {error.name} is not installed; OpenVINO models need: pip install 'graph-runtime[serve]'"
        ) from error
    return RealEngine(load)


class ThreadSession(Session):
    """A model in this process, for programs that embed graphs: a crash of native code takes the program along."""

    kind = "thread"

    def __init__(self, name: str, engine: Engine) -> None:
        super().__init__(name)
        self._engine: Engine | None = engine
        self.signature = engine.signature
        self.requests = engine.requests
        self._free = list(range(engine.requests))
        self._jobs = 0

    def _infer(self, job: Job, arrays: Sequence[Array]) -> list[Array]:
        with self._changed:
            while not self._free or self._closed or job.cancelled:
                self._check(job)
                self._changed.wait()
            engine = self._engine
            assert engine is not None  # not closed
            number = self._free.pop()
            self._running += 1
            self._jobs += 1
            count = self._jobs
            job.stop = lambda: engine.cancel(number, count)
        try:
            if job.cancelled:
                raise cancelled_error(self.name)
            return engine.infer(number, count, arrays)
        except InferenceCancelledError as error:
            raise cancelled_error(self.name) from error
        except InferenceFailedError as error:
            raise failed_error(self.name, str(error)) from error
        finally:
            with self._changed:
                job.stop = None
                self._running -= 1
                self._free.append(number)
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._engine = None
            self._changed.notify_all()
