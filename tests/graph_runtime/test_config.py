"""Reading graphs: every form that one comes in, and every way in which it can be wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass

from graph_runtime import _pb
from graph_runtime._pb.mediapipe.calculators.core.gate_calculator_pb2 import GateCalculatorOptions
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import Source, find_options, parse_graph_config, read_graph, to_text
from graph_runtime.errors import GraphError, GraphFileNotFoundError, GraphRuntimeError, InvalidArgumentError, StatusCode
from graph_runtime.text_scanner import Scan, scan_text

IMAGE_GRAPH = """\
input_stream: "HTTP_REQUEST_PAYLOAD:input"
output_stream: "HTTP_RESPONSE_PAYLOAD:output"

node: {
  name: "ImageGenExecutor"
  calculator: "ImageGenCalculator"
  input_stream: "HTTP_REQUEST_PAYLOAD:input"
  input_side_packet: "IMAGE_GEN_NODE_RESOURCES:pipes"
  output_stream: "HTTP_RESPONSE_PAYLOAD:output"
  node_options: {
      [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: {
          models_path: "./"
          device: "CPU"
      }
  }
}
"""

MANY_FORMS = """\
input_stream: ["a", 'b' "c"],  # a list, and neighbours that are one string
node < calculator: "ImageGenCalculator"; node_options <
  [type.googleapis.com/mediapipe.ImageGenCalculatorOptions] <
    models_path: "\\x41\\n\\303\\251" lora_adapters { alias: "x" path: "y" alpha: 1.5e0f mode: FUSE } > > >
node { options: < [mediapipe.SwitchContainerOptions.ext]: {
  contained_node: [{calculator: "A"}, {calculator: "B"}] select: 0x1 } > input_stream_info { back_edge: true } }
executor { options { [mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 07, require_processor_performance: 2 } } }
max_queue_size: -1
profiler_config { trace_event_types_disabled: [1, 2,3] }
node {}
"""


def problems_of(text: Source) -> list[str]:
    with pytest.raises(GraphError) as caught:
        read_graph(text, file="g")
    return [str(problem) for problem in caught.value.problems]


def scan(text: str) -> Scan:
    return scan_text(text, CalculatorGraphConfig.DESCRIPTOR, _pb.POOL, "g")


def same(left: CalculatorGraphConfig, right: CalculatorGraphConfig) -> bool:
    """Equality of bytes: == would unpack Any fields with the default pool under pure Python protobuf."""
    return left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)


# ---- what is accepted


def test_the_reference_graph_is_read_as_it_is_written() -> None:
    config = parse_graph_config(IMAGE_GRAPH)
    (node,) = config.node
    assert (node.name, node.calculator) == ("ImageGenExecutor", "ImageGenCalculator")
    assert list(node.input_side_packet) == ["IMAGE_GEN_NODE_RESOURCES:pipes"]
    assert node.node_options[0].type_url == "type.googleapis.com/mediapipe.ImageGenCalculatorOptions"
    options = find_options(node, ImageGenCalculatorOptions)
    assert options is not None
    assert (options.models_path, options.device) == ("./", "CPU")


def test_every_form_of_the_text_format_is_read() -> None:
    config = parse_graph_config(MANY_FORMS)
    assert list(config.input_stream) == ["a", "bc"]
    image = find_options(config.node[0], ImageGenCalculatorOptions)
    assert image is not None
    assert image.models_path == "A\né"
    assert (image.lora_adapters[0].alpha, image.lora_adapters[0].mode) == (1.5, 2)
    assert config.node[1].input_stream_info[0].back_edge
    assert config.max_queue_size == -1
    assert list(config.profiler_config.trace_event_types_disabled) == [1, 2, 3]
    assert len(config.node) == 3


@pytest.mark.parametrize(
    ("number", "value"),
    [("- 7", -7), ("-\t7", -7), ("-\n  7", -7), ("- # seven\n 7", -7), ("-7", -7), ("0x1F", 31), ("017", 15)],
)
def test_numbers_are_read_as_in_mediapipe(number: str, value: int) -> None:
    config = parse_graph_config(f"max_queue_size: {number} num_threads: 1")
    assert (config.max_queue_size, config.num_threads) == (value, 1)


@pytest.mark.parametrize("number", ["+1", "1_000"])
def test_numbers_that_only_python_knows_are_refused(number: str) -> None:
    assert problems_of(f"num_threads: {number}") == [f'g:1:14: Expected a number, got "{number}"']


def test_a_question_mark_may_be_escaped() -> None:
    assert parse_graph_config(r'package: "a\?" "\?\?=" num_threads: 1').package == "a???="


def test_a_byte_order_mark_before_the_text_is_passed_over(tmp_path: Path) -> None:
    text = "num_threads: 1\r\nnope: 2\r\n"
    file = tmp_path / "g"
    file.write_bytes(text.encode("utf-8-sig"))
    for source in (f"\ufeff{text}", file):
        assert problems_of(source)[0].startswith("g:2:1: Message type")


def test_escaped_characters_are_read_by_every_protobuf_release() -> None:
    text = r"""node { name: "\u4e2d\U0001F600\u0022\u005c\u000a" 'é\303\251\\u4e2d' calculator: 5 } num_threads: 2"""
    kept = read_graph(text, keep_problems=True)
    assert kept.config.node[0].name == '中😀"\\\né\u00e9\\u4e2d'
    assert [problem.place for problem in kept.problems] == [f"<string>:1:{text.index('5 }') + 1}"]


def test_text_bytes_files_and_messages_give_the_same_graph(tmp_path: Path) -> None:
    config = parse_graph_config(MANY_FORMS)
    data = config.SerializeToString()
    text_file, binary_file, marked_file = tmp_path / "graph.pbtxt", tmp_path / "g.binarypb", tmp_path / "bom.pbtxt"
    text_file.write_text(MANY_FORMS)
    binary_file.write_bytes(data)
    marked_file.write_bytes(b"\xef\xbb\xbf" + MANY_FORMS.encode())
    sources: list[Source] = [data, text_file, binary_file, marked_file, config, to_text(config)]
    for source in sources:
        assert same(parse_graph_config(source), config)


def test_a_message_is_copied() -> None:
    config = CalculatorGraphConfig(num_threads=1)
    read = parse_graph_config(config)
    config.num_threads = 2
    assert read.num_threads == 1


def test_a_message_of_another_pool_is_taken_over() -> None:
    pool = descriptor_pool.DescriptorPool()
    for name in [*_imports("mediapipe/framework/calculator.proto"), "mediapipe/calculators/core/gate_calculator.proto"]:
        file = FileDescriptorProto()
        _pb.POOL.FindFileByName(name).CopyToProto(file)
        pool.AddSerializedFile(file.SerializeToString())
    foreign = GetMessageClass(pool.FindMessageTypeByName("mediapipe.CalculatorGraphConfig"))()
    GetMessageClass(pool.FindMessageTypeByName("mediapipe.GateCalculatorOptions"))
    text_format.Parse("node { options { [mediapipe.GateCalculatorOptions.ext] { allow: true } } }", foreign)
    config = parse_graph_config(foreign)
    assert type(config) is CalculatorGraphConfig
    found = find_options(config.node[0], GateCalculatorOptions)
    assert found is not None
    assert found.allow


def _imports(name: str) -> list[str]:
    file = _pb.POOL.FindFileByName(name)
    names = [inner for imported in file.dependencies for inner in _imports(imported.name)]
    return [*dict.fromkeys(names), name]


def test_the_source_remembers_file_text_and_places(tmp_path: Path) -> None:
    file = tmp_path / "graph.pbtxt"
    file.write_text(IMAGE_GRAPH)
    source = read_graph(file)
    assert (source.file, source.text, source.problems) == (str(file), IMAGE_GRAPH, ())
    assert source.positions.place("node", 0, "node_options", 0, "models_path") == f"{file}:12:24"
    assert read_graph(file, file="graph.pbtxt").positions.place("node", 0) == "graph.pbtxt:4:1"
    assert read_graph(source.config).text is None


def test_an_empty_graph_is_a_graph() -> None:
    for empty in ("", b"", " # nothing\n", CalculatorGraphConfig()):
        assert parse_graph_config(empty).ByteSize() == 0


# ---- what is wrong, and where


def test_all_unknown_names_are_reported_at_once() -> None:
    text = """\
input_streem: "in"
node {
  name: "gen"
  calculatr: "X" excutor { a: [1, <b: 2>] }
  node_options { [type.googleapis.com / mediapipe.ImageGenCalculaterOptions]: { models_path: "./" } }
  node_options { [type.googleapis.com/mediapipe.ImageGenCalculatorOptions] { models_path: "./" devise: "CPU" } }
  options { [mediapipe.GateCalculatorOption.ext] { } [mediapipe.GateCalculatorOptions.ext] { initial_gate_state: GATE_ALOW } }
}
node { calculator: "Second" source_layer: 1 weight: 3 }
"""
    fields = "mediapipe.CalculatorGraphConfig"
    possible = ", ".join(sorted(CalculatorGraphConfig.Node.DESCRIPTOR.fields_by_name))
    assert problems_of(text) == [
        f'g:1:1: Message type "{fields}" has no field named "input_streem"; did you mean "input_stream"?',
        f'g:4:3: node "gen": Message type "{fields}.Node" has no field named "calculatr"; did you mean "calculator"?',
        f'g:4:18: node "gen": Message type "{fields}.Node" has no field named "excutor"; did you mean "executor"?',
        'g:5:18: node "gen": Could not find type "type.googleapis.com/mediapipe.ImageGenCalculaterOptions" stored in '
        'google.protobuf.Any; did you mean "mediapipe.ImageGenCalculatorOptions"?',
        'g:6:96: node "gen": Message type "mediapipe.ImageGenCalculatorOptions" has no field named "devise"; '
        'did you mean "device"?',
        'g:7:13: node "gen": Extension "mediapipe.GateCalculatorOption.ext" is not defined or is not an extension of '
        '"mediapipe.CalculatorOptions"; did you mean "mediapipe.GateCalculatorOptions.ext"?',
        'g:7:114: node "gen": Unknown enumeration value of "GATE_ALOW" for field "initial_gate_state"; '
        'did you mean "GATE_ALLOW"?',
        f'g:9:45: node "Second": Message type "{fields}.Node" has no field named "weight"; possible: {possible}',
    ]


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        ('node_options { models_path: "./" }', "further in: [type.googleapis.com/mediapipe.XOptions] { ... }"),
        (
            "node_options { [mediapipe.GateCalculatorOptions.ext] { } }",
            "[type.googleapis.com/mediapipe.GateCalculatorOptions]",
        ),
        ("options { allow: true }", "further in: [mediapipe.XOptions.ext] { ... }"),
        ("options { [type.googleapis.com/mediapipe.GateCalculatorOptions] { } }", "belongs into node_options"),
        ("options { [mediapipe.ThreadPoolExecutorOptions.ext] { } }", 'but of "mediapipe.MediaPipeOptions"'),
        ("[mediapipe.GateCalculatorOptions.ext] { }", "does not have extensions"),
    ],
)
def test_options_in_the_wrong_place_are_told_the_right_one(inside: str, problem: str) -> None:
    (found,) = problems_of(f'node {{ name: "n" {inside} }}')
    assert 'node "n": ' in found
    assert problem in found


UNKNOWN = (
    'nobody has registered that type; graph_runtime.register_options("its.proto") does, or --options_proto its.proto'
)


def test_options_types_that_nobody_knows_are_all_named_with_the_way_to_make_them_known() -> None:
    """As in a graph that was written for MediaPipe's own calculators."""
    text = """\
node {
  calculator: "TensorCalculator"
  options: { [mediapipe.TensorCalculatorOptions.ext] { scale: 0.5 anchors { x: 1 } size: [1, 2] } }
  node_options: {
    [type.googleapis.com / mediapipe.ModelSessionCalculatorOptions]: { name: "m" list :["a","b"] }
  }
}
options { [mediapipe.WholeGraphOptions.ext] <> }
graph_options { [type.googleapis.com/my.WholeGraph] { } }
"""
    assert problems_of(text) == [
        'g:3:14: node "TensorCalculator": Extension "mediapipe.TensorCalculatorOptions.ext" is not defined or is not an '
        f'extension of "mediapipe.CalculatorOptions"; {UNKNOWN}',
        'g:5:5: node "TensorCalculator": Could not find type "type.googleapis.com/mediapipe.ModelSessionCalculatorOptions" '
        f"stored in google.protobuf.Any; {UNKNOWN}",
        'g:8:11: Extension "mediapipe.WholeGraphOptions.ext" is not defined or is not an extension of '
        f'"mediapipe.MediaPipeOptions"; {UNKNOWN}',
        f'g:9:17: Could not find type "type.googleapis.com/my.WholeGraph" stored in google.protobuf.Any; {UNKNOWN}',
    ]


def test_a_large_file_that_is_no_graph_is_refused_with_few_lines() -> None:
    """Such as a mesh in text format: the same unknown field on every line."""
    found = problems_of("kind: MESH\n" + "vertex: 1.5\n" * 5_000)
    assert len(found) == 102
    assert found[0].startswith('g:1:1: Message type "mediapipe.CalculatorGraphConfig" has no field named "kind"; ')
    assert found[-1] == (
        'g:102:1: Message type "mediapipe.CalculatorGraphConfig" has no field named "vertex"; 4900 times from here on'
    )


def test_two_messages_in_one_any_are_refused() -> None:
    """Only the last of them would count."""
    gate, thinner = (f"[type.googleapis.com/mediapipe.{name}CalculatorOptions]" for name in ("Gate", "PacketThinner"))
    assert problems_of(f"node {{ node_options {{ {gate} {{ allow: true }} {thinner} {{ }} }} }}") == [
        "g:1:93: Non-repeated Any specified multiple times; each options message has a node_options { ... } of its own"
    ]
    (node,) = parse_graph_config(f"node {{ node_options {{ {gate} {{ }} }} node_options {{ {thinner} {{ }} }} }}").node
    assert len(node.node_options) == 2


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('input_stream: "a"\n%for (x : names)%\nnode { input_stream: %x% }\n%end%\n', "2:1"),
        ("num_threads: %count%", "1:14"),
        ('node { %if (wanted)% calculator: "A" %end% }', "1:8"),
        ("%param count : 3%\nnum_threads: 1", "1:1"),
        ("num_threads: many node { calculator: %name% }", "1:38"),
    ],
)
def test_templates_are_refused_as_such(text: str, place: str) -> None:
    (problem,) = problems_of(text)
    assert problem.startswith(
        f"g:{place}: this is a graph template (%for, %if, %param, %name%), and templates are not supp"
    )
    assert problem.endswith("write the graph out, or make it from options with a class: graph_runtime.Subgraph")


def test_percent_signs_in_strings_and_comments_make_no_template() -> None:
    assert parse_graph_config('# 100 % sure\nnode { name: "100%" }').node[0].name == "100%"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("// of C\nnum_threads: 1", "g:1:1: no field and no value begins with a slash; a comment begins with #"),
        ('node { name: "a" /* of C */ }', "g:1:18: no field and no value begins with a slash; a comment begins with #"),
        ("num_threads: 1\n\ufeffnode { }", "g:2:1: a byte order mark stands inside the text; take it out"),
        ("\0n\0u\0m\0", "g:1:1: a NUL character stands in the text; if the file is UTF-16, save it as UTF-8"),
        ('node { options { [mediapipe.X.ext { a: "b" } } }', "g:1:35: Expected \"]\", found '{'"),
    ],
)
def test_what_belongs_to_no_text_format_is_explained(text: str, problem: str) -> None:
    (found,) = problems_of(text)
    assert found.replace('node "a": ', "").startswith(problem)


def test_missing_required_fields_are_at_the_message_that_lacks_them() -> None:
    text = """\
node { calculator: "A" node_options {
  [type.googleapis.com/mediapipe.ImageGenCalculatorOptions] { device: "CPU"
    lora_adapters { alias: "a" } } } }
node { calculator: "B" options {
  [mediapipe.ImageGenCalculatorOptions.ext] { } } }
"""
    message = 'is missing the required field "models_path"'
    assert problems_of(text) == [
        f'g:2:3: node "A": Message "mediapipe.ImageGenCalculatorOptions" {message}',
        'g:3:5: node "A": Message "mediapipe.LoraAdapterEntry" is missing the required field "path"',
        f'g:5:3: node "B": Message "mediapipe.ImageGenCalculatorOptions" {message}',
    ]
    kept = read_graph(text, keep_problems=True)
    options = find_options(kept.config.node[0], ImageGenCalculatorOptions)
    assert options is not None
    assert (options.device, options.lora_adapters[0].alias) == ("CPU", "a")
    assert problems_of(kept.config) == [
        f'g:node[0].node_options[0]: node "A": Message "mediapipe.ImageGenCalculatorOptions" {message}',
        'g:node[0].node_options[0].lora_adapters[0]: node "A": Message "mediapipe.LoraAdapterEntry" '
        'is missing the required field "path"',
        f'g:node[1].options.[mediapipe.ImageGenCalculatorOptions.ext]: node "B": '
        f'Message "mediapipe.ImageGenCalculatorOptions" {message}',
    ]


def test_all_bad_values_are_reported_at_once() -> None:
    text = """\
num_threads: "3"
max_queue_size: 1 max_queue_size: 2
node { name: "n" source_layer: 99999999999 input_stream: ["a", 5] input_stream_info { back_edge: maybe } }
node { name: "w" node_options { [type.googleapis.com/mediapipe.ImageGenCalculatorOptions] { models_path: "C:\\models" } } }
report_deadlock: true
"""
    assert problems_of(text) == [
        'g:1:14: Couldn\'t parse integer: "3"',
        'g:2:35: Message type "mediapipe.CalculatorGraphConfig" should not have multiple "max_queue_size" fields',
        'g:3:32: node "n": Value out of range: 99999999999',
        "g:3:64: node \"n\": Expected string but found: '5'",
        'g:3:98: node "n": Expected "true" or "false"',
        'g:4:109: node "w": Invalid escape sequence \\m in string literal; a backslash itself is written \\\\',
    ]
    kept = read_graph(text, keep_problems=True)
    assert len(kept.problems) == 6
    assert (kept.config.report_deadlock, kept.config.max_queue_size, len(kept.config.node)) == (True, 1, 2)
    assert kept.positions.place("report_deadlock") == "<string>:5:18"


def test_more_bad_values_than_anyone_reads_end_with_a_note() -> None:
    found = problems_of("".join(f'node {{ source_layer: "{n}" }}\n' for n in range(30)))
    assert len(found) == 21
    assert found[-1] == "g:31:1: more values cannot be read; these are the first of them"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("node {", 'g:1:6: Expected "}"'),
        ('node {\n  name: "a', "g:2:9: String missing ending quote: '\"a'"),
        ("node { name: a }", "g:1:14: Expected string but found: 'a'"),
        ("node }", 'g:1:6: Expected "{"'),
        ("}", "g:1:1: Expected identifier or number, got }"),
        ('node { calculator "C" }', 'g:1:19: Expected ":"'),
        ('node { name: "n" input_stream: }', "g:1:32: node \"n\": Expected string but found: '}'"),
        ("node { name: '\\xff' }", 'g:1:14: node "\\xff": Invalid UTF-8 in string literal'),
        (r'node { name: "\u12" }', 'g:1:15: node "\\u12": Invalid escape sequence \\u in string literal'),
        ('node { name: "\ud800" }', "g:1:15: '\\ud800' is half a character (a lone surrogate)"),
        ("models/cat/graph.pbtxt", "g: it is no graph; it looks like a path: give a file as pathlib.Path"),
        (b"\xff", "g: it is no CalculatorGraphConfig in binary form ("),
        (b"node { }", "g: it is no CalculatorGraphConfig in binary form ("),
        (b"\x0a\x06\x0a\x01n\x12\x01C".replace(b"n", b"\xff"), "g: it is no CalculatorGraphConfig in binary form ("),
        # Of proto2 messages protobuf takes what is no text.
        (
            b"\x0a\x0b\x12\x01CZ\x06\x0a\x04Imm\xee",
            'g:node[0].input_stream_handler: node "C": the string in field "input_stream_handler" is no UTF-8 text',
        ),
    ],
)
def test_broken_sources_tell_the_place(text: str | bytes, problem: str) -> None:
    (found,) = problems_of(text)
    assert found.startswith(problem)


def test_names_before_a_syntax_error_are_still_reported() -> None:
    assert problems_of('node { nam: "n" }\nnode { calculator "C" }') == [
        'g:1:8: Message type "mediapipe.CalculatorGraphConfig.Node" has no field named "nam"; did you mean "name"?',
        'g:2:19: Expected ":", found \'"C"\'',
    ]


@pytest.mark.parametrize("depth", [101, 5000])
def test_nesting_has_a_limit(depth: int) -> None:
    found = problems_of("node { options { " + "x {" * depth)
    assert found[-1].endswith("messages are nested deeper than 100")


def test_the_error_is_the_runtime_error_of_the_old_api() -> None:
    with pytest.raises(RuntimeError, match=r"^Failed to parse: <string>:1:8: ") as caught:
        parse_graph_config("node { nam: 1 }")
    error = caught.value
    assert isinstance(error, GraphError)
    assert (error.place, error.node, error.code) == ("<string>:1:8", None, StatusCode.UNKNOWN)
    with pytest.raises(RuntimeError, match=r"^Failed to parse: g: 2 problems\ng:1:1: .*\ng:1:6: "):
        parse_graph_config("x: 1 y: 2", file="g")


# ---- files and other sources


@pytest.mark.parametrize("keep", [False, True])
def test_a_missing_file_is_a_file_not_found_error(tmp_path: Path, keep: bool) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "graph.pbtxt", tmp_path / "no" / "graph.binarypb", tmp_path / "file" / "graph.pbtxt"):
        with pytest.raises(FileNotFoundError) as caught:
            read_graph(path, keep_problems=keep)
        assert isinstance(caught.value, GraphFileNotFoundError)
        assert str(caught.value) == f"The path does not exist: {path}"
        assert caught.value.code is StatusCode.NOT_FOUND


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="it is a folder; give the graph file in it"):
        read_graph(tmp_path)
    with pytest.raises(GraphError, match="it cannot be read: embedded null"):
        read_graph(tmp_path / "a\0b.pbtxt")
    binary = tmp_path / "g.pb"
    binary.write_text(IMAGE_GRAPH)
    with pytest.raises(GraphError, match="it looks like text: give it as str, or in a file with another ending"):
        read_graph(binary)


def test_text_that_is_not_utf8_tells_the_place(tmp_path: Path) -> None:
    file = tmp_path / "graph.pbtxt"
    file.write_bytes('node {\n  name: "é'.encode() + b'\xe9"\n}')
    with pytest.raises(GraphError) as caught:
        read_graph(file, file="g")
    assert str(caught.value) == (
        "Failed to parse: g:2:11: it is no UTF-8 text: invalid continuation byte 0xe9; save the file as UTF-8"
    )


@pytest.mark.parametrize("source", [None, 3, ["node {}"], GateCalculatorOptions()])
def test_other_sources_are_refused(source: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^a graph is "):
        parse_graph_config(source)  # type: ignore[arg-type]  # that is the point


def test_options_that_cannot_be_decoded_are_told(tmp_path: Path) -> None:
    config = CalculatorGraphConfig(node=[CalculatorGraphConfig.Node(calculator="C")])
    config.node[0].node_options.add(type_url="t/mediapipe.GateCalculatorOptions", value=b"\xff")
    config.node[0].node_options.add(type_url="t/someone.Elses", value=b"\xff")
    (found,) = problems_of(config)
    assert found.startswith('g:node[0].node_options[0]: node "C": t/mediapipe.GateCalculatorOptions cannot be read')


# ---- whatever comes in, nothing else comes out


PIECES = [
    *"{}<>[]:,;\"'\\#\n\t\r\0 .-/", "é", "\ud800", "\u2028", "0", "node", "name: ", "x: 1", "models_path", "true", "nan",
    "[mediapipe.X.ext] {}", "[a/b.c] {", "100000000000000000000", "\\", "\\u", "{" * 120, "[" * 120,
]  # fmt: skip


def mutations(seed: int, count: int) -> list[str]:
    """Texts one to three random edits away from a good one."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        text = rng.choice([MANY_FORMS, IMAGE_GRAPH])
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            start = rng.randint(0, len(text))
            end = min(len(text), start + rng.choice([0, 0, 1, 5, 30]))
            text = rng.choice([text[:start] + text[end:], text[:start], text[:start] + rng.choice(PIECES) + text[end:]])
        texts.append(text)
    return texts


def protobuf_reads(text: str) -> bool:
    """Whether protobuf's own parser takes a text, whatever it raises otherwise."""
    try:
        text.encode()
        text_format.Parse(text, CalculatorGraphConfig(), descriptor_pool=_pb.POOL)
    except Exception:
        return False
    return True


def attempt(source: Source) -> CalculatorGraphConfig | GraphError:
    try:
        return parse_graph_config(source)
    except GraphError as error:
        return error


@pytest.mark.parametrize("seed", range(4))
def test_damaged_text_is_a_graph_error_or_what_protobuf_reads(seed: int) -> None:
    read = 0
    for text in mutations(seed, 500):
        result = attempt(text)
        if isinstance(result, GraphError):
            assert isinstance(result, RuntimeError), text
            assert str(result).startswith("Failed to parse: "), text
            assert result.problems, text
            assert not protobuf_reads(text) or scan(text).findings, text
            continue
        expected = text_format.Parse(text, CalculatorGraphConfig(), descriptor_pool=_pb.POOL)
        assert same(result, expected), text
        assert scan(text).broken is None, text
        nodes = [path for path in scan(text).positions.offsets if len(path) == 2 and path[0] == "node"]
        assert len(nodes) == len(result.node), text
        read += 1
    assert read > 10


def test_damaged_text_yields_what_can_be_saved() -> None:
    saved = 0
    for text in mutations(9, 500):
        try:
            source = read_graph(text, keep_problems=True)
        except GraphError:
            continue
        saved += bool(source.problems)
        source.config.SerializePartialToString()
    assert saved > 20


def test_damaged_bytes_are_a_graph_error_or_a_graph() -> None:
    rng = random.Random(5)
    good = parse_graph_config(MANY_FORMS).SerializeToString()
    outcomes = set()
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        result = attempt(bytes(data[: rng.randint(1, len(data))]))
        outcomes.add(type(result))
        if isinstance(result, GraphError):
            assert str(result).startswith("Failed to parse: ")
        else:
            to_text(result)
    assert outcomes == {CalculatorGraphConfig, GraphRuntimeError}
