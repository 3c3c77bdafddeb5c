"""Clients that draw, edit, stream and leave at random: ``python -m tests.load --clients 8 --requests 50``.

Against a real server with the model that comes with the package. Every request that is not given up gets an answer, every
picture is to the byte the one that its seed gave alone, and server and lane are as large at the end as in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np
from PIL import Image

SEEDS: Final = range(1, 5)
STEPS: Final = 10
KINDS: Final = ("generate", "edit", "inpaint", "stream")
LEAVES: Final = 0.2
"""The share of requests that are given up while they wait or are drawn."""
LONGEST_STAY_S: Final = 0.5
MIB: Final = 2**20
GROWTH_BYTES: Final = 24 * MIB
"""What a process may be larger at the end than in the middle: allocators keep some of what they get."""

Pictures = dict[tuple[str, int], bytes]


def png(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


UPLOAD: Final = png(np.full((64, 64, 3), (200, 40, 40), np.uint8))
MASK: Final = png(np.tile(np.repeat(np.array([0, 255], np.uint8), 32), (64, 1)))


@contextmanager
def running_server() -> Iterator[tuple[str, int]]:
    """The address and the process id of a server."""
    from server.discovery import bundled_models_dir

    command = [sys.executable, "-m", "server.cli", "serve", "--rest_port", "0", "--log_level", "ERROR"]
    with subprocess.Popen(
        [*command, "--models", str(bundled_models_dir())], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[3]
            process.stdout.readline()  # "Ready."
            yield url, process.pid
        finally:
            process.terminate()


def memory(server: int) -> dict[str, int]:
    """Resident bytes of the server and of each of its lanes."""
    tasks = Path(f"/proc/{server}/task").iterdir()
    lanes = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return {"server": resident(server), **{f"lane {lane}": resident(lane) for lane in lanes}}


def resident(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


async def draw(session: aiohttp.ClientSession, kind: str, seed: int) -> bytes:
    """Send a request; returns its finished picture."""
    fields = {"model": "shapes", "prompt": "a red circle on a blue background", "rng_seed": seed}
    fields["num_inference_steps"] = STEPS
    if kind in ("edit", "inpaint"):
        form = aiohttp.FormData({name: str(value) for name, value in fields.items()})
        form.add_field("image", UPLOAD, filename="image.png")
        if kind == "inpaint":
            form.add_field("mask", MASK, filename="mask.png")
        sent = session.post("/v1/images/edits", data=form)
    elif kind == "stream":
        sent = session.post("/v1/images/generations", json={**fields, "stream": True, "partial_images": 3})
    else:
        sent = session.post("/v1/images/generations", json=fields)
    async with sent as response:
        text = await response.text()
        if response.status != 200:
            raise RuntimeError(f"{kind} got {response.status}: {text[:300]}")
    if kind == "stream":
        last = json.loads(text.strip().rpartition("data: ")[2])
        return base64.b64decode(last["b64_json"])
    return base64.b64decode(json.loads(text)["data"][0]["b64_json"])


async def client(
    session: aiohttp.ClientSession, chance: random.Random, requests: int, alone: Pictures, told: Counter[str]
) -> None:
    """One client after another request; counts what became of each."""
    for _ in range(requests):
        kind, seed = chance.choice(KINDS), chance.choice(SEEDS)
        stays_s = chance.uniform(0, LONGEST_STAY_S) if chance.random() < LEAVES else 120.0
        try:
            async with asyncio.timeout(stays_s):
                picture = await draw(session, kind, seed)
        except TimeoutError:
            told["left" if stays_s <= LONGEST_STAY_S else "lost"] += 1
        except (RuntimeError, aiohttp.ClientError) as error:
            told["refused"] += 1
            print(error, file=sys.stderr)
        else:
            told["right" if picture == alone[kind, seed] else "wrong"] += 1


async def play(url: str, server: int, clients: int, requests: int, seed: int) -> bool:
    """Whether all went well."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        alone = {(kind, seed): await draw(session, kind, seed) for kind in KINDS for seed in SEEDS}
        told: Counter[str] = Counter()
        sizes = [memory(server)]
        started = time.monotonic()
        for half in range(2):
            count = requests // 2 if half == 0 else requests - requests // 2
            chances = [random.Random(f"{seed} {half} {each}") for each in range(clients)]
            await asyncio.gather(*(client(session, chance, count, alone, told) for chance in chances))
            sizes.append(memory(server))
    print(f"{told.total()} requests in {time.monotonic() - started:.1f} s: {dict(told)}")
    for name in sizes[0]:
        print(f"{name}: {', '.join(f'{each.get(name, 0) / MIB:.0f}' for each in sizes)} MiB at start, middle, end")
    flat = sizes[0].keys() == sizes[2].keys() and all(
        sizes[2][name] - sizes[1][name] <= GROWTH_BYTES for name in sizes[2]
    )
    if not flat:
        print("memory is not flat, or a lane was replaced")
    return flat and told.keys() <= {"right", "left"} and told.total() == clients * requests


def main(given: Sequence[str] | None = None) -> int:
    """Exit code 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=50, help="of each client")
    parser.add_argument("--seed", type=int, default=0, help="another seed plays other requests")
    arguments = parser.parse_args(given)
    with running_server() as (url, server):
        went_well = asyncio.run(play(url, server, arguments.clients, arguments.requests, arguments.seed))
    return 0 if went_well else 1


if __name__ == "__main__":
    sys.exit(main())
