"""Random programs for ``programs.py``: graphs of the calculators that both packages have, and what is fed to them.

Most of a program is sensible, so that packets get far; a part of it is not: wrong types, lower timestamps, special values, closed
streams, missing side packets. The same seed gives the same program.
"""

from __future__ import annotations

import random
from typing import Any

VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int": [0, 1, 2, 7],
    "string": ["a", "12"],
    "float": [{"float": 0.5}, {"float": 2.0}],
    "ints": [{"int_vector": [1, 2]}, {"int_vector": []}, {"int_vector": [3]}],
    "floats": [{"float_vector": [0.5, 1.5, 2.5]}, {"float_vector": []}],
    "bools": [{"bool_vector": [True, False]}],
    "strings": [{"string_vector": ["x", "y"]}],
}
SPECIAL_TIMES = ["PRESTREAM", "MIN", "MAX", "POSTSTREAM", "UNSET", "UNSTARTED", "DONE", "MAX", "PRESTREAM"]


class RandomGraph:
    """A graph while it grows: its streams with the types of their packets, and what it needs from outside."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.idle_each = rng.random() < 0.6
        self.streams: dict[str, str] = {}
        self.inputs: dict[str, str] = {}
        self.nodes: list[str] = []
        self.loose: list[str] = []
        self.side_packets: dict[str, Any] = {}
        self.output_side_packets: list[str] = []
        self.side_packet_count = 0

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def input(self, kind: str) -> str:
        """A new graph input."""
        name = f"in{len(self.inputs)}"
        self.inputs[name] = self.streams[name] = kind
        return name

    def stream(self, kind: str | None = None) -> str:
        """A stream that is there, of a type; rarely of another one."""
        fitting = [name for name, each in self.streams.items() if kind in (None, each)]
        if not fitting or (kind is not None and len(fitting) < 2 and self.chance(0.2)):
            return self.input(kind or "int")
        return self.rng.choice(list(self.streams) if self.chance(0.01) else fitting)

    def new(self, kind: str) -> str:
        """The name of a new stream."""
        name = f"s{len(self.streams)}"
        self.streams[name] = kind
        return name

    def side_packet(self, kind: str) -> str:
        """A side packet: given with the run, or made by a node; rarely missing or of a wrong type."""
        self.side_packet_count += 1
        name = f"p{self.side_packet_count}"
        if kind in ("int", "bool", "string") and self.chance(0.3):
            field = {"int": "int_value: 1", "bool": "bool_value: true", "string": 'string_value: "5"'}[kind]
            self.nodes.append(
                f'node {{ calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:{name}" node_options {{ '
                f"[type.googleapis.com/mediapipe.ConstantSidePacketCalculatorOptions] {{ packet {{ {field} }} }} }} }}"
            )
            self.output_side_packets.append(name)
        elif kind in ("int", "int64") and self.chance(0.3):
            text = self.side_packet("string")
            calculator = "StringToIntCalculator" if kind == "int" else "StringToInt64Calculator"
            self.nodes.append(
                f'node {{ calculator: "{calculator}" input_side_packet: "{text}" output_side_packet: "{name}" }}'
            )
            self.output_side_packets.append(name)
        elif not self.chance(0.04):
            value = {"int64": self.rng.choice([3, 0, 5])} if kind == "int64" else self.rng.choice(VALUES[kind])
            self.side_packets[name] = "a" if self.chance(0.04) else value
        return name

    def options(self, message: str, fields: str) -> str:
        return f"node_options {{ [type.googleapis.com/mediapipe.{message}] {{ {fields} }} }}" if fields else ""

    def some(self, *fields: str) -> str:
        """Some of the fields."""
        return " ".join(field for field in fields if self.chance(0.4))

    def node(
        self,
        calculator: str,
        inputs: list[str],
        outputs: list[str],
        rest: str = "",
        *,
        handler: bool = True,
        settings: bool = True,
    ) -> None:
        """Add a node, with random settings of its own."""
        chance = self.rng.random
        text = [f'calculator: "{calculator}"']
        text += [f'input_stream: "{each}"' for each in inputs] + [f'output_stream: "{each}"' for each in outputs]
        text.append(rest)
        if not settings:  # a subgraph has none
            self.nodes.append(f"node {{ {' '.join(text)} }}")
            return
        if inputs and handler and chance() < 0.25:
            text.append(self.handler())
        elif chance() < 0.05:
            text.append(f"max_in_flight: {self.rng.choice([1, 2, 3])}")
        if chance() < 0.03:
            text.append(f"buffer_size_hint: {self.rng.choice([1, 2, 200])}")
        if chance() < 0.05:
            text.append(f"source_layer: {self.rng.choice([0, 1, 2])}")
        if chance() < 0.03 and self.idle_each:
            text.append('executor: "x"')
        if chance() < 0.1:
            text.append(f'name: "{self.rng.choice(["n", "m", calculator])}"')
        self.nodes.append(f"node {{ {' '.join(text)} }}")

    def handler(self) -> str:
        """An input stream handler with options."""
        rng = self.rng
        kind = rng.choice(["Default", "Immediate", "Immediate", "FixedSize", "FixedSize"])
        fields = {"Default": f"batch_size: {rng.choice([1, 2, 3])}", "Immediate": ""}.get(kind)
        if fields is None:
            target = rng.choice([1, 1, 2])
            fields = (
                f"trigger_queue_size: {target + rng.choice([0, 1, 1, 2])} target_queue_size: {target} "
                + self.some("fixed_min_size: true")
            )
        options = f"options {{ [mediapipe.{kind}InputStreamHandlerOptions.ext] {{ {fields} }} }}" if fields else ""
        return f'input_stream_handler {{ input_stream_handler: "{kind}InputStreamHandler" {options} }}'

    # ---- kinds of nodes

    def pass_through(self) -> None:
        ins = [self.stream() for _ in range(self.rng.choice([1, 1, 2, 3]))]
        outs = [self.new(self.streams[each]) for each in ins]
        tags = (
            [self.rng.choice(["", f"T{index}:", f"Q:{index}:"]) for index in range(len(ins))]
            if self.chance(0.2)
            else None
        )
        if tags is None or any(tag.startswith("Q") for tag in tags):
            tags = [f"Q:{index}:" for index in range(len(ins))] if tags else [""] * len(ins)
        rest = ""
        if self.chance(0.1):
            kind = self.rng.choice(["int", "string"])
            made = f"made{len(self.nodes)}"
            rest = f'input_side_packet: "{self.side_packet(kind)}" output_side_packet: "{made}"'
            self.output_side_packets.append(made)
        pairs = list(zip(tags, ins, outs, strict=True))
        self.node("PassThroughCalculator", [t + i for t, i, _ in pairs], [t + o for t, _, o in pairs], rest)

    def gate(self) -> None:
        ins = [self.stream() for _ in range(self.rng.choice([1, 1, 2]))]
        gate = self.stream("bool")
        outs = [self.new(self.streams[each]) for each in ins]
        control, rest = self.rng.choice(["ALLOW:", "DISALLOW:"]), ""
        how = self.rng.choice(["stream", "stream", "side", "option"])
        if how == "side":
            rest = f'input_side_packet: "{control}{self.side_packet("bool")}" '
        fields = self.some("allow: true", "empty_packets_as_allow: true")
        if self.chance(0.3):
            fields += f" initial_gate_state: {self.rng.choice(['GATE_ALLOW', 'GATE_DISALLOW', 'UNSPECIFIED'])}"
        if how == "stream":
            ins.append(control + gate)
        if self.chance(0.4):
            outs.append("STATE_CHANGE:" + self.new("bool"))
        self.node("GateCalculator", ins, outs, rest + self.options("GateCalculatorOptions", fields))

    def merge(self) -> None:
        ins = [self.stream() for _ in range(self.rng.choice([1, 2, 3]))]
        self.node("MergeCalculator", ins, [self.new(self.streams[ins[0]])])

    def presence(self) -> None:
        self.node("PacketPresenceCalculator", ["PACKET:" + self.stream()], ["PRESENCE:" + self.new("bool")])

    def sequencer(self) -> None:
        count = self.rng.choice([1, 2])
        ins = [self.stream() for _ in range(count)]
        ticks = [f"TICK:{i}:{self.stream()}" for i in range(self.rng.choice([0, 1, 1, 2]))]
        outs = [f"OUTPUT:{i}:{self.new(self.streams[each])}" for i, each in enumerate(ins)]
        self.node(
            "PacketSequencerCalculator",
            [f"INPUT:{i}:{each}" for i, each in enumerate(ins)] + ticks,
            outs,
            handler=False,
        )

    def back_edge(self, port: str, tag_index: str) -> tuple[str, str]:
        """An input that a later node is to feed, by its hole in the text: filled in when the graph is complete."""
        hole = f"@{len(self.loose)}@"
        self.loose.append(hole)
        marked = not self.chance(0.02)
        return port + hole, f'input_stream_info {{ tag_index: "{tag_index}" back_edge: true }} ' if marked else ""

    def previous_loopback(self) -> None:
        loop, rest = self.back_edge("LOOP:", "LOOP")
        self.node(
            "PreviousLoopbackCalculator", ["MAIN:" + self.stream(), loop], ["PREV_LOOP:" + self.new("any")], rest,
            handler=self.chance(0.2),
        )  # fmt: skip

    def flow_limiter(self) -> None:
        ins = [self.stream() for _ in range(self.rng.choice([1, 1, 2]))]
        finished, rest = "FINISHED:" + self.stream(), ""
        if self.chance(0.6):
            finished, rest = self.back_edge("FINISHED:", "FINISHED")
        outs = [self.new(self.streams[each]) for each in ins]
        fields = self.some("max_in_flight: 2", "max_in_queue: 1", "max_in_queue: 2", "in_flight_timeout: 2")
        if fields.count("max_in_queue") > 1:
            fields = "max_in_queue: 2"
        if self.chance(0.15):
            rest += f'input_side_packet: "MAX_IN_FLIGHT:{self.side_packet("int")}" '
        if self.chance(0.4):
            outs.append("ALLOW:" + self.new("bool"))
        rest += self.options("FlowLimiterCalculatorOptions", fields)
        self.node("FlowLimiterCalculator", [*ins, finished], outs, rest, handler=self.chance(0.2))

    def side_packet_to_stream(self) -> None:
        tag = self.rng.choice(["AT_PRESTREAM", "AT_POSTSTREAM", "AT_ZERO", "AT_TICK", "AT_FIRST_TICK", "AT_TIMESTAMP"])
        kinds = [self.rng.choice(["int", "bool", "string"]) for _ in range(self.rng.choice([1, 1, 2]))]
        rest = "".join(f'input_side_packet: "{self.side_packet(kind)}" ' for kind in kinds)
        if tag == "AT_TIMESTAMP":
            rest += f'input_side_packet: "TIMESTAMP:{self.side_packet("int64")}"'
        ticks = ["TICK:" + self.stream()] if "TICK" in tag else []
        outs = [f"{tag}:{i}:{self.new(kind)}" for i, kind in enumerate(kinds)]
        self.node("SidePacketToStreamCalculator", ticks, outs, rest)

    def loop(self) -> None:
        kind = self.rng.choice(["int", "float", "string"])
        begin = {
            "int": "BeginLoopIntCalculator",
            "float": "BeginLoopFloatCalculator",
            "string": "BeginLoopStringCalculator",
        }
        vector, clone = self.stream(kind + "s"), self.stream()
        ins = ["ITERABLE:" + vector, *(["TICK:" + self.stream()] if self.chance(0.3) else [])]
        item, end = self.new(kind), self.new("time")
        outs = ["ITEM:" + item, "BATCH_END:" + end]
        if self.chance(0.4):
            ins.append("CLONE:" + clone)
            outs.append("CLONE:" + self.new(self.streams[clone]))
        self.node(begin[kind], ins, outs, handler=self.chance(0.2))
        if self.chance(0.5):
            if kind == "float":
                last, made, calculator = item, "floats", "EndLoopFloatCalculator"
            else:
                last, made, calculator = self.new("bool"), "bools", "EndLoopBooleanCalculator"
                self.node("PacketPresenceCalculator", ["PACKET:" + item], ["PRESENCE:" + last])
            self.node(calculator, ["ITEM:" + last, "BATCH_END:" + end], ["ITERABLE:" + self.new(made)])

    def concatenate(self) -> None:
        kind, name = self.rng.choice([("int", "Int32"), ("float", "Float"), ("bool", "Bool"), ("string", "String")])
        ins = [self.stream(self.rng.choice([kind, kind + "s"])) for _ in range(self.rng.choice([1, 2, 3]))]
        rest = self.options("ConcatenateVectorCalculatorOptions", self.some("only_emit_if_all_present: true"))
        self.node(f"Concatenate{name}VectorCalculator", ins, [self.new(kind + "s")], rest)

    def split(self) -> None:
        ranges = self.rng.choice(
            ["ranges { begin: 0 end: 1 }", "ranges { begin: 0 end: 1 } ranges { begin: 1 end: 3 }"]
        )
        count = ranges.count("begin")
        extra = self.rng.choice(["", "", "combine_outputs: true", "element_only: true"])
        kind = "float" if extra.startswith("element") else "floats"
        ins = [self.stream("floats")]
        outs = [self.new(kind) for _ in range(1 if extra.startswith("combine") else count)]
        rest = self.options("SplitVectorCalculatorOptions", f"{ranges} {extra}")
        self.node("SplitFloatVectorCalculator", ins, outs, rest)

    def indices(self) -> None:
        self.node("IntVectorIndicesCalculator", ["VECTOR:" + self.stream("ints")], ["INDICES:" + self.new("ints")])

    def switch(self) -> None:
        rng = self.rng
        stream = self.stream()
        ins, rest, fields = ["IN:" + stream], "", ""
        how = rng.choice(["SELECT", "ENABLE"])
        kind = "int" if how == "SELECT" else "bool"
        where = rng.choice(["stream", "stream", "side", "option"])
        if where == "stream":
            ins.append(f"{how}:{self.stream(kind)}")
        elif where == "side":
            rest = f'input_side_packet: "{how}:{self.side_packet(kind)}" '
        else:
            fields = "select: 1" if how == "SELECT" else f"enable: {rng.choice(['true', 'false'])}"
        fields += " " + self.some("async_selection: true", "synchronize_io: true")
        if self.chance(0.2):
            ins.append("TICK:" + self.stream())
            fields += ' tick_input_stream: "TICK"'
        inside = [
            'contained_node { calculator: "PassThroughCalculator" }',
            'contained_node { calculator: "PassThroughCalculator" }',
        ]
        rest += self.options("SwitchContainerOptions", " ".join(inside) + fields)
        outs = ["IN:" + self.new(self.streams[stream])]
        if len(ins) == 3 or ins[-1].startswith("TICK"):
            outs.append("TICK:" + self.new("any"))
        self.node("SwitchContainer", ins, outs, rest, settings=False)


KINDS = {
    RandomGraph.pass_through: 5,
    RandomGraph.gate: 4,
    RandomGraph.merge: 2,
    RandomGraph.presence: 2,
    RandomGraph.sequencer: 1,
    RandomGraph.previous_loopback: 2,
    RandomGraph.flow_limiter: 2,
    RandomGraph.side_packet_to_stream: 2,
    RandomGraph.loop: 1,
    RandomGraph.concatenate: 1,
    RandomGraph.split: 1,
    RandomGraph.indices: 1,
    RandomGraph.switch: 1,
}


def random_program(seed: int) -> dict[str, Any]:
    """The program of a seed."""
    rng = random.Random(seed)
    graph = RandomGraph(rng)
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        graph.input(rng.choice(["int", "int", "bool", "string", "floats", "ints"]))
    for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 5])):
        rng.choices(list(KINDS), list(KINDS.values()))[0](graph)
    streams = list(graph.streams)
    nodes = "\n".join(rng.sample(graph.nodes, len(graph.nodes)) if rng.random() < 0.1 else graph.nodes)
    for hole in graph.loose:
        nodes = nodes.replace(hole, rng.choice(streams))
    settings = [f'input_stream: "{name}"' for name in graph.inputs]
    if 'executor: "x"' in nodes:
        settings.append(
            'executor { name: "x" type: "ThreadPoolExecutor" options { [mediapipe.ThreadPoolExecutorOptions.ext] '
            "{ num_threads: 2 } } }"
        )
    for text, probability in (
        (graph.handler(), 0.06),
        (f"max_queue_size: {rng.choice([1, 2, -1])}", 0.15),
        ("report_deadlock: true", 0.05),
    ):
        if rng.random() < probability:
            settings.append(text)
    runs = rng.choice([1, 1, 1, 2, 3])
    observe = [[name, rng.random() < 0.4] for name in rng.choices(streams, k=rng.randint(1, 6))]
    return {
        "seed": seed,
        "pbtxt": "\n".join([*settings, nodes]),
        "observe": observe,
        "add_mode": "ADD_IF_NOT_FULL" if rng.random() < 0.1 else None,
        "idle_each": graph.idle_each,
        "output_side_packets": graph.output_side_packets,
        "runs": [{"side_packets": graph.side_packets, "rows": _rows(rng, graph.inputs)} for _ in range(runs)],
    }


def _rows(rng: random.Random, inputs: dict[str, str]) -> list[list[Any]]:
    clocks = dict.fromkeys(inputs, rng.choice([0, 0, 0, 5]))
    rows: list[list[Any]] = []
    for _ in range(rng.choice([0, 3, 6, 10, 15]) if inputs else 0):
        name = rng.choice(list(inputs))
        draw = rng.random()
        if draw < 0.04:
            rows.append(["close", name])
        elif draw < 0.05:
            rows.append(rng.choice([["has error"], ["message"]]))
        else:
            time: Any = clocks[name]
            if draw < 0.08:
                time = rng.choice([*SPECIAL_TIMES, time - 1, time - 2])
            else:
                clocks[name] = time + rng.choice([1, 1, 1, 2, 3])
            kind = inputs[name] if rng.random() < 0.99 else rng.choice(list(VALUES))
            rows.append(["add", name, time, None if rng.random() < 0.2 else rng.choice(VALUES[kind])])
    for row in (["close all"], ["done"], ["wait for output"]):
        if rng.random() < 0.06:
            rows.insert(rng.randint(len(rows) // 2, len(rows)), row)
    return rows
