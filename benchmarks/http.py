"""A pass-through graph over KServe REST, beside other servers that give a request back: requests a second, and the slow ones.

Usage: python benchmarks/http.py --litserve-python PYTHON --kserve-python PYTHON [--rounds 5] [--seconds 5] [--logs off]

``nox -s http_benchmark`` makes the two other environments. ``wrk`` has to be on the path (Debian: apt-get install wrk). Four peers,
each one process (LitServe: one for HTTP and one that works) which is alive for the whole run, while the rounds alternate between
them, so that a slow moment of the machine meets all of them. wrk has one thread, and 1 or 16 connections that ask again as soon as
they are answered; the body is a request of the Open Inference Protocol with four FP32 numbers as JSON.
Requests are logged nowhere; with ``--logs default`` as each server does it when it is simply started (aiohttp: not at all).

* aiohttp: parses the JSON of the body and sends it back; no checks: the least that an aiohttp server can do.
* graph-runtime: ``graph-runtime serve`` with a graph of one ``PassThroughCalculator``; parses, checks, runs the graph, answers.
* KServe: the KServe Python SDK with a model that gives its inputs back.
* LitServe: LitServe with a model that gives its request back.

Printed are medians over the rounds and, in brackets, the spread (smallest to largest); "of aiohttp" and "of the better" are ratios
within a round, where the better is the quicker of KServe and LitServe.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder, in which this file would stand in for the standard library's http

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MODEL: Final = "echo"
BODY: Final[dict[str, Any]] = {
    "id": "1",
    "inputs": [{"name": "in", "datatype": "FP32", "shape": [1, 4], "data": [1.0, 2.0, 3.0, 4.0]}],
}
GRAPH: Final = """\
input_stream: "in"
output_stream: "out"
node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }
"""
CONNECTIONS: Final = (1, 16)
PATIENCE_S: Final = 60
PEERS: Final = Path(__file__).parent / "http_peers"
INFER: Final = f"/v2/models/{MODEL}/infer"


@dataclass(frozen=True, slots=True)
class Round:
    """What wrk found: requests a second, and the milliseconds within which 99 of 100 were answered."""

    per_s: float
    p99_ms: float


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], port: int) -> Iterator[str]:
    """A server process, once it gives the request back; its URL."""
    url = f"http://127.0.0.1:{port}{INFER}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not answers(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{' '.join(command)} does not serve:\n{log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # LitServe leaves its workers behind
            process.wait()


def answers(url: str) -> bool:
    """Whether the request comes back."""
    request = urllib.request.Request(url, json.dumps(BODY).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            answer = json.load(reply)
    except OSError:
        return False
    tensor = (answer.get("outputs") or answer.get("inputs"))[0]
    if tensor["data"] != BODY["inputs"][0]["data"]:
        raise SystemExit(f"{url} answers {answer}")
    return True


def measure(url: str, connections: int, seconds: int, script: Path) -> Round:
    """One round of wrk."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    if "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit(f"not every request was answered by {url}:\n{done}")
    late = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", done)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done)
    assert late is not None
    assert rate is not None
    return Round(float(rate[1]), float(late[1]) * {"us": 0.001, "ms": 1, "s": 1000}[late[2]])


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, and the smallest and the largest."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litserve-python", help="an interpreter with litserve")
    parser.add_argument("--kserve-python", help="an interpreter with kserve")
    parser.add_argument("--logs", choices=("off", "default"), default="off")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on the path")
    with contextlib.ExitStack() as closing:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        graph_file = folder / "models" / MODEL / "graph.pbtxt"
        graph_file.parent.mkdir(parents=True)
        graph_file.write_text(GRAPH)
        script = folder / "post.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = '{json.dumps(BODY)}'\n"
        )
        ports = [free_port() for _ in range(4)]
        serve = [
            sys.executable,
            "-m",
            "server.cli",
            "serve",
            "--models",
            str(folder / "models"),
            "--log_level",
            "WARNING",
        ]
        commands = {
            "aiohttp": [sys.executable, str(PEERS / "aiohttp_echo.py"), INFER, str(ports[0])],
            "graph-runtime": [*serve, "--rest_port", str(ports[1])],
        }
        if arguments.kserve_python:
            commands["KServe"] = [
                arguments.kserve_python,
                str(PEERS / "kserve_echo.py"),
                INFER,
                str(ports[2]),
                arguments.logs,
            ]
        if arguments.litserve_python:
            commands["LitServe"] = [
                arguments.litserve_python,
                str(PEERS / "litserve_echo.py"),
                INFER,
                str(ports[3]),
                arguments.logs,
            ]
        urls = {
            name: closing.enter_context(running(command, port))
            for (name, command), port in zip(commands.items(), ports, strict=False)
        }
        found: dict[tuple[str, int], list[Round]] = {(name, count): [] for count in CONNECTIONS for name in urls}
        for url in urls.values():
            measure(url, 16, 1, script)  # warm up
        for _ in range(arguments.rounds):
            for count in CONNECTIONS:
                for name, url in urls.items():
                    found[name, count].append(measure(url, count, arguments.seconds, script))
    report(found)


def report(found: dict[tuple[str, int], list[Round]]) -> None:
    """Print the table."""
    names = list(dict.fromkeys(name for name, _ in found))
    print("| connections | server | requests/s | p99 ms | of aiohttp | of the better |\n|---|---|---|---|---|---|")
    for count in CONNECTIONS:
        bare = [each.per_s for each in found["aiohttp", count]]
        peers = [found[name, count] for name in ("KServe", "LitServe") if name in names]
        better = [max(each.per_s for each in together) for together in zip(*peers, strict=True)]
        for name in names:
            rounds = found[name, count]
            rates = [each.per_s for each in rounds]
            of_bare = [rate / other for rate, other in zip(rates, bare, strict=True)]
            of_better = [rate / other for rate, other in zip(rates, better, strict=False)]
            print(
                f"| {count} | {name} | {spread(rates)} | {spread([each.p99_ms for each in rounds], 2)} "
                f"| {spread(of_bare, 2)} | {spread(of_better, 1) if of_better else ''} |"
            )


if __name__ == "__main__":
    main()
