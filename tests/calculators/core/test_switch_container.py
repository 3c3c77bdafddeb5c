"""SwitchContainer with its demux and mux: what it expands to, and which of its nodes gets what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from calculators.core.switch_container import SwitchContainer
from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    Plan,
    StatusCode,
    register_calculator,
)
from graph_runtime.subgraph import register_subgraph

register_subgraph(SwitchContainer)

Check = Callable[..., None]
Fails = Callable[..., Any]

PASS = 'contained_node { calculator: "PassThroughCalculator" }'
SHUT = 'contained_node { calculator: "GateCalculator" }'
PORTS = 'input_stream: "in" output_stream: "out"'
TWO_PORTS = 'input_stream: "A:in" input_stream: "B:more" output_stream: "A:out" output_stream: "B:out2"'


def switch(ports: str, options: str = "", nodes: str = SHUT + PASS, top: str = "in sel") -> str:
    inputs = "".join(f'input_stream: "{name}" ' for name in top.split())
    options = f"options {{ [mediapipe.SwitchContainerOptions.ext] {{ {options} {nodes} }} }}"
    return f'{inputs} node {{ name: "sw" calculator: "SwitchContainer" {ports} {options} }}'


def expanded(text: str) -> list[str]:
    """``name(inputs; input side packets) -> outputs; output side packets`` of each node."""
    lines = []
    for node in Plan(text).config.node:
        ports = [*node.input_stream], [*node.input_side_packet], [*node.output_stream], [*node.output_side_packet]
        inputs, side_inputs, outputs, side_outputs = (" ".join(entries) for entries in ports)
        sources, results = (
            "; ".join(filter(None, (inputs, side_inputs))),
            "; ".join(filter(None, (outputs, side_outputs))),
        )
        lines.append(f"{node.name}({sources}) -> {results}")
    return lines


# ---- what it becomes


@pytest.mark.parametrize(
    ("graph", "nodes"),
    [
        pytest.param(
            switch(f'{PORTS} input_stream: "SELECT:sel"', nodes=PASS + PASS),
            [
                "sw__PacketSequencerCalculator(INPUT:sel TICK:in) -> OUTPUT:sw__gate_select_timed",
                "sw__SwitchDemuxCalculator(SELECT:sw__gate_select_timed in) -> C0__:sw__c0__in C1__:sw__c1__in",
                "sw__PassThroughCalculator_1(sw__c0__in) -> sw__c0__out",
                "sw__PassThroughCalculator_2(sw__c1__in) -> sw__c1__out",
                "sw__SwitchMuxCalculator(SELECT:sw__gate_select_timed C0__:sw__c0__out C1__:sw__c1__out) -> out",
            ],
            id="a stream selects",
        ),
        pytest.param(
            switch('input_stream: "A:in" input_stream: "A:1:in" input_stream: "more" output_stream: "A:x" output_stream: "A:1:y" '
                   'output_stream: "z"', "select: 0", PASS, "in more"),
            [
                "sw__SwitchDemuxCalculator(more A:in A:1:in) -> C0__:sw__c0__more C0__A:sw__c0__in C0__A:1:sw__c0__in_2",
                "sw__PassThroughCalculator(sw__c0__more A:sw__c0__in A:1:sw__c0__in_2) -> sw__c0__z A:sw__c0__x A:1:sw__c0__y",
                "sw__SwitchMuxCalculator(C0__:sw__c0__z C0__A:sw__c0__x C0__A:1:sw__c0__y) -> z A:x A:1:y",
            ],
            id="tags and indexes; a stream that comes twice",
        ),
        pytest.param(
            'input_side_packet: "p" input_side_packet: "e"'
            + switch('input_side_packet: "ENABLE:e" input_side_packet: "P:p" output_side_packet: "P:q"', nodes=PASS + PASS, top=""),
            [
                "sw__SwitchDemuxCalculator(ENABLE:e P:p) -> C0__P:sw__c0__p C1__P:sw__c1__p",
                "sw__PassThroughCalculator_1(P:sw__c0__p) -> P:sw__c0__q",
                "sw__PassThroughCalculator_2(P:sw__c1__p) -> P:sw__c1__q",
                "sw__SwitchMuxCalculator(ENABLE:e C0__P:sw__c0__q C1__P:sw__c1__q) -> P:q",
            ],
            id="side packets",
        ),
        pytest.param(
            switch(f'{TWO_PORTS} input_stream: "ENABLE:sel"', 'tick_input_stream: "B" tick_input_stream: "Z"', "", "in more sel")
            .replace(TWO_PORTS, ""),
            [
                "sw__PacketSequencerCalculator(INPUT:sel) -> OUTPUT:sw__gate_enable_timed",
                "sw__SwitchDemuxCalculator(ENABLE:sw__gate_enable_timed) -> ",
                "sw__SwitchMuxCalculator(ENABLE:sw__gate_enable_timed) -> ",
            ],
            id="nothing to switch",
        ),
    ],
)  # fmt: skip
def test_expansion(graph: str, nodes: list[str]) -> None:
    assert expanded(graph) == nodes


def test_options_and_handlers_of_the_parts() -> None:
    outer = "node_options { [type.googleapis.com/mediapipe.GateCalculatorOptions] { allow: true } }"
    text = switch(
        f'{TWO_PORTS} input_stream: "SELECT:sel"', 'tick_input_stream: "B" synchronize_io: true', PASS, "in more sel"
    )
    sequencer, demux, _, mux = Plan(f"{text[:-1]} {outer} }}").config.node
    assert [*sequencer.input_stream] == ["INPUT:sel", "TICK:more"]
    assert sequencer.input_stream_handler.input_stream_handler == "DefaultInputStreamHandler"
    for end in (demux, mux):
        assert "contained_node" not in str(end.options)
        assert "synchronize_io: true" in str(end.options)
        assert [each.type_url for each in end.node_options] == ["type.googleapis.com/mediapipe.GateCalculatorOptions"]
    sequencer, *_ = Plan(switch(f'{PORTS} input_stream: "SELECT:sel"', "async_selection: true", PASS)).config.node
    assert not sequencer.HasField("input_stream_handler")


def test_options_may_be_in_an_any() -> None:
    text = f"""input_stream: "in" node {{ name: "sw" calculator: "SwitchContainer" {PORTS}
    node_options {{ [type.googleapis.com/mediapipe.SwitchContainerOptions] {{ select: 0 {PASS} }} }} }}"""
    demux, inner, _ = Plan(text).config.node
    assert inner.name == "sw__PassThroughCalculator"
    assert demux.node_options[0].ByteSize() < 60  # the contained node is gone


# ---- what it does


SELECT = f'{PORTS} input_stream: "SELECT:sel"'
ENABLE = f'{PORTS} input_stream: "ENABLE:sel"'
ALL = f'{TWO_PORTS} input_stream: "SELECT:sel"'
WHILE_SHUT = [("in", 0, 1), ("in", 3, 2), ("in", 6, 3)]


@pytest.mark.parametrize(
    ("graph", "rows", "expected"),
    [
        pytest.param(
            switch(ENABLE),
            [("sel", 0, True), ("in", 0, 1), ("in", 1, 2), ("sel", 2, False), ("in", 2, 3), ("sel", 4, True), ("in", 4, 5)],
            {"out": [(0, 1), (1, 2), (4, 5)]},
            id="ENABLE: true is node 1",
        ),
        pytest.param(
            switch(SELECT),
            [("sel", 0, 1), ("in", 0, 1), ("sel", 2, 0), ("in", 2, 3), ("sel", 3, 1), ("in", 3, 4)],
            {"out": [(0, 1), (3, 4)]},
            id="SELECT counts the nodes",
        ),
        pytest.param(
            switch(SELECT, "select: 1"), [("in", 0, 1), ("in", 3, 2), ("sel", 5, 0), ("in", 6, 3)], {"out": [(0, 1), (3, 2)]},
            id="the option holds before the first packet",
        ),
        pytest.param(switch(SELECT), WHILE_SHUT, {"out": []}, id="node 0 is the default"),
        pytest.param(
            switch(SELECT, "select: 1"),
            [("in", 0, 1), ("sel", 1, 7), ("in", 1, 2), ("sel", 2, 1), ("in", 2, 3)],
            {"out": [(0, 1), (2, 3)]},
            id="a node that is not there takes all and gives nothing",
        ),
        pytest.param(
            switch(SELECT, "select: 1"),
            [("in", 10, 1), ("sel", 0, 0), ("in", 20, 2), ("sel", 1, 1), ("in", 30, 3)],
            {"out": [(10, 1), (20, 2), (30, 3)]},
            id="selections have their timestamps",
        ),
        pytest.param(
            switch(SELECT, "select: 1 async_selection: true"),
            [("in", 10, 1), ("sel", 0, 0), ("in", 20, 2), ("sel", 1, 1), ("in", 30, 3)],
            {"out": [(10, 1), (30, 3)]},
            id="or count from when they come",
        ),
        pytest.param(
            switch(ALL, "select: 1", PASS + PASS, "in more sel"),
            [("in", 0, 1), ("more", 0, 2), ("sel", 1, 0), ("in", 1, 3), ("more", 2, 4), ("in", 2, 5), ("sel", 5, 1), ("in", 5, 6),
             ("more", 6, 7)],
            {"out": [(0, 1), (1, 3), (2, 5), (5, 6)], "out2": [(0, 2), (2, 4), (6, 7)]},
            id="two inputs, each in its order",
        ),
        pytest.param(switch(PORTS, "select: 1", top="in"), WHILE_SHUT, {"out": [row[1:] for row in WHILE_SHUT]}, id="select"),
        pytest.param(switch(PORTS, "enable: false", top="in"), WHILE_SHUT, {"out": []}, id="enable"),
        pytest.param(switch(PORTS, "select: 2", top="in"), WHILE_SHUT, {"out": []}, id="select a node that is not there"),
        pytest.param(
            switch(PORTS, "select: 1", SHUT + 'contained_node { calculator: "SwitchContainer" options { '
                   f'[mediapipe.SwitchContainerOptions.ext] {{ enable: true {SHUT} {PASS} }} }} }}', "in"),
            WHILE_SHUT, {"out": [row[1:] for row in WHILE_SHUT]}, id="a container in a container",
        ),
    ],
)  # fmt: skip
def test_packets(check: Check, graph: str, rows: list[tuple[Any, ...]], expected: dict[str, Any]) -> None:
    check(graph, rows, expected)
    check(graph + "num_threads: 1", rows, expected)
    check(graph + 'executor { type: "ApplicationThreadExecutor" }', rows, expected)


@pytest.mark.parametrize(
    ("options", "rows", "expected"),
    [
        pytest.param("select: 1", [("in", 0, 1), ("in", 3, 2)], {"out": []}, id="no selection"),
        pytest.param(
            "select: 1", [("in", 0, 1), ("in", 3, 2), ("sel", 3, None)], {"out": [(0, 1), (3, 2)]}, id="a bound of it"
        ),
        pytest.param(
            "", [("sel", 0, 1), ("in", 0, 1), ("in", 1, 2), ("sel", 1, 1)], {"out": [(0, 1), (1, 2)]}, id="a packet"
        ),
    ],
)
def test_packets_wait_for_the_selection(check: Check, options: str, rows: Any, expected: Any) -> None:
    check(switch(SELECT, options), rows, expected, until_idle=True)


def test_synchronized_inputs_are_switched_together(check: Check) -> None:
    rows = [("in", 0, 1), ("sel", 1, 0), ("in", 1, 3), ("in", 2, 5), ("sel", 5, 1), ("in", 5, 6), ("more", 6, 7)]
    graph = switch(ALL, "select: 1 synchronize_io: true", PASS + PASS, "in more sel")
    check(graph, rows, {"out": [(0, 1)], "out2": []}, until_idle=True)
    check(graph, rows, {"out": [(0, 1), (1, 3), (2, 5), (5, 6)], "out2": [(6, 7)]})


@pytest.mark.parametrize(
    ("tag", "value", "passes"), [("ENABLE", True, True), ("ENABLE", False, False), ("SELECT", 1, True)]
)
def test_side_packets_select_too(check: Check, tag: str, value: object, passes: bool) -> None:
    graph = 'input_side_packet: "p"' + switch(f'{PORTS} input_side_packet: "{tag}:p"', "select: 0", top="in")
    check(graph, WHILE_SHUT, {"out": [row[1:] for row in WHILE_SHUT] if passes else []}, {"p": value})


@register_calculator
class TripleSidePacket(Calculator):
    """Makes its output side packet from its input side packet, times three."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.input_side_packets[0].set(int)
        cc.output_side_packets[0].set(int)

    def open(self, cc: CalculatorContext) -> None:
        cc.output_side_packets[0].set(cc.input_side_packets[0].value * 3)


def test_side_packets_pass_the_selected_node(run: Callable[..., tuple[Any, CalculatorGraph]]) -> None:
    graph = 'input_side_packet: "p" input_side_packet: "select"' + switch(
        'input_side_packet: "p" input_side_packet: "SELECT:select" output_side_packet: "q"',
        nodes=PASS + 'contained_node { calculator: "TripleSidePacket" }',
        top="",
    )
    for select, result in ((0, 5), (1, 15)):
        _, done = run(graph, side_packets={"p": 5, "select": select})
        assert done.get_output_side_packet("q").value == result


def test_headers_reach_all_nodes(check: Check) -> None:
    graph = """input_stream: "in" input_side_packet: "h"
    node { calculator: "SendHeader" input_stream: "in" output_stream: "with" input_side_packet: "h" }
    node { calculator: "SwitchContainer" input_stream: "with" output_stream: "out" options {
      [mediapipe.SwitchContainerOptions.ext] { select: 1 contained_node { calculator: "HeaderToPacket" }
        contained_node { calculator: "HeaderToPacket" } } } }
    """
    check(graph, [], {"out": [(-(2**63) + 2, "header")]}, {"h": "header"})


def test_bounds_pass_the_active_node_only(check: Check) -> None:
    rows = [
        ("in", 0, 1),
        ("sel", 2, 0),
        ("in", 2, 2),
        ("in", 4, 3),
        ("sel", 4, 0),
        ("in", 5, None),
        ("sel", 6, 1),
        ("in", 6, 4),
    ]
    expected = [(0, 1), (2, None), (4, None), (5, None), (6, 4)]
    check(switch(SELECT, "select: 1"), rows, {"out": expected}, bounds=True, until_idle=True)


# ---- what it refuses


CONTAINER = '"SwitchContainer"'


@pytest.mark.parametrize(
    ("graph", "place", "text"),
    [
        (switch(PORTS, "select: 1 enable: true"), CONTAINER,
         "Only one of SwitchContainer options 'enable' and 'select' can be specified"),
        (switch(f'{ENABLE} input_stream: "SELECT:sel"'), CONTAINER,
         "Only one of SwitchContainer inputs 'ENABLE' and 'SELECT' can be specified"),
        (switch(f'{PORTS} input_side_packet: "SELECT:s" input_side_packet: "ENABLE:e"'), CONTAINER,
         "Only one of SwitchContainer inputs 'ENABLE' and 'SELECT' can be specified"),
        (switch('input_stream: "A:in" output_stream: "B:out"'), "node {",
         "Input and output streams to PassThroughCalculator must use matching tags and indexes."),
        (switch(PORTS, nodes=""), "node {", 'Tag "" index 0 was not expected.'),
        (switch(SELECT, 'tick_input_stream: "a"'), CONTAINER, 'TAG:index is invalid, "a" does not match'),
    ],
)  # fmt: skip
def test_bad_containers(fails: Fails, graph: str, place: str, text: str) -> None:
    error = fails(graph)
    assert text in str(error)
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert error.problems[0].place == f"<string>:1:{graph.index(place) + 1}"


@pytest.mark.parametrize(
    "node",
    [
        'calculator: "SwitchDemuxCalculator" input_stream: "X:in" input_stream: "X:1:more"'
        ' output_stream: "C0__X:other" output_stream: "C1__X:out"',
        'calculator: "SwitchMuxCalculator" input_stream: "C0__X:more" input_stream: "C1__X:in"'
        ' output_stream: "X:out" output_stream: "X:1:other"',
    ],
)
def test_a_port_beyond_those_of_the_channels_gets_nothing(node: str, check: Check) -> None:
    graph = f'input_stream: "in" input_stream: "more" input_stream: "sel" node {{ {node} input_stream: "SELECT:sel" }}'
    check(graph, [("sel", 0, 1), ("in", 0, 5), ("more", 0, 6), ("in", 1, 7)], {"out": [(0, 5), (1, 7)], "other": []})


def test_an_unknown_node_inside_is_told_at_the_container(fails: Fails) -> None:
    graph = switch(PORTS, nodes=PASS + PASS.replace("Pass", "Past"))
    (problem,) = fails(graph).problems
    assert (problem.place, problem.node) == (f"<string>:1:{graph.index('node {') + 1}", "sw__PastThroughCalculator")
    assert 'did you mean "PassThroughCalculator"?' in problem.message
    assert problem.hint == 'in subgraph "SwitchContainer" of node "sw"'


def test_side_packets_of_a_node_that_is_not_there(fails: Fails) -> None:
    graph = 'input_side_packet: "p"' + switch(
        'input_side_packet: "p" output_side_packet: "q"', "select: 4", PASS + PASS, ""
    )
    assert "there is no such channel" in str(fails(graph, side_packets={"p": 1}))
