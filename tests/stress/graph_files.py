"""Mutated graph files: whatever is in them, a Plan comes out or a GraphError, and every place it names is in the file.

``python -m tests.stress.graph_files --cases 100000``; each case is fixed by its seed.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from graph_runtime import GraphError, Plan, parse_graph_config

ROOT = Path(__file__).parents[2]
FILE = "mutated.pbtxt"
PIECES = (
    "{", "}", "[", "]", "<", ">", "(", '"', "'", "\\", ":", ";", ",", "#", "/", ".", "-", "\n", "\r", "\t", "\0", " ",
    "\x0b", "\x85", "\u2028", "\ufeff", "\ud800", "\udfff", "\U0001f600", "é", "\\377", "\\u00e9", "\\ud800", "\\0", "\\x",
    "nan", "inf", "-inf", "1e999", "-0", "0x", "0xffffffffffffffffff", "9" * 19, "9" * 400, "-" + "9" * 30, "1.5f", "0777",
    "true", "node", "node {", "name:", "calculator:", "input_stream:", "output_stream:", "input_side_packet:", "executor {",
    "options {", "node_options {", "[type.googleapis.com/", "[mediapipe.", ".ext] {", "max_in_flight: 0", "num_threads: -7",
    "max_queue_size: -2147483648", "source_layer: 2147483647", 'input_stream: ""', '"TAG:"', '":0:x"', '"A:99999999999:x"',
    "back_edge: true", "input_stream_info {", "input_stream_handler {", "packet_generator {", "type:", "package:",
)  # fmt: skip


def real_graphs() -> list[str]:
    """The graphs of the conformance cases, the examples and the docs."""
    found: list[str] = []
    for name in ("mediapipe_cases.json", "measured_cases.json"):
        cases = json.loads((ROOT / "tests/conformance" / name).read_text(encoding="utf-8"))["cases"]
        found += [case["pbtxt"] for case in cases if "pbtxt" in case]
    found += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.pbtxt"))]
    for page in sorted((ROOT / "docs").glob("*.md")):
        found += re.findall(r"^```protobuf\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    return found


def mutated_text(rng: Random, graphs: Sequence[str]) -> str:
    """One of the graphs, changed in one to six places."""
    text = rng.choice(graphs)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        text = rng.choice(_TEXT_CHANGES)(rng, text, graphs)
    return text


def mutated_bytes(rng: Random, binaries: Sequence[bytes]) -> bytes:
    """One of the graphs in binary form, changed in one to six places."""
    data = bytearray(rng.choice(binaries))
    for _ in range(rng.choice([1, 1, 2, 6])):
        at = rng.randint(0, len(data))
        kind = rng.randrange(5)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.choice([1, 4, 20]))
        elif kind == 3:
            data[at:at] = rng.choice([b"\xff" * 10, b"\x0a\xff\xff\xff\xff\x07", b"\x80" * 11, b"\x0b" * 200])
        else:
            other = rng.choice(binaries)
            data[at:] = other[rng.randint(0, len(other)) :]
    return bytes(data)


def _span(rng: Random, text: str) -> tuple[int, int]:
    start = rng.randint(0, len(text))
    return start, min(len(text), start + rng.choice([1, 1, 2, 5, 20, 100]))


def _remove(rng: Random, text: str, graphs: Sequence[str]) -> str:
    start, end = _span(rng, text)
    return text[:start] + text[end:]


def _truncate(rng: Random, text: str, graphs: Sequence[str]) -> str:
    return text[: rng.randint(0, len(text))]


def _insert(rng: Random, text: str, graphs: Sequence[str]) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(PIECES) + text[at:]


def _replace_token(rng: Random, text: str, graphs: Sequence[str]) -> str:
    tokens = list(re.finditer(r'"[^"]*"|\w+|[^\w\s]', text))
    if not tokens:
        return text
    chosen = rng.choice(tokens)
    others = re.findall(r'"[^"]*"|\w+|[^\w\s]', rng.choice(graphs))
    new = rng.choice(others) if others and rng.random() < 0.6 else rng.choice(PIECES)
    return text[: chosen.start()] + new + text[chosen.end() :]


def _repeat(rng: Random, text: str, graphs: Sequence[str]) -> str:
    start, end = _span(rng, text)
    return text[:end] + text[start:end] * rng.choice([1, 2, 50]) + text[end:]


def _move(rng: Random, text: str, graphs: Sequence[str]) -> str:
    start, end = _span(rng, text)
    rest = text[:start] + text[end:]
    at = rng.randint(0, len(rest))
    return rest[:at] + text[start:end] + rest[at:]


def _splice(rng: Random, text: str, graphs: Sequence[str]) -> str:
    other = rng.choice(graphs)
    return text[: rng.randint(0, len(text))] + other[rng.randint(0, len(other)) :]


def _nest(rng: Random, text: str, graphs: Sequence[str]) -> str:
    at = rng.randint(0, len(text))
    depth = rng.choice([20, 99, 101, 2000])
    opening = rng.choice(
        ["node {", "options {", "[", "<", "{", "a {", "node { options { [mediapipe.TemplateSubgraphOptions.ext] {"]
    )
    closing = "}" * rng.choice([0, depth])
    return text[:at] + opening * depth + closing + text[at:]


def _lengthen(rng: Random, text: str, graphs: Sequence[str]) -> str:
    if rng.random() < 0.9:
        return text
    at = rng.randint(0, len(text))
    piece = rng.choice(["x", "9", '"', "\\", "\n", " ", "é", "a:", "{", "'"])
    return text[:at] + piece * rng.choice([10_000, 1_000_000]) + text[at:]


_TEXT_CHANGES: tuple[Callable[[Random, str, Sequence[str]], str], ...] = (
    _remove, _truncate, _insert, _insert, _replace_token, _replace_token, _replace_token, _repeat, _move, _splice, _nest,
    _lengthen,
)  # fmt: skip


def check(source: str | bytes | Path, text: str | None) -> None:
    """Make a Plan of it.

    Raises:
        AssertionError: it did something else than to make one or to raise a good GraphError.
    """
    raised: GraphError | None = None
    try:
        Plan(source, file=FILE)
    except GraphError as error:
        raised = error
    if raised is None:
        return
    assert str(raised)
    assert pickle.loads(pickle.dumps(raised)).problems == raised.problems
    for place in (raised.place, *(problem.place for problem in raised.problems)):
        if place is not None and text is not None and (found := re.fullmatch(r".*?:(\d+):(\d+)", place, re.S)):
            lines = text.split("\n")
            line, column = int(found[1]), int(found[2])
            assert 1 <= line <= len(lines), f"{place}, of {len(lines)} lines"
            assert 1 <= column <= len(lines[line - 1]) + 1, f"{place}, where the line has {len(lines[line - 1])}"


class Cases:
    """The cases by their seeds."""

    def __init__(self, folder: Path) -> None:
        self.graphs = real_graphs()
        self.binaries = []
        for graph in self.graphs:
            try:
                self.binaries.append(parse_graph_config(graph).SerializeToString())
            except GraphError:
                continue  # a case about a graph that is broken
        self.file = folder / FILE

    def check(self, seed: int) -> None:
        """As the function; the error's notes say what the case is."""
        rng = Random(seed)
        source: str | bytes | Path
        text: str | None = None
        kind = rng.random()
        if kind < 0.7:
            source = text = mutated_text(rng, self.graphs)
        elif kind < 0.9:
            source = mutated_bytes(rng, self.binaries)
        else:
            data = mutated_text(rng, self.graphs).encode(errors="surrogatepass")
            at = rng.randint(0, len(data))
            data = data[:at] + rng.choice([b"", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f", b"\0"]) + data[at:]
            self.file.write_bytes(data)
            text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="replace")
            source = self.file
        try:
            check(source, text)
        except BaseException as error:
            error.add_note(f"seed {seed}: {str(source if text is None else text)[:3000]!r}")
            raise


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress.graph_files", description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; each case takes the next")
    chosen = parser.parse_args(arguments)
    faults = 0
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        cases = Cases(Path(folder))
        for seed in range(chosen.seed, chosen.seed + chosen.cases):
            start = time.perf_counter()
            try:
                cases.check(seed)
            except Exception:
                faults += 1
                print(traceback.format_exc(), flush=True)
                if faults == 20:
                    break
            slowest = max(slowest, (time.perf_counter() - start, seed))
    print(
        f"{seed - chosen.seed + 1} cases, {faults} with faults; the slowest took {slowest[0]:.2f} s (seed {slowest[1]})"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
