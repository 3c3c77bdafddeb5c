"""option_value: every form of an entry, what it makes of the node's options, and every way in which it can be wrong."""

from __future__ import annotations

import pytest

from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import parse_graph_config, to_text
from graph_runtime.errors import StatusCode
from graph_runtime.option_value import Finding, apply_option_values


def any_of(message: str, body: str) -> str:
    return f"[type.googleapis.com/mediapipe.{message}CalculatorOptions] {{ {body} }}"


def in_graph(message: str, body: str) -> str:
    return f"graph_options {{ {any_of(message, body)} }} "


def in_node(message: str, body: str) -> str:
    return f"node_options {{ {any_of(message, body)} }} "


def extension(message: str, body: str) -> str:
    return f"options {{ [mediapipe.{message}CalculatorOptions.ext] {{ {body} }} }} "


def evaluate(graph: str, node: str, *entries: str, outer: str = "") -> tuple[CalculatorGraphConfig.Node, list[Finding]]:
    values = " ".join(f'option_value: "{entry}"' for entry in entries)
    config = parse_graph_config(f'{graph} node {{ calculator: "X" {node} {values} }}')
    (around,) = parse_graph_config(f"node {{ {outer} }}").node
    findings = apply_option_values(config, around)
    return config.node[0], findings


def options_text(node: CalculatorGraphConfig.Node) -> str:
    node.ClearField("calculator")
    text = " ".join(to_text(node).split())
    return text.replace("type.googleapis.com/mediapipe.", "").replace("CalculatorOptions]", "]").replace(" { }", " {}")


def check(graph: str, node: str, entries: list[str], expected: str, *, outer: str = "") -> None:
    result, findings = evaluate(graph, node, *entries, outer=outer)
    assert (findings, options_text(result)) == ([], expected)


GATE = in_graph("Gate", "allow: true")
ALLOWED = "node_options { [Gate] { allow: true } }"


@pytest.mark.parametrize(
    "entry",
    [
        "allow:options/allow",
        "OPTIONS:options",
        "options:OPTIONS",
        "options/allow:options/allow",
        "OPTIONS/allow:OPTIONS/allow",
        "allow:allow",
        "/allow:/allow",
        "allow/:options/allow/",
        "allow:allow/0",
        ":options",
        "Ext::mediapipe.GateCalculatorOptions/allow:ext::mediapipe.GateCalculatorOptions/allow",
        "OPTIONS:options/Ext::mediapipe.GateCalculatorOptions",
    ],
)
def test_all_spellings_of_a_path_copy_the_field(entry: str) -> None:
    check(GATE, in_node("Gate", ""), [entry], ALLOWED)


@pytest.mark.parametrize(
    ("graph", "node", "entry", "expected"),
    [
        # A literal of the node gives way, other fields stay.
        (
            GATE,
            in_node("Gate", "allow: false initial_gate_state: GATE_ALLOW"),
            "allow:allow",
            "node_options { [Gate] { allow: true initial_gate_state: GATE_ALLOW } }",
        ),
        # The result goes to node_options, whichever form the node used; the extension counts where there are both.
        (GATE, extension("Gate", ""), "allow:allow", ALLOWED),
        (
            GATE,
            extension("Gate", "initial_gate_state: GATE_ALLOW") + in_node("Gate", "empty_packets_as_allow: true"),
            "allow:allow",
            "node_options { [Gate] { allow: true initial_gate_state: GATE_ALLOW } }",
        ),
        (
            GATE,
            'options { [mediapipe.GateCalculatorOptions.ext] {} [mediapipe.FlowLimiterCalculatorOptions.ext] {} }',
            "allow:allow",
            "options { [mediapipe.FlowLimiterCalculatorOptions.ext] {} } " + ALLOWED,
        ),
        # Of several messages the one that has the field, or the one that is named.
        (in_graph("FlowLimiter", "") + GATE, in_node("FlowLimiter", "") + in_node("Gate", ""), "allow:allow",
         "node_options { [FlowLimiter] {} } " + ALLOWED),
        (in_graph("FlowLimiter", "max_in_flight: 2") + GATE, in_node("Gate", "") + in_node("FlowLimiter", ""),
         "Ext::mediapipe.FlowLimiterCalculatorOptions:Ext::mediapipe.FlowLimiterCalculatorOptions",
         "node_options { [Gate] {} } node_options { [FlowLimiter] { max_in_flight: 2 } }"),
        # The options of the graph may be an extension too.
        ("options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 3 } }", in_node("FlowLimiter", ""),
         "max_in_flight:num_threads", "node_options { [FlowLimiter] { max_in_flight: 3 } }"),
        # An extension inside the options.
        (GATE,
         "node_options { [type.googleapis.com/mediapipe.SwitchContainerOptions] { contained_node { "
         + extension("Gate", "") + "} } }",
         "contained_node/0/options/Ext::mediapipe.GateCalculatorOptions/allow:allow",
         "node_options { [SwitchContainerOptions] { contained_node { "
         "options { [mediapipe.GateCalculatorOptions.ext] { allow: true } } } } }"),
        (in_graph("Gate", "") , in_node("Gate", ""), "OPTIONS:options", "node_options { [Gate] {} }"),
    ],
)  # fmt: skip
def test_which_options_are_read_and_written(graph: str, node: str, entry: str, expected: str) -> None:
    check(graph, node, [entry], expected)


CONSTANTS = "packet { int_value: 7 } packet { float_value: 2.5 }"
OWN = 'packet { int_value: 1 } packet { string_value: "x" }'


@pytest.mark.parametrize(
    ("graph", "node", "entry", "expected"),
    [
        (CONSTANTS, "", "packet:packet", CONSTANTS),
        (CONSTANTS, "packet { bool_value: true }", "packet:packet", CONSTANTS),
        (CONSTANTS, f"{OWN} packet {{ bool_value: true }}", "packet:packet", CONSTANTS),
        (CONSTANTS, OWN, "packet/0:packet/1", 'packet { float_value: 2.5 } packet { string_value: "x" }'),
        (CONSTANTS, OWN, "packet/1:packet/0", "packet { int_value: 1 } packet { int_value: 7 }"),
        (CONSTANTS, OWN, "packet/0:packet", CONSTANTS + ' packet { string_value: "x" }'),
        (CONSTANTS, OWN, "packet/0/int_value:packet/int_value", 'packet { int_value: 7 } packet { string_value: "x" }'),
        (CONSTANTS, OWN, "packet/-1:packet/+1", "packet { float_value: 2.5 }"),
        (CONSTANTS, OWN, "OPTIONS:options", f"{OWN} {CONSTANTS}"),
        # Messages are merged, each with the one that was there.
        ("packet { string_vector_value { string_value: 'a' } }", "packet { string_vector_value { string_value: 'b' } }",
         "packet:packet", 'packet { string_vector_value { string_value: "b" string_value: "a" } }'),
        ("packet { string_vector_value { string_value: ['a', 'b'] } }",
         "packet { string_vector_value { string_value: ['c', 'd', 'e'] } }",
         "packet/string_vector_value/string_value/1:packet/string_vector_value/string_value",
         'packet { string_vector_value { string_value: "c" string_value: "a" string_value: "b" string_value: "e" } }'),
        ("packet { time_series_header_value { sample_rate: 2 } }", "packet { }",
         "packet/0/time_series_header_value:packet/0/time_series_header_value",
         "packet { time_series_header_value { sample_rate: 2.0 } }"),
    ],
)  # fmt: skip
def test_repeated_fields_and_messages(graph: str, node: str, entry: str, expected: str) -> None:
    kind = "ConstantSidePacket"
    check(in_graph(kind, graph), in_node(kind, node), [entry], f"node_options {{ [{kind}] {{ {expected} }} }}")


def test_of_several_values_the_last_fills_a_single_field() -> None:
    graph = "graph_options { [type.googleapis.com/mediapipe.SplitVectorCalculatorOptions] { %s } }"
    check(
        graph % "ranges { begin: 1 } ranges { begin: 2 end: 5 }",
        in_node("SplitVector", "ranges { begin: 8 end: 9 }"),
        ["ranges/0/begin:ranges/1/begin"],
        "node_options { [SplitVector] { ranges { begin: 2 end: 9 } } }",
    )


def test_entries_are_evaluated_one_after_the_other() -> None:
    check(
        in_graph("FlowLimiter", "max_in_flight: 2 max_in_queue: 3"),
        in_node("FlowLimiter", "max_in_queue: 9"),
        ["max_in_flight:max_in_flight", "max_in_queue:max_in_flight", "max_in_queue:max_in_queue"],
        "node_options { [FlowLimiter] { max_in_flight: 2 max_in_queue: 3 } }",
    )


@pytest.mark.parametrize("form", [in_node, extension])
def test_the_node_around_the_graph_comes_before_its_own_options(form: object) -> None:
    assert callable(form)
    check(
        in_graph("FlowLimiter", "max_in_flight: 2 max_in_queue: 3"),
        in_node("FlowLimiter", ""),
        ["OPTIONS:options"],
        "node_options { [FlowLimiter] { max_in_flight: 5 max_in_queue: 3 } }",
        outer=form("FlowLimiter", "max_in_flight: 5"),
    )


def test_the_node_around_the_graph_is_enough() -> None:
    check("", in_node("Gate", ""), ["allow:allow"], ALLOWED, outer=in_node("Gate", "allow: true"))


# ---- what is wrong


@pytest.mark.parametrize(
    ("graph", "node", "entry", "code", "text"),
    [
        (GATE, "", "allow:options/allow", StatusCode.NOT_FOUND,
         "Option extension not found: *; the node needs an options message of the type"),
        ("", "", "OPTIONS:options", StatusCode.NOT_FOUND, "Option extension not found: *"),
        (GATE, in_node("Gate", ""), "Ext::mediapipe.FlowLimiterCalculatorOptions/max_in_flight:allow", StatusCode.NOT_FOUND,
         "Option extension not found: mediapipe.FlowLimiterCalculatorOptions"),
        (GATE, in_node("Gate", ""), "Ext::mediapipe.GateCalculatorOptions/Ext::mediapipe.Nope:allow", StatusCode.NOT_FOUND,
         "Option extension not found: mediapipe.Nope"),
        (GATE, in_node("Gate", ""), "alow:options/allow", StatusCode.INTERNAL,
         'mediapipe.GateCalculatorOptions has no field named "alow"; did you mean "allow"?'),
        (GATE, in_node("Gate", ""), "allow:options/zzz", StatusCode.INTERNAL,
         'has no field named "zzz"; its fields are: allow, empty_packets_as_allow, initial_gate_state'),
        (GATE, in_node("Gate", ""), "allow", StatusCode.INVALID_ARGUMENT, 'it has to be "node path:graph path"'),
        (GATE, in_node("Gate", ""), "allow::allow", StatusCode.INVALID_ARGUMENT, 'it has to be "node path:graph path"'),
        (GATE, in_node("Gate", ""), "", StatusCode.INVALID_ARGUMENT, 'it has to be "node path:graph path"'),
        (GATE, in_node("Gate", ""), "0:allow", StatusCode.INVALID_ARGUMENT, '"0" in "0" follows no field'),
        (GATE, in_node("Gate", ""), "allow:options/allow/1", StatusCode.OUT_OF_RANGE,
         "Missing field value: allow at index: 1; mediapipe.GateCalculatorOptions has 1 value there"),
        (GATE, in_node("Gate", ""), "allow/0:options/allow", StatusCode.OUT_OF_RANGE, "Missing field value: allow at index: 0"),
        (GATE, in_node("Gate", ""), "OPTIONS:options/allow", StatusCode.INVALID_ARGUMENT,
         'Cannot merge field data with data types: 10, 7; the message mediapipe.GateCalculatorOptions cannot take "allow" (bool)'),
        (GATE, in_node("Gate", ""), "initial_gate_state:options/allow", StatusCode.INVALID_ARGUMENT,
         'data types: 8, 7; "initial_gate_state" (mediapipe.GateCalculatorOptions.GateState) cannot take "allow" (bool)'),
        (GATE, in_node("FlowLimiter", ""), "max_in_flight:options/allow", StatusCode.INVALID_ARGUMENT,
         'Cannot merge field data with data types: 1, 7; "max_in_flight" (int32) cannot take "allow" (bool)'),
        (GATE, in_node("FlowLimiter", ""), "OPTIONS:options", StatusCode.INVALID_ARGUMENT,
         "Cannot merge field data with message types: type.googleapis.com/mediapipe.FlowLimiterCalculatorOptions, "
         "type.googleapis.com/mediapipe.GateCalculatorOptions"),
        (in_graph("ConstantSidePacket", CONSTANTS), in_node("ConstantSidePacket", ""), "packet/0/int_value:packet/int_value",
         StatusCode.OUT_OF_RANGE,
         "Missing field value: packet at index: 0; mediapipe.ConstantSidePacketCalculatorOptions has no values there"),
        (in_graph("ConstantSidePacket", ""), in_node("Gate", ""), "OPTIONS:packet", StatusCode.INVALID_ARGUMENT,
         "Cannot merge field data with message types"),
    ],
)  # fmt: skip
def test_bad_entries(graph: str, node: str, entry: str, code: StatusCode, text: str) -> None:
    _, (finding,) = evaluate(graph, node, entry)
    assert (finding.node, finding.entry, finding.code) == (0, 0, code)
    assert finding.message.startswith(f'option_value "{entry}": ')
    assert text in finding.message


def test_options_of_another_type_around_the_graph() -> None:
    _, (finding,) = evaluate(GATE, in_node("Gate", ""), "allow:allow", outer=in_node("FlowLimiter", ""))
    assert finding.code == StatusCode.INVALID_ARGUMENT
    assert "Cannot merge field data with message types: " in finding.message


def test_an_enum_takes_the_numbers_of_another_one_as_far_as_it_has_them() -> None:
    result, findings = evaluate(
        in_graph("PacketThinner", "thinner_type: SYNC"), in_node("PacketResampler", ""), "output_header:thinner_type"
    )
    assert findings == []
    assert options_text(result) == "node_options { [PacketResampler] { output_header: UPDATE_VIDEO_HEADER } }"
    _, (finding,) = evaluate(
        in_graph("Gate", "initial_gate_state: GATE_DISALLOW"),
        in_node("PacketThinner", ""),
        "thinner_type:initial_gate_state",
    )
    assert finding.code == StatusCode.INVALID_ARGUMENT
    assert '"thinner_type": ' in finding.message


def test_each_bad_entry_is_told() -> None:
    _, findings = evaluate(GATE, in_node("Gate", ""), "x:allow", "allow:allow", "y:allow")
    assert [finding.entry for finding in findings] == [0, 2]


@pytest.mark.parametrize(
    ("graph", "node", "entry", "warning", "expected"),
    [
        ("", in_node("Gate", "allow: true"), "allow:allow", "it has no effect", ALLOWED),
        (GATE, in_node("Gate", ""), "allow:allow:nope", 'all after the second ":" is ignored', ALLOWED),
        (GATE, in_node("Gate", ""), "allow/deep/er:allow", '"deep/er" is ignored, for it follows a field that is', ALLOWED),
        (in_graph("Gate", ""), in_node("Gate", "allow: true"), "allow:allow", "it clears the field of the node",
         "node_options { [Gate] {} }"),
    ],
)  # fmt: skip
def test_doubtful_entries_are_run_with_a_warning(
    graph: str, node: str, entry: str, warning: str, expected: str
) -> None:
    result, (finding,) = evaluate(graph, node, entry)
    assert finding.code is None
    assert warning in finding.message
    assert options_text(result) == expected
