"""Ends a real server under load, again and again: ``python -m tests.load.drain --rounds 20 --clients 16``.

Half of the clients keep their connections, half make a new one for each request. No request that the server has accepted may be
lost, and its exit code is 0.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from tests.server.serving import Server

NAP: Final = """
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"
node {
  calculator: "Nap" input_stream: "HTTP_REQUEST_PAYLOAD:input" output_stream: "HTTP_RESPONSE_PAYLOAD:output"
}
"""
LOAD_S: Final = 0.3
"""About how long the clients ask before the signal comes."""


async def ask_until_refused(session: aiohttp.ClientSession, told: Counter[str], answered: asyncio.Event) -> None:
    """Ask until the server takes no connection any more; counts what became of each request that it took."""
    while True:
        try:
            async with session.post("/v3/call", json={"model": "nap"}) as response:
                await response.read()
                told[str(response.status)] += 1
        except aiohttp.ClientConnectorError:
            return  # nobody took it
        except aiohttp.ClientError as error:
            told[f"lost: {error!r}"] += 1
            return
        answered.set()


async def end_under_load(server: Server, clients: int, wait_s: float = 0.0) -> Counter[str]:
    """Send the signal while clients ask for the graph ``nap``; what became of their requests."""
    told: Counter[str] = Counter()
    answered = asyncio.Event()
    connecting = aiohttp.TCPConnector(force_close=True, limit=0)
    keeping = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(server.url, connector=keeping) as keepers,
        aiohttp.ClientSession(server.url, connector=connecting) as connectors,
    ):
        asking = [
            asyncio.create_task(ask_until_refused((keepers, connectors)[number % 2], told, answered))
            for number in range(clients)
        ]
        await answered.wait()
        await asyncio.sleep(wait_s)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)
    return told


def play(folder: Path, clients: int, wait_s: float) -> tuple[Counter[str], int]:
    """One server from its start to its end: what became of the requests, and its exit code."""
    (folder / "models" / "nap").mkdir(parents=True)
    (folder / "models" / "nap" / "graph.pbtxt").write_text(NAP)
    server = Server("--log_level", "WARNING", cwd=folder)
    try:
        server.first_lines()
        told = asyncio.run(end_under_load(server, clients, wait_s))
        code = server.process.wait(60)
        sys.stderr.write(server.errors())
        return told, code
    finally:
        server.end()


def main(given: Sequence[str] | None = None) -> int:
    """Exit code 0 if no request was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.drain", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="another seed sends the signals at other moments")
    arguments = parser.parse_args(given)
    chance = random.Random(arguments.seed)
    told: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    started = time.monotonic()
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            of_round, code = play(Path(folder), arguments.clients, chance.uniform(0, 2 * LOAD_S))
        told += of_round
        codes[code] += 1
    print(f"{told.total()} requests in {time.monotonic() - started:.1f} s: {dict(told)}; exit codes {dict(codes)}")
    return 0 if told.keys() == {"200"} and codes.keys() == {0} else 1


if __name__ == "__main__":
    sys.exit(main())
