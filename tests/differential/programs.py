"""Runs programs on one of the two packages, each in a process of its own: ``python programs.py PACKAGE < programs > traces``.

A program is a graph, its observers, and for each run its side packets and rows of calls; a trace says for every call what it raised
and which packets came out by then. One line of JSON each. ``PACKAGE`` is ``graph_runtime`` or ``mediapipe``: what is used here has
the same names in both. A program that kills its process or does not end gives a trace that says so.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from typing import Any

LIMIT_S = 5.0
GETTERS = ["bool", "int", "uint", "float", "str", "int_list", "bool_list", "float_list", "str_list"]


class Program:
    """One program while it runs; ``trace`` has a row of call, error and new packets for each call so far."""

    def __init__(self, api: Any, program: dict[str, Any]) -> None:
        self.api = api
        self.program = program
        self.trace: list[Any] = []
        self.outputs: list[list[Any]] = [[] for _ in program["observe"]]
        self.seen = [0] * len(self.outputs)

    def run(self) -> list[Any]:
        """Make every call of the program; one that raises does not end it, but for a graph that cannot be made or started."""
        program = self.program
        if not self.note("init", self.make):
            return self.trace
        for run in program["runs"]:
            packets = {name: self.packet(value) for name, value in run["side_packets"].items()}
            started = self.note("start", self.graph.start_run, packets)
            self.idle()
            for row in run["rows"] if started else []:
                self.row(*row)
                if program["idle_each"] and row[0] != "idle":
                    self.idle()
            if started:
                self.note("done", self.graph.close)
            for name in program["output_side_packets"]:
                self.note(f"side packet {name}", lambda name=name: self.value(self.graph.get_output_side_packet(name)))
        return self.trace

    def make(self) -> None:
        self.graph = self.api.CalculatorGraph(graph_config=self.program["pbtxt"])
        for rows, (stream, bounds) in zip(self.outputs, self.program["observe"], strict=True):
            self.graph.observe_output_stream(
                stream, lambda _, packet, rows=rows: rows.append([packet.timestamp.value, self.value(packet)]), bounds
            )
        if self.program["add_mode"]:
            mode = getattr(self.api.GraphInputStreamAddMode, self.program["add_mode"])
            self.graph.graph_input_stream_add_mode = mode

    def row(self, what: str, *arguments: Any) -> None:
        """One call."""
        graph = self.graph
        if what == "add":
            stream, time, value = arguments
            timestamp = getattr(self.api.Timestamp, time) if isinstance(time, str) else time
            self.note(what, lambda: graph.add_packet_to_input_stream(stream, self.packet(value), timestamp))
        elif what == "idle":
            self.note("idle", graph.wait_until_idle)
        else:
            calls = {
                "close": graph.close_input_stream,
                "close all": graph.close_all_packet_sources,
                "wait for output": graph.wait_for_observed_output,
                "done": graph.close,
                "has error": graph.has_error,
                "message": graph.get_combined_error_message,
            }
            self.note(what, calls[what], *arguments)

    def idle(self) -> None:
        if self.program["idle_each"]:
            self.note("idle", self.graph.wait_until_idle)

    def note(self, what: str, call: Any, *arguments: Any) -> bool:
        """Make a call and add its row; whether it went well."""
        try:
            outcome = call(*arguments)
            ok = True
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
            outcome = {"raised": kinds[0], "message": str(error)}
            ok = False
        new = {}
        for index, (rows, seen) in enumerate(zip(self.outputs, self.seen, strict=True)):
            if len(rows) > seen:
                new[f"{self.program['observe'][index][0]} #{index}"] = rows[seen:]
                self.seen[index] = len(rows)
        self.trace.append([what, outcome, new])
        return ok

    def packet(self, value: Any) -> Any:
        """The packet for a value of a program: {"int64": 5} and the like name their type, null is the empty packet."""
        create = self.api.packet_creator
        if value is None:
            return self.api.Packet()
        if isinstance(value, dict):
            ((name, content),) = value.items()
            return getattr(create, f"create_{name}")(content)
        kind = {bool: "bool", int: "int", str: "string"}[type(value)]
        return getattr(create, f"create_{kind}")(value)

    def value(self, packet: Any) -> Any:
        """What a packet holds, as JSON; the text of the packet where no getter reads it."""
        if packet.is_empty():
            return None
        for name in GETTERS:
            try:
                return getattr(self.api.packet_getter, f"get_{name}")(packet)
            except Exception:
                continue
        return "unreadable"


def run_apart(api: Any, program: dict[str, Any]) -> Any:
    """The trace of a program, run in a fork of this process; "crash" or "hang" in its place."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as file:
            file.write(json.dumps(Program(api, program).run()))
        os._exit(0)
    os.close(writer)
    text = b""
    while select.select([reader], [], [], LIMIT_S)[0] and (part := os.read(reader, 1 << 16)):
        text += part
    ended = not select.select([reader], [], [], 0)[0]
    os.close(reader)
    if ended:  # nothing more to read, and no end of file either
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if ended:
        return "hang"
    return json.loads(text) if status == 0 else "crash"


if __name__ == "__main__":
    api = importlib.import_module(sys.argv[1])
    api.ValidatedGraphConfig().initialize(graph_config="")  # so that every fork finds all imported
    for line in sys.stdin:
        print(json.dumps(run_apart(api, json.loads(line))), flush=True)
