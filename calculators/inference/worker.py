"""The child process that holds one OpenVINO model: ``python -m calculators.inference.worker SOCKET LIFELINE``.

From the parent, over the connection: ``load`` (once, first; the fields of ModelLoad); then, once it is loaded, one channel for each
infer request (``ChildProcess.open_channels``); then any number of ``cancel`` (``request``, ``job``).
To the parent: ``loaded`` (``signature``, ``requests``) or ``load_failed`` (``message``, ``field``, ``code``).

Over a channel, one inference after the other: ``job`` and the ``shapes`` of the inputs, whose bytes are the block; the answer has
``outcome`` (``done``, ``cancelled`` or ``failed``), and ``outputs`` (shapes; the bytes are the block) or ``message``.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from calculators.child_worker import serve_parent
from calculators.inference.arrays import Array, arrays_of, bytes_of
from calculators.inference.errors import InferenceCancelledError, InferenceFailedError
from calculators.inference.model_load import ModelLoad
from calculators.inference.session import Engine, load_engine
from calculators.load_error import LoadError
from calculators.messages import receive_buffer, receive_message, send_message

LoadEngine = Callable[[ModelLoad], Engine]
"""How the worker gets its engine, or a LoadError; tests give another one."""


def main(arguments: Sequence[str] | None = None, load: LoadEngine = load_engine) -> None:
    """Serve until the parent is gone."""
    serve_parent(arguments, lambda connection: _serve(connection, load))


def _serve(connection: socket.socket, load: LoadEngine) -> None:
    settings, _ = receive_message(connection)
    try:
        engine = load(ModelLoad.from_json(settings["load"]))
    except LoadError as error:
        send_message(
            connection,
            {"type": "load_failed", "message": error.message, "field": error.field, "code": int(error.code)},
        )
        return
    send_message(connection, {"type": "loaded", "signature": engine.signature.to_json(), "requests": engine.requests})
    _, channels, _, _ = socket.recv_fds(connection, 1, engine.requests)
    for number, channel in enumerate(channels):
        threading.Thread(
            target=_serve_channel,
            args=(engine, number, socket.socket(fileno=channel)),
            name=f"request {number}",
            daemon=True,
        ).start()
    while True:
        message, _ = receive_message(connection)
        engine.cancel(message["request"], message["job"])


def _serve_channel(engine: Engine, number: int, channel: socket.socket) -> None:
    inputs = engine.signature.inputs
    while True:
        try:
            message, block = receive_buffer(channel)
        except EOFError:
            return  # the connection tells the main thread whether the parent is gone
        answer, arrays = _outcome(engine, number, message["job"], arrays_of(inputs, message["shapes"], block))
        try:
            send_message(channel, answer, *map(bytes_of, arrays))
        except OSError:
            return


def _outcome(engine: Engine, number: int, job: int, arrays: Sequence[Array]) -> tuple[dict[str, Any], list[Array]]:
    try:
        outputs = engine.infer(number, job, arrays)
    except InferenceCancelledError:
        return {"outcome": "cancelled"}, []
    except InferenceFailedError as error:
        return {"outcome": "failed", "message": str(error)}, []
    except Exception:
        logging.getLogger(__name__).exception("an inference failed in a way that nobody knows")
        os._exit(70)  # whatever is left of the engine: the parent starts a new one
    return {"outcome": "done", "outputs": [each.shape for each in outputs]}, outputs


if __name__ == "__main__":
    main()
