"""Where an application and a request keep what their handlers share."""

from __future__ import annotations

from aiohttp import web

from server.backend import Backend
from server.servables import Servables
from server.settings import Settings

SETTINGS = web.AppKey("SETTINGS", Settings)
BACKEND: web.AppKey[Backend] = web.AppKey("BACKEND", Backend)
SERVABLES = web.AppKey("SERVABLES", Servables)

REQUEST_ID = web.RequestKey("REQUEST_ID", str)
MODEL = web.RequestKey("MODEL", str)
"""The name of the servable that a request was for; set once it is known to exist."""
