"""What the server adds to a generation: HTTP requests beside a bare loop around OpenVINO GenAI, and what encoding costs.

Usage: python benchmarks/images.py [--rounds 5] [--requests 40] [--steps 20]

Three peers, each a process of its own that stays alive; the rounds alternate between them, so that a slow moment of the machine
meets all of them:

* bare: ``Text2ImagePipeline.generate`` in a loop, pixels thrown away: the least that a picture can cost.
* bare + PNG: the same, each picture encoded as the server does it.
* HTTP: ``graph-runtime serve`` with the model that comes with it; a client with a connection of its own that waits for each answer.

Printed are medians over the rounds and, in brackets, the spread (smallest to largest).

* p50: the middle of a round's times, in milliseconds, one request after the other; and what HTTP adds to the bare loop.
* throughput: pictures a second of 1, 2 and 8 clients at once, as a share of the bare loop's in the same round.
* encoding: milliseconds for a picture of 512x512 and 1024x1024, smooth (a gradient with a few edges) and noise, in this process.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder, in which http.py would stand in for the standard library's package

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

MODEL = Path(__file__).parents[1] / "examples" / "models" / "shapes"
PROMPT = "a red circle on a blue background"


def bare(encode: bool) -> None:
    """The bare loop: for each line of standard input (side, steps, count), a line with the seconds that each picture took."""
    import openvino_genai

    from calculators.image_gen.images import encode_image

    pipeline = openvino_genai.Text2ImagePipeline(MODEL, "CPU")
    pipeline.generate("", width=64, height=64, num_inference_steps=1)
    for line in sys.stdin:
        side, steps, count = json.loads(line)
        times = []
        for seed in range(count):
            start = time.perf_counter()
            tensor = pipeline.generate(PROMPT, width=side, height=side, num_inference_steps=steps, rng_seed=seed)
            if encode:
                encode_image(tensor.data[0])
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


class Bare:
    """The process of a bare loop."""

    def __init__(self, encode: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--peer", "png" if encode else "bare"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def times_s(self, side: int, steps: int, count: int) -> list[float]:
        """Seconds for each of ``count`` pictures, one after the other."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([side, steps, count]) + "\n")
        self._process.stdin.flush()
        return [float(each) for each in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        """End it."""
        self._process.kill()


class Server:
    """A running server, and clients for it."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "server.cli",
                "serve",
                "--models",
                str(MODEL.parent),
                "--rest_port",
                str(self._port),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        while not self._is_ready():
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended with exit code {self._process.returncode}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def times_s(self, side: int, steps: int, count: int) -> list[float]:
        """Seconds for each of ``count`` requests of one client, one after the other."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        times = []
        for seed in range(count):
            body = json.dumps({
                "model": MODEL.name, "prompt": PROMPT, "size": f"{side}x{side}", "num_inference_steps": steps, "rng_seed": seed
            })  # fmt: skip
            start = time.perf_counter()
            connection.request("POST", "/v3/images/generations", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            times.append(time.perf_counter() - start)
            if response.status != 200:
                raise SystemExit(f"the server answered {response.status}: {answer[:500]!r}")
        connection.close()
        return times

    def rate(self, clients: int, steps: int, count: int) -> float:
        """Pictures a second of 64x64, ``count`` in all, from a number of clients at once."""
        with ThreadPoolExecutor(clients) as pool:
            start = time.perf_counter()
            list(pool.map(lambda _: self.times_s(64, steps, count // clients), range(clients)))
            return count // clients * clients / (time.perf_counter() - start)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def spread(values: list[float], digits: int = 1) -> str:
    """Median and spread as text."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def latency(peers: dict[str, Bare | Server], rounds: int, cases: list[tuple[int, int, int]]) -> None:
    """Print what HTTP adds to a picture."""
    print("| picture | bare ms | bare + PNG ms | HTTP ms | HTTP adds ms | adds % | of it beyond the PNG ms |")
    print("|---|---|---|---|---|---|---|")
    for side, steps, count in cases:
        medians: dict[str, list[float]] = {peer: [] for peer in peers}
        for _ in range(rounds):
            for peer, values in medians.items():
                values.append(statistics.median(peers[peer].times_s(side, steps, count)) * 1e3)
        added = [there - here for there, here in zip(medians["HTTP"], medians["bare"], strict=True)]
        beyond = [there - here for there, here in zip(medians["HTTP"], medians["png"], strict=True)]
        share = [100 * more / base for more, base in zip(added, medians["bare"], strict=True)]
        print(
            f"| {side}x{side}, {steps} steps | {spread(medians['bare'])} | {spread(medians['png'])} | {spread(medians['HTTP'])} "
            f"| {spread(added)} | {spread(share)} | {spread(beyond)} |",
            flush=True,
        )


def throughput(loop: Bare, server: Server, rounds: int, steps: int, count: int) -> None:
    """Print the pictures a second of several clients beside the bare loop's."""
    print(f"\n| 64x64, {steps} steps | pictures/s | of the bare loop |\n|---|---|---|")
    rates: dict[int, list[float]] = {0: [], 1: [], 2: [], 8: []}
    for _ in range(rounds):
        rates[0].append(count / sum(loop.times_s(64, steps, count)))
        for clients in (1, 2, 8):
            rates[clients].append(server.rate(clients, steps, count))
    for clients, values in rates.items():
        share = [there / here for there, here in zip(values, rates[0], strict=True)]
        name = f"{clients} client{'s' * (clients > 1)}" if clients else "bare loop"
        print(f"| {name} | {spread(values)} | {spread(share, 2)} |", flush=True)


def encoding(rounds: int) -> None:
    """Print what encoding costs."""
    import numpy as np

    from calculators.image_gen.images import encode_image

    print("\n| encoding | 512x512 ms | KiB | 1024x1024 ms | KiB |\n|---|---|---|---|---|")
    pictures: dict[str, dict[int, Any]] = {"smooth": {}, "noise": {}}
    for side in (512, 1024):
        ramp = np.linspace(0, 255, side)
        smooth = np.stack(
            [np.add.outer(ramp, ramp) / 2, np.tile(ramp, (side, 1)), np.tile(ramp[:, None], side)], axis=-1
        )
        smooth[side // 4 : side // 2, side // 4 : side // 2] = (
            255 - smooth[side // 4 : side // 2, side // 4 : side // 2]
        )
        pictures["smooth"][side] = smooth.astype(np.uint8)
        pictures["noise"][side] = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    for kind, sizes in pictures.items():
        for output_format in ("png", "jpeg", "webp"):
            cells = []
            for picture in sizes.values():
                times = [_milliseconds(partial(encode_image, picture, output_format)) for _ in range(rounds)]
                cells.append(f"{spread(times)} | {len(encode_image(picture, output_format)) / 1024:,.0f}")
            print(f"| {kind}, {output_format} | {' | '.join(cells)} |", flush=True)


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=40, help="requests a round; a quarter of them at 512x512")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peer", choices=("bare", "png"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        bare(arguments.peer == "png")
        return
    peers: dict[str, Bare | Server] = {"bare": (loop := Bare(False)), "png": Bare(True), "HTTP": (server := Server())}
    try:
        for peer in peers.values():
            peer.times_s(64, arguments.steps, 5)
        few = max(2, arguments.requests // 4)
        latency(peers, arguments.rounds, [(64, arguments.steps, arguments.requests), (512, 1, few)])
        throughput(loop, server, arguments.rounds, arguments.steps, arguments.requests)
        encoding(arguments.rounds)
    finally:
        for peer in peers.values():
            peer.close()


if __name__ == "__main__":
    main()
