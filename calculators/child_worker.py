"""The beginning of a child process that holds a model: ``python -m SOME.MODULE SOCKET LIFELINE``, two open file descriptors.

It ends when its parent does, at once and in any state: the parent holds the other end of the lifeline, and the kernel signals the
child when that closes. A thread could not do this: loading a model holds the interpreter's lock for as long as it takes.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence


def serve_parent(arguments: Sequence[str] | None, serve: Callable[[socket.socket], None]) -> None:
    """Serve until the parent is gone.

    Args:
        arguments: the two file descriptors; None for those of the command line.
        serve: is given the connection to the parent; its EOFError, BrokenPipeError or ConnectionResetError means that it is gone.
    """
    connection_fd, lifeline_fd = map(int, sys.argv[1:] if arguments is None else arguments)
    _hold_lifeline(lifeline_fd)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")  # to stderr, which the parent reads
    try:
        serve(socket.socket(fileno=connection_fd))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # nothing here is worth tidying up


def _hold_lifeline(fd: int) -> None:
    """From now on, the end of the parent is the end of this process: SIGIO ends a process that does not handle it."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # the parent may ignore or block it, and children inherit that
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGIO})
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK | os.O_ASYNC)
    if select.select([fd], [], [], 0)[0]:
        os._exit(0)  # it ended before the kernel was asked to tell
