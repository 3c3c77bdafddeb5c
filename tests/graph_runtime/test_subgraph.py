"""Subgraphs: how they are registered and found, what a graph that uses them becomes, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from graph_runtime import (
    Calculator,
    CalculatorContext,
    CalculatorContract,
    CalculatorGraph,
    CalculatorGraphConfig,
    GraphError,
    Packet,
    Plan,
    StatusCode,
    register_calculator,
    subgraph,
)
from graph_runtime._pb.mediapipe.framework.tool.node_chain_subgraph_pb2 import NodeChainSubgraphOptions
from graph_runtime.config import Source, parse_graph_config, read_graph
from graph_runtime.errors import AlreadyExistsError, InvalidArgumentError
from graph_runtime.subgraph import (
    Subgraph,
    SubgraphContext,
    find_subgraph,
    known_subgraphs,
    local_subgraphs,
    register_graph,
    register_subgraph,
)
from graph_runtime.subgraph_expansion import MAX_DEPTH, Expansion, expand
from graph_runtime.validation import Validator

PASS = "PassThroughCalculator"


class NodeChain(Subgraph):
    """As many nodes in a row as the options say."""

    def get_config(self, sc: SubgraphContext) -> str:
        options = sc.options(NodeChainSubgraphOptions)
        if not sc.has_options(NodeChainSubgraphOptions):
            raise ValueError(f"{sc.node_name} has no NodeChainSubgraphOptions")
        lines = [
            f'node {{ calculator: "{options.node_type}" input_stream: "s{at}" output_stream: "s{at + 1}" }}'
            for at in range(options.chain_length)
        ]
        return "\n".join(['input_stream: "INPUT:s0"', f'output_stream: "OUTPUT:s{options.chain_length}"', *lines])


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subgraph, "_registered", {})
    monkeypatch.setattr(subgraph, "_plug_ins", {})


def expanded(text: str, *subgraphs: Source | type[Subgraph], outer: str = "") -> Expansion:
    (node,) = parse_graph_config(f"node {{ {outer} }}").node
    return expand(read_graph(text, file="g"), local_subgraphs(subgraphs), node)


def nodes_of(expansion: Expansion) -> list[str]:
    """``name(inputs; input side packets) -> outputs; output side packets`` of each node."""
    assert expansion.problems == []
    lines = []
    for node in expansion.config.node:
        ports = [*node.input_stream], [*node.input_side_packet], [*node.output_stream], [*node.output_side_packet]
        inputs, side_inputs, outputs, side_outputs = (" ".join(entries) for entries in ports)
        lines.append(
            f"{node.name or node.calculator}({'; '.join(filter(None, (inputs, side_inputs)))})"
            f" -> {'; '.join(filter(None, (outputs, side_outputs)))}"
        )
    return lines


def problems_of(text: str, *subgraphs: Source | type[Subgraph]) -> list[str]:
    with pytest.raises(GraphError) as caught:
        Validator(read_graph(text, file="g", keep_problems=True), subgraphs=local_subgraphs(subgraphs))
    return [str(problem) for problem in caught.value.problems]


def place(label: object, text: str, part: str) -> str:
    """``label:line:column`` of a part of a text."""
    before = text[: text.index(part)]
    return f"{label}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def in_file(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def node(calculator: str, inputs: str, outputs: str, more: str = "") -> str:
    ports = [f'input_stream: "{each}"' for each in inputs.split()]
    ports += [f'output_stream: "{each}"' for each in outputs.split()]
    return f'node {{ calculator: "{calculator}" {" ".join(ports)} {more} }}\n'


TWO = f"""type: "Two"
input_stream: "IN:in" output_stream: "OUT:out"
{node(PASS, "in", "mid")}{node(PASS, "mid", "out")}"""


# ---- what a graph becomes


@pytest.mark.parametrize(
    ("text", "subgraphs", "expected"),
    [
        pytest.param(
            node("Two", "IN:a", "OUT:b"), [TWO],
            ["two__PassThroughCalculator_1(a) -> two__mid", "two__PassThroughCalculator_2(two__mid) -> b"],
            id="names get the lower-case name of the node as a prefix",
        ),
        pytest.param(
            node("Two", "IN:a", "OUT:b", 'name: "My Sub.x:y"'), [TWO],
            ["my_sub_x_y__PassThroughCalculator_1(a) -> my_sub_x_y__mid",
             "my_sub_x_y__PassThroughCalculator_2(my_sub_x_y__mid) -> b"],
            id="dots, blanks and colons of the name become underscores",
        ),
        pytest.param(
            node("Two", "IN:a", "OUT:b") + node(PASS, "b", "c") + node("Two", "IN:c", "OUT:d") + node(PASS, "d", "e"), [TWO],
            ["PassThroughCalculator(b) -> c", "PassThroughCalculator(d) -> e",
             "two_1__PassThroughCalculator_1(a) -> two_1__mid", "two_1__PassThroughCalculator_2(two_1__mid) -> b",
             "two_2__PassThroughCalculator_1(c) -> two_2__mid", "two_2__PassThroughCalculator_2(two_2__mid) -> d"],
            id="other nodes come first, the contents follow in order",
        ),
        pytest.param(
            node("Outer", "IN:a", "OUT:b", 'name: "o"'),
            [TWO, 'type: "Outer" input_stream: "IN:x" output_stream: "OUT:z"'
             + node("Two", "IN:x", "OUT:y") + node("Two", "IN:y", "OUT:z", 'name: "Last"') + node(PASS, "x", "")],
            ["o__PassThroughCalculator(a) -> ",
             "o__two__PassThroughCalculator_1(a) -> o__two__mid", "o__two__PassThroughCalculator_2(o__two__mid) -> o__y",
             "o__last__PassThroughCalculator_1(o__y) -> o__last__mid", "o__last__PassThroughCalculator_2(o__last__mid) -> b"],
            id="nested subgraphs, level by level",
        ),
        pytest.param(
            node("S", "VIDEO:1:v1 AUDIO:a VIDEO:v0 plain", "OUT:o"),
            ['type: "S" input_stream: "first" input_stream: "VIDEO:0:x" input_stream: "VIDEO:1:y" input_stream: "AUDIO:z"'
             'output_stream: "OUT:0:out" output_stream: "OUT:1:more"' + node("C", "first A:x B:0:y B:1:z", "T:1:more T:0:out")],
            ["s__C(plain A:v0 B:0:v1 B:1:a) -> T:1:s__more T:0:o"],
            id="ports are joined by tag and index; an output that nobody takes keeps its inner name",
        ),
        pytest.param(
            node("S", "B:b", "O:o", 'input_side_packet: "Q:q" output_side_packet: "R:r"'),
            ['type: "S" input_stream: "A:a" input_stream: "B:b" input_side_packet: "P:p" input_side_packet: "Q:q"'
             'output_stream: "O:o" output_side_packet: "R:r"'
             + node("C", "a b X:a Y:b", "o", 'input_side_packet: "p" input_side_packet: "Z:q" output_side_packet: "r"')],
            ["s__C(b Y:b; Z:q) -> o; r"],
            id="inputs that the node leaves out are taken out inside",
        ),
        pytest.param(
            node("S", "A:a", "O:o"),
            ['type: "S" input_stream: "A:x" input_stream: "B:x" output_stream: "O:o"' + node("C", "x", "o")],
            ["s__C(a) -> o"],
            id="an input that has two ports is there if one of them is",
        ),
        pytest.param(
            node("Two", "IN:a", "OUT:b", 'name: "PassThroughCalculator"') + node(PASS, "b", "c"), [TWO],
            ["PassThroughCalculator(b) -> c",
             "passthroughcalculator_2__PassThroughCalculator_1(a) -> passthroughcalculator_2__mid",
             "passthroughcalculator_2__PassThroughCalculator_2(passthroughcalculator_2__mid) -> b"],
            id="numbers count all nodes of the name, those of calculators first",
        ),
        pytest.param(
            node(PASS, "a", "b"), [f'type: "{PASS}" input_stream: "in" output_stream: "out"' + node("C", "in", "out")],
            ["passthroughcalculator__C(a) -> b"],
            id="a subgraph comes before a calculator of the same name",
        ),
        pytest.param('type: "Two"' + node(PASS, "a", "b"), [TWO], ["PassThroughCalculator(a) -> b"],
                     id="the type of the graph itself means nothing"),
    ],
)  # fmt: skip
def test_expansion(text: str, subgraphs: list[str], expected: list[str]) -> None:
    assert nodes_of(expanded(text, *subgraphs)) == expected


def test_fields_of_the_nodes_inside_stay() -> None:
    inner = node(
        "C", "in loop", "out", 'input_stream_info { tag_index: ":1" back_edge: true } executor: "x" max_in_flight: 3'
    )
    text = 'type: "S" input_stream: "in" output_stream: "out"' + inner + node("D", "out", "loop")
    (loop, _) = expanded(node("S", "a", "b"), text).config.node
    assert [*loop.input_stream] == ["a", "s__loop"]
    assert (loop.input_stream_info[0].back_edge, loop.executor, loop.max_in_flight) == (True, "x", 3)


def test_the_graph_that_is_expanded_stays_as_it_is() -> None:
    source = read_graph(node("Two", "IN:a", "OUT:b"))
    local = local_subgraphs([TWO])
    for _ in range(2):
        assert len(expand(source, local).config.node) == 2
    assert source.config.node[0].calculator == "Two"


def test_generators_and_handlers_inside_are_taken_over() -> None:
    text = """type: "S" input_side_packet: "P:p" output_side_packet: "R:r"
    packet_generator { packet_generator: "G" input_side_packet: "p" output_side_packet: "r" output_side_packet: "own" }
    status_handler { status_handler: "H" input_side_packet: "p" }"""
    use = 'node { calculator: "S" input_side_packet: "P:x" output_side_packet: "R:y" }'
    config = expanded(use, text).config
    assert (len(config.node), [*config.packet_generator[0].output_side_packet]) == (0, ["y", "s__own"])
    assert [*config.packet_generator[0].input_side_packet] == [*config.status_handler[0].input_side_packet] == ["x"]
    problems = problems_of(use, text)
    assert problems[0].startswith("<S>:2:5: No registered object with name: G; Unable to find PacketGenerator")
    assert problems[0].endswith('; in subgraph "S" of node "S" (g:1:1)')


# ---- options


CHAIN = "options { [mediapipe.NodeChainSubgraphOptions.ext] { node_type: 'PassThroughCalculator' chain_length: %d } }"


def test_a_class_makes_the_graph_from_the_options_of_the_node() -> None:
    expansion = expanded(node("NodeChain", "INPUT:a", "OUTPUT:b", CHAIN % 2), NodeChain)
    assert nodes_of(expansion) == [
        "nodechain__PassThroughCalculator_1(a) -> nodechain__s1",
        "nodechain__PassThroughCalculator_2(nodechain__s1) -> b",
    ]


def test_option_values_pass_through_subgraphs() -> None:
    any_type = "[type.googleapis.com/mediapipe.NodeChainSubgraphOptions]"
    options = f"{any_type} {{ node_type: 'PassThroughCalculator' %s }}"
    inner = f'node_options {{ {options % ""} }} option_value: "chain_length:options/chain_length"'
    outer = (
        f'type: "Outer" input_stream: "in" output_stream: "out" graph_options {{ {options % "chain_length: 1"} }}'
        + node("NodeChain", "INPUT:in", "OUTPUT:out", inner)
    )
    text = f"graph_options {{ {options % 'chain_length: 2'} }}" + node(
        "Outer", "a", "b", f'node_options {{ {any_type} {{}} }} option_value: "OPTIONS:options"'
    )
    assert len(nodes_of(expanded(text, outer, NodeChain))) == 2
    around = f"node_options {{ {any_type} {{ chain_length: 3 }} }}"
    assert len(nodes_of(expanded(text, outer, NodeChain, outer=around))) == 3
    assert expanded(text, outer, NodeChain).config.node[0].option_value == []


def test_bad_option_values_have_a_place(tmp_path: Path) -> None:
    inside = 'type: "S" input_stream: "in" output_stream: "out"\n' + node(PASS, "in", "out", 'option_value: "a:b"')
    inner = in_file(tmp_path, "s.pbtxt", inside)
    text = 'input_stream: "a"\n' + node("S", "a", "b", 'name: "x" option_value: "cc"')
    assert problems_of(text, inner) == [
        place("g", text, '"cc"')
        + ': node "x": option_value "cc": it has to be "node path:graph path", such as "threshold:options/threshold"',
        place(inner, inside, '"a:b"')
        + ': node "x__PassThroughCalculator": option_value "a:b": Option extension not found: *; the node needs an '
        'options message of the type that is to be filled, be it an empty one; in subgraph "S" of node "x" (g:2:1)',
    ]


# ---- mistakes


ONLY_CALCULATORS = (
    'Subgraph "Two" has a field that is only applicable to calculators.; take "%s" out, or set it on the nodes'
)


@pytest.mark.parametrize(
    ("use", "problems"),
    [
        (
            node(
                "Two",
                "IN:a",
                "OUT:b",
                "source_layer: 11 input_stream_info { } buffer_size_hint: 22 output_stream_handler {}",
            ),
            [
                ("11", ONLY_CALCULATORS % "source_layer"),
                ("22", ONLY_CALCULATORS % "buffer_size_hint"),
                ("output_stream_handler", ONLY_CALCULATORS % "output_stream_handler"),
                ("input_stream_info", ONLY_CALCULATORS % "input_stream_info"),
            ],
        ),
        (
            node("Two", "INN:a", "OUT:b"),
            [('"INN:a"', 'STREAMS: Tag "INN" does not exist in the subgraph config.; did you mean "IN"?')],
        ),
        (
            node("Two", "IN:a IN:1:a", "OUT:b OUT:1:c untagged") + node(PASS, "c untagged b", "d e f"),
            [
                (
                    '"IN:1:a"',
                    'STREAMS: Tag "IN" has 2 indexes in the subgraph node but has only 1 indexes in the subgraph config.; '
                    "the ports of the subgraph are: IN",
                ),
                (
                    '"untagged"',
                    'OUTPUTS: Tag "" does not exist in the subgraph config.; the ports of the subgraph are: OUT',
                ),
                (
                    '"OUT:1:c"',
                    'OUTPUTS: Tag "OUT" has 2 indexes in the subgraph node but has only 1 indexes in the subgraph',
                ),
            ],
        ),
        (
            node("Two", "IN:a", "OUT:b", 'input_side_packet: "P:p"'),
            [('"P:p"', 'SIDES: Tag "P" does not exist in the subgraph config.; the ports of the subgraph are: none')],
        ),
        (node("Two", "IN:Bad", "OUT:b"), [('"IN:Bad"', 'STREAMS: TAG:index:name is invalid, "IN:Bad" does not match')]),
        (node("Two", "IN:1:a", "OUT:b"), [('"IN:1:a"', "STREAMS: Not all indexes were assigned names.")]),
    ],
)
def test_mistakes_of_a_subgraph_node_are_told_without_their_consequences(
    use: str, problems: list[tuple[str, str]]
) -> None:
    text = f'input_stream: "a"\n{use}'
    short = {"STREAMS": "input streams", "OUTPUTS": "output streams", "SIDES": "input side packets"}
    found = problems_of(text, TWO)
    assert len(found) == len(problems)
    for have, (part, message) in zip(found, problems, strict=True):
        for word, what in short.items():
            message = message.replace(f"{word}:", f"while processing the {what} of subgraph node Two:")
        assert have.startswith(f'{place("g", text, part)}: node "Two": {message}')


def test_mistakes_inside_name_both_places_and_all_levels(tmp_path: Path) -> None:
    inside = 'type: "Inner"\ninput_stream: "in"\n' + node("Nope", "in gone", "")
    inner = in_file(tmp_path, "inner.pbtxt", inside)
    outer = in_file(
        tmp_path, "outer.pbtxt", 'type: "Outer"\n input_stream: "in"\n' + node("Inner", "in", "", 'name: "i"')
    )
    unknown, dangling = problems_of('input_stream: "a"\n' + node("Outer", "a", ""), inner, outer)
    around = f'in subgraph "Inner" of node "outer__i" ({outer}:3:1); in subgraph "Outer" of node "Outer" (g:2:1)'
    assert unknown.startswith(f'{place(inner, inside, chr(34) + "Nope")}: node "outer__i__Nope": No registered object')
    assert unknown.endswith(around)
    assert dangling.startswith(
        f'{place(inner, inside, chr(34) + "gone")}: node "outer__i__Nope": Input Stream "outer__i__gone"'
    )
    assert dangling.endswith(around)


def test_places_of_lists_that_lost_entries(tmp_path: Path) -> None:
    text = 'type: "S"\ninput_stream: "A:a"\ninput_stream: "B:b"\n' + node("C", "a b gone", "")
    inner = in_file(tmp_path, "s.pbtxt", text)
    *_, dangling = problems_of('input_stream: "x"\n' + node("S", "B:x", ""), inner)
    assert dangling.startswith(f'{place(inner, text, chr(34) + "gone")}: node "s__C": Input Stream "s__gone"')


def test_mistakes_in_a_generated_message_are_at_the_node() -> None:
    class Generated(Subgraph):
        def get_config(self, sc: SubgraphContext) -> CalculatorGraphConfig:
            config = CalculatorGraphConfig()
            config.node.add(calculator="Nope")
            return config

    (problem,) = problems_of('\nnode { name: "x" calculator: "Generated" }', Generated)
    assert problem.startswith('g:2:1: node "x__Nope": No registered object with name: Nope')
    assert problem.endswith('; in subgraph "Generated" of node "x"')


class BadText(Subgraph):
    def get_config(self, sc: SubgraphContext) -> str:
        return 'output_stream: "OUT:o"\nnode { nam: "x" calculator: "PassThroughCalculator" } executor { nam: "y" }'


class NoText(Subgraph):
    def get_config(self, sc: SubgraphContext) -> str:
        return "node {"


class Fails(Subgraph):
    def get_config(self, sc: SubgraphContext) -> str:
        return str(1 / 0)


class NoGraph(Subgraph):
    def get_config(self, sc: SubgraphContext) -> Any:
        return 5


class Unwritten(Subgraph):
    pass


@pytest.mark.parametrize(
    ("cls", "problems"),
    [
        (NodeChain, ['g:1:20: node "NodeChain": NodeChain: NodeChain has no NodeChainSubgraphOptions']),
        (Fails, ['g:1:20: node "Fails": Fails: division by zero']),
        (NoGraph, ['g:1:20: node "NoGraph": NoGraph: a graph is given as str (text), bytes (binary), a path or a Calc']),
        (Unwritten, ['g:1:20: node "Unwritten": Unwritten: Unwritten has to define get_config(self, sc)']),
        (NoText, ['<NoText>:1:6: Expected "}"; in subgraph "NoText" of node "NoText" (g:1:1)']),
        (BadText, [
            '<BadText>:2:8: node "PassThroughCalculator": Message type "mediapipe.CalculatorGraphConfig.Node" has no field',
            '<BadText>:2:66: Message type "mediapipe.ExecutorConfig" has no field named "nam"; did you mean "name"?; '
            'in subgraph "BadText" of node "BadText" (g:1:1)',
            'g:2:58: node "PassThroughCalculator": Input Stream "o" for node with sorted index 0',  # for the node inside lacks it
        ]),
    ],
)  # fmt: skip
def test_mistakes_of_a_class(cls: type[Subgraph], problems: list[str]) -> None:
    text = node(cls.__name__, "", "OUT:o") + node(PASS, "o", "p")
    found = problems_of(text, cls)
    assert len(found) == len(problems), found
    for have, expected in zip(found, problems, strict=True):
        assert have.startswith(expected)


def test_mistakes_of_all_graphs_are_told_in_one_go() -> None:
    text = 'input_stream: "a"\nwrong: 1\n' + node("Two", "INN:a", "OUT:b") + node("Nope", "gone", "")
    found = problems_of(text, TWO)
    assert ["wrong" in found[0], "INN" in found[1], "Nope" in found[2], '"gone"' in found[3]] == [True] * 4
    assert len(found) == 4


def test_a_packet_factory_inside_is_refused() -> None:
    (problem,) = problems_of(node("S", "", ""), 'type: "S" packet_factory { packet_factory: "F" }')
    assert problem.startswith('<S>:1:11: node "S": Subgraph "S" has a packet_factory, which no subgraph can have.')


@pytest.mark.parametrize(
    ("subgraphs", "chain"),
    [
        (['type: "A"' + node("A", "", "")], '"A" -> "A"'),
        (['type: "A"' + node("B", "", ""), 'type: "B"' + node(PASS, "", "") + node("A", "", "")], '"A" -> "B" -> "A"'),
        (['type: "A"' + node("B", "", ""), 'type: "B"' + node("B", "", "")], '"B" -> "B"'),
    ],
)  # fmt: skip
def test_a_subgraph_that_contains_itself(subgraphs: list[str], chain: str) -> None:
    (problem,) = problems_of(node("A", "", ""), *subgraphs)
    assert f"Subgraph recursion: {chain}; in subgraph " in problem


class CountDown(Subgraph):
    """Contains itself with one less, down to zero (or for ever, when it starts below)."""

    def get_config(self, sc: SubgraphContext) -> str:
        left = sc.options(NodeChainSubgraphOptions).chain_length
        return node(PASS, "", "") if left == 0 else node("CountDown", "", "", CHAIN % (left - 1))


def test_a_class_may_contain_itself_if_that_ends() -> None:
    (inner,) = nodes_of(expanded(node("CountDown", "", "", CHAIN % 3), CountDown))
    assert inner.startswith("countdown__countdown__countdown__countdown__PassThroughCalculator")
    (problem,) = problems_of(node("CountDown", "", "", CHAIN % -1), CountDown)
    assert 'Subgraph recursion: "CountDown" -> "CountDown" -> ' in problem
    assert f"subgraphs may be {MAX_DEPTH} deep" in problem


def test_an_input_that_is_led_straight_to_an_output() -> None:
    through = 'type: "S" input_stream: "IN:x" output_stream: "OUT:x"' + node(PASS, "x", "y")
    use = 'input_stream: "a"' + node("S", "IN:a", "OUT:b")
    found = problems_of(use + node(PASS, "b", "c"), through)
    assert len(found) == 2
    for problem in found:
        assert (
            'the output stream "OUT:x" of subgraph "S" is made by none of its nodes; put a PassThroughCalculator'
            in problem
        )


# ---- what has no effect


IN_SUBGRAPH = """num_threads: 11 max_queue_size: 22 report_deadlock: true package: "p" input_stream_handler { }
output_stream_handler { } executor { name: "e" } profiler_config { } runtime_info { }"""


@pytest.mark.parametrize(
    ("text", "subgraph_text", "warnings"),
    [
        (
            node("Two", "IN:a", "OUT:b", 'executor: "x" max_in_flight: 22 input_stream_handler { }'),
            TWO,
            [
                ("input_stream_handler", '"input_stream_handler" has no effect on a subgraph node; set it on the nodes inside'),
                ('"x"', '"executor" has no effect on a subgraph node; set it on the nodes inside the subgraph'),
                ("22", '"max_in_flight" has no effect on a subgraph node; set it on the nodes inside the subgraph'),
            ],
        ),
        (
            node("Two", "IN:a", "OUT:b"),
            TWO + IN_SUBGRAPH,
            [
                ("11", '"num_threads" has no effect in a subgraph; set it in the graph that uses the subgraph; '
                 'in subgraph "Two" of node "Two" (g:1:1)'),
                ("22", '"max_queue_size" has no effect in a subgraph'),
                ("input_stream_handler", '"input_stream_handler" has no effect in a subgraph; set it on the nodes'),
                ("output_stream_handler", '"output_stream_handler" has no effect in a subgraph; set it on the nodes'),
                ("executor", '"executor" has no effect in a subgraph; set it in the graph that uses the subgraph; nodes keep'),
                ("profiler_config", '"profiler_config" has no effect in a subgraph'),
                ('"p"', '"package" has no effect in a subgraph; names are looked up in the package of the graph that uses'),
                ("true", '"report_deadlock" has no effect in a subgraph'),
                ("runtime_info", '"runtime_info" has no effect in a subgraph'),
            ],
        ),
        (
            node("S", "IN:a", "OUT:b"),
            'type: "S" input_stream: "IN:i" output_stream: "OUT:o"',
            [('"OUT:o"', 'the output stream "OUT:o" of subgraph "S" is made by none of its nodes; in subgraph "S"')],
        ),
        (
            'output_stream_handler { } packet_factory { }' + node(PASS, "", "", 'external_input: "p" profiler_config {}'),
            TWO,
            [
                ("packet_factory", '"packet_factory" has no effect in a graph'),
                ("output_stream_handler", '"output_stream_handler" has no effect in a graph; set it on the nodes'),
                ("profiler_config", '"profiler_config" has no effect on a node'),
                ('"p"', '"external_input" has no effect on a node; write input_side_packet'),
            ],
        ),
    ],
)  # fmt: skip
def test_what_mediapipe_drops_without_a_word_is_warned_of(
    text: str, subgraph_text: str, warnings: list[tuple[str, str]]
) -> None:
    found = expanded(text, subgraph_text).warnings
    assert len(found) == len(warnings), found
    for have, (part, message) in zip(found, warnings, strict=True):
        label, whole = ("g", text) if part in text else (str(have.place).partition(":")[0], subgraph_text)
        assert str(have.place) == place(label, whole, part)
        assert f"{have.message}; {have.hint}".startswith(message)


def test_the_package_of_the_graph_itself_is_no_surprise_in_a_subgraph() -> None:
    assert expanded('package: "p"' + node("Two", "IN:a", "OUT:b"), TWO + 'package: "p"').warnings == []


def test_the_validator_passes_the_warnings_on() -> None:
    text = 'input_stream: "a"' + node("Two", "IN:a", "OUT:b", "max_in_flight: 2")
    (warning,) = Validator(read_graph(text), subgraphs=local_subgraphs([TWO])).warnings
    assert "max_in_flight" in warning.message


# ---- registration


def test_graphs_come_as_text_file_bytes_or_message(tmp_path: Path) -> None:
    config = parse_graph_config(TWO)
    sources: list[Source] = [TWO, in_file(tmp_path, "two.pbtxt", TWO), config.SerializeToString(), config]
    for source in sources:
        assert register_graph(source) == "Two"
        assert [*local_subgraphs([source])] == ["Two"]
    assert known_subgraphs() == ["Two"]
    assert register_graph(TWO, name="Pair") == "Pair"
    assert find_subgraph("Pair") is not None


def test_a_graph_needs_a_name() -> None:
    for call in (register_graph, lambda source: local_subgraphs([source])):
        with pytest.raises(InvalidArgumentError, match='write type: "Name" in it'):
            call('input_stream: "a"')
    assert [*local_subgraphs({"Other": 'input_stream: "a"', "Chain": NodeChain})] == ["Other", "Chain"]


def test_names_are_given_once() -> None:
    register_graph(TWO)
    register_graph(TWO)
    with pytest.raises(
        AlreadyExistsError, match='"Two" is registered already, by the graph <Two>; the graph <string>|<Two>'
    ):
        register_graph('type: "Two"')
    with pytest.raises(AlreadyExistsError, match="needs another name"):
        register_subgraph("Two")(NodeChain)
    register_subgraph(NodeChain)
    register_subgraph(NodeChain)
    with pytest.raises(AlreadyExistsError, match="NodeChain"):
        register_subgraph("NodeChain")(CountDown)
    with pytest.raises(AlreadyExistsError, match='two subgraphs have the name "Two"'):
        local_subgraphs([TWO, 'type: "Two"'])
    assert known_subgraphs() == ["NodeChain", "Two"]


def test_files_that_are_no_graphs_are_all_told_at_once(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pbtxt"
    broken.write_text('type: "Broken"\nnode }')
    with pytest.raises(GraphError, match="Failed to parse") as info:
        Plan('input_stream "in"', file="top.pbtxt", subgraphs=[broken, TWO, 'type "Other"', tmp_path / "absent.pbtxt"])
    assert [problem.place for problem in info.value.problems] == [
        "top.pbtxt:1:14",
        f"{broken}:2:6",
        "<subgraphs[2]>:1:6",
        str(tmp_path / "absent.pbtxt"),
    ]
    assert f"The path does not exist: {tmp_path / 'absent.pbtxt'}" in str(info.value)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="takes a subclass of Subgraph"):
        register_subgraph("X")(int)  # type: ignore[type-var]  # that is what is tested
    with pytest.raises(InvalidArgumentError, match=r"int is no subclass of graph_runtime.Subgraph"):
        local_subgraphs([int])  # type: ignore[list-item]  # that is what is tested
    with pytest.raises(InvalidArgumentError, match="not int"):
        local_subgraphs([5])  # type: ignore[list-item]  # that is what is tested


def test_a_local_subgraph_comes_before_a_registered_one() -> None:
    register_graph('type: "S"' + node("Global", "", ""))
    assert nodes_of(expanded(node("S", "", ""))) == ["s__Global() -> "]
    assert nodes_of(expanded(node("S", "", ""), 'type: "S"' + node("Local", "", ""))) == ["s__Local() -> "]


@pytest.mark.parametrize(
    ("package", "calculator", "found"),
    [
        ("", "S", "top"),
        ("a", "S", "a"),
        ("a.b", "S", "a.b"),
        ("a.b.c", "S", "a.b"),
        ("x.y", "S", "top"),
        ("a.b", ".S", "top"),
        ("", "a.S", "a"),
        ("a", "b.S", "a.b"),
    ],
)
def test_names_are_looked_up_from_the_package_outwards(package: str, calculator: str, found: str) -> None:
    for name in ("S", "a.S", "a.b.S"):
        register_graph(f'node {{ name: "{name.removesuffix(".S").replace("S", "top")}" calculator: "C" }}', name=name)
    (only,) = expanded(f'package: "{package}"' + node(calculator, "", "")).config.node
    assert only.name.endswith(f"__{found}")


def test_plug_ins_bring_subgraphs(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points = {
        "Chain": f"{__name__}:NodeChain",
        "Two": f"{__name__}:TWO",
        "Gone": "graph_runtime:nothing_of_this_name",
        "Int": "builtins:int",
    }
    monkeypatch.setitem(
        __import__("sys").modules, __name__, __import__("types").SimpleNamespace(NodeChain=NodeChain, TWO=TWO)
    )
    monkeypatch.setattr(
        subgraph, "_plug_ins", {name: EntryPoint(name, value, "g") for name, value in entry_points.items()}
    )
    assert known_subgraphs() == ["Chain", "Gone", "Int", "Two"]
    assert len(nodes_of(expanded(node("Two", "IN:a", "OUT:b") + node("Chain", "INPUT:b", "OUTPUT:c", CHAIN % 2)))) == 4
    for name in ("Gone", "Int"):
        problem, _ = problems_of(node(name, "", ""))
        assert (
            f'node "{name}": Subgraph "{name}" comes from the plug-in {entry_points[name]}, which cannot be used'
            in problem
        )
        with pytest.raises(GraphError) as caught:
            find_subgraph(name)
        assert caught.value.code == StatusCode.FAILED_PRECONDITION


# ---- running


def run(plan: Plan, feed: Callable[[CalculatorGraph], None], *streams: str) -> list[tuple[str, int, Any]]:
    graph = CalculatorGraph(plan)
    got: list[tuple[str, int, Any]] = []
    for stream in streams:
        graph.observe_output_stream(
            stream, lambda name, packet: got.append((name, int(packet.timestamp), packet.value))
        )
    graph.start_run()
    feed(graph)
    graph.close()
    return got


def test_packets_go_through_nested_subgraphs() -> None:
    register_graph(TWO)
    register_subgraph(NodeChain)
    register_graph(
        'type: "Outer" input_stream: "x" output_stream: "z"'
        + node("NodeChain", "INPUT:y", "OUTPUT:z", CHAIN % 3)
        + node("Two", "IN:x", "OUT:y")
    )
    plan = Plan('input_stream: "a" output_stream: "b"' + node("Outer", "a", "b"), file="g")

    def feed(graph: CalculatorGraph) -> None:
        for timestamp in (1, 2):
            graph.add_packet_to_input_stream("a", Packet("v").at(timestamp))

    got = run(plan, feed, "b", "outer__y")
    assert sorted(got) == [("b", 1, "v"), ("b", 2, "v"), ("outer__y", 1, "v"), ("outer__y", 2, "v")]
    assert [each.name for each in plan.nodes][:2] == [f"outer__two__{PASS}_1", f"outer__two__{PASS}_2"]


@register_calculator
class CountDownLater(Calculator):
    """Sends one less, one microsecond later, until nothing is left."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        cc.inputs[0].set(int)
        cc.outputs[0].set(int)

    def process(self, cc: CalculatorContext) -> None:
        if cc.inputs[0].value > 0:
            cc.outputs[0].add(cc.inputs[0].value - 1, cc.input_timestamp + 1)


def test_a_loop_inside_a_subgraph_runs() -> None:
    register_graph("""type: "Loop" input_stream: "IN:in" output_stream: "OUT:merged"
    node { calculator: "Merge" input_stream: "in" input_stream: "back" output_stream: "merged"
           input_stream_info { tag_index: ":1" back_edge: true }
           input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" } }
    node { calculator: "CountDownLater" input_stream: "merged" output_stream: "back" }""")
    plan = Plan('input_stream: "a"' + node("Loop", "IN:a", "OUT:b"))

    def feed(graph: CalculatorGraph) -> None:
        graph.add_packet_to_input_stream("a", Packet(3).at(0))

    assert run(plan, feed, "b") == [("b", 0, 3), ("b", 1, 2), ("b", 2, 1), ("b", 3, 0)]
