"""A lane's child process with a scripted engine in place of a model; the prompt says what happens.

``ok``: as many steps as asked, with as many partial images as asked, then a picture.
``endless``: steps until cancelled. ``silent``: no step, for ever. ``SIG...``:
one step, then that signal. ``exit``: one step, then the process ends. ``spoil``, ``bug``: an error that leaves the engine spoilt:
all later requests fail. ``fail``: one that does not. ``env``: the picture is the process id.

In the model's folder, a file ``refuse`` makes loading fail, ``die`` ends the process meanwhile, ``hang`` keeps it busy with the
interpreter's lock held, as loading a real model does.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from calculators.image_gen.errors import cancelled_error, failed_error, spoilt_error
from calculators.image_gen.generation import (
    GenerationRequest,
    GenerationResult,
    OnPartial,
    OnStep,
    PartialImage,
    picture_seeds,
)
from calculators.image_gen.lane_worker import main
from calculators.image_gen.options import LoadSettings
from calculators.load_error import LoadError
from graph_runtime import StatusCode

ABOUT: dict[str, Any] = {"kinds": ["text to image"], "devices": ["CPU"], "notes": []}


class ScriptedEngine:
    def __init__(self) -> None:
        self.spoilt = False

    def about(self) -> dict[str, Any]:
        return ABOUT

    def generate(
        self, request: GenerationRequest, *, cancelled: Callable[[], bool], on_step: OnStep, on_partial: OnPartial
    ) -> GenerationResult:
        what = request.prompt
        steps = request.num_inference_steps
        if self.spoilt:
            raise spoilt_error("spoilt by an earlier request")
        self.spoilt = what in ("spoil", "bug")
        if what == "silent":
            threading.Event().wait()
        for step in itertools.count(1):
            if cancelled():
                raise cancelled_error()
            on_step(step, steps)
            if step <= request.partial_images:
                on_partial(PartialImage(0, step - 1, b"partial" * step))
            if what.startswith("SIG"):
                print("last words", file=sys.stderr, flush=True)
                os.kill(os.getpid(), getattr(signal, what))
            if what == "exit":
                os._exit(3)
            if what == "spoil":
                raise spoilt_error("scripted")
            if what == "fail":
                raise failed_error("scripted")
            if what == "bug":
                raise ZeroDivisionError("scripted")
            if step == steps and what != "endless":
                break
        picture = str(os.getpid()).encode() if what == "env" else what.encode() * 1000
        return GenerationResult((picture, b""), (*picture_seeds(request), 1), 64, 64, "png", steps)


def load(settings: LoadSettings) -> ScriptedEngine:
    folder = Path(settings.models_path)
    if (folder / "hang").exists():
        print("hanging", flush=True)
        ctypes.PyDLL(None).sleep(1000)
    if (folder / "die").exists():
        print("dying over this model", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if (folder / "refuse").exists():
        raise LoadError("scripted refusal", field="device", code=StatusCode.NOT_FOUND)
    return ScriptedEngine()


if __name__ == "__main__":
    main(load=load)
