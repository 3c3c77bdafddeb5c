"""The public door: what `import graph_runtime` offers, what it loads, and that its documentation is true."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap

import pytest

import graph_runtime
from graph_runtime import calculator


def test_all_is_what_is_visible() -> None:
    assert set(graph_runtime.__all__) == {name for name in dir(graph_runtime) if name[0] != "_"} - modules()
    for name in graph_runtime.__all__:
        getattr(graph_runtime, name)


def modules() -> set[str]:
    seen = {name for name, value in vars(graph_runtime).items() if inspect.ismodule(value)}
    return (seen | {"annotations", "Any", "Final", "TYPE_CHECKING", "import_module"}) - {
        "packet_creator",
        "packet_getter",
    }


@pytest.mark.parametrize("name", ["Grapf", "_engin", "no_such_module"])
def test_what_is_not_there_is_told_as_python_does(name: str) -> None:
    with pytest.raises(AttributeError, match=f"module 'graph_runtime' has no attribute '{name}'"):
        getattr(graph_runtime, name)


def test_its_modules_need_no_import_of_their_own() -> None:
    code = "import graph_runtime; graph_runtime.aio.running; graph_runtime.errors.GraphError; graph_runtime.Packet(1)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_names_of_the_old_mediapipe_api_are_there() -> None:
    old = {
        "CalculatorGraph", "CalculatorGraphConfig", "GraphInputStreamAddMode", "Packet", "Timestamp",
        "ValidatedGraphConfig", "packet_creator", "packet_getter",
    }  # fmt: skip
    assert old <= set(graph_runtime.__all__)


def test_import_loads_neither_numpy_nor_aiohttp_nor_openvino() -> None:
    code = (
        "import sys, graph_runtime; "
        "print([name for name in ('numpy', 'aiohttp', 'openvino', 'openvino_genai', 'PIL', 'calculators', 'server') "
        "if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_the_example_in_the_docstring_of_calculator_runs() -> None:
    assert calculator.Calculator.__doc__ is not None
    example = textwrap.dedent(calculator.Calculator.__doc__.split("::", 1)[1].split("An exception", 1)[0])
    names = {"Calculator": graph_runtime.Calculator, "register_calculator": graph_runtime.register_calculator}
    exec(example, names)
    graph = graph_runtime.CalculatorGraph(
        graph_config="""input_stream: "in" input_side_packet: "factor"
        node { calculator: "Scale" input_stream: "IN:in" output_stream: "OUT:out" input_side_packet: "FACTOR:factor" }"""
    )
    got: list[float] = []
    graph.observe_output_stream("out", lambda _, packet: got.append(packet.value))
    graph.start_run({"factor": 2.0})
    graph.add_packet_to_input_stream("in", graph_runtime.Packet(1.5), 0)
    graph.close()
    assert got == [3.0]


def test_the_hooks_named_in_the_calculator_module_exist() -> None:
    for hook in ("get_contract", "open", "process", "close"):
        assert f"``{hook}``" in (calculator.__doc__ or "")
        assert callable(getattr(graph_runtime.Calculator, hook))
