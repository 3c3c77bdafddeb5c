"""The child process of a ProcessLane: ``python -m calculators.image_gen.lane_worker SOCKET LIFELINE`` (two open file descriptors).

It loads one model, then draws what it is asked for, one request at a time.

From the parent: ``load`` (once, first; the fields of LoadSettings), ``generate`` (``id``, ``request``, and its uploads as block),
``cancel`` (``id``).
From the child: ``loaded`` or ``load_failed`` (``message``, ``field``, ``code``); then for each request ``started``, any number
of ``step`` (``done``, ``total``) and ``partial`` (``picture``, ``index``, and the file as block), and one of ``done``
(``result``, and the pictures as block), ``cancelled`` or ``failed`` (``error``, and ``spoilt``: whether the engine must not be
used again), each with its ``id``.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from calculators.child_worker import serve_parent
from calculators.http_payload import RequestError
from calculators.image_gen.errors import GenerationCancelledError, is_spoilt_by, spoilt_error
from calculators.image_gen.generation import GenerationRequest, OnPartial, PartialImage
from calculators.image_gen.lane import Engine
from calculators.image_gen.lane import load_engine as load_real_engine
from calculators.image_gen.model_folder import read_model_folder
from calculators.image_gen.options import LoadSettings
from calculators.load_error import LoadError
from calculators.messages import Message, receive_message, send_message

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
    serve_parent(arguments, lambda connection: _Worker(connection).serve(load))


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
