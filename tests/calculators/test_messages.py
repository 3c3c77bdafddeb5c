"""Messages over a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from calculators.messages import receive_message, send_message


@contextmanager
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_messages_arrive_whole_and_in_order() -> None:
    with pair() as (left, right):
        send_message(left, {"type": "a", "text": "\u2603 \ud800"})
        send_message(left, {"type": "b"}, b"\x00\xff" * 3)
        assert receive_message(right) == ({"type": "a", "text": "\u2603 \ud800"}, b"")
        assert receive_message(right) == ({"type": "b"}, b"\x00\xff" * 3)


def test_a_block_larger_than_the_sockets_buffer() -> None:
    block = bytes(range(256)) * 40_000
    with pair() as (left, right):
        sender = threading.Thread(target=send_message, args=(left, {"type": "done"}, block))
        sender.start()
        assert receive_message(right) == ({"type": "done"}, block)
        sender.join()


def test_the_end_of_the_other_side_is_an_end_of_file() -> None:
    with pair() as (left, right):
        left.close()
        with pytest.raises(EOFError):
            receive_message(right)


def test_the_end_in_the_middle_of_a_message_is_an_end_of_file() -> None:
    with pair() as (left, right):
        left.sendall(b"\x00\x00\x00\x10\x00\x00")
        left.close()
        with pytest.raises(EOFError):
            receive_message(right)


def test_our_own_shut_down_connection_is_an_end_of_file() -> None:
    with pair() as (_, right):
        right.shutdown(socket.SHUT_RDWR)
        with pytest.raises(EOFError):
            receive_message(right)


def test_silence_is_a_timeout() -> None:
    with pair() as (_, right):
        right.settimeout(0.01)
        with pytest.raises(TimeoutError):
            receive_message(right)


def test_nobody_to_send_to_is_an_os_error() -> None:
    with pair() as (left, right):
        right.close()
        with pytest.raises(OSError):  # noqa: PT011  # which one differs by system
            send_message(left, {"type": "a"})
