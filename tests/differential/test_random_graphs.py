"""Graphs put together at random, most of them broken: the mediapipe wheel refuses the same ones, with the same class of error, and
makes the same of all others.
"""

from __future__ import annotations

import builtins
import importlib.util
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from graph_runtime import CalculatorGraph, GraphError, parse_graph_config
from graph_runtime.config import to_text

# Not imported here: the wheel is another process's, and its descriptors would be in the pool that other tests look at.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None, reason="the mediapipe wheel is not installed here"
)

GRAPH_INPUTS = "abcd"
NAMES = {"in": "aabbccddefgh", "out": "efghijklmnop", "side_in": "stuvw", "side_out": "vwxyz"}
CALCULATORS = {
    "PassThroughCalculator": "in out | in in out out | in out side_in side_out | ",
    "MergeCalculator": "in out | in in in out | in out out",
    "GateCalculator": "in out ALLOW:in | in out ALLOW:side_in | in out ALLOW:in ALLOW:side_in | in in out ALLOW:in",
    "PacketPresenceCalculator": "PACKET:in PRESENCE:out",
    "ConcatenateFloatVectorCalculator": "in in out | in out",
    "SidePacketToStreamCalculator": "AT_ZERO:out side_in | AT_PRESTREAM:out side_in | AT_TICK:out side_in",
    "PreviousLoopbackCalculator": "MAIN:in LOOP:in PREV_LOOP:out",
    "BeginLoopIntCalculator": "ITERABLE:in ITEM:out BATCH_END:out",
    "EndLoopFloatCalculator": "ITEM:in BATCH_END:in ITERABLE:out",
    "StringToIntCalculator": "side_in side_out",
    "Unknown": "in out",
}
FIELDS = {
    "in": "input_stream",
    "out": "output_stream",
    "side_in": "input_side_packet",
    "side_out": "output_side_packet",
}
HANDLER = 'input_stream_handler { input_stream_handler: "%s" }'
ODD_NODE_PARTS = [
    'name: "X"', 'name: "Y"', 'executor: "x"', 'executor: "gpu"', HANDLER % "ImmediateInputStreamHandler", HANDLER % "Nope",
    'input_stream_info { tag_index: "" back_edge: true }', 'input_stream_info { tag_index: "LOOP" back_edge: true }',
    'input_stream: "A:1:a"', 'input_stream: "Bad"', 'output_side_packet: "Z:z"',
    "node_options { [type.googleapis.com/mediapipe.GateCalculatorOptions] { allow: true } }",
]  # fmt: skip
ODD_PARTS = [
    HANDLER % "ImmediateInputStreamHandler", HANDLER % "Nope", "num_threads: 2", "num_threads: -2", "executor {}",
    'executor { name: "x" }', 'executor { name: "x" type: "Nope" }', 'output_stream: "A"', 'output_stream: "zz"',
    'input_stream: "a"', 'input_stream: "B"', 'input_side_packet: "B"', 'packet_generator { packet_generator: "Nope" }',
    'executor { name: "x" type: "ThreadPoolExecutor" options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 2 } } }',
]  # fmt: skip


def random_node(chance: random.Random) -> str:
    calculator = chance.choices(list(CALCULATORS), [3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0.2])[0]
    parts = [f'calculator: "{calculator}"']
    for port in chance.choice(CALCULATORS[calculator].split(" | ")).split():
        tag, _, kind = port.rpartition(":")
        parts.append(f'{FIELDS[kind]}: "{tag and tag + ":"}{chance.choice(NAMES[kind])}"')
    if chance.random() < 0.15:
        parts.append(chance.choice(ODD_NODE_PARTS))
    return f"node {{ {' '.join(parts)} }}"


def random_graph(chance: random.Random) -> str:
    parts = [f'input_stream: "{name}"' for name in chance.sample(GRAPH_INPUTS, chance.choice([2, 4, 4, 4]))]
    parts += [random_node(chance) for _ in range(chance.randint(1, 4))]
    parts += [chance.choice(ODD_PARTS) for _ in range(chance.choice([0, 0, 0, 0, 1, 2]))]
    chance.shuffle(parts)
    return "\n".join(parts)


@pytest.fixture(scope="module")
def ask_mediapipe() -> Iterator[Callable[[str], dict[str, str]]]:
    child = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "mediapipe_child.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    ends = child.stdin, child.stdout

    def ask(graph: str) -> dict[str, str]:
        print(json.dumps(graph), file=ends[0], flush=True)
        answer: dict[str, str] = json.loads(ends[1].readline())
        return answer

    with child:
        yield ask
        child.stdin.close()


@pytest.mark.parametrize("seed", range(20))
def test_mediapipe_makes_the_same_of_random_graphs(seed: int, ask_mediapipe: Callable[[str], dict[str, str]]) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        graph = random_graph(chance)
        expected = ask_mediapipe(graph)
        print(graph, expected, sep="\n")  # shown where the test fails
        if "error" in expected:
            with pytest.raises(getattr(builtins, expected["error"])) as info:
                CalculatorGraph(graph_config=graph)
            assert isinstance(info.value, GraphError)
        else:
            config = CalculatorGraph(graph_config=graph).binary_config
            assert to_text(parse_graph_config(config)) == to_text(parse_graph_config(bytes.fromhex(expected["config"])))
