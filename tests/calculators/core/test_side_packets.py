"""Calculators between side packets and streams, side packets from options and strings, and the counting source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from graph_runtime import CalculatorGraph, GraphError, Packet, StatusCode
from graph_runtime import packet_creator as create
from graph_runtime.timestamp import MAX, POST_STREAM, PRE_STREAM

Check = Callable[..., None]
Fails = Callable[..., Any]
Run = Callable[..., Any]


def to_stream(ports: str, inputs: str = "", side_packets: str = "s") -> str:
    streams = "".join(f'input_stream: "{name}" ' for name in inputs.split())
    given = "".join(f'input_side_packet: "{name}" ' for name in side_packets.split())
    return f'{streams} {given} node {{ calculator: "SidePacketToStreamCalculator" {ports} }}'


# ---- side packet to stream


@pytest.mark.parametrize(
    ("tag", "timestamp"), [("AT_PRESTREAM", PRE_STREAM), ("AT_POSTSTREAM", POST_STREAM), ("AT_ZERO", 0)]
)
def test_a_side_packet_is_sent_once(tag: str, timestamp: int, check: Check) -> None:
    graph = to_stream(f'input_side_packet: "s" output_stream: "{tag}:out"')
    check(graph, [], {"out": [(timestamp, "value")]}, {"s": "value"})


def test_a_side_packet_is_sent_at_a_timestamp(check: Check) -> None:
    ports = 'input_side_packet: "TIMESTAMP:t" input_side_packet: "s" output_stream: "AT_TIMESTAMP:out"'
    check(to_stream(ports, side_packets="s t"), [], {"out": [(-7, 5)]}, {"s": 5, "t": create.create_int64(-7)})


def test_several_side_packets_go_to_the_outputs_in_order(check: Check) -> None:
    ports = 'input_side_packet: "s" input_side_packet: "t" output_stream: "AT_ZERO:1:y" output_stream: "AT_ZERO:0:x"'
    check(to_stream(ports, side_packets="s t"), [], {"x": [(0, 1)], "y": [(0, 2)]}, {"s": 1, "t": 2})


def test_at_tick_repeats_the_side_packet(check: Check) -> None:
    graph = to_stream('input_side_packet: "s" input_stream: "TICK:tick" output_stream: "AT_TICK:out"', "tick")
    rows = [("tick", 3, 0), ("tick", 5, None), ("tick", 8, "any type")]
    check(graph, rows, {"out": [(3, 1), (5, None), (8, 1)]}, {"s": 1}, bounds=True, until_idle=True)


def test_at_first_tick_sends_once_and_closes(check: Check) -> None:
    ports = (
        'input_side_packet: "s" input_side_packet: "t" input_stream: "TICK:tick" output_stream: "AT_FIRST_TICK:0:x" '
    )
    graph = to_stream(ports + 'output_stream: "AT_FIRST_TICK:1:y"', "tick late", "s t") + (
        'node { calculator: "PassThroughCalculator" input_stream: "late" input_stream: "x" output_stream: "a" output_stream: "b" }'
    )
    rows = [("late", 100, 0), ("tick", 3, 0), ("tick", 4, 0)]
    expected = {"x": [(3, 1)], "y": [(3, 2)], "a": [(100, 0)], "b": [(3, 1)]}
    check(graph, rows, expected, {"s": 1, "t": 2}, until_idle=True)


def test_a_prestream_packet_comes_before_all_others(check: Check) -> None:
    graph = to_stream('input_side_packet: "s" output_stream: "AT_PRESTREAM:config"', "in") + (
        'node { calculator: "PassThroughCalculator" input_stream: "in" input_stream: "config" '
        'output_stream: "out" output_stream: "config_out" }'
    )
    expected = {"out": [(-5, 1), (0, 2)], "config_out": [(PRE_STREAM, "cfg")]}
    check(graph, [("in", -5, 1), ("in", 0, 2)], expected, {"s": "cfg"})


@pytest.mark.parametrize(
    ("ports", "inputs", "phrase"),
    [
        pytest.param('output_stream: "out"', "", "Only one of AT_PRESTREAM", id="no tag"),
        pytest.param('output_stream: "AT_NOON:out"', "", "Only one of AT_PRESTREAM", id="unknown tag"),
        pytest.param(
            'output_stream: "AT_ZERO:a" output_stream: "AT_PRESTREAM:b"', "", "Only one of AT_PRESTREAM", id="two tags"
        ),
        pytest.param("", "", "Only one of AT_PRESTREAM", id="no output"),
        pytest.param('output_stream: "AT_TICK:out"', "", "Either both TICK input and tick", id="no tick"),
        pytest.param(
            'input_stream: "TICK:t" output_stream: "AT_ZERO:out"',
            "t",
            "Either both TICK input and tick",
            id="useless tick",
        ),
        pytest.param(
            'output_stream: "AT_TIMESTAMP:out"', "", "Either both TIMESTAMP and AT_TIMESTAMP", id="no timestamp"
        ),
        pytest.param(
            'input_side_packet: "TIMESTAMP:s" output_stream: "AT_ZERO:out"',
            "",
            "Either both TIMESTAMP and AT_TIMESTAMP",
            id="useless timestamp",
        ),
        pytest.param(
            'output_stream: "AT_ZERO:0:a" output_stream: "AT_ZERO:1:b"',
            "",
            "Same number of input side packets and output streams is required.",
            id="side packet missing",
        ),
        pytest.param(
            'input_side_packet: "TIMESTAMP:s" output_stream: "AT_TIMESTAMP:0:a" output_stream: "AT_TIMESTAMP:1:b"',
            "",
            "For AT_TIMESTAMP tag, 2 input side packets are required.",
            id="side packet missing at timestamp",
        ),
    ],
)
def test_side_packet_to_stream_with_wrong_ports_is_refused(ports: str, inputs: str, phrase: str, fails: Fails) -> None:
    error = fails(to_stream('input_side_packet: "s" ' + ports, inputs))
    assert error.code == StatusCode.INTERNAL
    assert phrase in str(error)


def test_a_special_value_is_no_timestamp_to_send_at(fails: Fails) -> None:
    ports = 'input_side_packet: "TIMESTAMP:t" input_side_packet: "s" output_stream: "AT_TIMESTAMP:out"'
    error = fails(to_stream(ports, side_packets="s t"), [], {"s": 5, "t": MAX + 1})
    assert (error.code, error.phase) == (StatusCode.INVALID_ARGUMENT, "close")


# ---- stream to side packet


TO_SIDE_PACKET = (
    'input_stream: "in" input_stream: "data" node { calculator: "StreamToSidePacketCalculator" input_stream: "in" '
    'output_side_packet: "made" } node { calculator: "GateCalculator" input_side_packet: "ALLOW:made" input_stream: "data" '
    'output_stream: "out" }'
)


def test_a_node_that_needs_the_side_packet_waits_for_it(check: Check) -> None:
    rows = [("data", 1, 1), ("in", 7, True), ("data", 2, 2)]
    check(TO_SIDE_PACKET, rows[:1], {"out": []}, until_idle=True)
    check(TO_SIDE_PACKET, rows, {"out": [(1, 1), (2, 2)]}, until_idle=True)


def test_the_side_packet_has_no_timestamp(run: Run) -> None:
    _, graph = run(TO_SIDE_PACKET, [("in", 7, True)])
    packet = graph.get_output_side_packet("made")
    assert (packet.value, packet.timestamp) == (True, Packet().timestamp)


def test_a_second_packet_is_an_error(fails: Fails) -> None:
    error = fails(TO_SIDE_PACKET, [("in", 7, True), ("in", 8, True)])
    assert error.code == StatusCode.ALREADY_EXISTS
    assert 'Output side packet "made" was already set.' in str(error)


# ---- constants, defaults, numbers


def side_packets_of(graph: str, given: dict[str, Any], *names: str) -> list[Packet]:
    runner = CalculatorGraph(graph_config=graph)
    runner.start_run(given)
    runner.wait_until_done()
    return [runner.get_output_side_packet(name) for name in names]


def constant(packets: str, ports: str = 'output_side_packet: "PACKET:p"') -> str:
    written = f"options {{ [mediapipe.ConstantSidePacketCalculatorOptions.ext] {{ {packets} }} }}"
    return f'node {{ calculator: "ConstantSidePacketCalculator" {ports} {written} }}'


@pytest.mark.parametrize(
    ("field", "value", "type_name"),
    [
        ("int_value: -2", -2, "int"),
        ("uint64_value: 18446744073709551615", 2**64 - 1, "uint64_t"),
        ("int64_value: -9007199254740993", -9007199254740993, "int64_t"),
        ("float_value: 6.5", 6.5, "float"),
        ("double_value: 0.1", 0.1, "double"),
        ("bool_value: false", False, "bool"),
        ('string_value: "text"', "text", "string"),
        ('string_vector_value { string_value: "a" string_value: "b" }', ["a", "b"], "::std::vector<std::string>"),
        ("float_vector_value { float_value: 0.5 float_value: 1.5 }", [0.5, 1.5], "::std::vector<float>"),
        ("int_vector_value { int_value: 3 int_value: 1 }", [3, 1], "::std::vector<int>"),
    ],
)
def test_a_constant_has_value_and_type_of_its_field(field: str, value: Any, type_name: str) -> None:
    (packet,) = side_packets_of(constant(f"packet {{ {field} }}"), {}, "p")
    assert packet.value == value
    assert type(packet.value) is type(value)
    assert f"C++ type: {type_name}>" in repr(packet)


def test_a_constant_can_be_a_message() -> None:
    graph = constant('packet { classification_list_value { classification { index: 3 score: 0.5 label: "cat" } } }')
    (packet,) = side_packets_of(graph, {}, "p")
    assert [(each.index, each.label) for each in packet.value.classification] == [(3, "cat")]


@pytest.mark.parametrize(
    ("field", "type_name"),
    [
        ("classification_list_value", "::mediapipe::ClassificationList"),
        ("landmark_list_value", "::mediapipe::LandmarkList"),
        ("matrix_data_value", "mediapipe::MatrixData"),
        ("time_series_header_value", "mediapipe::TimeSeriesHeader"),
    ],
)
def test_a_message_constant_has_mediapipes_type(field: str, type_name: str, fails: Fails) -> None:
    graph = constant(f"packet {{ {field} {{ }} }}")
    (packet,) = side_packets_of(graph, {}, "p")
    assert f"C++ type: {type_name}>" in repr(packet)
    error = fails(f'{graph} node {{ calculator: "GateCalculator" input_side_packet: "ALLOW:p" }}')
    assert f'the connected output side packet will be of type "{type_name}"' in str(error)


def test_several_constants_follow_the_indexes() -> None:
    ports = 'output_side_packet: "PACKET:1:b" output_side_packet: "PACKET:0:a"'
    packets = side_packets_of(constant("packet { int_value: 256 } packet { bool_value: true }", ports), {}, "a", "b")
    assert [packet.value for packet in packets] == [256, True]


def test_constants_leave_side_packets_with_other_tags_alone() -> None:
    ports = 'output_side_packet: "plain" output_side_packet: "PACKET:p" output_side_packet: "OTHER:q"'
    graph = CalculatorGraph(graph_config=constant("packet { int_value: 7 }", ports))
    graph.start_run()
    graph.wait_until_done()
    assert graph.get_output_side_packet("p").value == 7
    with pytest.raises(GraphError, match='The output side packet "plain" is unavailable.'):
        graph.get_output_side_packet("plain")


@pytest.mark.parametrize(
    ("packets", "code", "phrase"),
    [
        pytest.param("", StatusCode.INTERNAL, "Number of output side packets has to be same", id="none"),
        pytest.param(
            "packet { int_value: 1 } packet { int_value: 2 }",
            StatusCode.INTERNAL,
            "Number of output side packets has to be same as number of packets configured in options.",
            id="too many",
        ),
        pytest.param(
            "packet { }",
            StatusCode.INVALID_ARGUMENT,
            "None of supported values were specified in options.",
            id="no value",
        ),
    ],
)
def test_wrong_constants_are_refused(packets: str, code: StatusCode, phrase: str, fails: Fails) -> None:
    error = fails(constant(packets))
    assert error.code == code
    assert phrase in str(error)


def test_the_type_of_a_constant_is_checked_when_the_graph_is(fails: Fails) -> None:
    graph = constant("packet { int_value: 1 }") + (
        ' node { calculator: "StringToIntCalculator" input_side_packet: "p" output_side_packet: "n" }'
    )
    error = fails(graph)
    assert 'expected a packet of type "string" but the connected output side packet will be of type "int"' in str(error)


DEFAULT = (
    'input_side_packet: "given" input_side_packet: "default" node { calculator: "DefaultSidePacketCalculator" '
    'input_side_packet: "OPTIONAL_VALUE:given" input_side_packet: "DEFAULT_VALUE:default" output_side_packet: "VALUE:v" }'
)


@pytest.mark.parametrize(
    ("given", "value"),
    [({"given": 456, "default": 123}, 456), ({"default": "text"}, "text")],
)
def test_a_default_stands_in_for_a_missing_side_packet(given: dict[str, Any], value: Any) -> None:
    assert side_packets_of(DEFAULT, given, "v")[0].value == value


def test_a_default_is_required(fails: Fails) -> None:
    error = fails(DEFAULT.replace('input_side_packet: "DEFAULT_VALUE:default"', ""))
    assert error.code == StatusCode.INTERNAL
    assert "Default value must be provided" in str(error)


def number_graph(kind: str) -> str:
    ports = 'input_side_packet: "s" output_side_packet: "n"'
    return f'input_side_packet: "s" node {{ calculator: "StringTo{kind}Calculator" {ports} }}'


@pytest.mark.parametrize(
    ("kind", "text", "value", "type_name"),
    [
        ("Int", "2147483647", 2147483647, "int"),
        ("Int32", "-2147483648", -2147483648, "int"),
        ("Int", " +07\n", 7, "int"),
        ("Uint", "4294967295", 4294967295, ""),
        ("Uint32", "0", 0, ""),
        ("Int64", "-9223372036854775808", -(2**63), "int64_t"),
        ("Uint64", "18446744073709551615", 2**64 - 1, "uint64_t"),
    ],
)
def test_a_string_becomes_a_number(kind: str, text: str, value: int, type_name: str) -> None:
    (packet,) = side_packets_of(number_graph(kind), {"s": text}, "n")
    assert packet.value == value
    assert f"C++ type: {type_name}" in repr(packet)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *[
            ("Int", text)
            for text in (
                "",
                " ",
                "x",
                "1x",
                "0x10",
                "1_000",
                "1.0",
                "1e3",
                "+",
                "--1",
                "١",
                "2147483648",
                "-2147483649",
            )
        ],
        *[("Uint32", text) for text in ("-1", "-0", "4294967296")],
        *[("Int64", text) for text in ("9223372036854775808", "-9223372036854775809")],
        *[("Uint64", text) for text in ("-1", "18446744073709551616")],
    ],
)
def test_a_string_that_is_no_such_number_fails(kind: str, text: str, fails: Fails) -> None:
    error = fails(number_graph(kind), [], {"s": text})
    assert (error.code, error.phase) == (StatusCode.INVALID_ARGUMENT, "open")
    assert "The string could not be parsed as an integer." in str(error)


# ---- counting source


def source(*tags: str) -> str:
    names = " ".join(f'input_side_packet: "{tag.lower()}"' for tag in tags)
    ports = " ".join(f'input_side_packet: "{tag}:{tag.lower()}"' for tag in tags)
    return f'{names} node {{ calculator: "CountingSourceCalculator" {ports} output_stream: "out" }}'


@pytest.mark.parametrize(
    ("given", "values"),
    [
        pytest.param({"MAX_COUNT": 3}, [0, 1, 2], id="count"),
        pytest.param({"MAX_COUNT": 0}, [], id="none"),
        pytest.param({"MAX_COUNT": 2, "BATCH_SIZE": 3}, [0, 1, 2, 3, 4, 5], id="batches"),
        pytest.param({"MAX_COUNT": 3, "INITIAL_VALUE": -10, "INCREMENT": 7}, [-10, -3, 4], id="steps"),
        pytest.param({"MAX_COUNT": 2, "ERROR_COUNT": 3}, [0, 1], id="stops before the error"),
        pytest.param({"MAX_COUNT": 1, "ERROR_ON_OPEN": False}, [0], id="no error on open"),
    ],
)
def test_counting_source_counts(given: dict[str, Any], values: list[int]) -> None:
    runner = CalculatorGraph(graph_config=source(*given))
    got: list[tuple[int, int]] = []
    runner.observe_output_stream("out", lambda _, packet: got.append((int(packet.timestamp), packet.value)))
    runner.start_run({tag.lower(): value for tag, value in given.items()})
    runner.wait_until_done()
    assert got == [(value, value) for value in values]


@pytest.mark.parametrize(
    ("given", "code", "phase", "count"),
    [
        pytest.param({"ERROR_COUNT": 2}, StatusCode.INTERNAL, "process", 2, id="error after two"),
        pytest.param(
            {"ERROR_COUNT": 1, "BATCH_SIZE": 4, "MAX_COUNT": 9}, StatusCode.INTERNAL, "process", 4, id="after a batch"
        ),
        pytest.param(
            {"ERROR_COUNT": 1, "MAX_COUNT": 1}, StatusCode.INTERNAL, "process", 1, id="error comes before the end"
        ),
        pytest.param({"MAX_COUNT": 3, "ERROR_ON_OPEN": True}, StatusCode.NOT_FOUND, "open", 0, id="on open"),
        pytest.param({"MAX_COUNT": -1}, StatusCode.INTERNAL, "open", 0, id="negative count"),
        pytest.param({"MAX_COUNT": 1, "BATCH_SIZE": 0}, StatusCode.INTERNAL, "open", 0, id="empty batch"),
        pytest.param({"MAX_COUNT": 1, "INCREMENT": 0}, StatusCode.INTERNAL, "open", 0, id="no increment"),
    ],
)
def test_counting_source_fails(given: dict[str, Any], code: StatusCode, phase: str, count: int) -> None:
    runner = CalculatorGraph(graph_config=source(*given))
    got: list[int] = []
    runner.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    runner.start_run({tag.lower(): value for tag, value in given.items()})
    with pytest.raises(RuntimeError) as caught:
        runner.wait_until_done()
    assert (caught.value.code, caught.value.phase, len(got)) == (code, phase, count)  # type: ignore[attr-defined]  # a GraphError


def test_counting_source_needs_a_count(fails: Fails) -> None:
    error = fails(source("BATCH_SIZE"))
    assert error.code == StatusCode.INTERNAL
    assert "MAX_COUNT and ERROR_COUNT" in str(error)


def test_counting_source_side_packets_are_required_when_the_node_names_them(fails: Fails) -> None:
    error = fails(source("MAX_COUNT", "BATCH_SIZE"), [], {"max_count": 3})
    assert 'Side packet "batch_size" is required but was not provided.' in str(error)
