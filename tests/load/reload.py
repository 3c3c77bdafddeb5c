"""Edits of a graph while clients ask at a fixed rate: ``python -m tests.load.reload --rate 100 --seconds 20``.

Against a server process with hot reload as it is by default. No request may fail, new options have to apply, and a broken edit
has to leave the version that serves. Prints how long it took until the new options applied, and the slowest answers.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import aiohttp

PROGRAM: Final = """
import sys
from calculators import HttpPayload
from graph_runtime import Calculator, register_calculator
from graph_runtime._pb.mediapipe.calculators.core.packet_thinner_calculator_pb2 import PacketThinnerCalculatorOptions

@register_calculator
class HttpTellPeriod(Calculator):
    @classmethod
    def get_contract(cls, cc):
        cc.inputs["HTTP_REQUEST_PAYLOAD"].set(HttpPayload)
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].set(str)

    def process(self, cc):
        cc.outputs["HTTP_RESPONSE_PAYLOAD"].add(str(cc.options(PacketThinnerCalculatorOptions).period))

from server.cli import main
sys.exit(main(sys.argv[1:]))
"""
GRAPH: Final = """
input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:out"
node { calculator: "HttpTellPeriod" input_stream: "HTTP_REQUEST_PAYLOAD:in" output_stream: "HTTP_RESPONSE_PAYLOAD:out"
  options { [mediapipe.PacketThinnerCalculatorOptions.ext] { period: %d } } }
"""
EDITS: Final = {"first": GRAPH % 1, "new": GRAPH % 2, "broken": "node { calculater: }", "mended": GRAPH % 4}
"""What the graph file holds, one after the other, each for a quarter of the time."""


@contextmanager
def running_server(models: Path) -> Iterator[str]:
    """The address of a server."""
    command = [sys.executable, "-c", PROGRAM, "serve", "--rest_port", "0", "--log_level", "ERROR"]
    with subprocess.Popen([*command, "--models", str(models)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().split()[3]
            process.stdout.readline()  # "Ready."
            yield url
        finally:
            process.terminate()


class Clients:
    """Ask at a fixed rate, whether earlier requests have been answered or not; note every answer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.answers: list[tuple[float, float, str]] = []
        """When it came, after how many seconds, and what it was."""

    async def ask(self) -> None:
        started = time.monotonic()
        try:
            async with self._session.post("/v3/call", json={"model": "told"}) as response:
                text = await response.text()
                answer = text if response.status == 200 else f"{response.status}: {text}"
        except aiohttp.ClientError as error:
            answer = repr(error)
        ended = time.monotonic()
        self.answers.append((ended, ended - started, answer))

    async def ask_for(self, seconds: float, rate: float) -> None:
        started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(seconds * rate)):
                await asyncio.sleep(started + number / rate - time.monotonic())
                group.create_task(self.ask())


async def play(url: str, file: Path, rate: float, seconds: float) -> bool:
    """Whether all went well."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        clients = Clients(session)
        wrong = False
        serving = "1"
        for name, text in EDITS.items():
            await asyncio.to_thread(file.write_text, text)
            edited = time.monotonic()
            count = len(clients.answers)
            await clients.ask_for(seconds / len(EDITS), rate)
            answers = clients.answers[count:]
            async with session.get("/v3/models/told") as response:
                model = await response.json()
            wanted = serving if name == "broken" else str(list(EDITS).index(name) + 1)
            applied = next((came - edited for came, _, answer in answers if answer == wanted), None)
            told = Counter(answer for _, _, answer in answers)
            slowest = max(lasted for _, lasted, _ in answers)
            print(
                f"{name}: {len(answers)} answers: {dict(told)}, the first {wanted} "
                f"{'never' if applied is None else f'after {applied:.2f} s'}, slowest {slowest * 1000:.0f} ms, "
                f"state {model['state']}, reload_problem {model.get('reload_problem')!r}"
            )
            wrong |= not told.keys() <= {serving, wanted} or answers[-1][2] != wanted
            wrong |= ("reload_problem" in model) != (name == "broken")
            serving = wanted
    return not wrong


def main(given: Sequence[str] | None = None) -> int:
    """Exit code 0 if all went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.reload", description=__doc__)
    parser.add_argument("--rate", type=float, default=100, help="requests per second")
    parser.add_argument("--seconds", type=float, default=20, help="in all; a quarter for each edit")
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told" / "graph.pbtxt"
        file.parent.mkdir()
        file.write_text(EDITS["first"])
        with running_server(Path(folder)) as url:
            went_well = asyncio.run(play(url, file, arguments.rate, arguments.seconds))
    print("all went well" if went_well else "SOMETHING WENT WRONG")
    return 0 if went_well else 1


if __name__ == "__main__":
    sys.exit(main())
