"""The side packets that a graph's nodes need: loaded models and the like, made once and shared by all runs of the graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from calculators.node_kinds import NODE_KINDS, LaneKind, Loaded, Loader, Loading, Node
from calculators.statistics import ImageStatistics
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.arguments import wrong_type
from graph_runtime.config import GraphSource
from graph_runtime.errors import Problem, StatusCode, raise_problems
from graph_runtime.graph import CalculatorGraph
from graph_runtime.plan import Plan

if TYPE_CHECKING:
    from calculators.image_gen.process_lane import Supervision
    from calculators.image_gen.request_rules import RequestSettings
    from calculators.inference.model_config import ModelList
    from calculators.inference.session_pool import SessionPool
    from calculators.inference.tensors import TensorInfo


_IN_VAIN = "The nodes of this graph cannot get what they need."


class Resources:
    """What was loaded for a graph; a context manager that gives it back.

    Attributes:
        side_packets: name -> value, for ``CalculatorGraph.start_run``.
        services: key -> value, for ``CalculatorGraph.set_service``.
        tensors: stream of the graph -> the tensor that its packets are, where a model says it.
        at_once: requests that its models work on at the same time; None where nothing limits that.
    """

    def __init__(self, loaded: Sequence[Loaded] = ()) -> None:
        self._loaded = tuple(loaded)
        self.at_once = min((each.at_once for each in loaded if each.at_once is not None), default=None)
        self.side_packets: dict[str, Any] = {}
        self.services: dict[str, Any] = {}
        self.tensors: dict[str, TensorInfo] = {}
        for each in loaded:
            self.side_packets.update(each.side_packets)
            self.services.update(each.services)
            self.tensors.update(each.tensors)

    def graph(self, plan: Plan) -> CalculatorGraph:
        """A graph of a plan with the services set; a run of it wants ``side_packets`` besides."""
        graph = CalculatorGraph(plan)
        for key, value in self.services.items():
            graph.set_service(key, value)
        return graph

    def describe(self) -> dict[str, Any]:
        """Node name -> what was loaded for it and how it is, as JSON values; computed anew at each call."""
        return {name: about for each in self._loaded for name, about in each.describe().items()}

    def trouble(self) -> dict[str, str]:
        """Node name -> why it cannot work at present, for anybody to read; empty when all is well."""
        return {name: why for each in self._loaded for name, why in each.trouble().items()}

    def statistics(self) -> dict[str, ImageStatistics]:
        """Node name -> what has been done for it since it was loaded; of nodes that share a model, under the first one's name."""
        return {name: record for each in self._loaded for name, record in each.statistics().items()}

    def aliases(self) -> tuple[str, ...]:
        """Further names under which requests may ask for the graph: those of LoRA adapters."""
        return tuple(dict.fromkeys(alias for each in self._loaded for alias in each.aliases()))

    def close(self) -> None:
        """Unload everything; runs that still use it get errors. Closing twice is fine."""
        for each in self._loaded:
            each.close()

    def __enter__(self) -> Resources:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def load_resources(
    config: Plan | CalculatorGraphConfig | GraphSource,
    base_dir: str | os.PathLike[str] | None = None,
    *,
    lane: LaneKind = "thread",
    on_step: Callable[[str, int, int], None] | None = None,
    supervision: Supervision | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    lanes: int = 1,
    idle_unload_s: float | None = None,
    requests: RequestSettings | None = None,
    allow_python_nodes: bool = False,
    models: ModelList | None = None,
    sessions: SessionPool | None = None,
) -> Resources:
    """Load what the nodes of a graph need; for a graph that needs nothing, an empty Resources.

    Args:
        config: the graph; as a GraphSource (``graph_runtime.config.read_graph``), problems name their places in the file.
        base_dir: relative paths in options start there; the graph file's folder unless given, which it must be for a graph that
            is no file.
        lane: ``"process"`` loads each model into a supervised child process, ``"thread"`` into this one.
        on_step: called with (node name, steps done, steps in all) while a node works, on a thread of its own.
        supervision: how child processes are watched.
        cache_dir: where OpenVINO keeps compiled models, so that the next load is quicker; a node's ``plugin_config`` wins.
        lanes: how many copies of each model to load; that many generations go on at once.
        idle_unload_s: give a model's memory back after so many seconds without a request; the next one loads it again.
        requests: what requests may ask for beyond what the graph says.
        allow_python_nodes: whether code that lies in ``base_dir`` may run: the handlers of PythonExecutorCalculator.
        models: the OpenVINO models that session nodes can name; None for those of the subconfig.json in ``base_dir``.
        sessions: where graphs that use the same OpenVINO model share it; None for none.

    Raises:
        TypeError: ``config`` is a path or a text.
        ValueError: ``lane`` or ``lanes`` is none of these, or ``base_dir`` is missing.
        GraphError: a node's options are wrong or its model cannot be loaded; ``problems`` lists all of them.
    """
    if isinstance(config, str | os.PathLike):
        raise wrong_type("load_resources() takes a Plan (of a file: Plan(Path(...)))", config)
    if lane not in ("process", "thread"):
        raise ValueError(f'lane is "process" or "thread", not {lane!r}')
    if lanes < 1:
        raise ValueError(f"lanes is {lanes}; it has to be at least 1")
    loading = Loading(
        lane=lane,
        on_step=on_step,
        supervision=supervision,
        cache_dir=None if cache_dir is None else os.fspath(cache_dir),
        lanes=lanes,
        idle_unload_s=idle_unload_s,
        requests=requests,
        models=models,
        sessions=sessions,
    )
    kinds = list(_kinds_in(config.config if isinstance(config, Plan) else config, allow_python_nodes))
    if not kinds:
        return Resources()
    folder = _folder_of(config) if base_dir is None else Path(base_dir)
    if len(kinds) > 1:  # nothing is loaded for one kind as long as another has something wrong
        raise_problems(
            _IN_VAIN, [problem for loader, nodes in kinds for problem in loader.check_nodes(nodes, folder, loading)]
        )
    made: list[Loaded] = []
    problems: list[Problem] = []
    try:
        for loader, nodes in kinds:
            loaded, wrong = loader.load_nodes(nodes, folder, loading)
            problems += wrong
            if loaded is not None:
                made.append(loaded)
        raise_problems(_IN_VAIN, problems)
    except BaseException:
        for each in made:
            each.close()
        raise
    return Resources(made)


def _folder_of(graph: Plan | CalculatorGraphConfig | GraphSource) -> Path:
    file = graph.file if isinstance(graph, Plan | GraphSource) else None
    if file is None or not Path(file).is_file():
        raise ValueError(
            "this graph is no file, so that relative paths in its options lead nowhere: give load_resources() a folder as base_dir"
        )
    return Path(file).parent


def check_resources(
    config: CalculatorGraphConfig | GraphSource,
    base_dir: str | os.PathLike[str],
    models: ModelList | None = None,
    *,
    allow_python_nodes: bool = False,
) -> list[Problem]:
    """What would keep :func:`load_resources` from loading, as far as that can be known without loading: no OpenVINO is needed, and
    no code of the folder is run."""
    loading = Loading(models=models)
    return [
        problem
        for loader, nodes in _kinds_in(config, allow_python_nodes)
        for problem in loader.check_nodes(nodes, Path(base_dir), loading)
    ]


def notes_on_resources(
    config: CalculatorGraphConfig | GraphSource, base_dir: str | os.PathLike[str], models: ModelList | None = None
) -> list[Problem]:
    """What :func:`load_resources` takes as it is and could be better, such as the number of steps for a model's family."""
    loading = Loading(models=models)
    return [
        note
        for loader, nodes in _kinds_in(config, False)
        for note in loader.notes_on_nodes(nodes, Path(base_dir), loading)
    ]


class _NotAllowed:
    """Takes the place of a loader that would run code of the folder."""

    def check_nodes(self, nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
        """Why none of the nodes can be used."""
        return [
            Problem(
                "the node runs code of the graph's folder, and that is not allowed",
                StatusCode.FAILED_PRECONDITION,
                node.place("calculator"),
                node.message.name or None,
                hint="if you trust whoever can write to the folder, allow it with --allow_python_nodes "
                "(in a program: load_resources(..., allow_python_nodes=True))",
            )
            for node in nodes
        ]

    def notes_on_nodes(self, nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
        """Nothing."""
        return []

    def load_nodes(self, nodes: Sequence[Node], base_dir: Path, loading: Loading) -> tuple[None, list[Problem]]:
        """Nothing, and why."""
        return None, self.check_nodes(nodes, base_dir, loading)


def _kinds_in(
    config: CalculatorGraphConfig | GraphSource, allow_python_nodes: bool
) -> Iterator[tuple[Loader, list[Node]]]:
    """The kinds of nodes that a graph has, and its nodes of each; a graph without any does not pay for their imports."""
    graph = config.config if isinstance(config, GraphSource) else config
    told = {problem.node for problem in config.problems} if isinstance(config, GraphSource) else set()
    for kind in NODE_KINDS:
        nodes = [
            Node(
                node,
                partial(_place, config, position, kind.options[node.calculator])
                if isinstance(config, GraphSource)
                else _no_place,
                told=bool(node.name) and node.name in told,
            )
            for position, node in enumerate(graph.node)
            if node.calculator in kind.options
        ]
        if nodes:
            yield _NotAllowed() if kind.runs_code and not allow_python_nodes else kind.loader(), nodes


def _place(source: GraphSource, position: int, options: str, field: str) -> str:
    """The place of an option, in whichever of the two forms the node gives it; of the node itself for its own fields."""
    node = source.config.node[position]
    if field in node.DESCRIPTOR.fields_by_name:
        return source.positions.place("node", position, field)
    for index, packed in enumerate(node.node_options):
        if packed.type_url.rpartition("/")[2] == options:
            return source.positions.place("node", position, "node_options", index, field)
    return source.positions.place("node", position, "options", f"{options}.ext", field)


def _no_place(field: str) -> None:
    return None
