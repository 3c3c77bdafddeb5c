"""What is served and how it went, in the form that OVMS's clients read: /v1/config, and /v1/config/reload to take up changes.

A change that is taken up all by itself (``server.watch``) needs neither.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from server.keys import RELOADER, SERVABLES
from server.servables import Servable, Servables, State
from server.settings import SettingsError
from server.watch import SCAN_ERRORS

VERSION: Final = "1"
"""The one version that a graph has for clients. Source: OVMS."""

# Source of the texts: OVMS, /v1/config/reload.
_CONFIG_MISSING: Final = "Config file not found or cannot open."
_CONFIG_BROKEN: Final = "Reloading config file failed. Check server logs for more info."
_MODELS_FAILED: Final = "Reloading models versions failed. Check server logs for more info."

_log = logging.getLogger("graph_runtime.server")


async def show_config(request: web.Request) -> web.StreamResponse:
    """GET /v1/config: every servable, those that are not served any more too, with its state."""
    return _answer(_statuses(request.app[SERVABLES]))


async def reload_config(request: web.Request) -> web.StreamResponse:
    """POST /v1/config/reload: take up every change now, and try again what failed; answers when nothing loads any more.

    201 if something was loaded or ended, 200 if there was nothing to do, both with the body of GET /v1/config. 500 if
    something could not be taken up; what was served before goes on.
    """
    reloader = request.app[RELOADER]
    try:
        changed = await reloader.reload()
    except SCAN_ERRORS as error:
        _log.error("reload: what is served stays as it is, since it cannot be looked at: %s", error)
        text = _CONFIG_BROKEN if isinstance(error, SettingsError) else _CONFIG_MISSING
        return _failure(text, _without_folders(str(error), reloader.watched_paths()))
    servables = request.app[SERVABLES]
    failed = [f"{each.name}: {each.problem}" for each in servables if each.problem is not None]
    failed += [_without_folders(error, reloader.watched_paths()) for error in reloader.found.errors]
    if failed:
        return _failure(_MODELS_FAILED, "\n".join(failed))
    return _answer(_statuses(servables), 201 if changed else 200)


async def refuse_method(request: web.Request) -> web.StreamResponse:
    """Any other method: the graph calls, which take all of POST /v1/..., are not to get it."""
    allowed = "POST" if request.path.endswith("/reload") else "GET"
    raise web.HTTPMethodNotAllowed(request.method, [allowed])


CONFIG_ROUTES: Final = (
    web.get("/v1/config", show_config),
    web.post("/v1/config/reload", reload_config),
    web.route("*", "/v1/config", refuse_method),
    web.route("*", "/v1/config/reload", refuse_method),
)


def _statuses(servables: Servables) -> str:
    """The JSON text of all states, to the blank as OVMS prints it. Source: its tests of ``serializeModelsStatuses2Json``."""
    all_of_them = sorted([*servables, *servables.ended.values()], key=lambda each: each.name.encode())
    if not all_of_them:
        return "{}"
    return "{\n" + ",\n".join(f"{_text(each.name)} : \n{_status(servables, each)}" for each in all_of_them) + "\n}"


def _status(servables: Servables, servable: Servable) -> str:
    state, code, message = servable.state.value, "OK", "OK"
    trouble = servables.trouble(servable)
    if servable.state is State.FAILED:
        state = "LOADING"  # OVMS has no state for it
    if trouble is not None:
        code, message = "FAILED_PRECONDITION", trouble
    elif servable.reload_problem is not None:
        message = f"The version before the newest is served; the newest cannot be loaded: {servable.reload_problem}"
    status = {"error_code": code, "error_message": message}
    return _text({"model_version_status": [{"version": VERSION, "state": state, "status": status}]})


def _failure(text: str, reason: str) -> web.Response:
    return _answer("{\n\t" + f'"error": {_text(text)},\n\t"reason": {_text(reason)}' + "\n}", 500)


def _without_folders(text: str, watched: Sequence[Path]) -> str:
    """What is wrong, without the folders above: clients need not know where on the disk the models are."""
    for path in watched:
        text = text.replace(f"{path}/", "").replace(str(path), path.name)
    return text


def _answer(text: str, status: int = 200) -> web.Response:
    return web.Response(body=text.encode(errors="replace"), status=status, content_type="application/json")


def _text(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
