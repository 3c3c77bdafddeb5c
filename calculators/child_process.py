"""A child process that holds a model: started, talked to, watched, and ended.

Native code can crash, hold the interpreter's lock for seconds, and gives its memory back only when its process ends. In a child
none of this touches the program.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from calculators.load_error import LoadError
from calculators.messages import Message, receive_buffer, receive_message, send_message

_log = logging.getLogger(__name__)

_TAIL_LINES: Final = 40  # a dump of all threads by faulthandler, and what was written before it
_LAST_OUTPUT_S: Final = 5.0
_INSTEAD: Final = 'load the model into this process instead: lane="thread"'


class ChildEndedError(Exception):
    """The child process is gone, or was ended because it hung.

    Attributes:
        how: to complete "the process ...".
        tail: the last lines that it wrote.
    """

    def __init__(self, how: str, tail: Sequence[str]) -> None:
        super().__init__(how)
        self.how = how
        self.tail = tuple(tail)

    def __str__(self) -> str:
        return "\n".join([self.how, *(f"  {line}" for line in self.tail)])


class ChildProcess:
    """A child process that holds a model, and the connection to it; ``child_worker`` is its other end.

    One thread receives; any may send, and ``end`` it.

    Args:
        name: for the log, in front of what it writes.
        command: arguments for the Python interpreter that start it; the two file descriptors come behind them.

    Raises:
        LoadError: there is no starting processes here.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        if not sys.executable:
            raise LoadError(f"there is no Python interpreter to start a child process with; {_INSTEAD}")
        if os.name != "posix":
            raise LoadError(f"child processes for models need a POSIX system; {_INSTEAD}")
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        with ExitStack() as theirs, ExitStack() as undo:
            self._connection, connection = socket.socketpair()
            undo.callback(self._connection.close)
            theirs.callback(connection.close)
            lifeline, self._lifeline = os.pipe()
            undo.callback(os.close, self._lifeline)
            theirs.callback(os.close, lifeline)
            try:
                self._process = subprocess.Popen(  # noqa: S603  # the command is ours
                    [sys.executable, "-P", "-X", "faulthandler", *command, str(connection.fileno()), str(lifeline)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(connection.fileno(), lifeline),
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C in a terminal is for the parent, which ends the child in its own way
                )
            except OSError as error:
                raise LoadError(f"no process can be started for the model: {error}") from error
            undo.pop_all()
        self._reader = threading.Thread(target=self._read_output, args=(name,), name=f"output of {name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def memory_bytes(self) -> int:
        """What it has in memory; 0 once it has ended, and where the system does not tell."""
        if not self.is_alive():
            return 0
        with suppress(OSError):
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def send(self, message: Message, *parts: bytes | memoryview) -> None:
        """Send a message, with the parts of its block.

        Raises:
            ChildEndedError: nobody is there.
        """
        try:
            with self._sending:
                send_message(self._connection, message, *parts)
        except OSError as error:
            raise self._ended() from error

    def open_channels(self, count: int) -> list[socket.socket]:
        """Further connections to the process, which takes them with ``socket.recv_fds``; who uses one closes it.

        Raises:
            ChildEndedError: nobody is there.
        """
        pairs = [socket.socketpair() for _ in range(count)]
        try:
            with self._sending:
                socket.send_fds(self._connection, [b"+"], [theirs.fileno() for _, theirs in pairs])
        except OSError as error:
            for ours, _ in pairs:
                ours.close()
            raise self._ended() from error
        finally:
            for _, theirs in pairs:
                theirs.close()
        return [ours for ours, _ in pairs]

    def exchange(
        self, channel: socket.socket, timeout_s: float, hung: str, message: Message, *parts: bytes | memoryview
    ) -> tuple[Message, bytearray]:
        """Ask over a channel and wait for the answer; each channel has one user at a time.

        Raises:
            ChildEndedError: as for ``receive``.
        """
        try:
            channel.settimeout(timeout_s)
            send_message(channel, message, *parts)
            return receive_buffer(channel)
        except TimeoutError as error:
            raise self._hung(hung) from error
        except (EOFError, OSError) as error:
            raise self._ended() from error

    def receive(self, timeout_s: float, hung: str) -> tuple[Message, bytes]:
        """Wait for a message; when it takes longer than that, end the process.

        Raises:
            ChildEndedError: it ended, or was ended because it took too long: ``hung``.
        """
        try:
            self._connection.settimeout(timeout_s)
            return receive_message(self._connection)
        except TimeoutError as error:
            raise self._hung(hung) from error
        except (EOFError, OSError) as error:  # the latter when end() has closed it
            raise self._ended() from error

    def _hung(self, how: str) -> ChildEndedError:
        self._process.kill()
        self._finish()
        return ChildEndedError(how, self._tail)

    def _ended(self) -> ChildEndedError:
        self._process.kill()  # it may have closed its socket and live on
        code = self._finish()
        return ChildEndedError(
            f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}", self._tail
        )

    def end(self) -> None:
        """End it now; any number of calls, from any thread."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits in receive
        self._process.kill()
        self._finish()
        self._connection.close()
        with self._ending:  # two threads must not close it twice: the number may be somebody else's by then
            lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)

    def _finish(self) -> int:
        code = self._process.wait()
        self._reader.join(_LAST_OUTPUT_S)
        return code

    def _read_output(self, name: str) -> None:
        output = self._process.stdout
        assert output is not None
        with output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self._tail.append(text)
                _log.info("%s [%d]: %s", name, self.pid, text)


def _environment() -> dict[str, str]:
    """Ours, with a path on which the child finds this package even where it runs from a checkout."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    here = Path(__file__).parents[1]
    if here.name not in ("site-packages", "dist-packages"):  # those would come before the standard library
        environment["PYTHONPATH"] = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    return environment


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
