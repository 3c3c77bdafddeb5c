"""The server on one screen: its routes, what goes around them, and what lives as long as it does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

from aiohttp import web

from graph_runtime import register_options
from server import openapi
from server.access import Access, api_key
from server.admission import Admission
from server.clock import Clock, SystemClock
from server.config_routes import CONFIG_ROUTES
from server.departures import departures
from server.drain import Drain
from server.graph_routes import GRAPH_ROUTES, lead_to_graphs, show_graph, show_graphs
from server.health_routes import live, ready
from server.image_routes import send_image
from server.image_store import ImageStore
from server.keys import (
    ACCESS,
    ADMISSION,
    BACKEND,
    CLOCK,
    DRAIN,
    IMAGE_STORE,
    KSERVE_ROUTE,
    METRICS,
    RELOADER,
    SERVABLES,
    SETTINGS,
)
from server.kserve_routes import KSERVE_MODEL, infer, model_metadata, model_ready, repository_index, server_metadata
from server.local_backend import LocalBackend, in_thread
from server.metrics import Metrics
from server.metrics_routes import show_metrics
from server.middleware import add_headers, follow_request
from server.openai_routes import call_graph, list_models, refuse_empty_id, retrieve_model
from server.page import lead_to_page, show_page
from server.repository import Repository
from server.request_routes import cancel_request, show_request
from server.servables import Servables
from server.settings import Settings, SettingsError
from server.watch import Reloader, watch
from server.web_files import send_web_file

_log = logging.getLogger("graph_runtime.server")


def build_app(settings: Settings, clock: Clock | None = None) -> web.Application:
    """The server as an aiohttp application: to be run by ``server.cli``, or mounted in another one with ``add_subapp``.

    Nothing is read from disk before the application starts. Models load in the background after that.

    Args:
        settings: all that can be set.
        clock: for deadlines, keep-alive lines and the time that pictures are kept; the system's unless given.

    Raises:
        OSError: when the application starts, as all of these: the model folder is not there, or is no folder.
        GraphError: a file of ``options_proto`` cannot be used.
        SettingsError: the model folder's config.json says something that cannot be, the API key cannot be used, the folder for
            pictures cannot be written to, or settings do not go together.
    """
    app = web.Application(middlewares=[follow_request])
    app[SETTINGS] = settings
    app[CLOCK] = SystemClock() if clock is None else clock
    app[DRAIN] = Drain()
    app[METRICS] = Metrics(settings.metrics_list) if settings.metrics_enable else None
    app.add_routes([
        web.get("/", show_page),
        web.get("", lead_to_page),
        web.get("/web/{file}", send_web_file),
        web.get("/metrics", show_metrics),
        web.get(openapi.PATH, openapi.show_openapi),
        web.get("/v2/health/live", live),
        web.get("/v2/health/ready", ready),
        web.get("/v2", server_metadata, name=KSERVE_ROUTE),
        web.post(f"{KSERVE_MODEL}/infer", infer),
        web.get(f"{KSERVE_MODEL}/ready", model_ready),
        web.get(f"{KSERVE_MODEL}{{end:(?<!/infer)(?<!/ready)/?}}", model_metadata),
        web.post("/v2/repository/index", repository_index),
        web.get("/{version:v1|v3|v3/v1}/models", list_models),
        web.get("/{version:v1|v3|v3/v1}/models/", refuse_empty_id),
        web.get("/{version:v1|v3|v3/v1}/models/{model:.+}", retrieve_model),
        web.get("/{version:v1|v3}/images/files/{name}", send_image),
        web.get("/{version:v1|v3}/requests/{id}", show_request),
        web.post("/{version:v1|v3}/requests/{id}/cancel", cancel_request),
        *CONFIG_ROUTES,
        *GRAPH_ROUTES,
        web.post("/{version:v1|v3}/{call:.+}", call_graph),
    ])  # fmt: skip
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(answer_all)
    app.cleanup_ctx.extend([access, image_store, backend, servables, departures])
    return app


async def access(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: who may ask."""
    app[SETTINGS].check()
    key = await in_thread("read the API key", lambda: api_key(app[SETTINGS]))
    app[ACCESS] = Access(
        app[SETTINGS],
        key,
        (
            show_page,
            show_graphs,
            show_graph,
            lead_to_graphs,
            lead_to_page,
            send_web_file,
            live,
            ready,
            openapi.show_openapi,
        ),
    )
    yield


async def image_store(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: the pictures behind URLs, where there is a folder for them."""
    settings, clock = app[SETTINGS], app[CLOCK]
    app[IMAGE_STORE] = None
    if settings.image_store is None:
        yield
        return
    folder = settings.image_store
    try:
        app[IMAGE_STORE] = store = await in_thread(
            "clean the image store",
            lambda: ImageStore(folder, settings.image_url_ttl_s, settings.image_store_bytes, clock),
        )
    except OSError as error:
        raise SettingsError(f"image_store {folder} cannot be written: {error.strerror}") from error
    sweeping = asyncio.create_task(store.sweep_for_ever(), name="sweep the image store")
    yield
    sweeping.cancel()
    with suppress(asyncio.CancelledError):
        await sweeping


async def backend(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: who runs graphs, and who decides which requests may wait."""
    app[BACKEND] = made = LocalBackend(app[SETTINGS], clock=app[CLOCK], store=app[IMAGE_STORE])
    app[ADMISSION] = Admission(made, app[CLOCK], app[METRICS])
    yield
    for line in await made.close():
        _log.error("%s", line)


async def servables(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context: what is served; loading goes on in the background, and so does looking for changes."""
    settings = app[SETTINGS]
    repository = Repository(settings)
    for file in settings.options_proto:
        await in_thread("register options", partial(register_options, file))
    app[SERVABLES] = found = Servables(app[BACKEND], settings.load_wait_s)
    metrics = app[METRICS]
    if metrics is not None:
        metrics.watch(app[BACKEND], found)
    app[RELOADER] = reloader = Reloader(repository, found)
    await reloader.look()
    watching = asyncio.create_task(watch(reloader, settings, app[CLOCK]), name="watch the models")
    yield
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    await found.close()


async def answer_all(app: web.Application) -> None:
    """On shutdown, while connections are still open: requests go on for a while, then they are cancelled, and told so."""
    drain = app[DRAIN]
    drain.begun = True
    if not await drain.wait_empty(app[SETTINGS].shutdown_grace_s):
        _log.warning("%d request(s) were not answered in time and are cancelled", drain.inside)
    app[ADMISSION].stop("the server is shutting down")
