"""Validation: each problem is found, with its place, its node and MediaPipe's key phrase; all of them in one go."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_runtime import GraphError, Plan, StatusCode, find_calculator

GRAPH = "g.pbtxt"
TWO_THREADS = "[mediapipe.ThreadPoolExecutorOptions.ext] { num_threads: 2 }"


def problems(text: str) -> list[str]:
    with pytest.raises(GraphError) as info:
        Plan(text, file=GRAPH)
    return [str(problem) for problem in info.value.problems]


def code(text: str) -> StatusCode:
    with pytest.raises(GraphError) as info:
        Plan(text, file=GRAPH)
    return info.value.code


PASS = 'node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }'


def test_an_unknown_calculator_has_a_place_and_a_suggestion() -> None:
    text = 'input_stream: "in"\nnode { name: "x"\n  calculator: "PassThruCalculator" input_stream: "in" }'
    (problem,) = problems(text)
    assert problem.startswith('g.pbtxt:3:15: node "x": No registered object with name: PassThruCalculator')
    assert 'Unable to find Calculator "PassThruCalculator"; did you mean "PassThroughCalculator"?' in problem
    assert code(text) == StatusCode.NOT_FOUND


def test_names_that_share_no_more_than_an_ending_are_no_suggestion() -> None:
    (problem,) = problems('node { calculator: "InferenceCalculator" }')
    assert problem.endswith('Unable to find Calculator "InferenceCalculator"')


def test_a_slip_in_the_name_of_a_subgraph_has_a_suggestion() -> None:
    twice = 'type: "Twice" input_stream: "a" output_stream: "b" ' + PASS.replace('"in"', '"a"').replace('"out"', '"b"')
    with pytest.raises(GraphError, match='Unable to find Calculator "Twise"; did you mean "Twice"?'):
        Plan('input_stream: "in"' + PASS.replace("PassThroughCalculator", "Twise"), subgraphs=[twice])


@pytest.mark.parametrize(
    ("ports", "place", "hint"),
    [
        ('input_stream: "in" input_stream: "ALOW:a"', '"ALOW', 'did you mean "ALLOW"?'),
        ('input_stream: "in" input_stream: "ALLOW:a" input_stream: "X:a"', '"X', "the calculator's input streams are: :0, ALLOW,"),
        ('input_stream: "in" input_stream: "ALLOW:a" output_stream: "STATE_CHANG:s"', '"STATE_C', 'did you mean "STATE_CHANGE"?'),
    ],
)  # fmt: skip
def test_a_port_that_the_calculator_does_not_have_is_found_where_it_stands(ports: str, place: str, hint: str) -> None:
    text = f'input_stream: "in" input_stream: "a" node {{ calculator: "GateCalculator" output_stream: "o" {ports} }}'
    (problem,) = problems(text)
    assert problem.startswith(f"g.pbtxt:1:{text.index(place) + 1}: ")
    assert "was not expected.; " + hint in problem


def test_a_port_that_the_calculator_needs_is_named_where_it_is_missing() -> None:
    (problem,) = problems('input_stream: "in" node { calculator: "ValueOrDefaultCalculator" input_stream: "IN:in" }')
    assert 'Failed to get tag "TICK" index 0' in problem
    assert "the calculator's input streams are: IN, TICK" in problem


UNKNOWN_OPTIONS = "options { [mediapipe.NobodysOptions.ext] { allow: true } }"


def test_unknown_options_hide_no_other_problem_and_bring_no_others() -> None:
    """The option_value, the contract that wants options, and the loop over them would all be right, were the type known."""
    text = f"""
        input_stream: "in"
        options {{ [mediapipe.NobodysGraphOptions.ext] {{ allow: true }} }}
        node {{
          calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:p" {UNKNOWN_OPTIONS}
          option_value: "packet:options/packet" }}
        node {{ calculator: "GateCalculator" input_stream: "in" output_stream: "gated" option_value: "allow:options/allow" }}
        node {{ calculator: "NobodysCalculator" input_stream: "gated" {UNKNOWN_OPTIONS} }}
        node {{ calculator: "PassThroughCalculator" input_stream: "in" input_stream: "gated" output_stream: "p"
               {UNKNOWN_OPTIONS} }}
        node {{ calculator: "PassThroughCalculator" input_stream: "lost" output_stream: "q" }}"""
    found = [(problem.partition(": ")[0], problem.partition("; ")[0]) for problem in problems(text)]
    assert [place for place, _ in found] == [
        f"g.pbtxt:{at}" for at in ("3:19", "5:95", "8:80", "10:26", "8:28", "9:28", "11:66")
    ]
    assert [phrase in text for (_, text), phrase in zip(found, [*["is not defined or is not an extension"] * 4,
        "No registered object with name: NobodysCalculator", "must use matching tags and indexes", '"lost"'], strict=True)
    ] == [True] * 7  # fmt: skip


def test_problems_of_subgraph_files_and_of_the_graph_that_uses_them_are_told_together(tmp_path: Path) -> None:
    inner = tmp_path / "inner.pbtxt"
    inner.write_text(
        f'type: "Inner" input_stream: "IN:a" output_stream: "OUT:b"\n'
        f'node {{ calculator: "NobodysCalculator" input_stream: "a" output_stream: "b" {UNKNOWN_OPTIONS} }}'
    )
    other = tmp_path / "other.pbtxt"
    other.write_text('type: "Other"\nnope: 1')
    with pytest.raises(GraphError) as info:
        Plan('node { calculator: "Inner" output_stream: "OUT:x" nope: 2 }', file=GRAPH, subgraphs=[inner, other])
    places = [problem.place or "" for problem in info.value.problems]
    assert [place.removeprefix(f"{tmp_path}/") for place in places] == [
        "g.pbtxt:1:51", "inner.pbtxt:2:87", "other.pbtxt:2:1", "inner.pbtxt:2:20",
    ]  # fmt: skip


def test_a_dangling_stream_names_the_streams_there_are() -> None:
    text = f'input_stream: "in"\n{PASS}\nnode {{ calculator: "PassThroughCalculator" input_stream: "aut" output_stream: "z" }}'
    (problem,) = problems(text)
    assert problem.startswith(
        'g.pbtxt:3:58: node "PassThroughCalculator_2": Input Stream "aut" for node with sorted index 1'
    )
    assert problem.endswith('does not have a corresponding output stream.; did you mean "out"?')
    assert code(text) == StatusCode.UNKNOWN


def test_two_producers_of_one_stream() -> None:
    (problem,) = problems(f'input_stream: "in"\n{PASS}\n{PASS}')
    assert 'g.pbtxt:3:78: node "PassThroughCalculator_2": Output Stream "out" defined twice.' in problem
    (problem,) = problems(
        'input_stream: "in"\nnode { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "in" }'
    )
    assert 'Output Stream "in" defined twice.; it is an input of the graph too' in problem
    (problem,) = problems(f'input_stream: "in"\ninput_stream: "A:in"\n{PASS}')
    assert problem.startswith("g.pbtxt:2:15: ")


def test_all_problems_are_told_at_once_and_the_first_stage_gives_the_code() -> None:
    text = """input_stream: "in"
    node { calculator: "Nope" input_stream: "in" output_stream: "a" }
    node { calculator: "Nada" input_stream: "gone" output_stream: "a" }"""
    found = problems(text)
    assert len(found) == 4
    assert ["Nope" in found[0], "Nada" in found[1], '"a" defined twice' in found[2], '"gone"' in found[3]] == [True] * 4
    assert code(text) == StatusCode.NOT_FOUND


UNKNOWN_NODE = 'node { calculator: "Nope" }'
BAD_TAG = 'node { calculator: "Merge" input_stream: "T:1:in" output_stream: "out" }'
BAD_INFO = 'node { calculator: "Merge" input_stream: "in" output_stream: "o1" input_stream_info { tag_index: "X" } }'
TWO_OPTIONS = """node { calculator: "Merge" input_stream: "in" output_stream: "o2"
    node_options { [type.googleapis.com/mediapipe.GateCalculatorOptions] {} }
    node_options { [type.googleapis.com/mediapipe.GateCalculatorOptions] {} } }"""
LOOP = """node { calculator: "Merge" input_stream: "l1" output_stream: "l2" }
    node { calculator: "Merge" input_stream: "l2" output_stream: "l1" }"""
DANGLING = 'node { calculator: "Merge" input_stream: "gone" output_stream: "o3" }'
DANGLING_BACK = """node { calculator: "Merge" input_stream: "gone" output_stream: "o4"
    input_stream_info { tag_index: "" back_edge: true } }"""
NO_HANDLER = """node { calculator: "Merge" input_stream: "in" output_stream: "o5"
    input_stream_handler { input_stream_handler: "Nope" } }"""
NO_EXECUTOR = 'node { calculator: "Merge" input_stream: "in" output_stream: "o6" executor: "nope" }'
NO_GENERATOR = 'packet_generator { packet_generator: "Gen" }'


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        # What is wrong with nodes counts together: one code where all have it.
        (UNKNOWN_NODE, UNKNOWN_NODE, StatusCode.NOT_FOUND),
        (BAD_INFO, BAD_INFO, StatusCode.INVALID_ARGUMENT),
        (TWO_OPTIONS, TWO_OPTIONS, StatusCode.INTERNAL),
        (UNKNOWN_NODE, BAD_INFO, StatusCode.UNKNOWN),
        (TWO_OPTIONS, BAD_INFO, StatusCode.UNKNOWN),
        (BAD_TAG, UNKNOWN_NODE, StatusCode.UNKNOWN),
        (NO_HANDLER, NO_HANDLER.replace('"o5"', '"o7"'), StatusCode.NOT_FOUND),
        # Otherwise the first problem of the first stage counts.
        ("num_threads: 2 executor {}", UNKNOWN_NODE, StatusCode.INVALID_ARGUMENT),
        (NO_GENERATOR, TWO_OPTIONS, StatusCode.NOT_FOUND),
        (UNKNOWN_NODE, 'input_stream: "A"', StatusCode.NOT_FOUND),
        (UNKNOWN_NODE, f"{PASS} {PASS}", StatusCode.NOT_FOUND),
        (f"{PASS} {PASS}", 'output_stream: "A"', StatusCode.UNKNOWN),
        ('input_stream: "A"', f"{PASS} {PASS}", StatusCode.INVALID_ARGUMENT),
        (LOOP, DANGLING_BACK, StatusCode.UNKNOWN),
        (DANGLING, DANGLING_BACK, StatusCode.UNKNOWN),
        (DANGLING_BACK, 'executor { name: "gpu" }', StatusCode.INTERNAL),
        (f"{PASS} {PASS}", 'executor { name: "gpu" }', StatusCode.UNKNOWN),
        (NO_EXECUTOR, 'executor { name: "x" type: "Nope" }', StatusCode.INVALID_ARGUMENT),
        (NO_EXECUTOR, NO_HANDLER, StatusCode.INVALID_ARGUMENT),
        ('executor { name: "gpu" }', 'executor { name: "gpu" type: "Nope" }', StatusCode.INVALID_ARGUMENT),
        ('executor { name: "x" type: "Nope" }', NO_HANDLER, StatusCode.NOT_FOUND),
        ('executor { name: "x" } executor { type: "Nope" }', "", StatusCode.INVALID_ARGUMENT),
    ],
)  # fmt: skip
def test_the_order_of_stages_decides_on_the_code(first: str, then: str, expected: StatusCode) -> None:
    assert code(f'input_stream: "in" {first} {then}') == expected
    if not first.startswith("executor"):  # these are looked at in the order in which they stand
        assert code(f'input_stream: "in" {then} {first}') == expected


def test_the_heading_is_that_of_the_first_stage() -> None:
    with pytest.raises(GraphError, match=r"^CalculatorGraph::InitializeCalculatorNodes failed:\n"):
        Plan(f'input_stream: "in" {NO_HANDLER}')
    with pytest.raises(GraphError, match=r"^ValidatedGraphConfig Initialization failed\.\n"):
        Plan(f'input_stream: "in" {NO_HANDLER} {UNKNOWN_NODE}')


def test_the_contract_of_a_node_that_cannot_be_read_is_not_asked() -> None:
    (problem,) = problems('node { calculator: "PassThroughCalculator" input_stream: "A" output_stream: "T:b" }')
    assert "Unable to initialize TagMaps" in problem


def test_options_of_one_type_may_stand_in_a_node_once() -> None:
    (problem,) = problems(f'input_stream: "in"\n{TWO_OPTIONS}')
    assert problem.startswith("g.pbtxt:4:5: ")
    assert "Options type: 'type.googleapis.com/mediapipe.GateCalculatorOptions' specified more than once" in problem


def test_a_port_that_the_contract_does_not_know() -> None:
    text = """input_stream: "in" input_side_packet: "n"
    node { calculator: "CountTo" input_stream: "X:in" output_stream: "o" input_side_packet: "N:n" }"""
    (problem,) = problems(text)
    assert (
        'CountTo::GetContract failed to validate: For input streams ValidatePacketTypeSet failed: Tag "X" index 0'
        in problem
    )


def test_a_missing_port_of_the_contract() -> None:
    (problem,) = problems('node { calculator: "CountTo" output_stream: "o" }')
    assert 'For input side packets ValidatePacketTypeSet failed: Failed to get tag "N" index 0' in problem


def test_types_of_streams_and_side_packets_have_to_fit() -> None:
    text = """input_side_packet: "n"
    node { calculator: "CountTo" output_stream: "o" input_side_packet: "N:n" }
    node { calculator: "MakeSidePacket" input_side_packet: "n" output_side_packet: "m" }
    node { name: "c" calculator: "CollectCalls" input_stream: "o" input_side_packet: "LOG:m" }"""
    (problem,) = problems(text)
    assert (
        'node "c": Input side packet "m" of Calculator "c" expected a packet of type "list" '
        'but the connected output side packet will be of type "int"' in problem
    )


def test_an_exception_in_a_contract_keeps_its_class_and_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cls: object, cc: object) -> None:
        raise MemoryError

    monkeypatch.setattr(find_calculator("Merge"), "get_contract", classmethod(fail))
    with pytest.raises(GraphError, match="Merge: MemoryError") as info:
        Plan('input_stream: "in" node { calculator: "Merge" input_stream: "in" output_stream: "out" }')
    assert isinstance(info.value.__cause__, MemoryError)


def test_a_cycle_needs_a_back_edge() -> None:
    loop = """input_stream: "in"
    node { name: "one" calculator: "Merge" input_stream: "in" input_stream: "two" output_stream: "one" %s }
    node { name: "two" calculator: "PassThroughCalculator" input_stream: "one" output_stream: "two" }"""
    (problem,) = problems(loop % "")
    assert "calculator stream cycle detected in graph: [" in problem
    assert "back_edge: true" in problem
    Plan(loop % 'input_stream_info { tag_index: ":1" back_edge: true }')


def test_a_cycle_begins_with_its_first_node_that_cannot_be_sorted() -> None:
    nodes = {
        "tail": ("d", "e"), "c": ("c", "d"), "a": ("d h", "b"), "b": ("b", "c"), "head": ("in", "h"),
    }  # fmt: skip
    text = 'input_stream: "in"' + "".join(
        f'node {{ name: "{name}" calculator: "Merge" output_stream: "{output}" '
        + "".join(f'input_stream: "{each}" ' for each in inputs.split())
        + "}"
        for name, (inputs, output) in nodes.items()
    )
    (problem,) = problems(text)
    assert "detected in graph: [c, a, b]" in problem


def test_problems_name_nodes_in_the_order_that_was_written() -> None:
    text = f"""input_stream: "in"
    node {{ calculator: "PassThroughCalculator" input_stream: "out" output_stream: "x" }}
    node {{ calculator: "PassThroughCalculator" input_stream: "gone" output_stream: "y" }}
    {PASS}"""
    (problem,) = problems(text)
    assert 'node "PassThroughCalculator_2": Input Stream "gone" for node with sorted index 0' in problem
    plan = Plan(text.replace("gone", "in"))
    assert [(node.name, plan.streams[node.output_streams[0]].name) for node in plan.nodes] == [
        ("PassThroughCalculator_1", "y"), ("PassThroughCalculator_2", "out"), ("PassThroughCalculator_3", "x"),
    ]  # fmt: skip


def test_a_self_loop_needs_a_back_edge() -> None:
    text = (
        'input_stream: "in" node { calculator: "Merge" input_stream: "in" input_stream: "out" output_stream: "out" %s }'
    )
    assert "cycle detected in graph: [Merge]" in problems(text % "")[0]
    Plan(text % 'input_stream_info { tag_index: ":1" back_edge: true }')


def test_input_stream_info_has_to_name_an_input() -> None:
    text = 'input_stream: "in"\nnode {{ calculator: "Merge" input_stream: "in" output_stream: "out"\n{} }}'
    (problem,) = problems(text.format('input_stream_info { tag_index: "FOO" }'))
    assert problem.startswith("g.pbtxt:3:32: ")
    assert 'tag_index "FOO" requested in InputStreamInfo but is not an input stream' in problem
    (problem,) = problems(text.format('input_stream_info { tag_index: "" } input_stream_info { tag_index: ":0" }'))
    assert "more than one InputStreamInfo" in problem


def test_a_back_edge_without_producer() -> None:
    text = """input_stream: "in"
    node { calculator: "Merge" input_stream: "in" input_stream: "z" output_stream: "out"
           input_stream_info { tag_index: ":1" back_edge: true } }"""
    assert 'Unable to find upstream edge for back edge "z"' in problems(text)[0]
    assert code(text) == StatusCode.INTERNAL


@pytest.mark.parametrize("bad", ['input_stream: "Aa"', 'output_stream: "a b"'])
def test_bad_names_in_graph_lists(bad: str) -> None:
    (problem,) = problems(bad)
    assert "TAG:index:name is invalid" in problem
    assert code(bad) == StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("field", ["input_side_packet", "output_side_packet"])
def test_bad_names_of_the_graphs_own_side_packets_are_warnings(field: str) -> None:
    (warning,) = Plan(f'{field}: "fine"\n{field}: ":0:x"', file=GRAPH).warnings
    assert str(warning).startswith("g.pbtxt:2:")
    assert "TAG:index:name is invalid" in str(warning)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ("T:1:x", 'Not all indexes were assigned names.  Tag "T"'),
        ("T:x T:x", 'tag "T" index 0 already had a name "x"'),
        ("X", "TAG:index:name is invalid"),
        ("T:10001:x", "above 10000"),
    ],
)
def test_bad_names_in_a_node_have_code_unknown(entry: str, text: str) -> None:
    inputs = " ".join(f'input_stream: "{each}"' for each in entry.split())
    graph = f'input_stream: "in"\nnode {{ calculator: "Merge" input_stream: "in" {inputs} output_stream: "out" }}'
    (problem,) = problems(graph)
    assert "Unable to initialize TagMaps for node. " in problem
    assert text in problem
    assert code(graph) == StatusCode.UNKNOWN


def test_what_this_version_cannot_do_is_refused_not_ignored() -> None:
    (problem,) = problems(f'packet_generator {{ packet_generator: "Gen" }}\ninput_stream: "in"\n{PASS}')
    assert problem.startswith(
        'g.pbtxt:1:1: No registered object with name: Gen; Unable to find PacketGenerator "Gen"; packet_'
    )
    (problem,) = problems('input_stream: "in" input_stream_handler { input_stream_handler: "Nope" }\n' + PASS)
    assert '"Nope" is not a registered input stream handler.; there are: BarrierInputStreamHandler, Default' in problem


def test_the_graphs_input_stream_handler_is_copied_to_nodes_without_one() -> None:
    node = 'node { calculator: "Merge" input_stream: "in" output_stream: "o%d" %s }\n'
    own = 'input_stream_handler { input_stream_handler: "BarrierInputStreamHandler" }'
    nodes = node % (1, "") + node % (2, own) + node % (3, "input_stream_handler {}")
    plan = Plan(
        'input_stream: "in" input_stream_handler { input_stream_handler: "ImmediateInputStreamHandler" }' + nodes
    )
    assert [each.handler.__name__ for each in plan.nodes] == [
        "ImmediateInputStreamHandler", "BarrierInputStreamHandler", "DefaultInputStreamHandler",
    ]  # fmt: skip
    assert [each.input_stream_handler.input_stream_handler for each in plan.config.node] == [
        "ImmediateInputStreamHandler", "BarrierInputStreamHandler", "DefaultInputStreamHandler",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["input", "output"])
def test_stream_handlers_that_cannot_be(kind: str) -> None:
    text = (
        'input_stream: "in"\nnode { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out"\n%s }'
    )
    for name, message, status in (
        (
            "a.B",
            f'No registered object with name: a::B; "a.B" is not a registered {kind} stream handler.',
            StatusCode.NOT_FOUND,
        ),
        ("", f"The name of the {kind} stream handler is empty.", StatusCode.INTERNAL),
    ):
        graph = text % f'{kind}_stream_handler {{ {kind}_stream_handler: "{name}" }}'
        (problem,) = problems(graph)
        assert message in problem
        assert problem.startswith("g.pbtxt:3:1: ")
        assert code(graph) == status


def test_the_ports_of_a_packet_generator_are_read() -> None:
    found = problems('packet_generator { packet_generator: "a.G" input_side_packet: "A" }')
    assert "NodeTypeInfo Initialization failed. TAG:index:name is invalid" in found[0]
    assert "No registered object with name: a::G" in found[1]


def test_unused_and_unknown_graph_outputs_are_accepted_with_a_warning() -> None:
    plan = Plan(f'input_stream: "in" input_stream: "unused"\noutput_stream: "outt" {PASS}', file=GRAPH)
    assert [str(warning) for warning in plan.warnings] == [
        'g.pbtxt:2:16: the graph\'s output stream "outt" is made by no node; did you mean "out"?'
    ]
    assert plan.graph_inputs == (("", 0, "in"), ("", 1, "unused"))
    assert plan.graph_outputs == (("", 0, "outt"),)


EXTRA = f'input_stream: "in"\n{PASS[:-1]}output_side_packet: "T:extra" }}'.replace("PassThroughCalculator", "Merge")


def test_a_side_packet_output_that_the_calculator_does_not_declare_is_accepted_with_a_warning() -> None:
    plan = Plan(EXTRA, file=GRAPH)
    assert [str(warning) for warning in plan.warnings] == [
        'g.pbtxt:2:88: node "Merge": the output side packet "extra" is never made: '
        'Merge declares no output side packet with tag "T" and index 0'
    ]


@pytest.mark.parametrize(
    "consumer",
    [
        pytest.param('calculator: "PassThroughCalculator" input_side_packet: "extra"', id="any type"),
        pytest.param('calculator: "CountTo" input_side_packet: "N:extra" output_stream: "n"', id="int"),
    ],
)
def test_a_side_packet_that_the_calculator_does_not_declare_fits_no_consumer(consumer: str) -> None:
    text = f"{EXTRA} node {{ {consumer} }}"
    (problem,) = problems(text)
    assert 'but the connected output side packet will be of type "[Undefined Type]"' in problem
    assert code(text) == StatusCode.UNKNOWN


def test_canonical_names_number_nodes_that_share_one() -> None:
    text = 'input_stream: "in"' + "".join(
        f'node {{ calculator: "PassThroughCalculator" input_stream: "in" output_stream: "o{i}" }}' for i in range(2)
    )
    assert [node.name for node in Plan(text).nodes] == ["PassThroughCalculator_1", "PassThroughCalculator_2"]


def test_two_thousand_nodes_validate_and_sort() -> None:
    nodes = [
        f'node {{ calculator: "PassThroughCalculator" input_stream: "s{i}" output_stream: "s{i + 1}" }}'
        for i in range(2000)
    ]
    plan = Plan('input_stream: "s0"' + "".join(reversed(nodes)))
    assert [plan.streams[node.input_streams[0]].name for node in plan.nodes] == [f"s{i}" for i in range(2000)]


def test_a_plan_from_text_config_is_the_same_graph() -> None:
    from graph_runtime import CalculatorGraph

    first = CalculatorGraph(graph_config=f'input_stream: "in" {PASS}')
    again = CalculatorGraph(graph_config=first.text_config)
    assert again.binary_config == first.binary_config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'executor {{ name: "gpu" type: "ThreadPoolExecutor" options {{ {TWO_THREADS} }} }}',
            '"gpu" is a reserved executor name.',
        ),
        ("executor {} executor {}", "ExecutorConfig for the default executor is duplicate."),
        ("executor {} num_threads: 2", "and the graph-level num_threads field should not both be specified."),
        ('executor { name: "x" }', "must be provided to the graph with a CalculatorGraph::SetExecutor() call."),
        ('executor { name: "x" }', 'CalculatorGraph(..., executors={"x": submit}), or type: "ThreadPoolExecutor"'),
        ('executor { name: "x" type: "Foo" }', "No registered object with name: Foo"),
        ('executor { name: "x" type: "a.Foo" }', "No registered object with name: a::Foo"),
        ('executor { name: "x" type: "ThreadPoolExecutor" }', "num_threads is not specified"),
        ("num_threads: -3", "should be positive but is -3"),
    ],
)
def test_executors_that_cannot_be(text: str, message: str) -> None:
    (problem,) = problems(f'{text}\ninput_stream: "in"\n{PASS}')
    assert message in problem
    assert problem.startswith("g.pbtxt:1:")


def test_a_nodes_executor_has_to_be_declared() -> None:
    declared = f'executor {{ name: "io" type: "ThreadPoolExecutor" options {{ {TWO_THREADS} }} }}'
    node = 'node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" executor: "%s" }'
    Plan(f'input_stream: "in" {declared} {node % "io"}')
    (problem,) = problems(f'input_stream: "in" {declared} {node % "ioo"}')
    assert 'The executor "ioo" is not declared in an ExecutorConfig.; did you mean "io"?' in problem


@pytest.mark.parametrize(
    ("handler", "options", "message"),
    [
        ("SyncSet", 'sync_set { tag_index: "X" }', 'names "X"'),
        ("TimestampAlign", "", "timestamp_base_tag_index is missing"),
        ("Default", "batch_size: 0", "batch_size"),
        ("FixedSize", "target_queue_size: 9", "target_queue_size"),
    ],
)
def test_bad_handler_options_are_validation_errors(handler: str, options: str, message: str) -> None:
    name = f"{handler}InputStreamHandler"
    node = 'node { calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out"'
    chosen = f'input_stream_handler: "{name}" options {{ [mediapipe.{name}Options.ext] {{ {options} }} }}'
    (problem,) = problems(f'input_stream: "in"\n{node}\ninput_stream_handler {{ {chosen} }} }}')
    assert message in problem
    assert problem.startswith("g.pbtxt:3:1: ")
