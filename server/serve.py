"""``graph-runtime serve``: open the port, say where and what, serve until a signal comes, leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import shlex
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from graph_runtime import GraphError
from server.access import api_key
from server.app import build_app
from server.discovery import GRAPH_FILE, MODEL_INDEX, bundled_models_dir
from server.drain import LINGER_S
from server.keys import ACCESS, CLOCK, DRAIN, SERVABLES, SETTINGS
from server.listen import BACKLOG, ListenError, base_url, let_nobody_new_in, listen, only_local, tell_when_full
from server.logs import start_logging
from server.page import first_curl
from server.protocol import Connections, Protocol
from server.repository import Repository
from server.servables import State
from server.settings import Settings, SettingsError, misspelt_variables
from server.terminal import complain, say
from server.tls import tls_context

if TYPE_CHECKING:
    from server.grpc_server import GrpcServer

_OPEN_FILES = 65536

_log = logging.getLogger("graph_runtime.server")


def serve(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM.

    Returns:
        The exit code: 0 after a signal; 1 if it cannot listen, or cannot serve the one model that it was given; 2 if the settings,
        or files and folders that they name, cannot be used.
    """
    try:
        _start_logging(settings)
        for line in misspelt_variables(os.environ):
            _log.warning("%s", line)
        _warn_of_cache(settings.cache_dir)
        _allow_many_connections()
        api_key(settings)
        tls = tls_context(settings)
        repository = Repository(settings)
        failures = repository.scan(quiet=True).failures  # the application looks again, and tells
    except (OSError, SettingsError) as error:
        complain("serve", str(error))
        return 2
    if repository.is_single and failures:
        complain("serve", _useless(*next(iter(failures.items()))))
        return 1
    try:
        listening = listen(settings.rest_bind_address, settings.rest_port)
    except ListenError as error:
        complain("serve", str(error))
        return 1
    with contextlib.ExitStack() as closing:
        for each in listening:
            closing.enter_context(each)
        try:
            asyncio.run(_serve(settings, listening, tls, repository))
        except ListenError as error:
            complain("serve", str(error))
            return 1
        except (StartError, GraphError) as error:  # not for graphs: they fail one by one, and the server goes on
            complain("serve", str(error))
            return error.exit_code if isinstance(error, StartError) else 2
    _end_stuck_threads()
    return 0


def _start_logging(settings: Settings) -> None:
    try:
        start_logging(settings.log_level, settings.log_format, settings.log_path)
    except OSError as error:
        raise SettingsError(f"log_path {settings.log_path} cannot be written: {error.strerror}") from None


def _warn_of_cache(folder: Path | None) -> None:
    """Say that models will not be kept: OpenVINO does not, and a folder that is full but read-only is of use all the same."""
    if folder is None:
        return
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        _log.warning(
            "cache_dir %s cannot be written by this user: models that are not there yet are compiled anew at each start",
            folder,
        )


def _allow_many_connections() -> None:
    """Raise the number of files that the process may have open, each connection among them, as far as the system lets us."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(most, _OPEN_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class StartError(Exception):
    """The server could not begin; the text is for the operator."""

    def __init__(self, text: str, exit_code: int = 2) -> None:
        super().__init__(text)
        self.exit_code = exit_code


async def _serve(
    settings: Settings, listening: list[socket.socket], tls: ssl.SSLContext | None, repository: Repository
) -> None:
    stop = _stop_signal()
    app = build_app(settings)
    grpc_server = _grpc_server(app, settings)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=settings.cancel_grace_s)
    try:
        await runner.setup()
    except (OSError, SettingsError) as error:
        raise StartError(str(error)) from error
    local = only_local(listening)
    app[ACCESS].local_only = local and not settings.trust_forwarded_headers
    if not (local or app[ACCESS].key_needed or settings.tls_client_ca_file):
        _log.warning("everybody who reaches this port may use the server: it has no API key (--api_key_file)")
    loop = asyncio.get_running_loop()
    tell_when_full(loop)
    assert runner.server is not None  # setup made it
    connections = Connections()
    connection = partial(
        Protocol,
        runner.server,
        loop=loop,
        connections=connections,
        access_log=None,
    )
    listeners: list[asyncio.Server] = []
    try:
        for (
            each
        ) in listening:  # not a web.SockSite: that makes connections with aiohttp's own answers to what is no HTTP
            listeners.append(await loop.create_server(connection, sock=each, backlog=BACKLOG, ssl=tls))
        app[DRAIN].doors.append(partial(_close_http, listening, listeners, connections))
        scheme = "http" if tls is None else "https"
        urls = [base_url(scheme, address, listening[0].getsockname()[1]) for address in settings.rest_bind_address]
        places = " and ".join(urls)
        if grpc_server is not None:
            await grpc_server.start()
            app[DRAIN].doors.append(grpc_server.close_door)
            places += f" (gRPC at {' and '.join(grpc_server.places)})"
        servables = app[SERVABLES]
        names = ", ".join(servable.name for servable in servables) or "nothing"
        say(f"graph-runtime is at {places} and serves {names}, from {repository.place}")
        stopping = asyncio.create_task(stop.wait())
        speaking = asyncio.create_task(_say_when_loaded(app, urls[0], repository))
        await asyncio.wait([stopping, speaking], return_when=asyncio.FIRST_COMPLETED)
        if speaking.done():
            speaking.result()
            await stopping
        speaking.cancel()
        await let_out(app)
    finally:
        for listener in listeners:
            listener.close()
        await runner.cleanup()
        if grpc_server is not None:
            await grpc_server.close()
        await connections.wait_none_left(settings.cancel_grace_s)  # the last bytes of answers may be on their way still


def _grpc_server(app: web.Application, settings: Settings) -> GrpcServer | None:
    """The gRPC side, with its ports open; None where it is off.

    Raises:
        ListenError: a port cannot be opened.
    """
    if not settings.grpc_port:
        return None
    from server.grpc_server import GrpcServer  # a large library, which a server without gRPC need not load

    made = GrpcServer(app)
    made.listen()
    return made


async def let_out(app: web.Application) -> None:
    """What a shutdown does before the application ends; see ``server.drain`` for the order."""
    drain, settings = app[DRAIN], app[SETTINGS]
    drain.begun = True
    if settings.drain_delay_s:
        _log.info("shutting down: not ready any more, requests are taken for another %g s", settings.drain_delay_s)
        await app[CLOCK].sleep(settings.drain_delay_s)
    _log.info("shutting down: %d request(s) are being answered; a second signal ends the server at once", drain.inside)
    drain.closed = True
    await asyncio.gather(*(door() for door in drain.doors))


async def _close_http(
    listening: Sequence[socket.socket], listeners: Sequence[asyncio.Server], connections: Connections
) -> None:
    """Let no new connection in; those that are open may send a request that is on its way, and get its answer."""
    let_nobody_new_in(listening)
    await asyncio.sleep(0)  # whoever is connected already becomes one of ours
    await connections.wait_none_left(LINGER_S)
    for listener in listeners:
        listener.close()


async def _say_when_loaded(app: web.Application, url: str, repository: Repository) -> None:
    """Say what came of loading.

    Raises:
        StartError: there was one model to serve, and it failed.
    """
    servables = app[SERVABLES]
    await servables.settled.wait()
    if not len(servables):
        say(_nothing_to_serve(repository.place))
        return
    failed = [servable for servable in servables if servable.state is State.FAILED]
    if failed and repository.is_single:
        raise StartError(_useless(failed[0].name, failed[0].reason or ""), exit_code=1)
    names = ", ".join(servable.name for servable in failed)
    state = "Ready." if not failed else f"Not ready: {names} failed to load; {url}/v2/health/ready says why."
    say(f"{state} Try:\n  {first_curl(url, servables, key_needed=app[ACCESS].key_needed)}")


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
