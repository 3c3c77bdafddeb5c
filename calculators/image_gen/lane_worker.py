"""The child process of a ProcessLane: ``python -m calculators.image_gen.lane_worker SOCKET LIFELINE`` (two open file descriptors).

It loads one model, then draws what it is asked for, one request at a time; see ``messages`` for what is said. It ends when
its parent does, at once and in any state: the parent holds the other end of the lifeline, and the kernel signals the child
when that closes. A thread could not do this: loading a model holds the interpreter's lock for as long as it takes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from calculators.http_payload import RequestError
from calculators.image_gen.errors import GenerationCancelledError, LoadError, is_spoilt_by, spoilt_error
from calculators.image_gen.generation import GenerationRequest, OnPartial, PartialImage
from calculators.image_gen.lane import Engine
from calculators.image_gen.lane import load_engine as load_real_engine
from calculators.image_gen.messages import Message, receive_message, send_message
from calculators.image_gen.model_folder import read_model_folder
from calculators.image_gen.options import LoadSettings

LoadEngine = Callable[[LoadSettings], Engine]
"""How the worker gets its engine, or a LoadError; tests give another one than ``load_engine``."""


def load_engine(load: LoadSettings) -> Engine:
    """The real engine.

    Raises:
        LoadError: the model cannot be loaded.
    """
    problems: list[str] = []
    model = read_model_folder(Path(load.models_path), problems.append)
    if model is None:
        raise LoadError("; ".join(problems), field="models_path")
    return load_real_engine(load, model)


def main(arguments: list[str] | None = None, load: LoadEngine = load_engine) -> None:
    """Serve until the parent is gone."""
    connection_fd, lifeline_fd = map(int, sys.argv[1:] if arguments is None else arguments)
    _hold_lifeline(lifeline_fd)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # to stderr, which the parent reads
    connection = socket.socket(fileno=connection_fd)
    try:
        _Worker(connection).serve(load)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the parent is gone; nothing here is worth tidying up


def _hold_lifeline(fd: int) -> None:
    """From now on, the end of the parent is the end of this process: SIGIO ends a process that does not handle it."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # the parent may ignore or block it, and children inherit that
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK | os.O_ASYNC)
    if select.select([fd], [], [], 0)[0]:
        os._exit(0)  # it ended before the kernel was asked to tell


class _Worker:
    """One request at a time on the main thread; a second thread listens, so that a cancellation is heard meanwhile."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()  # steps come on a thread of OpenVINO GenAI's
        self._requests: queue.SimpleQueue[tuple[Message, bytes]] = queue.SimpleQueue()
        self._cancelled = (
            0  # the last job that was; only the listener writes it, and jobs are counted upwards, one at a time
        )

    def serve(self, load: LoadEngine) -> None:
        settings, _ = receive_message(self._connection)
        try:
            engine = load(LoadSettings.from_json(settings["load"]))
        except LoadError as error:
            self._send({"type": "load_failed", "message": error.message, "field": error.field, "code": int(error.code)})
            return
        self._send({"type": "loaded", "about": engine.about()})
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while True:
            self._draw(engine, *self._requests.get())

    def _listen(self) -> None:
        while True:
            try:
                message, block = receive_message(self._connection)
            except EOFError:
                os._exit(0)
            if message["type"] == "cancel":
                self._cancelled = max(self._cancelled, message["id"])
            else:
                self._requests.put((message, block))

    def _draw(self, engine: Engine, message: Message, uploads: bytes) -> None:
        job: int = message["id"]
        self._send({"type": "started", "id": job})
        try:
            result = engine.generate(
                GenerationRequest.from_message(message["request"], uploads),
                cancelled=lambda: self._cancelled == job,
                on_step=self._step_sender(job),
                on_partial=self._partial_sender(job),
            )
        except GenerationCancelledError:
            self._send({"type": "cancelled", "id": job})
        except RequestError as error:
            self._send_failure(job, error)
        except Exception as error:
            logging.getLogger(__name__).exception("the engine failed in a way that it does not know")
            self._send_failure(job, spoilt_error(f"{type(error).__name__}: {error}"))
        else:
            values, block = result.to_message()
            self._send({"type": "done", "id": job, "result": values}, block)

    def _step_sender(self, job: int) -> Callable[[int, int], None]:
        return lambda done, total: self._send({"type": "step", "id": job, "done": done, "total": total})

    def _partial_sender(self, job: int) -> OnPartial:
        def send(partial: PartialImage) -> None:
            about = {"type": "partial", "id": job, "picture": partial.picture, "index": partial.index}
            self._send(about, partial.image)

        return send

    def _send_failure(self, job: int, error: RequestError) -> None:
        told = {"message": error.message, **error.details()}
        self._send({"type": "failed", "id": job, "error": told, "spoilt": is_spoilt_by(error)})

    def _send(self, message: Message, block: bytes = b"") -> None:
        with self._sending:
            send_message(self._connection, message, block)


if __name__ == "__main__":
    main()
