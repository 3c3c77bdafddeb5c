"""``graph-runtime serve``: open the port, say where and what, serve until a signal comes, leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import shlex
import signal
import socket
import sys
import threading
from functools import partial

from aiohttp import web

from graph_runtime import GraphError
from server.app import build_app
from server.discovery import GRAPH_FILE, MODEL_INDEX, bundled_models_dir
from server.keys import SERVABLES
from server.page import first_curl
from server.protocol import Protocol
from server.repository import Repository
from server.servables import Servables, State
from server.settings import Settings, SettingsError, misspelt_variables
from server.terminal import complain, say

_BACKLOG = 1024

_log = logging.getLogger("graph_runtime.server")


def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a signal; 1 if it cannot listen, or cannot serve the one model that it was given; 2 if there are no
        models where it was told to look, or if a config.json or an options file cannot be used.
    """
    logging.basicConfig(
        level=settings.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    for line in misspelt_variables(os.environ):
        _log.warning("%s", line)
    try:
        repository = Repository(settings)
        failures = repository.scan(quiet=True).failures  # the application looks again, and tells
    except (OSError, SettingsError) as error:
        complain("serve", str(error))
        return 2
    if repository.is_single and failures:
        complain("serve", _useless(*next(iter(failures.items()))))
        return 1
    try:
        listening = _listen(settings.rest_bind_address, settings.rest_port)
    except OSError as error:
        complain("serve", _listen_problem(error, settings))
        return 1
    with contextlib.ExitStack() as closing:
        for each in listening:
            closing.enter_context(each)
        try:
            asyncio.run(_serve(settings, listening, repository))
        except (StartError, GraphError) as error:  # not for graphs: they fail one by one, and the server goes on
            complain("serve", str(error))
            return error.exit_code if isinstance(error, StartError) else 2
    _end_stuck_threads()
    return 0


class StartError(Exception):
    """The server could not begin; the text is for the operator."""

    def __init__(self, text: str, exit_code: int = 2) -> None:
        super().__init__(text)
        self.exit_code = exit_code


async def _serve(settings: Settings, listening: list[socket.socket], repository: Repository) -> None:
    stop = _stop_signal()
    app = build_app(settings)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=settings.shutdown_grace_s)
    try:
        await runner.setup()
    except OSError as error:
        raise StartError(str(error)) from error
    loop = asyncio.get_running_loop()
    assert runner.server is not None  # setup made it
    connection = partial(
        Protocol,
        runner.server,
        loop=loop,
        access_log=None,  # type: ignore[arg-type]  # aiohttp takes None for "no log"; its types do not say so
    )
    listeners: list[asyncio.Server] = []
    try:
        for (
            each
        ) in listening:  # not a web.SockSite: that makes connections with aiohttp's own answers to what is no HTTP
            listeners.append(await loop.create_server(connection, sock=each, backlog=_BACKLOG))
        url = _base_url(settings.rest_bind_address, listening[0].getsockname()[1])
        servables = app[SERVABLES]
        names = ", ".join(servable.name for servable in servables) or "nothing"
        say(f"graph-runtime is at {url} and serves {names}, from {repository.place}")
        stopping = asyncio.create_task(stop.wait())
        speaking = asyncio.create_task(_say_when_loaded(servables, url, repository))
        await asyncio.wait([stopping, speaking], return_when=asyncio.FIRST_COMPLETED)
        if speaking.done():
            speaking.result()
            await stopping
        speaking.cancel()
        _log.info("shutting down")
    finally:
        for listener in listeners:
            listener.close()
        await runner.cleanup()


async def _say_when_loaded(servables: Servables, url: str, repository: Repository) -> None:
    """Say what came of loading.

    Raises:
        StartError: there was one model to serve, and it failed.
    """
    await servables.settled.wait()
    if not len(servables):
        say(_nothing_to_serve(repository.place))
        return
    failed = [servable for servable in servables if servable.state is State.FAILED]
    if failed and repository.is_single:
        raise StartError(_useless(failed[0].name, failed[0].reason or ""), exit_code=1)
    names = ", ".join(servable.name for servable in failed)
    state = "Ready." if not failed else f"Not ready: {names} failed to load; {url}/v2/health/ready says why."
    say(f"{state} Try:\n  {first_curl(url, servables)}")


def _useless(name: str, reason: str) -> str:
    return f"the model {name!r} cannot be served: {reason}"


def _nothing_to_serve(place: str) -> str:
    text = f"There is no {GRAPH_FILE} and no {MODEL_INDEX} in {place}: nothing is served. Put a model's folder there"
    with contextlib.suppress(FileNotFoundError):
        return (
            f"{text}, or serve the model that comes with graph-runtime:\n"
            f"  graph-runtime serve --models {shlex.quote(str(bundled_models_dir()))}"
        )
    return f"{text}."


def _stop_signal() -> asyncio.Event:
    """An event that SIGINT or SIGTERM sets; a second signal ends the process without further ado."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def received() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, received)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(received))
    return stop


def _listen(address: str, port: int) -> list[socket.socket]:
    """Listening sockets, one for each IP address of a name; port 0 becomes the same free one for all."""
    found = socket.getaddrinfo(address.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listening: list[socket.socket] = []
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            chosen = listening[0].getsockname()[1] if listening else port
            listening.append(socket.create_server((where[0], chosen), family=family, backlog=_BACKLOG))
    except OSError:
        for each in listening:
            each.close()
        raise
    return listening


def _listen_problem(error: OSError, settings: Settings) -> str:
    address, port = settings.rest_bind_address, settings.rest_port
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {address} is in use by another program; choose one with --rest_port (0 takes any free one)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} may not be opened by this user; choose one above 1023 with --rest_port"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{address!r} is not an address of this machine ({error.strerror}); give one with --rest_bind_address"
    return f"cannot listen on port {port} of {address}: {error.strerror}"


def _base_url(address: str, port: int) -> str:
    host = address.strip("[]")
    with contextlib.suppress(ValueError):  # a name, not an IP address
        if ipaddress.ip_address(host).is_unspecified:
            host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _end_stuck_threads() -> None:
    """End the process at once if a run ignores its cancellation: a normal exit would wait for its thread for ever."""
    workers = [thread for thread in threading.enumerate() if thread.name.startswith("graph-run")]
    for thread in workers:
        thread.join(timeout=1)
    stuck = [thread for thread in workers if thread.is_alive()]
    if stuck:
        _log.error("%d graph run(s) ignore that they were cancelled; leaving without them", len(stuck))
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
