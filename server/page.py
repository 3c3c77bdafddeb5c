"""The page at /: the playground (``web/playground.js``), what is served, its state, and the first call to make."""

from __future__ import annotations

import json
import shlex
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from aiohttp import web

from server.graph_routes import graph_address
from server.interface import http_gap
from server.keys import ACCESS, SERVABLES
from server.servables import Servable, Servables
from server.web_files import PAGE_HEADERS

EXAMPLE_PROMPT = "a red circle on a blue background"
_ASKS_FOR_KEY = "This server asks for an API key; its models are shown to those who send it."
_HEADERS = {**PAGE_HEADERS, "Cache-Control": "no-store"}


async def show_page(request: web.Request) -> web.StreamResponse:
    """GET /: the page, filled in for the address that the client used.

    Where there is an API key, which a browser does not send, it names no model.
    """
    access = request.app[ACCESS]
    servables = request.app[SERVABLES] if access.knows_key(request.headers.get("Authorization")) else None
    base_url = str(request.url.with_query(None).with_fragment(None)).rstrip("/")
    text = _template().substitute(
        summary=escape(_ASKS_FOR_KEY if servables is None else _summary(servables)),
        rows="\n".join(_row(servables, servable) for servable in servables) if servables is not None else "",
        table_hidden="" if servables else "hidden",
        example=escape(first_curl(base_url, servables, key_needed=access.key_needed)),
        which_key="the API key of this server" if access.key_needed else "any API key",
        base_url=escape(base_url),
    )
    return web.Response(text=text, content_type="text/html", headers=_HEADERS)


async def lead_to_page(request: web.Request) -> web.StreamResponse:
    """GET /ai, where another application has us at /ai: the page is at /ai/, and what it asks for is beside it.

    The address is a relative one: a proxy in front may know us by another path.
    """
    return web.Response(status=308, headers={"Location": f"./{request.rel_url.raw_name}/"})


def first_curl(base_url: str, servables: Servables | None, *, key_needed: bool = False) -> str:
    """The first command to try: a picture if a model that can be used makes some, else the list of models.

    Args:
        base_url: where the server is.
        servables: what it serves; None where that is not to be told.
        key_needed: whether requests have to bring an API key, which stands as a shell variable in the command.
    """
    key = ' -H "Authorization: Bearer $API_KEY"' if key_needed else ""
    for servable in servables or ():
        if servable.handle is not None and servable.handle.interface.makes_images:
            return curl_line(base_url, servable.name) + key
    return f"curl {shlex.quote(f'{base_url}/v3/models')}{key}"


def curl_line(base_url: str, model: str) -> str:
    """A shell command that asks an image model for a picture."""
    body = json.dumps({"model": model, "prompt": EXAMPLE_PROMPT}, ensure_ascii=False)
    url = shlex.quote(f"{base_url}/v3/images/generations")
    return f"curl {url} -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def _summary(servables: Servables) -> str:
    if not len(servables):
        return "No model is served: no folder with a graph.pbtxt was found."
    usable = sum(map(servables.usable, servables))
    return f"{usable} of {len(servables)} {'model' if len(servables) == 1 else 'models'} can be used."


def _row(servables: Servables, servable: Servable) -> str:
    running, waiting = servables.occupancy(servable)
    problem = servable.reload_problem
    texts = [
        servables.trouble(servable),
        None if problem is None else f"The newest version cannot be served: {problem}",
    ]
    gap = None if servable.handle is None else http_gap(servable.handle.interface)
    texts += [None if gap is None else f"The graph {gap}."]
    reason = "".join(f"<pre>{escape(text)}</pre>" for text in texts if text is not None)
    graph = escape(graph_address(servable.name))
    return (
        f'<tr><th scope="row"><a href="{graph}">{escape(servable.name)}</a></th><td>{servable.state.lower()}{reason}</td>'
        f"<td>{running} running, {waiting} waiting</td></tr>"
    )


@cache
def _template() -> Template:
    return Template((files("server") / "web" / "index.html").read_text(encoding="utf-8"))
