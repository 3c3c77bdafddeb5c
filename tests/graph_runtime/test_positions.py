"""Places: every field that the text has is found at its line and column, however it is written."""

from __future__ import annotations

import pytest

from graph_runtime import _pb
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import read_graph
from graph_runtime.near_names import did_you_mean
from graph_runtime.positions import FieldPath, Positions, line_starts, path_text
from graph_runtime.string_literals import bad_escape, is_utf8
from graph_runtime.text_scanner import MAX_DEPTH, Scan, scan_text

EXT = "mediapipe.GateCalculatorOptions.ext"


def scan(text: str) -> Scan:
    return scan_text(text, CalculatorGraphConfig.DESCRIPTOR, _pb.POOL, "g.pbtxt")


def places(text: str, *paths: FieldPath) -> list[str]:
    positions = read_graph(text, file="g.pbtxt").positions
    return [positions.place(*path).removeprefix("g.pbtxt:") for path in paths]


def test_scalars_are_at_their_value_and_messages_at_their_name() -> None:
    text = 'input_stream: "a"\nnode {\n  calculator:  "C"\n  input_stream: "a"\n  input_stream: "b"\n}\n'
    assert places(
        text,
        ("input_stream", 0),
        ("node", 0),
        ("node", 0, "calculator"),
        ("node", 0, "input_stream", 0),
        ("node", 0, "input_stream", 1),
    ) == ["1:15", "2:1", "3:16", "4:17", "5:17"]


def test_elements_of_a_list_are_at_themselves() -> None:
    text = 'node {\n input_stream: ["a",\n   "b" "c", \'d\']\n}\nexecutor: [{name: "x"}, <type: "y">] node: []'
    assert places(
        text,
        ("node", 0, "input_stream", 0),
        ("node", 0, "input_stream", 1),
        ("node", 0, "input_stream", 2),
        ("executor", 0),
        ("executor", 1),
        ("executor", 1, "type"),
        ("node", 1),
    ) == ["2:17", "3:4", "3:13", "5:12", "5:25", "5:32", "g.pbtxt"]


@pytest.mark.parametrize(
    "text",
    [
        "node { options { [%s] { allow: true } } }",
        "node { options: { [%s]: { allow: true } } }",
        "node < options < [%s] < allow : true > > >",
        "node { options { [ mediapipe . GateCalculatorOptions  . ext ] { allow: true } } }",
    ],
)
def test_extensions_are_named_in_full(text: str) -> None:
    text = text.replace("%s", EXT)
    assert places(text, ("node", 0, "options", EXT, "allow")) == [f"1:{text.index('true') + 1}"]


@pytest.mark.parametrize(
    "head",
    [
        "[type.googleapis.com/mediapipe.GateCalculatorOptions] {",
        "[type.googleapis.com / mediapipe.GateCalculatorOptions]: {",
        "[ type . googleapis . com\t/ # which\n mediapipe.GateCalculatorOptions ] : {",
        "[other.example.org/mediapipe.GateCalculatorOptions] {",
    ],
)
def test_fields_inside_an_any_follow_its_own_path(head: str) -> None:
    text = f"node {{ node_options {{ {head}\nempty_packets_as_allow: true\n  allow: true }} }} }}"
    line = 3 + head.count("\n")
    assert places(
        text,
        ("node", 0, "node_options", 0, "allow"),
        ("node", 0, "node_options", 0, "empty_packets_as_allow"),
        ("node", 0, "node_options", 0),
    ) == [f"{line}:10", f"{line - 1}:25", "1:8"]


def test_comments_separators_tabs_and_carriage_returns_count_as_characters() -> None:
    text = '# node { name: "no" }\r\n\tnum_threads: 1 ;  # one\n max_queue_size: 2,output_stream:"o"\n\n\nnode{}'
    paths: list[FieldPath] = [("num_threads",), ("max_queue_size",), ("output_stream", 0), ("node", 0)]
    assert places(text, *paths) == ["2:15", "3:18", "3:34", "6:1"]


def test_what_is_not_in_the_text_is_at_the_nearest_message_around_it() -> None:
    positions = read_graph('node {\n calculator: "C"\n options { }\n}', file="g.pbtxt").positions
    assert positions.place("node", 0, "input_stream", 4) == "g.pbtxt:1:1"
    assert positions.place("node", 0, "options", EXT, "allow") == "g.pbtxt:3:2"
    assert positions.place("node", 7, "name") == "g.pbtxt"
    assert positions.place() == "g.pbtxt"


def test_a_graph_without_text_names_the_path() -> None:
    config = CalculatorGraphConfig(node=[CalculatorGraphConfig.Node(calculator="C")])
    assert read_graph(config).positions.place("node", 0, "calculator") == "<message>:node[0].calculator"
    assert read_graph(config.SerializeToString()).positions.place("node", 0) == "<bytes>:node[0]"
    assert read_graph(config, file="a.binarypb").positions.place() == "a.binarypb"
    assert read_graph("node { }").positions.place("node", 0) == "<string>:1:1"


def test_paths_are_written_with_brackets() -> None:
    assert path_text(("node", 2, "options", EXT, "allow")) == f"node[2].options.[{EXT}].allow"
    assert path_text(()) == ""


def test_only_newlines_end_lines() -> None:
    assert line_starts("a\r\nb\x0b\u2028c\n") == [0, 3, 8]
    positions = Positions("f", {}, line_starts("ab\n\ncd"))
    assert [positions.place_of_offset(offset) for offset in (0, 2, 3, 4, 6)] == [
        "f:1:1",
        "f:1:3",
        "f:2:1",
        "f:3:1",
        "f:3:3",
    ]


def test_a_node_is_known_by_its_name_else_by_its_calculator() -> None:
    text = 'node { calculator: "C" name: "a" "b" } node { calculator: "D" } node { }  num_threads: 1'
    found = scan(text)
    at = [text.index(word) for word in ("calculator", '"D"', "} ", "num_threads")]
    assert [found.node_at(offset) for offset in at] == ["ab", "D", "ab", None]
    assert found.node_at(text.rindex("}")) is None


def test_a_node_inside_a_node_is_the_one_that_is_named() -> None:
    text = (
        'node { name: "outer" options { [mediapipe.SwitchContainerOptions.ext] { '
        'contained_node { name: "inner" bad: 1 } worse: 2 } } }'
    )
    found = scan(text)
    assert [(found.node_at(finding.offset), finding.message[-7:]) for finding in found.findings] == [
        ("inner", 'd "bad"'),
        ("outer", '"worse"'),
    ]


def test_the_scan_says_where_it_broke_off() -> None:
    found = scan('node { name: "a" input_stream: [ }')
    assert found.broken == (33, "Expected a value, found '}'")
    assert found.positions.place("node", 0, "name") == "g.pbtxt:1:14"


def test_nesting_ends_at_the_limit() -> None:
    def nested(depth: int) -> str:
        return "options { [mediapipe.TemplateSubgraphOptions.ext] { dict " + "{ arg { value { dict " * depth

    assert not scan("node {" + nested(30)).explained
    found = scan("node {" + nested(MAX_DEPTH))
    assert found.explained
    assert found.broken is not None
    assert found.broken[1] == "messages are nested deeper than 100"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("colour", 'did you mean "color"?'),
        ("weight", "possible: color, shape"),
    ],
)
def test_did_you_mean_names_the_nearest_or_all(name: str, hint: str) -> None:
    assert did_you_mean(name, {"shape", "color"}, "possible") == hint
    assert did_you_mean(name, [], "possible") is None
    assert did_you_mean("x", ["shape"]) is None


@pytest.mark.parametrize(
    ("literal", "bad"),
    [
        (r'"C:\\models"', None),
        (r'"C:\models"', r"\m"),
        (r"'\\\q'", r"\q"),
        (r'"\a\b\f\n\r\t\v\'\"\\\0\12\377\x4\x41\u00e9\U0001F600"', None),
        (r'"\400"', r"\4"),
        (r'"\xg"', r"\x"),
        (r'"\u12"', r"\u"),
        (r'"\N{DASH}"', r"\N"),
    ],
)
def test_escapes_are_those_of_the_text_format(literal: str, bad: str | None) -> None:
    found = bad_escape(literal)
    assert (found and found[0]) == bad


def test_escaped_bytes_must_be_utf8() -> None:
    assert is_utf8(r"\303\251 \xC3\xA9 é")
    assert not is_utf8(r"\303")
    assert not is_utf8(r"\ud800")
