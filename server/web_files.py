"""The files behind the pages: GET /web/FILE, with the headers that all pages have.

Pages are plain HTML, CSS and ES modules: nothing is built, and nothing comes from elsewhere. Their addresses are relative, so
that they are right wherever the application is mounted.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

from calculators.http_payload import RequestError

PAGE_HEADERS: Final = {
    # Nothing but our own files: names of models come from folder names, which anybody may have written. Pictures are made
    # from what the server answers (blob:) or stand in it (data:).
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Of every page and of every file that belongs to one."""

_FOLDER: Final = Path(__file__).parent / "web"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


async def send_web_file(request: web.Request) -> web.StreamResponse:
    """GET /web/FILE: a style sheet, a script or a drawing of the pages. Browsers keep it, and ask each time if it is the newest."""
    name = request.match_info["file"]
    path = _files().get(name)
    if path is None:
        raise RequestError(f"The pages of this server have no file {name[:128]!r}.", status=404, code="file_not_found")
    return web.FileResponse(
        path,
        headers={
            **PAGE_HEADERS,
            "Content-Type": f"{_TYPES[path.suffix]}; charset=utf-8",
            "Cache-Control": "no-cache",
        },
    )


@cache
def _files() -> dict[str, Path]:
    """Name -> file; what is not here is not sent, whatever stands in a path."""
    return {path.name: path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
