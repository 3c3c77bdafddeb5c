"""Listening sockets, and what to say where they cannot be had."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import ipaddress
import logging
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final

BACKLOG: Final = 1024
_FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TELL_FULL_EVERY_S: Final = 60.0
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h of Linux
# Classic BPF, as linux/filter.h has it: (code, jump if true, jump if false, operand).
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the flags of the TCP header
    (0x54, 0, 0, 0x12),  # SYN and ACK of them
    (0x15, 0, 1, 0x02),  # SYN alone: the beginning of a connection
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all others
)

_log = logging.getLogger("graph_runtime.server")


class _SocketFilter(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class ListenError(Exception):
    """A port cannot be opened; the text is for the operator."""


def listen(addresses: Sequence[str], port: int, flag: str = "rest") -> list[socket.socket]:
    """Listening sockets, one for each IP address; port 0 becomes the same free one for all.

    Args:
        addresses: IP addresses or names.
        port: the TCP port.
        flag: the first word of the flags that the texts name: ``--rest_port``, ``--rest_bind_address``.

    Raises:
        ListenError: one of them cannot be opened.
    """
    listening: list[socket.socket] = []
    with contextlib.ExitStack() as opened:
        for address in addresses:
            try:
                found = socket.getaddrinfo(address.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
                for family, _, _, _, where in dict.fromkeys(found):
                    if any(each.family == family and each.getsockname()[0] == where[0] for each in listening):
                        continue  # two names of one address
                    chosen = listening[0].getsockname()[1] if listening else port
                    made = socket.create_server((str(where[0]), chosen), family=family, backlog=BACKLOG)
                    listening.append(opened.enter_context(made))
            except OSError as error:
                raise ListenError(_problem(error, address, port, flag)) from error
        opened.pop_all()
    return listening


def let_nobody_new_in(listening: Sequence[socket.socket]) -> None:
    """Make the system ignore who wants to connect, while those who are connected already can be accepted.

    A listening socket that is closed resets the connections that the system has made and that nobody has accepted yet: their
    clients have sent requests which are lost. A socket filter drops what begins a connection instead; such a client tries again
    after a second, and is refused once the socket is closed. Where there are no such filters nothing happens.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    filtering = _SocketFilter(len(_DROP_SYN), program)
    for each in listening:
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(filtering))


def tell_when_full(loop: asyncio.AbstractEventLoop) -> None:
    """Say in one line, and not too often, that no more connections can be taken.

    asyncio tries again after a second by itself, and logs a traceback for each client that waits, each time.
    """
    told_s = -_TELL_FULL_EVERY_S

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal told_s
        error = context.get("exception")
        if "socket" not in context or not isinstance(error, OSError) or error.errno not in _FULL:
            loop.default_exception_handler(context)
        elif loop.time() - told_s >= _TELL_FULL_EVERY_S:
            told_s = loop.time()
            _log.error(
                "no more connections can be taken: %s; clients wait. More can be there at once with a larger limit of open files "
                "(ulimit -n)",
                error.strerror,
            )

    loop.set_exception_handler(handle)


def _problem(error: OSError, address: str, port: int, flag: str) -> str:
    # create_server puts the address into strerror as well
    reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {address} is in use by another program; choose one with --{flag}_port (0 takes any free one)"
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user; choose one above 1023 with --{flag}_port"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{address!r} is not an address of this machine ({reason}); give one with --{flag}_bind_address"
    return f"cannot listen on port {port} of {address}: {reason}"


def base_url(scheme: str, address: str, port: int) -> str:
    """How to reach a server that listens on an address."""
    host = address.strip("[]")
    with contextlib.suppress(ValueError):  # a name, not an IP address
        if ipaddress.ip_address(host).is_unspecified:
            host = "localhost"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def only_local(listening: Sequence[socket.socket]) -> bool:
    """Whether nobody outside this machine can reach these sockets."""
    return all(ipaddress.ip_address(each.getsockname()[0].partition("%")[0]).is_loopback for each in listening)
