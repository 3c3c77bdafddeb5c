"""Subgraph files beside a graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from graph_runtime import GraphError
from server.discovery import graph_servable
from server.graph_source import plan_servable, subgraphs_beside

USER = """
input_stream: "in" output_stream: "out"
node { calculator: "Twice" input_stream: "in" output_stream: "out" }
"""
TWICE = """
type: "Twice"
input_stream: "a" output_stream: "b"
node { calculator: "Once" input_stream: "a" output_stream: "m" }
node { calculator: "Once" input_stream: "m" output_stream: "b" }
"""
ONCE = """
type: 'Once'
input_stream: "a" output_stream: "b"
node { calculator: "PassThroughCalculator" input_stream: "a" output_stream: "b" }
"""


def folder_with(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.pbtxt").write_text(text)
    return folder / "graph.pbtxt"


def test_a_graph_uses_the_subgraphs_beside_it_and_they_each_other(tmp_path: Path) -> None:
    graph_file = folder_with(tmp_path, graph=USER, twice=TWICE, deep=ONCE)
    plan = plan_servable(graph_servable("m", graph_file))
    assert [node.calculator.__name__ for node in plan.nodes] == ["PassThroughCalculator"] * 2


def test_files_that_the_graph_does_not_use_have_no_effect_though_they_are_broken(tmp_path: Path) -> None:
    graph_file = folder_with(
        tmp_path, graph=USER, twice=TWICE, once=ONCE, other='type: "Other" node {', example="no graph at all {{{"
    )
    assert subgraphs_beside(graph_file) == {"Twice": tmp_path / "twice.pbtxt", "Once": tmp_path / "once.pbtxt"}
    plan_servable(graph_servable("m", graph_file))


def test_a_broken_subgraph_that_is_used_is_told_with_its_own_place(tmp_path: Path) -> None:
    graph_file = folder_with(tmp_path, graph=USER, twice=TWICE.replace("Once", "Onec"), once=ONCE)
    with pytest.raises(GraphError) as caught:
        plan_servable(graph_servable("m", graph_file))
    assert str(caught.value.problems[0]).startswith(f"{tmp_path / 'twice.pbtxt'}:4:20: ")
