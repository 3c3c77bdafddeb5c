"""Random graphs for the stress run: every kind of wiring, handler, executor and habit."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.stress.ledger import UNTIMED, Habits

POOL = (
    'executor {{ name: "{name}" type: "ThreadPoolExecutor" '
    "options {{ [mediapipe.ThreadPoolExecutorOptions.ext] {{ num_threads: {threads} }} }} }}\n"
)
DEFAULT_EXECUTORS = (
    "",
    "",
    "num_threads: 1\n",
    "num_threads: 2\n",
    "num_threads: 8\n",
    'executor { name: "" type: "ApplicationThreadExecutor" }\n',
    "caller",
)


@dataclass
class RandomGraph:
    """A graph, what its nodes do, and what it needs.

    Attributes:
        inputs: graph inputs that the threads of a run feed.
        fed_inside: graph inputs that callbacks feed.
        streams: all streams whose packets are noted by who sends them.
        callers_executors: the executors that the caller brings.
        has_endless_source: whether the run ends only when it is told to.
    """

    text: str = ""
    habits: dict[str, Habits] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    fed_inside: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)
    callers_executors: list[str] = field(default_factory=list)
    has_endless_source: bool = False


def random_graph(rng: Random) -> RandomGraph:
    """A valid graph of one to nine nodes."""
    graph = RandomGraph()
    default = rng.choice(DEFAULT_EXECUTORS)
    if default == "caller":
        graph.callers_executors.append("")
    else:
        graph.text += default
    pools = [""]
    if rng.random() < 0.3:
        pools.append("pool")
        graph.text += POOL.format(name="pool", threads=rng.choice([1, 2, 4]))
    if rng.random() < 0.15:
        pools.append("mine")
        graph.text += 'executor { name: "mine" }\n'
        graph.callers_executors.append("mine")
    graph.text += f"max_queue_size: {rng.choice([1, 2, 3, 100, 100, 100, -1])}\n"
    graph.text += 'input_side_packet: "ledger"\n'
    for number in range(rng.randint(0, 3)):
        graph.inputs.append(f"in{number}")
    if rng.random() < 0.15:
        graph.fed_inside.append("fed")
    for name in graph.inputs + graph.fed_inside:
        graph.text += f'input_stream: "{name}"\n'
        graph.streams.append(name)
    side_packets: list[str] = []
    for number in range(rng.randint(0, 2) if graph.streams else rng.randint(1, 2)):
        _add_source(rng, graph, f"source{number}", rng.choice(pools))
    for number in range(rng.randint(1, 7)):
        kind = rng.random()
        if kind < 0.06:
            _add_limited_part(rng, graph, f"part{number}")
        else:
            _add_worker(rng, graph, f"node{number}", rng.choice(pools), side_packets)
    return graph


def _add_source(rng: Random, graph: RandomGraph, name: str, pool: str) -> None:
    outputs = [f"{name}_{i}" for i in range(rng.randint(1, 2))]
    habits = graph.habits[name] = Habits(packets=rng.choice([0, 1, 5, 40, 150]))
    if rng.random() < 0.1:
        habits.packets = -1
        graph.has_endless_source = True
    _make_slow(rng, habits, 0.1)
    _make_fail(rng, habits)
    layer = f" source_layer: {rng.randint(0, 2)}" if rng.random() < 0.3 else ""
    ports = "".join(f' output_stream: "{each}"' for each in outputs)
    graph.text += (
        f'node {{ name: "{name}" calculator: "StressSource"{ports} executor: "{pool}"{layer} '
        'input_side_packet: "LEDGER:ledger" }\n'
    )
    graph.streams += outputs


def _add_worker(rng: Random, graph: RandomGraph, name: str, pool: str, side_packets: list[str]) -> None:
    inputs = rng.sample(graph.streams, min(len(graph.streams), rng.choice([1, 1, 1, 2, 2, 3])))
    handler = "DefaultInputStreamHandler"
    handler_text = ""
    if rng.random() < 0.3:
        handler = rng.choice(
            [
                "ImmediateInputStreamHandler",
                "BarrierInputStreamHandler",
                "EarlyCloseInputStreamHandler",
                "FixedSizeInputStreamHandler",
                "SyncSetInputStreamHandler",
                "batches",
            ]
        )
        options = ""
        if handler == "FixedSizeInputStreamHandler":
            options = (
                "options { [mediapipe.FixedSizeInputStreamHandlerOptions.ext] "
                f"{{ trigger_queue_size: {rng.randint(2, 4)} target_queue_size: {rng.randint(1, 2)} }} }}"
            )
        elif handler == "SyncSetInputStreamHandler":
            options = 'options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] { sync_set { tag_index: ":0" } } }'
        elif handler == "batches":
            handler = "DefaultInputStreamHandler"
            options = (
                f"options {{ [mediapipe.DefaultInputStreamHandlerOptions.ext] {{ batch_size: {rng.randint(2, 4)} }} }}"
            )
        handler_text = f' input_stream_handler {{ input_stream_handler: "{handler}" {options} }}'
    is_untimed = handler in UNTIMED
    habits = graph.habits[name] = Habits(is_untimed=is_untimed)
    habits.has_offset = not is_untimed and rng.random() < 0.6
    kinds = ["copy", "copy", "copy", "all", "every other", "bound"]
    if not habits.has_offset:
        kinds += ["twice", "hold", "first in open"]
    habits.outputs = tuple(rng.choice(kinds) for _ in range(rng.choice([0, 1, 1, 1, 2, 3])))
    calculator, in_flight = "StressWorker", ""
    if rng.random() < 0.15:
        calculator = "StressAsyncWorker"
    if not is_untimed and "batch_size" not in handler_text and rng.random() < 0.15:
        # Calls overlap then: what goes out may not depend on which call was first.
        habits.outputs = tuple(rng.choice(["copy", "bound"]) for _ in habits.outputs)
        in_flight = f" max_in_flight: {rng.randint(2, 4)}"
    if calculator == "StressAsyncWorker" and "batch_size" in handler_text:
        calculator = "StressWorker"
    _make_slow(rng, habits, 0.25)
    _make_fail(rng, habits)
    if rng.random() < 0.02:
        habits.stops_at = rng.randint(0, 10)
    outputs = [f"{name}_{i}" for i in range(len(habits.outputs))]
    ports = "".join(f' input_stream: "{each}"' for each in inputs) + "".join(
        f' output_stream: "{each}"' for each in outputs
    )
    ports += ' input_side_packet: "LEDGER:ledger"'
    if side_packets and rng.random() < 0.3:
        ports += f' input_side_packet: "LATE:{rng.choice(side_packets)}"'
    if rng.random() < 0.15:
        habits.makes_side_packet = rng.choice(["open", "process", "close"])
        ports += f' output_side_packet: "MADE:{name}_made"'
        side_packets.append(f"{name}_made")
    graph.text += (
        f'node {{ name: "{name}" calculator: "{calculator}"{ports} executor: "{pool}"{in_flight}{handler_text} }}\n'
    )
    graph.streams += outputs


def _add_limited_part(rng: Random, graph: RandomGraph, name: str) -> None:
    """A flow limiter with its loop around a worker."""
    source = rng.choice(graph.streams)
    graph.habits[f"{name}_work"] = habits = Habits(outputs=("copy",))
    _make_slow(rng, habits, 0.3)
    graph.text += (
        f'node {{ name: "{name}" calculator: "FlowLimiterCalculator" input_stream: "{source}" '
        f'input_stream: "FINISHED:{name}_done" input_stream_info {{ tag_index: "FINISHED" back_edge: true }} '
        f'output_stream: "{name}_in" }}\n'
        f'node {{ name: "{name}_work" calculator: "StressWorker" input_stream: "{name}_in" output_stream: "{name}_done" '
        'input_side_packet: "LEDGER:ledger" }\n'
    )
    graph.streams.append(f"{name}_done")


def _make_slow(rng: Random, habits: Habits, chance: float) -> None:
    if rng.random() < chance:
        habits.slow_s = rng.choice([0.0, 0.0003, 0.001, 0.004])
        habits.slow_every = rng.choice([1, 2, 7, 30])


def _make_fail(rng: Random, habits: Habits) -> None:
    if rng.random() < 0.02:
        error = rng.choice([ValueError, RuntimeError, OSError, KeyError, SystemExit, KeyboardInterrupt])
        phase = rng.choice(["open", "process", "process", "process", "close"])
        habits.fails = (phase, rng.randint(0, 20) if phase == "process" else 0, error)
