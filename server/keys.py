"""Where an application and a request keep what their handlers share."""

from __future__ import annotations

from aiohttp import web

from server.access import Access
from server.admission import Admission
from server.backend import Backend
from server.clock import Clock
from server.drain import Drain
from server.image_store import ImageStore
from server.metrics import Metrics
from server.servables import Servables
from server.settings import Settings
from server.watch import Reloader

SETTINGS = web.AppKey("SETTINGS", Settings)
BACKEND: web.AppKey[Backend] = web.AppKey("BACKEND", Backend)
ACCESS = web.AppKey("ACCESS", Access)
DRAIN = web.AppKey("DRAIN", Drain)
ADMISSION = web.AppKey("ADMISSION", Admission)
"""What routes run graphs with."""
SERVABLES = web.AppKey("SERVABLES", Servables)
RELOADER = web.AppKey("RELOADER", Reloader)
METRICS: web.AppKey[Metrics | None] = web.AppKey("METRICS")
CLOCK: web.AppKey[Clock] = web.AppKey("CLOCK", Clock)
IMAGE_STORE: web.AppKey[ImageStore | None] = web.AppKey("IMAGE_STORE")

REQUEST_ID = web.RequestKey("REQUEST_ID", str)
MODEL = web.RequestKey("MODEL", str)
"""The name of the servable that a request was for; set once it is known to exist."""
ERROR_CODE = web.RequestKey("ERROR_CODE", str)
"""The code of the error that it was answered with."""

KSERVE_ROUTE = "kserve"
"""The name of the route /v2, whose path says where the application is mounted."""
