"""``graph-runtime draw``: what it writes, and what it says of graphs that are not as they should be."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from unittest.mock import Mock
from xml.etree import ElementTree

import pytest

from server.cli import main
from server.discovery import bundled_models_dir

GOOD = """input_stream: "in" output_stream: "out"
node { name: "first" calculator: "PassThroughCalculator" input_stream: "in" output_stream: "out" }"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    file = tmp_path / "graph.pbtxt"
    file.write_text(GOOD)
    return file


def test_a_model_folder_is_drawn_as_mermaid(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(bundled_models_dir() / "shapes")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("flowchart TD\n")
    assert 'n0["ImageGenExecutor<br/>ImageGenCalculator"]' in out
    assert 't1 -.->|"IMAGE_GEN_NODE_RESOURCES"| n0' in out
    assert err == ""


def test_a_folder_with_one_model_in_it_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(bundled_models_dir())]) == 0
    assert "ImageGenExecutor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ending", "begin"), [("svg", "<svg "), ("dot", "digraph "), ("gv", "digraph "), ("MMD", "flowchart ")]
)
def test_the_ending_of_the_file_says_the_format(
    graph: Path, ending: str, begin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = graph.with_name(f"picture.{ending}")
    file.write_text("an older picture")
    assert main(["draw", str(graph), "-o", str(file)]) == 0
    assert file.read_text().startswith(begin)
    assert capsys.readouterr().out == f"{file}: 1 node, 1 stream; in: in; out: out\n"


def test_format_wins_over_the_ending(graph: Path) -> None:
    file = graph.with_name("picture.txt")
    assert main(["draw", str(graph), "-o", str(file), "--format", "svg"]) == 0
    ElementTree.fromstring(file.read_text())


def test_a_graph_with_problems_is_drawn_and_told(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph.write_text(GOOD + '\nnode { calculator: "NotInstalledHere" input_stream: "aut" }')
    assert main(["draw", str(graph), "--format", "svg"]) == 1
    out, err = capsys.readouterr()
    root = ElementTree.fromstring(out)
    titles = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any("made by no node: aut" in title for title in titles)
    assert any(title.startswith("NotInstalledHere: ") and "No registered object" in title for title in titles)
    assert f'{graph}:3:20: node "NotInstalledHere": No registered object with name: NotInstalledHere' in err


def test_subgraphs_beside_the_graph_are_boxes_unless_not_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "inner.pbtxt").write_text('type: "Inner" ' + GOOD)
    outer = tmp_path / "outer.pbtxt"
    outer.write_text(
        'input_stream: "in" node { name: "use" calculator: "Inner" input_stream: "in" output_stream: "o" }'
    )
    assert main(["draw", str(outer)]) == 0
    assert 'subgraph b0["use #40;Inner#41;"]' in capsys.readouterr().out
    assert main(["draw", str(outer), "--no_expand"]) == 0
    assert 'n0[["use<br/>Inner"]]' in capsys.readouterr().out


def test_what_is_no_graph_is_refused(tmp_path: Path, graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", str(tmp_path / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "a").mkdir()
    assert main(["draw", str(tmp_path / "a")]) == 2
    assert "there is no graph.pbtxt in or below" in capsys.readouterr().err
    for name in ("x", "y"):
        (tmp_path / "a" / name).mkdir()
        (tmp_path / "a" / name / "graph.pbtxt").write_text(GOOD)
    assert main(["draw", str(tmp_path / "a")]) == 2
    assert "has several graphs; give one of them" in capsys.readouterr().err
    assert main(["draw", str(graph), "-o", str(tmp_path / "picture.png")]) == 2
    assert "give --format, or a name that ends with one of .svg" in capsys.readouterr().err


def test_whoever_reads_the_picture_may_stop_before_its_end(
    graph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as head does when it has seen enough
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["draw", str(graph)]) == 0
    assert capsys.readouterr().err == ""


def test_a_standard_output_that_takes_nothing_is_told(
    graph: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = io.StringIO()
    monkeypatch.setattr(full, "flush", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["draw", str(graph)]) == 1
    assert capsys.readouterr().err == "graph-runtime draw: standard output: No space left on device\n"


def test_what_cannot_be_read_or_written_is_told(
    tmp_path: Path, graph: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", str(graph), "-o", str(tmp_path / "nowhere" / "x.svg")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    graph.write_text("node { calculator: ")
    assert main(["draw", str(graph)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "nothing to draw" in err
