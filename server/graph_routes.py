"""Graphs to look at: the pages /graphs and /graphs/NAME, and the picture, the live state and the last runs behind them.

The pages name no graph, so that a browser can open them without the API key; what they fetch needs it. Requests' ids are told to
nobody: whoever knows one may cancel the request.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from functools import cache, lru_cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from calculators.http_payload import RequestError
from graph_runtime import GraphError, Problem
from graph_runtime.drawing import Drawing, drawing_of, to_svg
from graph_runtime.trace import Call, chrome_events, chrome_trace
from server.backend import Handle
from server.errors import json_response
from server.graph_report import GraphReport, NodeDetails, NodeReport, RunReport
from server.graph_source import read_servable, subgraphs_beside
from server.keys import ACCESS, BACKEND, SERVABLES
from server.local_backend import in_thread
from server.servable_errors import failed, loading, quoted
from server.servables import Servable, State
from server.web_files import PAGE_HEADERS

SHOWN_CALLS: Final = 200
"""Calls of one run in a snapshot; a trace has all that are kept."""
_PROBLEM: Final = re.compile(r'^(\S+:\d+:\d+): node "(.*?)": (.*)$', re.M)
_NAME: Final = "/graphs/{model:.+}"
_BELOW: Final = ("graph.json", "graph.svg", "snapshot", "trace")
"""What a graph has below its page."""
_NO_STORE: Final = {"Cache-Control": "no-store"}
_PAGE_HEADERS: Final = {**PAGE_HEADERS, **_NO_STORE}
_SVG_HEADERS: Final = {
    # Opened by itself it has its own style, and nothing else.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    **_NO_STORE,
}


def graph_address(name: str) -> str:
    """The page of a graph, from the root of the application on; with a slash at its end where it would be another graph's trace."""
    slash = "/" if name.rpartition("/")[2] in _BELOW else ""
    return f"graphs/{quote(name, errors='replace')}{slash}"


async def show_graphs(request: web.Request) -> web.StreamResponse:
    """GET /graphs: the page with all graphs."""
    return web.Response(
        text=_template("graphs.html").substitute(root=""), content_type="text/html", headers=_PAGE_HEADERS
    )


async def lead_to_graphs(request: web.Request) -> web.StreamResponse:
    """GET /graphs/: the page with all graphs is at /graphs."""
    return web.Response(status=308, headers={"Location": "../graphs"})


async def show_graph(request: web.Request) -> web.StreamResponse:
    """GET /graphs/NAME and /graphs/NAME/: the page of one; the name may hold slashes."""
    name = request.match_info["model"].removesuffix("/")
    if not request.app[ACCESS].key_needed:
        request.app[SERVABLES].find(name)
    text = _template("graph.html").substitute(
        root=_way_up(request), name=escape(name), path=escape(quote(name, errors="replace"))
    )
    return web.Response(text=text, content_type="text/html", headers=_PAGE_HEADERS)


async def send_structure(request: web.Request) -> web.StreamResponse:
    """GET /graphs/NAME/graph.json: what the graph is made of, node by node; of one that failed, what could be read of it."""
    servable = _servable(request)
    body: dict[str, Any] = {"name": servable.name, "state": servable.state, "problem": _problem(request, servable)}
    handle = servable.handle
    if handle is not None:
        picture = request.app[BACKEND].picture(handle)
        nodes = [_details(each, node.id) for node, each in zip(picture.drawing.nodes, picture.nodes, strict=True)]
        return json_response(
            {**body, "version": handle.key, "summary": picture.drawing.summary(), "nodes": nodes}, headers=_NO_STORE
        )
    drawing = await _failed_drawing(servable)
    nodes = [] if drawing is None else [
        {
            "id": node.id, "name": node.name, "calculator": node.calculator, "place": node.place, "problems": node.problems,
        }
        for node in drawing.nodes
    ]  # fmt: skip
    return json_response(
        {**body, "version": 0, "summary": None if drawing is None else drawing.summary(), "nodes": nodes},
        headers=_NO_STORE,
    )


async def send_picture(request: web.Request) -> web.StreamResponse:
    """GET /graphs/NAME/graph.svg: the graph, drawn."""
    servable = _servable(request)
    handle = servable.handle
    drawing = await _failed_drawing(servable) if handle is None else request.app[BACKEND].picture(handle).drawing
    if drawing is None:
        raise failed(servable.name, servable.reason) if servable.state is State.FAILED else loading(servable.name)
    shown = drawing
    try:
        text = await in_thread(f"draw {servable.name}", lambda: _svg(shown))
    except ValueError as error:
        raise RequestError(
            f"The graph of {quoted(servable.name)} is not drawn: {error}.",
            status=422,
            param="model",
            code="graph_too_large",
        ) from None
    return web.Response(text=text, content_type="image/svg+xml", headers=_SVG_HEADERS)


async def send_snapshot(request: web.Request) -> web.StreamResponse:
    """GET /graphs/NAME/snapshot: what it does now, and its last runs; ``?after=N`` leaves out runs up to that number.

    For ten seconds after it the runs of quick graphs are recorded too.
    """
    after = _number(request, "after")
    servable = _servable(request)
    running, waiting = request.app[SERVABLES].occupancy(servable)
    body = {
        "name": servable.name,
        "state": servable.state,
        "problem": _problem(request, servable),
        "requests": {"running": running, "waiting": waiting},
    }
    handle = servable.handle
    if handle is None:
        return json_response(
            {**body, "version": 0, "nodes": [], "ages_s": [], "runs": [], "recorded": 0}, headers=_NO_STORE
        )
    report = request.app[BACKEND].report(handle)
    return json_response({**body, "version": handle.key, **_snapshot(report, handle, after)}, headers=_NO_STORE)


async def send_trace(request: web.Request) -> web.StreamResponse:
    """GET /graphs/NAME/trace: the last runs, in the Trace Event Format, which Perfetto and chrome://tracing open."""
    servable = _servable(request)
    if servable.handle is None:
        raise failed(servable.name, servable.reason) if servable.state is State.FAILED else loading(servable.name)
    report = request.app[BACKEND].report(servable.handle)
    threads = {thread: name for run in report.runs for thread, name in run.threads.items()}
    events = [event for run in report.runs for event in (*_span(run), *chrome_events(run.calls, run.number))]
    name = "".join(each if (each.isascii() and each.isalnum()) or each in "-_." else "-" for each in servable.name)
    return json_response(
        chrome_trace(events, threads),
        headers={**_NO_STORE, "Content-Disposition": f'attachment; filename="{name}.trace.json"'},
    )


GRAPH_ROUTES: Final = (
    web.get("/graphs", show_graphs),
    web.get("/graphs/", lead_to_graphs),
    *(
        web.get(f"{_NAME}/{what}", send)
        for what, send in zip(_BELOW, (send_structure, send_picture, send_snapshot, send_trace), strict=True)
    ),
    web.get(_NAME, show_graph),
)


def _servable(request: web.Request) -> Servable:
    return request.app[SERVABLES].find(request.match_info["model"])


def _problem(request: web.Request, servable: Servable) -> str | None:
    """What is wrong with it, for anybody to read."""
    trouble = request.app[SERVABLES].trouble(servable)
    if trouble is None and servable.reload_problem is not None:
        return f"The newest version cannot be served: {servable.reload_problem}"
    return trouble


async def _failed_drawing(servable: Servable) -> Drawing | None:
    """As much of a graph as can be read that could not be loaded; code of its folder is not run for that."""
    spec = servable.wanted
    if spec is None:
        return None
    label = f"{spec.name}/{spec.shown_file.name}"

    def draw() -> Drawing | None:
        try:
            source = read_servable(spec, file=label, keep_problems=True)
        except GraphError:
            return None
        subgraphs = {} if spec.graph_file is None else subgraphs_beside(spec.graph_file, spec.graph_text)
        return drawing_of(source, title=spec.name, subgraphs=subgraphs, problems=_problems(servable.reason or ""))

    return await in_thread(f"read {spec.name}", draw)


def _problems(reason: str) -> list[Problem]:
    """The problems of nodes that a reason lists; the reason and not the error, since that is for anybody to read."""
    return [Problem(text, place=place, node=node) for place, node, text in _PROBLEM.findall(reason)]


@lru_cache(maxsize=16)  # a graph is drawn once, however many look at it
def _svg(drawing: Drawing) -> str:
    return to_svg(drawing)


def _details(node: NodeDetails, node_id: str) -> dict[str, Any]:
    return {"id": node_id, **node._asdict(), "ports": [port._asdict() for port in node.ports]}


def _snapshot(report: GraphReport, handle: Handle, after: int) -> dict[str, Any]:
    return {
        "limits": handle.limits._asdict(),
        "max_queue_size": report.max_queue_size,
        "always_recorded": report.always_recorded,
        "recorded": report.recorded,
        "ages_s": [round(age, 3) for age in report.ages_s],
        "nodes": [_node(each) for each in report.nodes],
        "runs": [_run(run) for run in report.runs if run.number > after],
    }


def _node(node: NodeReport) -> dict[str, Any]:
    times = {field: _rounded(getattr(node, field)) for field in ("mean_ms", "last_ms", "longest_ms")}
    return {**node._asdict(), **times, "queues": [queue._asdict() for queue in node.queues]}


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 4)


def _run(run: RunReport) -> dict[str, Any]:
    calls = run.calls[-SHOWN_CALLS:]
    return {
        "number": run.number,
        "api": run.api,
        "outcome": run.outcome,
        "began": datetime.fromtimestamp(run.began_s, UTC).isoformat(timespec="milliseconds"),
        "duration_ms": run.duration_ns / 1e6,
        "left_out": run.left_out + len(run.calls) - len(calls),
        "calls": [_call(call, run) for call in calls],
    }


def _call(call: Call, run: RunReport) -> dict[str, Any]:
    return {
        "node": call.node,
        "phase": call.phase,
        "start_ms": (call.start_ns - run.start_ns) / 1e6,
        "duration_ms": call.duration_ns / 1e6,
        "is_moment": call.is_moment,
    }


def _span(run: RunReport) -> tuple[dict[str, Any], dict[str, Any]]:
    """The whole run, as a pair of async events."""
    begin = {
        "ph": "b", "cat": "run", "name": f"run {run.number}", "id": f"run {run.number}", "pid": os.getpid(), "tid": 0,
        "ts": run.start_ns / 1000, "args": {"outcome": run.outcome, "api": run.api, "calls_left_out": run.left_out},
    }  # fmt: skip
    return begin, {**begin, "ph": "e", "ts": (run.start_ns + run.duration_ns) / 1000, "args": {}}


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(f"{name} is {text[:64]!r}; it has to be the number of a run.", status=400, param=name)
    return int(text)


def _way_up(request: web.Request) -> str:
    """From this page to the root of the application, wherever it is mounted and however the slashes of the name are written."""
    resource = request.match_info.route.resource
    assert resource is not None
    above = resource.canonical.partition("{")[0]
    return "../" * (request.rel_url.raw_path.count("/") - above.count("/") + 1)


@cache
def _template(file: str) -> Template:
    return Template((files("server") / "web" / file).read_text(encoding="utf-8"))
