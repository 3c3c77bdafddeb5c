"""A session's child process with a scripted engine in place of a model; the first number of the input says what happens.

0: the answer is the input. 1: SIGSEGV. 2: nothing, until cancelled. 3: OpenVINO fails. 4: an error that nobody knows. 5: nothing,
whatever happens. 6: nothing until a file ``go`` is there; it makes a file ``waiting``. 7: the answer is the process id.

In the folder of the model, a file ``refuse`` makes loading fail, ``die`` ends the process meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calculators.inference.arrays import Array
from calculators.inference.errors import InferenceCancelledError, InferenceFailedError
from calculators.inference.model_load import ModelLoad
from calculators.inference.tensors import Signature, TensorInfo
from calculators.inference.worker import main
from calculators.load_error import LoadError

ROW = ((1, 1), (0, None))


class ScriptedEngine:
    def __init__(self, load: ModelLoad) -> None:
        self.folder = Path(load.file).parent
        if (self.folder / "refuse").exists():
            raise LoadError("scripted refusal")
        if (self.folder / "die").exists():
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        self.signature = Signature((TensorInfo(("x",), "f32", ROW),), (TensorInfo(("y",), "f64", ROW),))
        self.requests = load.requests or 1
        self.cancelled = threading.Condition()
        self.jobs = [0] * self.requests

    def infer(self, number: int, job: int, arrays: Sequence[Array]) -> list[Array]:
        (row,) = arrays
        match int(row[0, 0]):
            case 1:
                print("last words", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGSEGV)
                threading.Event().wait()  # another thread may be the one that gets the signal
            case 2:
                (self.folder / "waiting").touch()
                with self.cancelled:
                    self.cancelled.wait_for(lambda: self.jobs[number] >= job)
                raise InferenceCancelledError
            case 3:
                raise InferenceFailedError("scripted failure")
            case 4:
                raise ZeroDivisionError
            case 5:
                threading.Event().wait()
            case 6:
                (self.folder / f"waiting{number}").touch()
                os.close(os.open(self.folder / "go", os.O_RDONLY))  # a FIFO: until somebody writes
            case 7:
                return [np.array([[os.getpid()]], dtype=np.float64)]
        return [row.astype(np.float64)]

    def cancel(self, number: int, job: int) -> None:
        with self.cancelled:
            self.jobs[number] = job
            self.cancelled.notify_all()


if __name__ == "__main__":
    main(load=ScriptedEngine)
