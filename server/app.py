"""The server on one screen: its routes, what goes around them, and what lives as long as it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from aiohttp import web

from graph_runtime import register_options
from server.backend import Backend
from server.departures import departures
from server.discovery import find_servables, models_dir
from server.health_routes import live, ready
from server.keys import BACKEND, SERVABLES, SETTINGS
from server.local_backend import LocalBackend, in_thread
from server.middleware import MIDDLEWARES, add_headers
from server.openai_routes import call_graph, list_models, retrieve_model
from server.page import show_page
from server.servables import Servables
from server.settings import Settings

_log = logging.getLogger("graph_runtime.server")


def build_app(settings: Settings) -> web.Application:
    """The server as an aiohttp application: to be run by ``server.cli``, or mounted in another one with ``add_subapp``.

    Nothing is read from disk before the application starts. Models load in the background after that.

    Raises (at start):
        OSError: the model folder is not there, or is no folder.
        GraphError: a file of ``options_proto`` cannot be used.
    """
    app = web.Application(middlewares=MIDDLEWARES)
    app[SETTINGS] = settings
    app.add_routes([
        web.get("/", show_page),
        web.get("/v2/health/live", live),
        web.get("/v2/health/ready", ready),
        web.get("/{version:v1|v3|v3/v1}/models", list_models),
        web.get("/{version:v1|v3|v3/v1}/models/{model:.+}", retrieve_model),
        web.post("/{version:v1|v3}/{call:.+}", call_graph),
    ])  # fmt: skip
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(stop_runs)
    app.cleanup_ctx.extend([backend, servables, departures])
    return app


async def backend(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: who runs graphs."""
    app[BACKEND] = made = LocalBackend(app[SETTINGS])
    yield
    for line in await made.close():
        _log.error("%s", line)


async def servables(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: what is served; loading goes on in the background."""
    settings = app[SETTINGS]
    folder = models_dir(settings.models)
    for file in settings.options_proto:
        await in_thread("register options", partial(register_options, file))
    specs = await in_thread("find graphs", lambda: find_servables(folder))
    if not specs:
        _log.warning("no graph.pbtxt in or below %s: there is nothing to serve", folder)
    app[SERVABLES] = found = Servables(app[BACKEND], specs, settings.load_wait_s)
    loading = asyncio.create_task(found.load_all(), name="load servables")
    yield
    loading.cancel()
    with suppress(asyncio.CancelledError):
        await loading


async def stop_runs(app: web.Application) -> None:
    """On shutdown, while connections are still open: running requests are cancelled, and their clients told so."""
    running: Backend = app[BACKEND]
    running.stop("the server is shutting down")
