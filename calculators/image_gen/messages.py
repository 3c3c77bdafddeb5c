"""Messages between a lane and its child process: JSON values, with a block of bytes behind them, over a socket.

On the wire: the length of the JSON text and that of the block, as unsigned big-endian numbers of 4 and 8 bytes, then the two.

From the parent: ``load`` (once, first; the fields of LoadSettings), ``generate`` (``id``, ``request``, and its uploads as block),
``cancel`` (``id``).
From the child: ``loaded`` or ``load_failed`` (``message``, ``field``, ``code``); then for each request ``started``, any number
of ``step`` (``done``, ``total``) and ``partial`` (``picture``, ``index``, and the file as block), and one of ``done``
(``result``, and the pictures as block), ``cancelled`` or ``failed`` (``error``, and ``spoilt``: whether the engine must not be
used again), each with its ``id``.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final

_LENGTHS: Final = struct.Struct("!IQ")
_CHUNK_BYTES: Final = 1 << 20

Message = dict[str, Any]


def send_message(connection: socket.socket, message: Message, block: bytes = b"") -> None:
    """Send one message; blocks while the other side is slow.

    Raises:
        OSError: the other side is gone.
    """
    text = json.dumps(message).encode("ascii")
    connection.sendall(_LENGTHS.pack(len(text), len(block)) + text)
    if block:
        connection.sendall(block)


def receive_message(connection: socket.socket) -> tuple[Message, bytes]:
    """Wait for one message.

    Raises:
        EOFError: the other side is gone, perhaps in the middle of a message.
        TimeoutError: nothing came for the connection's timeout.
    """
    text_length, block_length = _LENGTHS.unpack(_receive(connection, _LENGTHS.size))
    message: Message = json.loads(_receive(connection, text_length))
    return message, _receive(connection, block_length)


def _receive(connection: socket.socket, length: int) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    received = 0
    while received < length:
        try:
            count = connection.recv_into(view[received : received + _CHUNK_BYTES])
        except TimeoutError:
            raise
        except OSError as error:  # a reset, or our own end was closed
            raise EOFError from error
        if count == 0:
            raise EOFError
        received += count
    return bytes(buffer)
