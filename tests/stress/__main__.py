"""Random graphs under random use, until the time is over: ``python -m tests.stress --seconds 120``.

Reports, with the seed that began it: deadlocks (all threads' stacks, and the graphs' own hang reports), packets that are lost or
come twice, wrong order, nodes opened and not closed, calls at the wrong time, errors that nobody planned, threads and runs left.
A seed fixes the graph and what the threads try, not when they do it: ``--seed N --repeat 500`` plays one again and again.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence

from graph_runtime._engine.run import Run
from tests.stress.scenario import Scenario, check_for_leaks, kept_runs

LEAKS_EVERY = 50


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on")
    parser.add_argument("--scenarios", type=int, default=0, help="play so many instead, whatever the time")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; each scenario takes the next")
    parser.add_argument("--repeat", type=int, default=0, help="play the one seed so often")
    parser.add_argument(
        "--deadline", type=float, default=60.0, help="seconds for one scenario, longer is a deadlock; 0: no limit"
    )
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first fault")
    chosen = parser.parse_args(arguments)
    seed = time.time_ns() % 2**40 if chosen.seed is None else chosen.seed
    print(f"first seed {seed}", flush=True)
    others = kept_runs()
    end = time.monotonic() + chosen.seconds
    played = faults = 0
    count = chosen.repeat or chosen.scenarios
    while played < count if count else time.monotonic() < end:
        this = seed if chosen.repeat else seed + played
        played += 1
        if not _play(this, chosen.deadline) or (played % LEAKS_EVERY == 0 and not _is_clean(this, others)):
            faults += 1
            if not chosen.keep_going:
                break
    if not faults and not _is_clean(seed, others):
        faults += 1
    print(f"{played} scenarios, {faults} with faults; seeds {seed} to {this}", flush=True)
    return 1 if faults else 0


def _play(seed: int, deadline_s: float) -> bool:
    scenario = Scenario(seed)
    watchdog = threading.Timer(deadline_s, _report_deadlock, [seed, scenario])
    watchdog.daemon = True
    if deadline_s:
        watchdog.start()
    try:
        scenario.play()
    except BaseException:
        print(f"seed {seed}:\n{traceback.format_exc()}\n{scenario.random_graph.text}", flush=True)
        return False
    finally:
        watchdog.cancel()
        if deadline_s:
            watchdog.join()
    return True


def _is_clean(seed: int, others: Sequence[Run]) -> bool:
    try:
        check_for_leaks(others)
    except AssertionError as error:
        print(f"after seed {seed}: {error}", flush=True)
        return False
    return True


def _report_deadlock(seed: int, scenario: Scenario) -> None:
    print(f"seed {seed}: a deadlock\n{scenario.random_graph.text}", flush=True)
    for graph in scenario.watched:
        snapshot = graph.snapshot()
        print(f"{snapshot}\n{snapshot.hang_report()}", flush=True)
    sys.stderr.flush()
    faulthandler.dump_traceback(all_threads=True)
    sys.stdout.flush()
    os._exit(3)


if __name__ == "__main__":
    logging.getLogger("graph_runtime").setLevel(logging.ERROR)  # nodes that never open are part of the game
    sys.exit(main())
