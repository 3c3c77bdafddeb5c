"""The comment OVMS_GRAPH_QUEUE_MAX_SIZE of graph files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from graph_runtime import GraphError
from graph_runtime.config import read_graph
from server.discovery import graph_servable
from server.graph_queue import GraphQueue, read_graph_queue
from server.local_backend import LocalBackend
from server.model_settings import ModelSettings
from server.settings import Settings

if TYPE_CHECKING:
    from tests.server.conftest import Models

LLM = '\nnode { name: "llm" calculator: "HttpLLMCalculator" input_side_packet: "LLM_NODE_RESOURCES:llm" }'
PYTHON = '\nnode { name: "py" calculator: "PythonExecutorCalculator" input_stream: "LOOPBACK:l" }'


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OVMS_GRAPH_QUEUE_OFF", raising=False)


def read(text: str) -> GraphQueue:
    return read_graph_queue(read_graph(text, file="g", keep_problems=True))


@pytest.mark.parametrize(
    ("text", "size", "bound"),
    [
        ("", 0, None),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: 0", 0, None),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: AUTO", "AUTO", None),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: 4", 4, 4),
        ("num_threads: 1\r\n  #OVMS_GRAPH_QUEUE_MAX_SIZE :8 \r\n", 8, 8),
        ("# OVMS_GRAPH_QUEUE_MAX_SIZE: 2\n# OVMS_GRAPH_QUEUE_MAX_SIZE: 3", 2, 2),
    ],
)
def test_the_bound_that_is_written(text: str, size: int | str, bound: int | None) -> None:
    queue = read(text)
    assert (queue.size, queue.bound, queue.problems, queue.warnings) == (size, bound, (), ())


def test_more_than_the_machine_has_cores_is_cut_to_them_and_told() -> None:
    queue = read("\n# OVMS_GRAPH_QUEUE_MAX_SIZE: 9")
    assert queue.bound == 8
    assert [str(each) for each in queue.warnings] == [
        "g:2:30: OVMS_GRAPH_QUEUE_MAX_SIZE is 9, more than this machine has cores; 8 counts"
    ]


@pytest.mark.parametrize("word", ["-1", "many", "auto", "4.0", "+4", "9999999999999999999"])
def test_other_words_are_refused_with_their_place(word: str) -> None:
    (problem,) = read(f"\n# OVMS_GRAPH_QUEUE_MAX_SIZE: {word}").problems
    assert str(problem) == (
        f'g:2:30: OVMS_GRAPH_QUEUE_MAX_SIZE is "{word}"; give AUTO, a number of runs, or 0 for no bound'
    )


def test_a_comment_that_only_looks_like_it_is_told() -> None:
    queue = read("num_threads: 1 # OVMS_GRAPH_QUEUE_MAX_SIZE: 4")
    assert queue.bound is None
    assert str(queue.warnings[0]).startswith("g:1:16: this comment has no effect")


def test_a_python_node_with_a_loopback_is_refused_unless_the_queue_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    (problem,) = read(f"# OVMS_GRAPH_QUEUE_MAX_SIZE: AUTO{PYTHON}").problems
    assert str(problem).startswith('g:2:1: node "py": a PythonExecutorCalculator with LOOPBACK')
    assert read(f"# OVMS_GRAPH_QUEUE_MAX_SIZE: 0{PYTHON}") == GraphQueue()
    monkeypatch.setenv("OVMS_GRAPH_QUEUE_OFF", "1")
    assert read(f"# OVMS_GRAPH_QUEUE_MAX_SIZE: 4{PYTHON}") == GraphQueue()


def test_a_text_node_without_contexts_turns_the_queue_off_and_that_is_told() -> None:
    queue = read(f"# OVMS_GRAPH_QUEUE_MAX_SIZE: 4{LLM}")
    assert (queue.size, queue.problems) == (0, ())
    assert "has no side packet LLM_NODE_EXECUTION_CONTEXTS" in str(queue.warnings[0])


async def test_the_bound_is_that_of_the_runs_and_a_setting_of_the_model_wins(models: Models) -> None:
    graph_file = models.add("echo", "HttpEcho")
    graph_file.write_text(f"# OVMS_GRAPH_QUEUE_MAX_SIZE: 3\n{graph_file.read_text()}")
    backend = LocalBackend(Settings())
    spec = graph_servable("echo", graph_file)
    assert (await backend.load(spec)).limits.at_once == 3
    assert (await backend.load(replace(spec, model=ModelSettings(runs_at_once=5)))).limits.at_once == 5
    await backend.close()


async def test_a_graph_with_a_wrong_word_is_not_served(models: Models) -> None:
    graph_file = models.add("echo", "HttpEcho")
    graph_file.write_text(f"# OVMS_GRAPH_QUEUE_MAX_SIZE: many\n{graph_file.read_text()}")
    backend = LocalBackend(Settings())
    with pytest.raises(GraphError, match='echo/graph.pbtxt:1:30: OVMS_GRAPH_QUEUE_MAX_SIZE is "many"'):
        await backend.load(graph_servable("echo", graph_file))
    await backend.close()
