"""``graph-runtime trace``: what nodes did when, as a file for Perfetto: of a running server, or of one run in this process."""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from calculators import PROGRESS, Progress, load_resources
from calculators.http_payload import HttpPayload, RequestError
from calculators.image_gen.request import GENERATIONS
from graph_runtime import CalculatorGraph, GraphError, Packet, Plan, running
from graph_runtime.folder_code import FolderCode
from graph_runtime.trace import Tracer
from server.access import api_key
from server.discovery import ServableSpec
from server.draw import find_graph
from server.flags import allows_python_nodes
from server.graph_source import calculators_beside, loadable, plan_servable, read_servable
from server.interface import PacketKind, Port, http_ports, interface_of
from server.settings import Settings, SettingsError
from server.terminal import complain, say

_PATIENCE_S = 60.0


class UsageError(Exception):
    """The command line asks for something that cannot be done; nothing was started."""


def trace(arguments: argparse.Namespace) -> int:
    """Write the trace that the command line asks for.

    Returns:
        The exit code: 0; 1 if the run failed (its trace is written) or the server did; 2 if the command line is wrong; 130 after
            Ctrl-C (the trace is written).
    """
    try:
        if arguments.url is not None:
            return _of_server(arguments)
        allowed = allows_python_nodes(arguments)
        spec = find_graph(Path(arguments.graph))
        with calculators_beside(spec, allowed=allowed) or nullcontext() as own:
            return _of_run(spec, own, allowed, arguments)
    except (UsageError, SettingsError, RequestError) as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except GraphError as error:
        return _fail(str(error), 1)
    except (OSError, ValueError) as error:
        return _fail(str(error), 2)


def _fail(message: str, code: int) -> int:
    complain("trace", message)
    return code


def _check_place(output: Path) -> None:
    """Find out before a long run that its trace could not be written. What is there stays as it is until then."""
    try:
        output.open("a").close()
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}") from None


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}") from None


# ---- a running server


def _of_server(arguments: argparse.Namespace) -> int:
    if arguments.inputs or arguments.prompt is not None:
        raise UsageError(
            "--input and --prompt are for a run in this process; with --url the server's last runs are written"
        )
    base = arguments.url.rstrip("/")
    if urlsplit(base).scheme not in ("http", "https"):
        raise UsageError(f"--url {arguments.url}: give it as http://HOST:PORT")
    request = urllib.request.Request(f"{base}/graphs/{quote(arguments.graph)}/trace")  # noqa: S310
    key = api_key(Settings.resolve({}, os.environ))
    if key is not None:
        request.add_unredirected_header("Authorization", f"Bearer {key}")  # for nobody but the server that was named
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:  # noqa: S310  # http and https alone, as said above
            told: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        return _fail(_reason(error), 1)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return _fail(f"{base} does not answer as this server does: {reason}", 1)
    events = told.get("traceEvents") if isinstance(told, dict) else None
    if not isinstance(events, list):
        return _fail(f"{base} does not answer as this server does: there are no traceEvents", 1)
    _write(arguments.output, json.dumps(told))
    runs = sum(event.get("ph") == "b" and event.get("cat") == "run" for event in events)
    note = (
        ""
        if runs
        else "; the server has recorded none: quick graphs are recorded for ten seconds after each look at them"
    )
    say(f"{arguments.output}: the last {runs} run(s) of {arguments.graph}{note}")
    return 0


def _reason(error: urllib.error.HTTPError) -> str:
    """The server's own words."""
    try:
        return str(json.load(error)["error"]["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return f"the server answered with the status {error.code}"


# ---- one run in this process


def _of_run(spec: ServableSpec, own: FolderCode | None, allowed: bool, arguments: argparse.Namespace) -> int:
    plan = plan_servable(spec, own=own)
    packets, side_packets = _values(spec, plan, arguments)
    _check_place(arguments.output)
    graph = CalculatorGraph(plan)
    tracer = graph.enable_tracing()
    progress = Progress()
    progress.on_tell = tracer.note_step
    with load_resources(loadable(plan, read_servable(spec)), spec.base_dir, allow_python_nodes=allowed) as resources:
        for key, value in {**resources.services, PROGRESS: progress}.items():
            graph.set_service(key, value)
        try:
            with running(graph, {**resources.side_packets, **side_packets}) as run:
                for stream, timestamp, value in packets:
                    run.add(stream, Packet(value).at(timestamp))
            code = 0
        except GraphError as error:
            code = _fail(str(error), 1)
        except KeyboardInterrupt:
            code = _fail("interrupted", 130)
    _write(arguments.output, json.dumps(tracer.chrome_trace()))
    say(f"{arguments.output}: {_summary(tracer)}")
    return code


def _values(
    spec: ServableSpec, plan: Plan, arguments: argparse.Namespace
) -> tuple[list[tuple[str, int, Any]], dict[str, Any]]:
    """The packets of the command line, as (stream, timestamp, value), and its side packets.

    Raises:
        UsageError: the graph has no such input, or makes no pictures.
    """
    streams = {name for _, _, name in plan.graph_inputs}
    ports = interface_of(plan).input_by_name
    sides = {*plan.required_side_packets, *(name for _, _, name in plan.graph_side_packets)}
    packets: list[tuple[str, int, Any]] = []
    side_packets: dict[str, Any] = {}
    given: Counter[str] = Counter()
    for name, text in arguments.inputs:
        if name in streams:
            packets.append((name, given[name], _packet_value(ports[name], text)))
            given[name] += 1
        elif name in sides:
            side_packets[name] = _value(text)
        else:
            have = ", ".join(sorted(streams | sides)) or "none"
            raise UsageError(
                f"--input {name}: the graph has no input stream or side packet of this name; it has: {have}"
            )
    if arguments.prompt is not None:
        interface = interface_of(plan)
        if not interface.makes_images:
            raise UsageError(f"--prompt: the graph {spec.shown_file} makes no pictures; give it packets with --input")
        source, _ = http_ports(spec.name, interface)
        request = HttpPayload.json(GENERATIONS, {"model": spec.name, "prompt": arguments.prompt})
        packets.append((source.name, given[source.name], request))
    return packets, side_packets


def _packet_value(port: Port, text: str) -> Any:
    """The value of an input packet: of a Python node's stream a tensor of the numbers, or of the text's bytes."""
    value = _value(text)
    if PacketKind.PY_TENSOR not in port.kinds:
        return value
    import numpy as np

    from calculators.python_node.tensor import Tensor

    return Tensor(port.name, value.encode() if isinstance(value, str) else np.asarray(value))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _summary(tracer: Tracer) -> str:
    totals = tracer.totals.values()
    return f"{sum(each.calls for each in totals)} call(s) of {len(totals)} node(s)"
