"""Nodes that note what they do in a ledger, and the checks of a ledger when a run is over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from graph_runtime import (
    STOP,
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    Packet,
    register_calculator,
)

PLANNED = "planned by the stress run"
"""In the text of every failure that is meant."""

UNTIMED = ("ImmediateInputStreamHandler", "SyncSetInputStreamHandler", "BarrierInputStreamHandler")
"""Handlers whose input timestamps may repeat or go back."""

Row = tuple[int, Any]


@dataclass
class Habits:
    """What one node does, beside noting it.

    Attributes:
        outputs: for each output how it is made; see ``Worker._make``.
        has_offset: whether all outputs have the offset 0.
        slow_s: how long a slow call takes.
        slow_every: each so many calls one is slow; 0 for none.
        fails: (phase, number of the call, exception), or None.
        stops_at: the call that returns STOP; -1 for none.
        makes_side_packet: the phase in which output side packets are made.
        packets: how many packets a source sends; -1 for no end.
        is_untimed: whether outputs get timestamps by number.
    """

    outputs: tuple[str, ...] = ()
    has_offset: bool = True
    slow_s: float = 0.0
    slow_every: int = 0
    fails: tuple[str, int, type[BaseException]] | None = None
    stops_at: int = -1
    makes_side_packet: str = ""
    packets: int = 0
    is_untimed: bool = False


@dataclass
class Notes:
    """What one node has seen and sent in one run."""

    opened: int = 0
    closed: int = 0
    active: int = 0
    most_active: int = 0
    calls: list[tuple[int, list[Any]]] = field(default_factory=list)
    numbers: int = 0
    """Calls begun."""
    last_sent: int = 0
    held: defaultdict[int, list[Row]] = field(default_factory=lambda: defaultdict(list))


class Ledger:
    """What happened in one run."""

    def __init__(self, habits: dict[str, Habits], graph: CalculatorGraph) -> None:
        self.habits = habits
        self.graph = graph
        self.nodes: defaultdict[str, Notes] = defaultdict(Notes)
        self.sent: defaultdict[str, list[Row]] = defaultdict(list)
        self.observed: defaultdict[str, list[Row]] = defaultdict(list)
        self.polled: defaultdict[str, list[Row]] = defaultdict(list)
        self.planned: Counter[str] = Counter()
        """Failures, cancels and stops that were meant and have happened."""
        self.wrong: list[str] = []
        self.lock = threading.Lock()
        self.is_over = False

    def complain(self, text: str) -> None:
        """Note a fault."""
        with self.lock:
            self.wrong.append(text)

    def plan(self, what: str) -> None:
        """Note that something was meant to happen."""
        with self.lock:
            self.planned[what] += 1


class _Noting:
    """What the nodes below share: the ledger, and the checks that are made at once."""

    notes: Notes
    habits: Habits
    ledger: Ledger

    def begin(self, cc: CalculatorContext, phase: str) -> None:
        self.ledger = cc.input_side_packets["LEDGER"].value
        self.habits = self.ledger.habits[cc.node_name]
        self.notes = self.ledger.nodes[cc.node_name]
        if self.ledger.is_over:
            self.ledger.complain(f"{phase} of {cc.node_name} after the end of the run")

    def fail_if_planned(self, phase: str, number: int) -> None:
        fails = self.habits.fails
        if fails is not None and fails[0] == phase and fails[1] == number:
            self.ledger.plan(f"{phase} fails")
            raise fails[2](f"{fails[2].__name__} {PLANNED}")

    def enter(self, cc: CalculatorContext) -> int:
        notes = self.notes
        with self.ledger.lock:
            if notes.opened != 1 or notes.closed:
                self.ledger.wrong.append(f"process of {cc.node_name}, which is not open")
            number, notes.numbers = notes.numbers, notes.numbers + 1
            notes.active += 1
            notes.most_active = max(notes.most_active, notes.active)
            notes.calls.append(
                (int(cc.input_timestamp), [None if port.is_empty() else port.value for port in cc.inputs])
            )
            for port in cc.inputs:
                if not port.is_empty() and not self.habits.is_untimed and port.packet.timestamp != cc.input_timestamp:
                    self.ledger.wrong.append(f"{cc.node_name} got a packet of another time on {port.name}")
        return number

    def leave(self) -> None:
        with self.ledger.lock:
            self.notes.active -= 1

    def is_slow(self, number: int) -> bool:
        return bool(self.habits.slow_every) and number % self.habits.slow_every == 0

    def send(self, cc: CalculatorContext, port: int, value: Any, timestamp: int) -> None:
        stream = tuple(cc.outputs)[port]
        stream.add(value, timestamp)
        self.ledger.sent[stream.name].append((timestamp, value))


class Worker(_Noting, Calculator):
    """Any number of inputs and outputs; its habits say what it does."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for ports in (cc.inputs, cc.outputs, cc.output_side_packets, cc.input_side_packets):
            for port in ports:
                port.set_any()

    def open(self, cc: CalculatorContext) -> None:
        self.begin(cc, "open")
        with self.ledger.lock:
            self.notes.opened += 1
        self.fail_if_planned("open", 0)
        if self.habits.has_offset:
            for out in cc.outputs:
                out.set_offset(0)
        for port, kind in enumerate(self.habits.outputs):
            if kind == "first in open":
                # Before all that comes from upstream, whose nodes have lower numbers.
                self.send(cc, port, ("first", cc.node_name), -(4 ** (int(cc.node_name[-1]) + 1)))
        self._make_side_packets(cc, "open")

    def process(self, cc: CalculatorContext) -> Any:
        number = self.enter(cc)
        try:
            if self.is_slow(number):
                time.sleep(self.habits.slow_s)
            return self._finish(cc, number)
        finally:
            self.leave()

    def close(self, cc: CalculatorContext) -> None:
        with self.ledger.lock:
            self.notes.closed += 1
            if self.notes.active:
                self.ledger.wrong.append(f"close of {cc.node_name} during process")
        self.fail_if_planned("close", 0)
        for port, kind in enumerate(self.habits.outputs):
            if kind == "hold":
                for timestamp, value in self.notes.held[port]:
                    self.send(cc, port, value, timestamp)
        self._make_side_packets(cc, "close")

    def _finish(self, cc: CalculatorContext, number: int) -> Any:
        self.fail_if_planned("process", number)
        for port, kind in enumerate(self.habits.outputs):
            self._make(cc, port, kind, number)
        if number == 2:
            self._make_side_packets(cc, "process")
        if number == self.habits.stops_at:
            self.ledger.plan("stop")
            return STOP
        return None

    def _make(self, cc: CalculatorContext, port: int, kind: str, number: int) -> None:
        here = int(cc.input_timestamp)
        if self.habits.is_untimed:
            self.notes.last_sent += 1
            here = self.notes.last_sent
        inputs = tuple(cc.inputs)
        values = [None if each.is_empty() else each.value for each in inputs]
        if kind in ("copy", "first in open"):
            value = values[port % len(values)]
            if value is not None:
                self.send(cc, port, value, here)
        elif kind == "all":
            self.send(cc, port, (number, sum(value is not None for value in values)), here)
        elif kind == "every other":
            if number % 2:
                self.send(cc, port, (number, cc.node_name), here)
        elif kind == "twice":
            self.send(cc, port, (number, "a"), 2 * here)
            self.send(cc, port, (number, "b"), 2 * here + 1)
        elif kind == "bound":
            tuple(cc.outputs)[port].set_next_timestamp_bound(here + 1)
        else:
            assert kind == "hold", kind
            self.notes.held[port].append((here, number))

    def _make_side_packets(self, cc: CalculatorContext, phase: str) -> None:
        if self.habits.makes_side_packet == phase:
            for port in cc.output_side_packets:
                port.set(cc.node_name)


class AsyncWorker(Worker):
    """The same as a coroutine."""

    async def process(self, cc: CalculatorContext) -> Any:
        number = self.enter(cc)
        try:
            if self.is_slow(number):
                await asyncio.sleep(self.habits.slow_s)
            return self._finish(cc, number)
        finally:
            self.leave()


class Source(_Noting, Calculator):
    """Sends packets 1, 2, ... on all outputs, then stops."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        for port in cc.outputs:
            port.set_any()
        cc.input_side_packets["LEDGER"].set_any()

    def open(self, cc: CalculatorContext) -> None:
        self.begin(cc, "open")
        with self.ledger.lock:
            self.notes.opened += 1
        self.fail_if_planned("open", 0)

    def process(self, cc: CalculatorContext) -> Any:
        number = self.enter(cc)
        try:
            if self.is_slow(number):
                time.sleep(self.habits.slow_s)
            self.fail_if_planned("process", number)
            if number == self.habits.packets:
                return STOP
            for port in range(len(cc.outputs)):
                self.send(cc, port, (number, cc.node_name), number + 1)
            return None
        finally:
            self.leave()

    def close(self, cc: CalculatorContext) -> None:
        with self.ledger.lock:
            self.notes.closed += 1
        self.fail_if_planned("close", 0)


for _calculator in (Worker, AsyncWorker, Source):
    register_calculator(f"Stress{_calculator.__name__}")(_calculator)


def check(ledger: Ledger, *, is_regular: bool) -> list[str]:
    """What is wrong with a run that is over.

    Args:
        ledger: its ledger.
        is_regular: whether it ended without an error: then everything has to have arrived, otherwise the first part of it.
    """
    wrong = list(ledger.wrong)
    for rows in ledger.sent.values():
        rows.sort(key=itemgetter(0))  # calls of one node may overlap
    for node in ledger.graph.plan.nodes:
        notes = ledger.nodes.get(node.name)
        if notes is None:
            continue  # a core calculator, or a node that was never opened
        fails = ledger.habits[node.name].fails
        if notes.closed != (0 if fails is not None and fails[0] == "open" else notes.opened):
            wrong.append(f"{node.name} was opened {notes.opened} times and closed {notes.closed} times")
        if notes.active:
            wrong.append(f"a call of {node.name} has not ended")
        if notes.most_active > node.max_in_flight:
            wrong.append(f"{notes.most_active} calls of {node.name} at once")
        wrong += _check_calls(ledger, node.name, is_regular=is_regular)
    for what, lists in (("observer", ledger.observed), ("poller", ledger.polled)):
        for name, rows in list(lists.items()):
            # With an error, what a poller was not asked for in time is left in it.
            wrong += _compare(f"{what} of {name}", rows, ledger.sent.get(name), is_whole=is_regular)
    return wrong


def _check_calls(ledger: Ledger, node_name: str, *, is_regular: bool) -> list[str]:
    plan = next(node for node in ledger.graph.plan.nodes if node.name == node_name)
    streams = [ledger.graph.plan.streams[stream].name for stream in plan.input_streams]
    if not streams:
        return []
    calls = ledger.nodes[node_name].calls
    if plan.max_in_flight > 1:
        calls = sorted(calls, key=itemgetter(0))
    handler = plan.handler.__name__
    known = [ledger.sent[name] if name in ledger.sent or _is_noted(ledger, name) else None for name in streams]
    wrong = []
    if handler == "DefaultInputStreamHandler" and all(rows is not None for rows in known):
        expected = _merged([rows or [] for rows in known])
        wrong += _compare(f"calls of {node_name}", calls, expected, is_whole=is_regular)
    for port, (name, rows) in enumerate(zip(streams, known, strict=True)):
        got = [values[port] for _, values in calls if values[port] is not None]
        if rows is None:
            continue
        sent = [value for _, value in rows]
        if handler in ("FixedSizeInputStreamHandler", "MuxInputStreamHandler"):
            if not _is_subsequence(got, sent):
                wrong.append(f"{node_name} got {got} on {name}, where {sent} was sent")
        else:
            whole = is_regular and handler not in ("BarrierInputStreamHandler", "EarlyCloseInputStreamHandler")
            wrong += _compare(f"{node_name} on {name}", got, sent, is_whole=whole)
    if handler not in UNTIMED:
        times = [timestamp for timestamp, _ in calls]
        if times != sorted(set(times)):
            wrong.append(f"calls of {node_name} are out of order: {times}")
    return wrong


def _is_noted(ledger: Ledger, stream: str) -> bool:
    """Whether what is sent on a stream is noted, so that nothing noted means nothing sent."""
    plan = ledger.graph.plan
    producer = plan.streams[plan.stream_ids[stream]].producer
    return producer is None or plan.nodes[producer[0]].name in ledger.habits


def _merged(inputs: Sequence[list[Row]]) -> list[tuple[int, list[Any]]]:
    """The calls that the default handler has to make of what was sent."""
    times = sorted({timestamp for rows in inputs for timestamp, _ in rows})
    by_time = [dict(rows) for rows in inputs]
    return [(timestamp, [rows.get(timestamp) for rows in by_time]) for timestamp in times]


def _compare(what: str, got: list[Any], sent: list[Any] | None, *, is_whole: bool) -> list[str]:
    if sent is None or got == sent or (not is_whole and got == sent[: len(got)]):
        return []
    at = next((i for i, (a, b) in enumerate(zip(got, sent, strict=False)) if a != b), min(len(got), len(sent)))
    around = slice(max(0, at - 2), at + 3)
    return [f"{what}: got {len(got)} of {len(sent)}; first difference at {at}: {got[around]} for {sent[around]}"]


def _is_subsequence(part: Iterable[Any], whole: Iterable[Any]) -> bool:
    rest = iter(whole)
    return all(any(each == other for other in rest) for each in part)


def row(packet: Packet) -> Row:
    """A packet as the ledger has it."""
    return int(packet.timestamp), packet.value
