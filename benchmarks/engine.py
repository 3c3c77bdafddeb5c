"""How fast packets go through chains of PassThrough nodes: graph_runtime beside MediaPipe and a bare chain of deques.

Usage: python benchmarks/engine.py [--mediapipe-python PATH] [--rounds 5] [--lengths 1 4 16 64]

``--mediapipe-python`` is the interpreter of an environment with ``mediapipe==0.10.21`` (see docs/benchmarks.md); without it that
peer is left out. Every peer is a process of its own that stays alive; the rounds alternate between the peers, so that a slow
moment of the machine meets all of them. Printed are medians and, in brackets, the spread (smallest to largest).

* packets/s: add N packets to the graph, then wait until it is idle.
* us/hop: that time divided by N and by the number of nodes.
* round trip: add one packet and wait until it came out, one after the other, in microseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

PEERS = ("graph_runtime", "deques", "mediapipe")


def chain_pbtxt(length: int) -> str:
    """A graph of PassThrough nodes one after the other, from stream s0 to stream s<length>."""
    nodes = "".join(
        f'node {{ calculator: "PassThroughCalculator" input_stream: "s{i}" output_stream: "s{i + 1}" }}\n'
        for i in range(length)
    )
    return f'input_stream: "s0"\noutput_stream: "s{length}"\n{nodes}'


class DequeChain:
    """The least that a chain of queues can do: one deque a node, a list of ready nodes, no timestamps, types or threads."""

    def __init__(self, length: int) -> None:
        self.queues: list[deque[Any]] = [deque() for _ in range(length + 1)]
        self.ready: list[int] = []

    def add(self, packet: Any) -> None:
        """Put a packet into the first queue."""
        if not self.queues[0]:
            self.ready.append(0)
        self.queues[0].append(packet)

    def wait(self) -> None:
        """Move packets along until nothing is ready."""
        ready, queues, last = self.ready, self.queues, len(self.queues) - 1
        while ready:
            node = ready.pop()
            packet = queues[node].popleft()
            if queues[node]:
                ready.append(node)
            following = queues[node + 1]
            if not following and node + 1 < last:
                ready.append(node + 1)
            following.append(packet)

    def close(self) -> None:
        """Nothing to end."""


def make_graph_api(module: Any, length: int) -> tuple[Callable[[int], None], Callable[[], None], Callable[[], None]]:
    """``add(timestamp)``, ``wait()`` and ``close()`` for a module with MediaPipe's Python API."""
    graph = module.CalculatorGraph(graph_config=chain_pbtxt(length))
    packet = module.packet_creator.create_int(5)
    graph.observe_output_stream(f"s{length}", lambda name, packet: None)
    graph.start_run()
    graph.wait_until_idle()
    return (lambda t: graph.add_packet_to_input_stream("s0", packet.at(t))), graph.wait_until_idle, graph.close


def measure(peer: str, length: int, packets: int, trips: int) -> dict[str, float]:
    """One measurement of one peer, in this process: packets per second and round trip in microseconds."""
    add: Callable[[int], None]
    wait: Callable[[], None]
    if peer == "deques":
        chain = DequeChain(length)
        add, wait, close = chain.add, chain.wait, chain.close
    elif peer == "mediapipe":
        import mediapipe

        add, wait, close = make_graph_api(mediapipe, length)
    else:
        import graph_runtime

        add, wait, close = make_graph_api(graph_runtime, length)
    start = time.perf_counter()
    for t in range(packets):
        add(t)
    wait()
    middle = time.perf_counter()
    for t in range(packets, packets + trips):
        add(t)
        wait()
    end = time.perf_counter()
    close()
    return {"rate": packets / (middle - start), "trip_us": (end - middle) / trips * 1e6}


def serve(peer: str) -> None:
    """Answer one measurement per line of standard input."""
    for line in sys.stdin:
        print(json.dumps(measure(peer, **json.loads(line))), flush=True)


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mediapipe-python", metavar="PATH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        serve(arguments.peer)
        return
    interpreters = {"graph_runtime": sys.executable, "deques": sys.executable}
    if arguments.mediapipe_python:
        interpreters["mediapipe"] = arguments.mediapipe_python
    processes = {
        peer: subprocess.Popen(
            [python, __file__, "--peer", peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for peer, python in interpreters.items()
    }
    print("| nodes | peer | packets/s | us/hop | round trip us |\n|---|---|---|---|---|")
    for length in arguments.lengths:
        results: dict[str, list[dict[str, float]]] = {peer: [] for peer in processes}
        job = {"length": length, "packets": 20000 if length < 16 else 6000, "trips": 1000}
        for _ in range(arguments.rounds):
            for peer, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                results[peer].append(json.loads(process.stdout.readline()))
        for peer, rows in results.items():
            rates = [row["rate"] for row in rows]
            trips = [row["trip_us"] for row in rows]
            hop = 1e6 / statistics.median(rates) / length
            print(
                f"| {length} | {peer} | {statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) "
                f"| {hop:.2f} | {statistics.median(trips):.1f} ({min(trips):.1f} to {max(trips):.1f}) |",
                flush=True,
            )
    for process in processes.values():
        process.kill()


if __name__ == "__main__":
    main()
