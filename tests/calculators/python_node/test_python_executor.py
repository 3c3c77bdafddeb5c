"""PythonExecutorCalculator, embedded: handlers in files, loaded with ``load_resources``."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calculators import RequestError, check_resources, load_resources
from calculators.python_node.tensor import Tensor
from graph_runtime import CalculatorGraph, GraphError, Packet, Plan, StatusCode
from graph_runtime.config import read_graph

UPPER = """
    from pyovms import Tensor

    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", bytes(inputs[0]).upper())]
"""
HELPED = """
    import helper
    from pyovms import Tensor

    class OvmsPythonModel:
        def execute(self, inputs):
            return [Tensor("out", bytes(inputs[0]) + helper.TEXT)]
"""
COUNT = """
    from pyovms import Tensor

    class OvmsPythonModel:
        def execute(self, inputs):
            for number in range(int(bytes(inputs[0]))):
                yield [Tensor("out", str(number).encode())]
"""


def node(
    name: str = "py", file: str = "model.py", inputs: str = "IN:in", outputs: str = "OUT:out", more: str = ""
) -> str:
    """A Python node; streams are separated by blanks."""
    streams = [f'input_stream: "{each}"' for each in inputs.split()]
    streams += [f'output_stream: "{each}"' for each in outputs.split()]
    return (
        f'node {{ name: "{name}" calculator: "PythonExecutorCalculator" input_side_packet: "PYTHON_NODE_RESOURCES:py"\n'
        f"{' '.join(streams)} {more}\n"
        f'node_options: {{ [type.googleapis.com / mediapipe.PythonExecutorCalculatorOptions]: {{ handler_path: "{file}" }} }} }}\n'
    )


LOOPBACK = """
    input_stream_info: { tag_index: 'LOOPBACK:0', back_edge: true }
    input_stream_handler {
      input_stream_handler: "SyncSetInputStreamHandler",
      options { [mediapipe.SyncSetInputStreamHandlerOptions.ext] { sync_set { tag_index: "LOOPBACK:0" } } }
    }
"""
GRAPH = f'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out"\n{node()}'
GENERATING = (
    'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out"\n'
    + node(inputs="IN:in LOOPBACK:loopback", outputs="OUT:out LOOPBACK:loopback", more=LOOPBACK)
)  # fmt: skip


def write(folder: Path, code: str, name: str = "model.py") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(textwrap.dedent(code))


def run(
    folder: Path, graph: str, *feeds: Mapping[str, Any], start: int = 0, step: int = 100
) -> list[tuple[str, int, bytes]]:
    """Feed a graph one dict of stream -> bytes after the other; all that its outputs gave: stream, timestamp, bytes."""
    got: list[tuple[str, int, bytes]] = []
    source = read_graph(graph, file="graph.pbtxt")
    plan = Plan(source.config)
    with load_resources(source, folder, allow_python_nodes=True) as resources:
        running = CalculatorGraph(plan)
        for _, _, name in plan.graph_outputs:
            running.observe_output_stream(
                name, lambda name, packet: got.append((name, int(packet.timestamp), bytes(packet.value)))
            )
        running.start_run(resources.side_packets)
        for number, feed in enumerate(feeds):
            for stream, data in feed.items():
                running.add_packet_to_input_stream(stream, Packet(Tensor(stream, data)).at(start + number * step))
            running.wait_until_idle()
        running.close()
    return got


def failure(folder: Path, code: str, graph: str = GRAPH, data: bytes = b"3") -> GraphError:
    write(folder, code)
    with pytest.raises(GraphError) as caught:
        run(folder, graph, {"in": data})
    return caught.value


def problems(folder: Path, graph: str, **settings: Any) -> list[str]:
    """What keeps a graph's nodes from being loaded, without the folder."""
    settings = {"allow_python_nodes": True, **settings}
    with pytest.raises(GraphError) as caught:
        load_resources(read_graph(graph, file="graph.pbtxt"), folder, **settings)
    return [str(each).replace(f"{folder}/", "") for each in caught.value.problems]


# ---- execute


def test_execute_takes_tensors_and_gives_a_list_of_them(tmp_path: Path) -> None:
    write(tmp_path, UPPER)
    assert run(tmp_path, GRAPH, {"in": b"one"}, {"in": b"two"}) == [("out", 0, b"ONE"), ("out", 100, b"TWO")]


def test_inputs_come_in_the_order_of_their_tags_with_the_names_of_their_streams(tmp_path: Path) -> None:
    graph = 'input_stream: "a" input_stream: "b" input_stream: "c" output_stream: "out"' + node(inputs="B:b A:a C:c")
    code = """
        from pyovms import Tensor
        class OvmsPythonModel:
            def execute(self, inputs):
                return [Tensor("out", repr([(each.name, bytes(each).decode()) for each in inputs]).encode())]
    """
    write(tmp_path, code)
    (told,) = run(tmp_path, graph, {"a": b"1", "b": b"2", "c": b"3"})
    assert told[2] == b"[('a', '1'), ('b', '2'), ('c', '3')]"


def test_outputs_may_be_incomplete_and_what_waits_for_both_is_not_held_up(tmp_path: Path) -> None:
    graph = (
        'input_stream: "in" output_stream: "result" output_stream: "error" output_stream: "both"'
        + node("split", outputs="RESULT:result ERROR:error")
        + node("join", "join.py", inputs="A:result B:error", outputs="OUT:both")
    )
    code = """
        from pyovms import Tensor
        class OvmsPythonModel:
            def execute(self, inputs):
                return [Tensor("error" if bytes(inputs[0]) == b"bad" else "result", bytes(inputs[0]))]
    """
    join = """
        from pyovms import Tensor
        class OvmsPythonModel:
            def execute(self, inputs):
                return [Tensor("both", b"+".join(each.name.encode() for each in inputs))]
    """
    write(tmp_path, code)
    write(tmp_path, join, "join.py")
    assert sorted(run(tmp_path, graph, {"in": b"good"}, {"in": b"bad"})) == [
        ("both", 0, b"result"), ("both", 100, b"error"), ("error", 100, b"bad"), ("result", 0, b"good"),
    ]  # fmt: skip


def test_nodes_of_one_file_have_an_object_each_and_share_its_module(tmp_path: Path) -> None:
    graph = (
        'input_stream: "in" output_stream: "out"' + node("one", outputs="OUT:middle") + node("two", inputs="IN:middle")
    )
    code = """
        from pyovms import Tensor
        made = []
        class OvmsPythonModel:
            def initialize(self, kwargs):
                made.append(self)
                self.name, self.output = kwargs["node_name"], kwargs["output_names"][0]
            def execute(self, inputs):
                return [Tensor(self.output, bytes(inputs[0]) + f" {self.name}/{len(made)}".encode())]
    """
    write(tmp_path, code)
    assert run(tmp_path, graph, {"in": b"in"}) == [("out", 0, b"in one/2 two/2")]


def test_handlers_of_the_same_file_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, HELPED)
        write(tmp_path / name, f"TEXT = b' {name}'", "helper.py")
    assert run(tmp_path / "one", GRAPH, {"in": b"in"})[0][2] == b"in one"
    assert run(tmp_path / "two", GRAPH, {"in": b"in"})[0][2] == b"in two"


def test_a_handler_in_a_folder_below_finds_the_files_beside_it(tmp_path: Path) -> None:
    write(tmp_path, HELPED, "code/model.py")
    write(tmp_path, "TEXT = b'!'", "code/helper.py")
    for given in ("code/model.py", "./code/../code/model.py", str(tmp_path / "code" / "model.py")):
        assert run(tmp_path, GRAPH.replace("model.py", given), {"in": b"in"}) == [("out", 0, b"in!")]


# ---- initialize and finalize


def test_initialize_is_told_of_the_node_and_is_called_once_for_all_runs_until_finalize(tmp_path: Path) -> None:
    code = """
        from pyovms import Tensor
        from pathlib import Path
        class OvmsPythonModel:
            def initialize(self, kwargs):
                self.told = kwargs
                self.count = 0
            def execute(self, inputs):
                self.count += 1
                return [Tensor("out", repr((self.count, sorted(self.told.items()))).encode())]
            def finalize(self):
                Path(self.told["base_path"], "finalized").write_text(str(self.count))
    """
    write(tmp_path, code)
    source = read_graph(GRAPH)
    plan = Plan(source.config)
    got: list[bytes] = []
    with load_resources(source, tmp_path, allow_python_nodes=True) as resources:
        assert resources.describe() == {"py": {"handler": "model.py"}}
        for _ in range(2):
            graph = CalculatorGraph(plan)
            graph.observe_output_stream("out", lambda name, packet: got.append(bytes(packet.value)))
            graph.start_run(resources.side_packets)
            graph.add_packet_to_input_stream("in", Packet(Tensor("in", b"")).at(0))
            graph.close()
        assert not (tmp_path / "finalized").exists()
    assert (tmp_path / "finalized").read_text() == "2"
    told = [("base_path", str(tmp_path)), ("input_names", ["in"]), ("node_name", "py"), ("output_names", ["out"])]
    assert got == [repr((count, told)).encode() for count in (1, 2)]


def test_what_finalize_raises_is_logged_and_keeps_no_other_from_being_called(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        UPPER
        + """
        def finalize(self):
            open(__file__ + self.mark, "w").close()
            raise SystemExit("no end")
        def initialize(self, kwargs):
            self.mark = kwargs["node_name"]
    """
    )
    write(tmp_path, code)
    graph = GRAPH + node("other", outputs="OUT:out2")
    run(tmp_path, graph)
    assert sorted(path.name for path in tmp_path.glob("*.py*")) == ["model.py", "model.pyother", "model.pypy"]
    assert [record.message for record in caplog.records] == [
        f'node "{name}": finalize of model.py failed' for name in ("py", "other")
    ]


def test_when_one_node_fails_to_initialize_the_others_are_finalized_and_nothing_is_left(tmp_path: Path) -> None:
    write(tmp_path, UPPER + "        def finalize(self): open(__file__ + '.finalized', 'w').close()\n")
    bad = """
        class OvmsPythonModel:
            def initialize(self, kwargs): return kwargs['nothing']
            def execute(self, inputs): ...
    """
    write(tmp_path, bad, "bad.py")
    found = problems(tmp_path, GRAPH + node("bad", "bad.py", outputs="OUT:out2"))
    assert found == ["""bad.py:3: node "bad": KeyError: 'nothing'"""]
    assert (tmp_path / "model.py.finalized").exists()
    assert not [name for name in sys.modules if name.startswith("_graph_folder_")]


# ---- generators


def test_a_generator_sends_each_list_as_it_comes_and_a_microsecond_later_than_the_one_before(tmp_path: Path) -> None:
    write(tmp_path, COUNT)
    assert run(tmp_path, GENERATING, {"in": b"3"}, {"in": b"2"}, {"in": b"0"}) == [
        ("out", 0, b"0"), ("out", 1, b"1"), ("out", 2, b"2"), ("out", 100, b"0"), ("out", 101, b"1"),
    ]  # fmt: skip


def test_a_generator_works_where_the_graph_names_no_input_stream_handler(tmp_path: Path) -> None:
    write(tmp_path, COUNT)
    graph = GENERATING.replace(LOOPBACK, "input_stream_info: { tag_index: 'LOOPBACK:0', back_edge: true }")
    assert "input_stream_handler" not in graph
    assert run(tmp_path, graph, {"in": b"2"}, {"in": b"1"}) == [("out", 0, b"0"), ("out", 1, b"1"), ("out", 100, b"0")]


def test_what_a_generator_yields_is_sent_before_it_goes_on(tmp_path: Path) -> None:
    code = """
        from pyovms import Tensor
        seen = []
        class OvmsPythonModel:
            def execute(self, inputs):
                for number in range(3):
                    yield [Tensor("out", f"{number}, {len(seen)} seen before".encode())]
    """
    write(tmp_path, code)
    source = read_graph(GENERATING)
    got: list[bytes] = []
    with load_resources(source, tmp_path, allow_python_nodes=True) as resources:
        handler = resources.side_packets["py"]["py"]
        seen = sys.modules[type(handler._model).__module__].seen
        graph = CalculatorGraph(Plan(source.config))

        def note(name: str, packet: Packet) -> None:
            got.append(bytes(packet.value))
            seen.append(packet)

        graph.observe_output_stream("out", note)
        graph.start_run(resources.side_packets)
        graph.add_packet_to_input_stream("in", Packet(Tensor("in", b"")).at(0))
        graph.close()
    assert got == [f"{number}, {number} seen before".encode() for number in range(3)]


def test_the_end_of_a_run_ends_a_generator_that_is_not_done(tmp_path: Path) -> None:
    code = """
        from pyovms import Tensor
        class OvmsPythonModel:
            def execute(self, inputs):
                try:
                    while True:
                        yield [Tensor("out", b"again")]
                finally:
                    open(__file__ + ".ended", "w").close()
    """
    write(tmp_path, code)
    source = read_graph(GENERATING)
    with load_resources(source, tmp_path, allow_python_nodes=True) as resources:
        graph = CalculatorGraph(Plan(source.config))
        graph.observe_output_stream("out", lambda name, packet: graph.cancel() if packet.timestamp == 5 else None)
        graph.start_run(resources.side_packets)
        graph.add_packet_to_input_stream("in", Packet(Tensor("in", b"")).at(0))
        with pytest.raises(GraphError):
            graph.wait_until_done()
    assert (tmp_path / "model.py.ended").exists()


def test_new_data_while_a_generator_works_is_refused(tmp_path: Path) -> None:
    write(tmp_path, COUNT)
    source = read_graph(GENERATING)
    with load_resources(source, tmp_path, allow_python_nodes=True) as resources:
        graph = CalculatorGraph(Plan(source.config))
        graph.start_run(resources.side_packets)
        graph.add_packet_to_input_stream("in", Packet(Tensor("in", b"1000000")).at(0))
        graph.add_packet_to_input_stream("in", Packet(Tensor("in", b"1")).at(5))
        with pytest.raises(
            GraphError, match="Node is already processing data. Create new stream for another request."
        ) as caught:
            graph.close()
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__.__cause__, RequestError)  # what a client is told


# ---- what a handler does wrong


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return Tensor('out', b'')", "execute gave a Tensor, where a list of pyovms.Tensor, or a generator"),
        ("return None", "execute gave a NoneType, where a list"),
        ("return (Tensor('out', b''),)", "execute gave a tuple, where a list"),
        ("return [b'']", "execute gave a bytes in its list; each has to be a pyovms.Tensor"),
        ("return [inputs[0].reshape(1, 1)]", "execute gave a Tensor in its list"),
        ("return [Tensor('uot', b'')]", 'execute gave a Tensor named "uot"; the output streams of the node are: out'),
        ("yield []", "execute yields, and the node has no LOOPBACK streams: give it some, or return a list"),
        ("return iter([[]])", "execute yields, and the node has no LOOPBACK"),
    ],
)  # fmt: skip
def test_a_result_that_cannot_be_sent_is_told(tmp_path: Path, body: str, text: str) -> None:
    error = failure(tmp_path, UPPER.replace('return [Tensor("out", bytes(inputs[0]).upper())]', body))
    assert f"Error occurred during graph execution: model.py: {text}" in str(error)
    assert (error.code, error.node, error.phase) == (StatusCode.INTERNAL, "py", "process")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return 1 / 0", "model.py:6: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(2)", "model.py:6: SystemExit: 2"),
        ("return self.half(0)", "model.py:9: ZeroDivisionError: division by zero; called from model.py:6 in execute"),
    ],
)
def test_what_execute_raises_ends_the_run_with_the_lines_of_its_author(tmp_path: Path, body: str, text: str) -> None:
    code = UPPER.replace('return [Tensor("out", bytes(inputs[0]).upper())]', body)
    error = failure(tmp_path, code + "\n        def half(self, n):\n            return 1 / n\n")
    assert f"Error occurred during graph execution: {tmp_path}/{text}" in str(error)
    assert error.code is StatusCode.INTERNAL
    assert error.__cause__ is not None


def test_what_a_generator_raises_comes_after_what_it_gave(tmp_path: Path) -> None:
    write(tmp_path, COUNT + "            raise OSError('no more')\n")
    got: list[bytes] = []
    source = read_graph(GENERATING)
    with load_resources(source, tmp_path, allow_python_nodes=True) as resources:
        graph = CalculatorGraph(Plan(source.config))
        graph.observe_output_stream("out", lambda name, packet: got.append(bytes(packet.value)))
        graph.start_run(resources.side_packets)
        graph.add_packet_to_input_stream("in", Packet(Tensor("in", b"2")).at(0))
        with pytest.raises(GraphError, match="model.py:8: OSError: no more"):
            graph.close()
    assert got == [b"0", b"1"]


def test_a_handler_refuses_a_request_in_its_own_words(tmp_path: Path) -> None:
    code = UPPER.replace("return [", "raise RequestError('too short', param='in')\n            return [")
    error = failure(tmp_path, code.replace("from pyovms", "from calculators import RequestError; from pyovms", 1))
    assert isinstance(error.__cause__, RequestError)
    assert (error.__cause__.message, error.__cause__.param) == ("too short", "in")


# ---- what keeps it from being loaded


def test_without_being_allowed_no_line_of_a_handler_runs(tmp_path: Path) -> None:
    write(tmp_path, f"open({str(tmp_path / 'executed')!r}, 'w')\n" + textwrap.dedent(UPPER))
    found = problems(tmp_path, GRAPH, allow_python_nodes=False)
    assert found == [str(each) for each in check_resources(read_graph(GRAPH, file="graph.pbtxt"), tmp_path)]
    assert found == [
        'graph.pbtxt:2:31: node "py": the node runs code of the graph\'s folder, and that is not allowed; if you trust whoever can '
        "write to the folder, allow it with --allow_python_nodes (in a program: load_resources(..., allow_python_nodes=True))"
    ]
    assert check_resources(read_graph(GRAPH), tmp_path, allow_python_nodes=True) == []  # it is looked at, and not run
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (GRAPH.replace("model.py", "none.py"), 'graph.pbtxt:4:100: node "py": handler_path: there is no file "none.py"'),
        (GRAPH.replace("model.py", ""), 'graph.pbtxt:4:100: node "py": handler_path is empty; give [type.googleapis.com'),
        (GRAPH.replace("model.py", "../model.py"), 'node "py": handler_path "../model.py" leads out of the folder of the graph'),
        (GRAPH.replace("model.py", "/etc/passwd"), 'handler_path "/etc/passwd" leads out of the folder'),
        (GRAPH.replace("model.py", "a/../../model.py"), 'handler_path "a/../../model.py" leads out of the folder'),
        (GRAPH.replace("model.py", "model.txt"), 'handler_path "model.txt" is no Python module'),
        (GRAPH.replace("model.py", "my.model.py"), 'handler_path "my.model.py" is no Python module'),
        (GRAPH.replace('name: "py" ', ""), "the node needs a name: its handler is made for that name"),
        (GRAPH + node(outputs="OUT:more"), 'node "py": another node of this graph has the same name'),
        (GRAPH.partition("node_options")[0] + "}", 'node "py": node_options is missing; give [type.googleapis.com'),
    ],
)  # fmt: skip
def test_options_that_lead_to_no_handler_are_told(tmp_path: Path, graph: str, text: str) -> None:
    for name in ("graph/model.py", "graph/my.model.py", "graph/model.txt", "model.py"):
        write(tmp_path, UPPER, name)
    (found,) = problems(tmp_path / "graph", graph)
    assert text in found
    checked = check_resources(read_graph(graph, file="graph.pbtxt"), tmp_path / "graph", allow_python_nodes=True)
    assert [str(each) for each in checked] == [found]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("class Other: ...", 'model.py: node "py": there is no class OvmsPythonModel in it'),
        ("OvmsPythonModel = 5", 'model.py: node "py": there is no class OvmsPythonModel in it'),
        ("class OvmsPythonModel: ...", 'model.py: node "py": the class OvmsPythonModel has no method execute(self, inputs)'),
        ("import nothing_like_it", "model.py:1: node \"py\": ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("def (", "model.py:1:5: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(1)", 'model.py:2: node "py": SystemExit: 1'),
        (
            "class OvmsPythonModel:\n    def execute(self): ...\n    def initialize(self): ...",
            'model.py: node "py": TypeError: OvmsPythonModel.initialize() takes 1 positional argument but 2 were given',
        ),
    ],
)  # fmt: skip
def test_a_file_that_gives_no_handler_is_told(tmp_path: Path, code: str, text: str) -> None:
    write(tmp_path, code)
    assert problems(tmp_path, GRAPH) == [text]
    assert not [name for name in sys.modules if name.startswith("_graph_folder_")]


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (GRAPH.replace("RESOURCES:py", "RESOURCES:python"), 'input_side_packet: "PYTHON_NODE_RESOURCES:py"; it names "python"'),
        (GRAPH.replace("PYTHON_NODE_RESOURCES:py", "OTHER:py"), "PYTHON_NODE_RESOURCES"),
        (GENERATING.replace('output_stream: "LOOPBACK:loopback"', ""), "If LOOPBACK is used, it must be defined on both input"),
        (GENERATING.replace('output_stream: "OUT:out"', ""), "the node needs an output_stream beside LOOPBACK"),
    ],
)  # fmt: skip
def test_a_node_that_is_wired_wrongly_is_told(graph: str, text: str) -> None:
    with pytest.raises(GraphError) as caught:
        Plan(graph)
    assert text in str(caught.value)


def test_a_run_without_resources_says_what_is_missing() -> None:
    graph = CalculatorGraph(Plan(GRAPH))
    with pytest.raises(GraphError, match="Could not find initialized Python node named: py; there are: none"):
        graph.start_run({"py": {}})
        graph.wait_until_done()


# ---- the converter

CONVERT = """
    input_stream: "OVTENSOR:in" output_stream: "OVTENSOR:out"
    node { calculator: "PyTensorOvTensorConverterCalculator" input_stream: "OVTENSOR:in" output_stream: "OVMS_PY_TENSOR:py"
      node_options: { [type.googleapis.com / mediapipe.PyTensorOvTensorConverterCalculatorOptions]: {
        tag_to_output_tensor_names { key: "OVMS_PY_TENSOR" value: "named" } } } }
    node { calculator: "PyTensorOvTensorConverterCalculator" input_stream: "OVMS_PY_TENSOR:py" output_stream: "OVTENSOR:out" }
"""


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(6, dtype=np.float32)[::2],
        np.array(5, np.float32),
        np.zeros((0, 3), np.float32),
        np.arange(3, dtype=">f4"),
    ],
    ids=["turned", "with gaps", "without dimensions", "empty", "big endian"],
)
def test_arrays_become_tensors_of_python_nodes_and_again_arrays(array: Any) -> None:
    graph = CalculatorGraph(Plan(CONVERT))
    got: dict[str, Any] = {}
    for name in ("py", "out"):
        graph.observe_output_stream(name, lambda name, packet: got.update({name: packet.value}))
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(array).at(0))
    graph.close()
    assert (got["py"].name, got["py"].shape, got["py"].datatype) == ("named", array.shape, "FP32")
    assert type(got["out"]) is np.ndarray
    np.testing.assert_array_equal(got["out"], array)


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (
            CONVERT.replace('key: "OVMS_PY_TENSOR"', 'key: "OTHER"'),
            'tag_to_output_tensor_names has no "OVMS_PY_TENSOR"',
        ),
        (CONVERT.replace('"OVTENSOR:out" }', '"OTHER:out" }'), "the node takes one input and one output"),
        (CONVERT.replace('"OVMS_PY_TENSOR:py"\n', '"OVTENSOR:py"\n'), "the node takes one input and one output"),
    ],
)
def test_a_converter_that_converts_nothing_is_refused(graph: str, text: str) -> None:
    with pytest.raises(GraphError) as caught:
        Plan(graph)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Tensor("x", b"abc", (3,), "BYTES"), "the datatype BYTES has no array"),
        (Tensor("x", b"abc", (2,), "FP32"), "the buffer has 3 bytes; FP32 of shape [2] is 8 bytes"),
    ],
)
def test_a_tensor_that_is_no_array_fails_the_run(value: Tensor, text: str) -> None:
    graph = CalculatorGraph(
        graph_config='input_stream: "in" node { calculator: "PyTensorOvTensorConverterCalculator" '
        'input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVTENSOR:out" }'
    )
    graph.start_run()
    graph.add_packet_to_input_stream("in", Packet(value).at(0))
    with pytest.raises(GraphError) as caught:
        graph.close()
    assert text in str(caught.value)
    assert caught.value.code is StatusCode.INVALID_ARGUMENT
