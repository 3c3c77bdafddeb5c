"""Messages between a program and a child process that holds a model: JSON values, with a block of bytes behind them, over a socket.

On the wire: the length of the JSON text and that of the block, as unsigned big-endian numbers of 4 and 8 bytes, then the two.
What is said stands with the worker of each kind of child.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any, Final

_LENGTHS: Final = struct.Struct("!IQ")
_CHUNK_BYTES: Final = 1 << 20
_ONE_SEND_BYTES: Final = 1 << 16

Message = dict[str, Any]


def send_message(connection: socket.socket, message: Message, *parts: bytes | memoryview) -> None:
    """Send one message; blocks while the other side is slow.

    Args:
        connection: to whom.
        message: its JSON values.
        parts: of its block, one after the other; a memoryview is one of bytes.

    Raises:
        OSError: the other side is gone.
    """
    text = json.dumps(message).encode("ascii")
    length = sum(map(len, parts))
    head = _LENGTHS.pack(len(text), length) + text
    if length <= _ONE_SEND_BYTES:  # a copy costs less than waking the other side twice
        connection.sendall(b"".join((head, *parts)))
        return
    connection.sendall(head)
    for part in parts:
        if part:
            connection.sendall(part)


def receive_message(connection: socket.socket) -> tuple[Message, bytes]:
    """Wait for one message.

    Raises:
        EOFError: the other side is gone, perhaps in the middle of a message.
        TimeoutError: nothing came for the connection's timeout.
    """
    message, block = receive_buffer(connection)
    return message, bytes(block)


def receive_buffer(connection: socket.socket) -> tuple[Message, bytearray]:
    """As ``receive_message``, with a block that the receiver may change, and that was not copied."""
    text_length, block_length = _LENGTHS.unpack(_receive(connection, _LENGTHS.size))
    message: Message = json.loads(_receive(connection, text_length))
    return message, _receive(connection, block_length)


def _receive(connection: socket.socket, length: int) -> bytearray:
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
    return buffer
