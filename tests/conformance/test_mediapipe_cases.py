"""The behaviour of MediaPipe graphs, case by case, on every executor.

A case has a graph (``pbtxt``), ``side_packets``, and ``inputs``: rows of stream, timestamp and value (null: an empty packet), with
``@idle`` for a wait and ``@close`` for the end of one input. It says what comes out (``expected_outputs``), how many packets were
there after some rows (``checkpoints``), which side packets were made, or which error comes at which stage.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graph_runtime import CalculatorGraph, GraphError, GraphInputStreamAddMode, Packet, Timestamp, packet_creator

CASES: list[dict[str, Any]] = [
    case
    for file in ("mediapipe_cases.json", "measured_cases.json")
    for case in json.loads((Path(__file__).parent / file).read_text(encoding="utf-8"))["cases"]
]
VARIANTS = {
    "default": "",
    "one thread": "num_threads: 1",
    "four threads": "num_threads: 4",
    "application thread": 'executor { name: "" type: "ApplicationThreadExecutor" }',
}


def make_packet(value: Any) -> Packet:
    """A packet of the type that a value in a case stands for: {"int64": 5} and the like name it."""
    if value is None:
        return Packet()
    if isinstance(value, dict):
        ((name, content),) = value.items()
        packet: Packet = getattr(packet_creator, f"create_{name}")(content)
        return packet
    create: dict[type, Callable[[Any], Packet]] = {
        bool: packet_creator.create_bool,
        int: packet_creator.create_int,
        str: packet_creator.create_string,
    }
    return create[type(value)](value)


def content(value: Any) -> Any:
    """The Python value that a value in a case stands for."""
    return next(iter(value.values())) if isinstance(value, dict) else value


def time(value: Any) -> int:
    """A timestamp: a number, or the name of a special value."""
    return int(value) if isinstance(value, int) else int(getattr(Timestamp, value))


class CaseRun:
    """One case, fed to a graph; ``stage`` is where it is."""

    def __init__(self, case: dict[str, Any], variant: str) -> None:
        self.case = case
        self.stage = "init"
        self.outputs: dict[str, list[Any]] = {}
        self.counts: list[tuple[int, dict[str, int]]] = []
        named = "executor" in case["pbtxt"] or "num_threads" in case["pbtxt"] or case.get("fixed_executor")
        self.graph = CalculatorGraph(graph_config=case["pbtxt"] if named else f"{case['pbtxt']} {variant}")
        for field, bounds in (("observe", False), ("observe_bounds", True)):
            for stream in case.get(field, []):
                self.outputs[stream] = []
                self.graph.observe_output_stream(stream, self._note, bounds)
        if case.get("add_mode"):
            self.graph.graph_input_stream_add_mode = GraphInputStreamAddMode[case["add_mode"]]

    def _note(self, name: str, packet: Packet) -> None:
        self.outputs[name].append([int(packet.timestamp), None if packet.is_empty() else packet.value])

    def run(self) -> None:
        """All runs of the case; raises at the first error, unless the case goes on."""
        for number in range(self.case.get("runs", 1)):
            try:
                self._run_once(number)
            except GraphError:
                if not self.case.get("continue_runs_after_error"):
                    raise
                with pytest.raises(GraphError):
                    self.graph.close()

    def _run_once(self, number: int) -> None:
        case = self.case
        checkpoints = {count for count, _ in case.get("checkpoints", [])} if number == 0 else set()
        self.stage = "start"
        self.graph.start_run({name: make_packet(value) for name, value in case.get("side_packets", {}).items()})
        self._idle(bool(case.get("wait_idle_each")))
        for position, (stream, timestamp, value) in enumerate(case.get("inputs", []), start=1):
            if stream == "@idle":
                self._idle(True)
            elif stream == "@close":
                self.graph.close_input_stream(value)
            else:
                self.stage = "add"
                self.graph.add_packet_to_input_stream(stream, make_packet(value), time(timestamp))
            self._idle(bool(case.get("wait_idle_each")) or position in checkpoints)
            if position in checkpoints:
                self.counts.append((position, {name: len(rows) for name, rows in self.outputs.items()}))
        if case.get("compare_before_close"):
            self._idle(True)
            self.compare_outputs()
        self.stage = "done"
        self.graph.close()

    def _idle(self, wanted: bool) -> None:
        if wanted:
            self.stage = "idle"
            self.graph.wait_until_idle()

    def compare_outputs(self) -> None:
        """What came out is what the case says."""
        for stream, rows in self.case.get("expected_outputs", {}).items():
            assert self.outputs[stream] == [[time(timestamp), content(value)] for timestamp, value in rows], stream


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_case(case: dict[str, Any], variant: str) -> None:
    expected = case.get("expected_error")
    run: CaseRun | None = None
    if expected is None:
        run = CaseRun(case, variant)
        run.run()
    else:
        with pytest.raises(getattr(builtins, expected["python"])) as info:
            run = CaseRun(case, variant)
            run.run()
        error = info.value
        assert isinstance(error, GraphError)
        for keyword in expected.get("keywords", []):
            assert keyword in str(error)
        assert (run.stage if run is not None else "init") == expected["stage"]
        if not expected["code"].startswith("n/a"):
            assert error.code.name == expected["code"]
    if run is None:
        return
    if not case.get("compare_before_close"):
        run.compare_outputs()
    for (position, counts), (_, wanted) in zip(run.counts, case.get("checkpoints", []), strict=False):
        assert {name: counts[name] for name in wanted} == wanted, f"after {position} rows"
    for name, value in case.get("expected_side_packets", {}).items():
        assert run.graph.get_output_side_packet(name).value == content(value)
