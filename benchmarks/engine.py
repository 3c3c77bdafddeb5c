"""How fast packets go through graphs of PassThrough nodes: graph_runtime beside MediaPipe and a bare chain of deques.

Usage: python benchmarks/engine.py [--mediapipe-python PATH] [--rounds 5] [--lengths 1 4 16 64] [--memory-packets 1000000]

``--mediapipe-python`` is the interpreter of an environment with ``mediapipe==0.10.21`` (``nox -s benchmark`` makes one); without it
that peer is left out. Every peer is a process of its own that stays alive; the rounds alternate between the peers, so that a slow
moment of the machine meets all of them. Printed are medians and, in brackets, the spread (smallest to largest).

* packets/s: add N packets to the graph, then wait until it is idle.
* us/hop: that time divided by N and by the number of nodes.
* cpu us: processor time of all threads for one of these packets, in microseconds; it says something on a busy machine too.
* round trip: add one packet and wait until it came out, one after the other, in microseconds.
* start: make a graph from text, start it, wait until it is idle, and end it, in microseconds.
* run: start a run of a graph that is validated already, add one packet, wait for the end, in microseconds; and the processor time
  of that. graph_runtime makes a CalculatorGraph of a shared Plan, as a server does for a request; MediaPipe starts a graph again.
* growth: how much the process grows while a million packets go through a chain of 4; once.
* large: a chain of 2,000 nodes, from text to the end, in milliseconds; once.
* parallel: a fan-out to 8 calculators that sleep for a millisecond without the interpreter's lock, graph_runtime alone (MediaPipe
  has no calculators in Python); milliseconds a packet, where one thread needs 8.
"""

from __future__ import annotations

import sys

sys.path.pop(0)  # this folder, in which http.py would stand in for the standard library's package

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

PEERS = ("graph_runtime", "deques", "mediapipe")


class Peer(NamedTuple):
    """A started graph: add a packet at a timestamp, wait until it is idle, end it."""

    add: Callable[[int], None]
    wait: Callable[[], None]
    close: Callable[[], None]


def node(inputs: list[str], outputs: list[str], calculator: str = "PassThroughCalculator") -> str:
    """A node as text."""
    ports = "".join(f' input_stream: "{name}"' for name in inputs) + "".join(f' output_stream: "{n}"' for n in outputs)
    return f'node {{ calculator: "{calculator}"{ports} }}\n'


def chain(length: int) -> str:
    """Nodes one after the other, from stream "in" to stream "out"."""
    names = ["in", *(f"s{i}" for i in range(1, length)), "out"]
    return 'input_stream: "in"\n' + "".join(node([a], [b]) for a, b in itertools.pairwise(names))


def diamond() -> str:
    """One stream through two nodes and together again."""
    return 'input_stream: "in"\n' + node(["in"], ["l"]) + node(["in"], ["r"]) + node(["l", "r"], ["out", "other"])


def fan_out(width: int) -> str:
    """One stream into many nodes."""
    return 'input_stream: "in"\n' + "".join(node(["in"], ["out" if i == 0 else f"o{i}"]) for i in range(width))


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

    def run_once(self) -> None:
        """One packet."""
        self.add(0)
        self.wait()

    def wait(self) -> None:
        """Move packets along until nothing is ready."""
        ready, queues, last = self.ready, self.queues, len(self.queues) - 1
        while ready:
            position = ready.pop()
            packet = queues[position].popleft()
            if queues[position]:
                ready.append(position)
            following = queues[position + 1]
            if not following and position + 1 < last:
                ready.append(position + 1)
            following.append(packet)

    def close(self) -> None:
        """Nothing to end."""


def make_graph(module: Any, text: str) -> Peer:
    """A started graph of a module with MediaPipe's Python API."""
    graph = module.CalculatorGraph(graph_config=text)
    packet = module.packet_creator.create_int(5)
    graph.observe_output_stream("out", lambda name, packet: None)
    graph.start_run()
    graph.wait_until_idle()
    return Peer(lambda t: graph.add_packet_to_input_stream("in", packet.at(t)), graph.wait_until_idle, graph.close)


def make_runner(peer: str, text: str, length: int) -> Callable[[], None]:
    """A function that makes a run of one packet."""
    if peer == "deques":
        return DequeChain(length).run_once
    if peer == "mediapipe":
        import mediapipe

        again = mediapipe.CalculatorGraph(graph_config=text)
        again.observe_output_stream("out", lambda name, packet: None)
        number = mediapipe.packet_creator.create_int(5).at(0)

        def run_again() -> None:
            again.start_run()
            again.add_packet_to_input_stream("in", number)
            again.close()

        return run_again
    import graph_runtime

    plan = graph_runtime.Plan(text)
    packet = graph_runtime.packet_creator.create_int(5).at(0)

    def run_plan() -> None:
        graph = graph_runtime.CalculatorGraph(plan)
        graph.observe_output_stream("out", lambda name, packet: None)
        graph.start_run(deferred=True)
        graph.add_packet_to_input_stream("in", packet)
        graph.close()

    return run_plan


def make_peer(peer: str, text: str, length: int) -> Peer:
    """A started peer."""
    if peer == "deques":
        bare = DequeChain(length)
        return Peer(bare.add, bare.wait, bare.close)
    if peer == "mediapipe":
        import mediapipe

        return make_graph(mediapipe, text)
    import graph_runtime

    return make_graph(graph_runtime, text)


def measure(peer: str, text: str, length: int, packets: int, trips: int, starts: int, runs: int) -> dict[str, float]:
    """One measurement of one peer, in this process: packets per second, and microseconds for the rest."""
    begin = time.perf_counter()
    for _ in range(starts):
        make_peer(peer, text, length).close()
    started = time.perf_counter()
    graph = make_peer(peer, text, length)
    start, cpu = time.perf_counter(), time.process_time()
    for t in range(packets):
        graph.add(t)
    graph.wait()
    middle, packets_cpu = time.perf_counter(), time.process_time() - cpu
    for t in range(packets, packets + trips):
        graph.add(t)
        graph.wait()
    end = time.perf_counter()
    graph.close()
    run_once = make_runner(peer, text, length)
    run_once()
    before_runs, cpu = time.perf_counter(), time.process_time()
    for _ in range(runs):
        run_once()
    return {
        "rate": packets / (middle - start),
        "cpu_us": packets_cpu / packets * 1e6,
        "trip_us": (end - middle) / trips * 1e6,
        "start_us": (started - begin) / starts * 1e6,
        "run_us": (time.perf_counter() - before_runs) / runs * 1e6,
        "run_cpu_us": (time.process_time() - cpu) / runs * 1e6,
    }


def measure_growth(peer: str, memory_packets: int) -> dict[str, float]:
    """MiB that the process grows by over so many packets, a hundred at a time, and milliseconds for a start of a large chain."""
    begin = time.perf_counter()
    make_peer(peer, chain(2000), 2000).close()
    large_ms = (time.perf_counter() - begin) * 1e3
    graph = make_peer(peer, chain(4), 4)
    before = 0.0
    for t in range(memory_packets * 11 // 10):
        graph.add(t)
        if t % 100 == 0:
            graph.wait()
        if t == memory_packets // 10:
            before = resident_mib()  # what a process grows by when it gets going is not looked for here
    graph.wait()
    grown = resident_mib() - before
    graph.close()
    return {"grown_mib": grown, "large_ms": large_ms}


def resident_mib() -> float:
    """The memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def measure_parallel(executor: str, packets: int = 100) -> float:
    """Milliseconds a packet through a fan-out of 8 nodes that sleep for 1 ms."""
    import graph_runtime

    @graph_runtime.register_calculator
    class SleepCalculator(graph_runtime.Calculator):
        @classmethod
        def get_contract(cls, cc: graph_runtime.CalculatorContract) -> None:
            cc.inputs[0].set_any()
            cc.outputs[0].set_any()

        def process(self, cc: graph_runtime.CalculatorContext) -> None:
            time.sleep(0.001)
            cc.outputs[0].add_packet(cc.inputs[0].packet)

    text = 'input_stream: "in"\n' + "".join(node(["in"], [f"o{i}"], "SleepCalculator") for i in range(8)) + executor
    graph = graph_runtime.CalculatorGraph(graph_config=text)
    graph.start_run()
    start = time.perf_counter()
    for t in range(packets):
        graph.add_packet_to_input_stream("in", graph_runtime.Packet(t), t)
    graph.close()
    return (time.perf_counter() - start) / packets * 1e3


def serve(peer: str) -> None:
    """Answer one measurement per line of standard input."""
    for line in sys.stdin:
        job = json.loads(line)
        answer = measure_growth(peer, **job) if "memory_packets" in job else measure(peer, **job)
        print(json.dumps(answer), flush=True)


def spread(values: list[float], digits: int) -> str:
    """Median and spread as text."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mediapipe-python", metavar="PATH")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-packets", type=int, default=1_000_000, metavar="N")
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

    def ask(peer: str, job: dict[str, Any]) -> dict[str, float]:
        process = processes[peer]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        answer: dict[str, float] = json.loads(process.stdout.readline())
        return answer

    def rounds(peers: list[str], job: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
        """peer -> figure -> its values."""
        answers: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
        for _ in range(arguments.rounds):
            for peer in peers:
                answers[peer].append(ask(peer, job))
        return {peer: {name: [row[name] for row in rows] for name in rows[0]} for peer, rows in answers.items()}

    cases = [(f"chain of {length}", chain(length), length) for length in arguments.lengths]
    cases += [("diamond", diamond(), 3), ("fan-out of 16", fan_out(16), 16)]
    print(
        "| graph | peer | packets/s | against MediaPipe | us/hop | cpu us | round trip us | start us | run us | run cpu us |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for title, text, length in cases:
        peers = [peer for peer in processes if peer != "deques" or title.startswith("chain")]
        job = {"text": text, "length": length, "packets": 20000 if length < 16 else 6000}
        results = rounds(peers, {**job, "trips": 1000, "starts": 20, "runs": 200})
        medians = {peer: statistics.median(figures["rate"]) for peer, figures in results.items()}
        for peer, figures in results.items():
            against = f"{medians[peer] / medians['mediapipe']:.1f}x" if "mediapipe" in medians else ""
            print(
                f"| {title} | {peer} | {spread(figures['rate'], 0)} | {against} | {1e6 / medians[peer] / length:.2f} "
                f"| {statistics.median(figures['cpu_us']):,.1f} "
                f"| {spread(figures['trip_us'], 1)} | {spread(figures['start_us'], 0)} | {spread(figures['run_us'], 0)} "
                f"| {statistics.median(figures['run_cpu_us']):,.0f} |",
                flush=True,
            )
    print(
        f"\n| peer | growth over {arguments.memory_packets:,} packets, MiB | start of a chain of 2,000, ms |\n|---|---|---|"
    )
    for peer in processes:
        if peer != "deques":
            answer = ask(peer, {"memory_packets": arguments.memory_packets})
            print(f"| {peer} | {answer['grown_mib']:.1f} | {answer['large_ms']:,.0f} |", flush=True)
    for process in processes.values():
        process.kill()
    print("\n| 8 calculators that sleep 1 ms, at once | ms a packet |\n|---|---|")
    for name, executor in (("one thread", "num_threads: 1"), ("default", ""), ("8 threads", "num_threads: 8")):
        print(f"| {name} | {spread([measure_parallel(executor) for _ in range(arguments.rounds)], 2)} |", flush=True)


if __name__ == "__main__":
    main()
