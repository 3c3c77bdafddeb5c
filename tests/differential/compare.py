"""Runs random programs here and on MediaPipe, and prints what differs.

``python -m tests.differential.compare --mediapipe-python PYTHON``, where ``PYTHON`` is an interpreter with mediapipe 0.10.21. Both
run each program on several executors; where MediaPipe's own traces differ, they are left to chance, and this is no difference.
Nor is a program that kills or hangs MediaPipe, as long as it does neither here. ``--first N --count 1`` repeats one finding, whose
seed is N. Exit status 1: something differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tests.differential.random_programs import random_program

APPLICATION_THREAD = 'executor { type: "ApplicationThreadExecutor" }'
EXECUTORS = ["", "num_threads: 1", "num_threads: 3", APPLICATION_THREAD]
"""What each program that waits after each call is run with; others have no order on threads of their own."""

AT_ONCE = 50
"""Programs for one process."""


def traces(python: str, package: str, programs: list[dict[str, Any]]) -> list[Any]:
    """The trace of each program on a package; see programs.py."""
    done = subprocess.run(
        [python, str(Path(__file__).parent / "programs.py"), package],
        input="".join(json.dumps(program) + "\n" for program in programs),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GLOG_minloglevel": "4"},
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def folded(trace: Any) -> Any:
    """A trace whose packets stand at the next wait: before it, the moment of their arrival is chance."""
    if isinstance(trace, str):
        return trace
    rows = []
    waiting: dict[str, list[Any]] = {}
    for what, outcome, new in [*trace, ["end", None, {}]]:
        for stream, packets in new.items():
            waiting.setdefault(stream, []).extend(packets)
        is_wait = what in ("idle", "done", "end")
        rows.append([what, outcome, waiting if is_wait else {}])
        if is_wait:
            waiting = {}
    return rows


def is_same(there: Any, here: Any) -> bool:
    """Whether two rows agree. Of error texts, what is there has to be in what is here, but for source lines and expressions."""
    if there is None or here is None or there[0] != here[0] or there[2] != here[2]:
        return False
    outcomes = there[1], here[1]
    if not all(isinstance(each, dict) and "raised" in each for each in outcomes):
        return outcomes[0] == outcomes[1] or all(isinstance(each, str) and "failed" in each for each in outcomes)
    if outcomes[0]["raised"] != outcomes[1]["raised"]:
        return False
    lines = (
        line.removeprefix("; ").partition("; RET_CHECK")[0].rstrip() for line in outcomes[0]["message"].split("\n")
    )
    return all(line in outcomes[1]["message"] for line in lines if "RET_CHECK" not in line)


def first_difference(there: Any, here: Any) -> int | None:
    """The first row that differs; None if none does."""
    for number, rows in enumerate(zip_longest(there, here)):
        if not is_same(*rows):
            return number
    return None


def report(program: dict[str, Any], there: Any, here: Any, number: int) -> None:
    """Print a difference, with what came before it."""
    print(
        f"==== seed {program['seed']}\n{program['pbtxt']}\nobserved: {program['observe']} {program['add_mode'] or ''}"
    )
    for run in program["runs"]:
        print(f"  run with {run['side_packets']}: {run['rows']}")
    for row in there[max(0, number - 8) : number]:
        print("      both:", row)
    print(" mediapipe:", there[number] if number < len(there) else None)
    print("      here:", here[number] if number < len(here) else None)


def on_executors(program: dict[str, Any]) -> list[dict[str, Any]]:
    """A program with the executors that it is to be run on."""
    executors = EXECUTORS if program["idle_each"] else [APPLICATION_THREAD]
    return [{**program, "pbtxt": f"{program['pbtxt']}\n{executor}"} for executor in executors]


def judge(programs: list[dict[str, Any]], theirs: list[Any], ours: list[Any]) -> str:
    """What became of one program on all executors, in a word or two; a difference is printed."""
    for program, there, here in zip(programs, theirs, ours, strict=True):
        if isinstance(here, str) and here != there:
            print(f"==== seed {program['seed']}: {here}\n{program['pbtxt']}")
            return f"differs: {here}"
    for there in theirs:
        if isinstance(there, str):
            return f"MediaPipe: {there}"
    if any(first_difference(theirs[0], each) is not None for each in theirs[1:]):
        return "chance"
    for program, here in zip(programs, ours, strict=True):
        number = first_difference(theirs[0], here)
        if number is not None:
            report(program, theirs[0], here, number)
            return "differs"
    return "same"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mediapipe-python", required=True)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=300, help="how many programs")
    arguments = parser.parse_args()
    counts: Counter[str] = Counter()
    for first in range(arguments.first, arguments.first + arguments.count, AT_ONCE):
        last = min(first + AT_ONCE, arguments.first + arguments.count)
        programs = [random_program(seed) for seed in range(first, last)]
        variants = [on_executors(program) for program in programs]
        every = [variant for each in variants for variant in each]
        here = iter(traces(sys.executable, "graph_runtime", every))
        there = iter(traces(arguments.mediapipe_python, "mediapipe", every))
        for each in variants:
            counts[judge(each, [folded(next(there)) for _ in each], [folded(next(here)) for _ in each])] += 1
    print(dict(counts))
    return 1 if any("differs" in outcome for outcome in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
