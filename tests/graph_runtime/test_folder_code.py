"""Python files of a folder, apart from everything else."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path

import pytest

from graph_runtime import CalculatorGraph, GraphError, Packet, Plan, StatusCode, known_calculators, load_calculators
from graph_runtime.folder_code import FolderCode
from graph_runtime.testing import CalculatorRunner

ADD = """
from graph_runtime import Calculator, register_calculator

@register_calculator
class OwnAddCalculator(Calculator):
    @classmethod
    def get_contract(cls, cc):
        cc.inputs[0].set(int)
        cc.outputs[0].set(int)
        cc.set_timestamp_offset(0)

    def process(self, cc):
        cc.outputs[0].add(cc.inputs[0].value + AMOUNT)

AMOUNT = 1
"""
NODE = 'calculator: "OwnAddCalculator" input_stream: "in" output_stream: "out"'


def write(folder: Path, **files: str) -> Path:
    """Python files in a folder; its calculators.py is returned."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder / "calculators.py"


def added(own: FolderCode) -> int:
    """What the calculator of a file makes of 10."""
    runner = CalculatorRunner(NODE, calculators=own.calculators)
    runner.feed(0, 10, timestamp=0)
    runner.run()
    (value,) = runner.values(0)
    assert isinstance(value, int)
    return value


def problem(file: Path) -> str:
    """Why a file cannot be loaded, without its folder."""
    with pytest.raises(GraphError) as caught:
        load_calculators(file)
    assert not [name for name in sys.modules if name.startswith("_graph_folder_")]  # nothing is left of it
    (found,) = caught.value.problems
    assert caught.value.__cause__ is not None
    return str(found).replace(f"{file.parent}/", "")


def test_two_folders_have_classes_and_helpers_of_the_same_names_and_nobody_else_sees_them(tmp_path: Path) -> None:
    helped = ADD.replace("AMOUNT = 1", "import amount\nAMOUNT = amount.AMOUNT")
    one = write(tmp_path / "one", calculators=helped, amount="AMOUNT = 1")
    two = write(tmp_path / "two", calculators=helped, amount="AMOUNT = 2")
    with load_calculators(one) as first, load_calculators(two) as second:
        assert (added(first), added(second)) == (11, 12)
        assert "OwnAddCalculator" not in known_calculators()
        assert "amount" not in sys.modules
    assert not [name for name in sys.modules if name.startswith("_graph_folder_")]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["amount.py", "calculators.py"]


@pytest.mark.parametrize(
    "imports",
    [
        "import helper; AMOUNT = helper.AMOUNT",
        "from helper import AMOUNT",
        "from . import helper; AMOUNT = helper.AMOUNT",
        "from .helper import AMOUNT",
        "import parts.deep as deep; AMOUNT = deep.AMOUNT",
        "import parts.deep; AMOUNT = parts.deep.AMOUNT",
        "from parts import deep; AMOUNT = deep.AMOUNT",
        "from parts.deep import *",
        "import plain.deep; AMOUNT = plain.deep.AMOUNT",
        "from plain.deep import AMOUNT",
        "from .plain import deep; AMOUNT = deep.AMOUNT",
        "def late():\n    import helper\n    return helper.AMOUNT\nAMOUNT = late()",
    ],
)
def test_files_of_the_folder_are_imported_as_in_a_script(tmp_path: Path, imports: str) -> None:
    file = write(tmp_path, calculators=ADD.replace("AMOUNT = 1", imports), helper="from other import AMOUNT")
    write(tmp_path, other="from calculators import RequestError\nAMOUNT = 5 if RequestError else 0")
    write(tmp_path / "plain", deep="from .deeper import AMOUNT", deeper="AMOUNT = 5")
    write(tmp_path / "parts", __init__="", deep="from . import deeper\nAMOUNT = deeper.AMOUNT", deeper="AMOUNT = 5")
    with load_calculators(file) as own:
        assert added(own) == 15


def test_a_file_of_the_folder_wins_over_an_installed_module_and_takes_it_from_nobody_else(tmp_path: Path) -> None:
    file = write(tmp_path, calculators=ADD.replace("AMOUNT = 1", "from json import AMOUNT"), json="AMOUNT = 7")
    with load_calculators(file) as own:
        assert added(own) == 17
        assert sys.modules["json"] is json


def test_a_folder_that_is_no_package_hides_no_installed_module(tmp_path: Path) -> None:
    file = write(tmp_path, calculators=ADD.replace("AMOUNT = 1", "import json\nAMOUNT = len(json.dumps([]))"))
    write(tmp_path / "json", vocabulary="")
    with load_calculators(file) as own:
        assert added(own) == 12


def test_an_edited_file_is_read_anew_though_its_date_and_size_are_the_same(tmp_path: Path) -> None:
    file = write(tmp_path, calculators=ADD.replace("AMOUNT = 1", "from helper import AMOUNT"), helper="AMOUNT = 1")
    helper = tmp_path / "helper.py"
    before = helper.stat()
    old = load_calculators(file)
    helper.write_text("AMOUNT = 2")
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))
    with load_calculators(file) as new:
        assert (added(old), added(new)) == (11, 12)
    assert added(old) == 11
    old.close()


def test_a_file_that_is_added_later_is_found(tmp_path: Path) -> None:
    file = write(tmp_path, calculators=ADD)
    with load_calculators(file) as first:
        assert added(first) == 11
    write(tmp_path, calculators=ADD.replace("AMOUNT = 1", "from new import AMOUNT"), new="AMOUNT = 3")
    with load_calculators(file) as second:
        assert added(second) == 13


def test_calculators_of_a_file_win_over_registered_ones_and_serve_its_subgraphs_too(tmp_path: Path) -> None:
    file = write(tmp_path, calculators=ADD + "\nregister_calculator('PassThroughCalculator')(OwnAddCalculator)\n")
    subgraph = """
        type: "Twice" input_stream: "a" output_stream: "c"
        node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b" }
        node { calculator: "OwnAddCalculator" input_stream: "b" output_stream: "c" }
    """
    with load_calculators(file) as own:
        graph = CalculatorGraph(
            graph_config='input_stream: "in" node { calculator: "Twice" input_stream: "in" output_stream: "out" }',
            subgraphs=[subgraph],
            calculators=own.calculators,
        )
        got: list[int] = []
        graph.observe_output_stream("out", lambda name, packet: got.append(packet.value))
        graph.start_run()
        graph.add_packet_to_input_stream("in", Packet(1).at(0))
        graph.close()
        assert got == [3]


def test_subgraphs_of_a_file_belong_to_it_too(tmp_path: Path) -> None:
    text = 'type: "Own" input_stream: "a" output_stream: "b" node { calculator: "PassThroughCalculator" '
    text += 'input_stream: "a" output_stream: "b" }'
    code = f"""
        from graph_runtime import Subgraph, register_graph, register_subgraph
        register_graph('''{text}''')

        @register_subgraph
        class OwnMade(Subgraph):
            def get_config(self, sc):
                return '''{text}'''
    """
    file = write(tmp_path, calculators=code)
    for _ in range(2):  # a second version is no second registration
        with load_calculators(file) as own:
            for name in ("Own", "OwnMade"):
                graph = f'input_stream: "in" node {{ calculator: "{name}" input_stream: "in" output_stream: "out" }}'
                assert len(Plan(graph, subgraphs=own.subgraphs).nodes) == 1
                with pytest.raises(GraphError, match="No registered object with name"):
                    Plan(graph)


def test_a_name_that_is_nearly_one_of_the_file_is_told(tmp_path: Path) -> None:
    with load_calculators(write(tmp_path, calculators=ADD)) as own, pytest.raises(GraphError) as caught:
        Plan(f'input_stream: "in" node {{ {NODE.replace("Add", "Ad")} }}', calculators=own.calculators)
    assert 'did you mean "OwnAddCalculator"?' in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_calculators(tmp_path / "calculators.py")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("x = 1\ndef (:\n", "calculators.py:2:5: SyntaxError: invalid syntax"),
        ("\n\n1 / 0", "calculators.py:3: ZeroDivisionError: division by zero"),
        (
            "import helper\n\ndef load():\n    helper.half(0)\n\nload()\n",
            "helper.py:2: ZeroDivisionError: division by zero; called from calculators.py:4 in load, "
            "calculators.py:6 in the file",
        ),
        ("import json\njson.loads('x')", "calculators.py:2: JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("import broken", "broken.py:1:2: SyntaxError: '(' was never closed; called from calculators.py:1 in the file"),
        ("import missing_module", "calculators.py:1: ModuleNotFoundError: No module named 'missing_module'"),
        ("from . import nothing", "calculators.py:1: ImportError: cannot import name 'nothing' from 'FOLDER' (unknown location)"),
        ("from json import nothing", "calculators.py:1: ImportError: cannot import name 'nothing' from 'json'"),
        (
            "def down(n):\n    return down(n - 1) if n else 1 / 0\n\ndown(50)\n",
            "calculators.py:2: ZeroDivisionError: division by zero; called from "
            + "calculators.py:2 in down, " * 10 + "and 41 more",
        ),
        ("import sys\nsys.exit('bye')", "calculators.py:2: SystemExit: bye"),
        (
            "from graph_runtime import register_calculator\n\n@register_calculator\nclass No: pass\n",
            'calculators.py:3: TypeError: register_calculator("No") takes a subclass of Calculator, not '
            "<class 'calculators.No'>",
        ),
    ],
)  # fmt: skip
def test_what_a_file_raises_is_told_with_the_lines_of_its_author(tmp_path: Path, code: str, text: str) -> None:
    helpers = {"helper": "def half(n):\n    return 1 / n\n", "broken": "x(\n"}
    assert problem(write(tmp_path, calculators=code, **helpers)) == text.replace("FOLDER", tmp_path.name)


def test_calculators_are_given_by_name_and_as_classes() -> None:
    with pytest.raises(TypeError, match=r'calculators\["X"\] is a subclass of Calculator, not <class'):
        Plan("", calculators={"X": int})  # type: ignore[dict-item]  # this is what is tested
    with pytest.raises(TypeError, match="calculators has name -> class, not list"):
        Plan("", calculators=[])  # type: ignore[arg-type]  # this is what is tested


def test_the_code_of_a_failed_file_is_a_failed_precondition(tmp_path: Path) -> None:
    with pytest.raises(GraphError) as caught:
        load_calculators(write(tmp_path, calculators="1 / 0"))
    assert caught.value.code is StatusCode.FAILED_PRECONDITION
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
