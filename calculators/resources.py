"""The side packets that a graph's nodes need: loaded models and the like, made once and shared by all runs of the graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from calculators.statistics import ImageStatistics
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import GraphSource
from graph_runtime.errors import Problem, raise_problems

if TYPE_CHECKING:
    from calculators.image_gen.loading import LoadedModels, Node
    from calculators.image_gen.process_lane import Supervision
    from calculators.image_gen.request_rules import RequestSettings

IMAGE_GEN: Final = "ImageGenCalculator"


class Closable(Protocol):
    """What a kind of nodes has loaded."""

    side_packets: dict[str, Any]

    def describe(self) -> dict[str, Any]:
        """Node name -> what was loaded for it, as JSON values."""

    def trouble(self) -> dict[str, str]:
        """Node name -> why it cannot work at present; without those that can."""

    def statistics(self) -> dict[str, ImageStatistics]:
        """Node name -> what has been done for it so far."""

    def aliases(self) -> tuple[str, ...]:
        """Further names under which requests may ask for the graph."""

    def close(self) -> None:
        """Give it back."""


class Resources:
    """What was loaded for a graph; a context manager that gives it back.

    Attributes:
        side_packets: name -> value, for ``CalculatorGraph.start_run``.
        at_once: requests that its models work on at the same time; None where there are none.
    """

    def __init__(self, loaded: list[LoadedModels], at_once: int | None = None) -> None:
        self.at_once = at_once
        self._loaded: list[Closable] = list(loaded)
        self.side_packets: dict[str, Any] = {}
        for each in loaded:
            self.side_packets.update(each.side_packets)

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
    config: CalculatorGraphConfig | GraphSource,
    base_dir: str | os.PathLike[str],
    *,
    lane: Literal["process", "thread"] = "thread",
    on_step: Callable[[str, int, int], None] | None = None,
    supervision: Supervision | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    lanes: int = 1,
    idle_unload_s: float | None = None,
    requests: RequestSettings | None = None,
) -> Resources:
    """Load what the nodes of a graph need; for a graph that needs nothing, an empty Resources.

    Args:
        config: the graph; as a GraphSource (``graph_runtime.config.read_graph``), problems name their places in the file.
        base_dir: the graph file's folder; relative paths in options start there.
        lane: ``"process"`` loads each model into a supervised child process, ``"thread"`` into this one.
        on_step: called with (node name, steps done, steps in all) while a node works, on a thread of its own.
        supervision: how child processes are watched.
        cache_dir: where OpenVINO keeps compiled models, so that the next load is quicker; a node's ``plugin_config`` wins.
        lanes: how many copies of each model to load; that many generations go on at once.
        idle_unload_s: give a model's memory back after so many seconds without a request; the next one loads it again.
        requests: what requests may ask for beyond what the graph says.

    Raises:
        ValueError: ``lane`` or ``lanes`` is none of these.
        GraphError: a node's options are wrong or its model cannot be loaded; ``problems`` lists all of them.
    """
    if lane not in ("process", "thread"):
        raise ValueError(f'lane is "process" or "thread", not {lane!r}')
    if lanes < 1:
        raise ValueError(f"lanes is {lanes}; it has to be at least 1")
    nodes = _image_nodes(config)
    if not nodes:
        return Resources([])
    from calculators.image_gen.loading import load_nodes

    loaded, problems = load_nodes(
        nodes,
        Path(base_dir),
        lane=lane,
        on_step=on_step,
        supervision=supervision,
        cache_dir=None if cache_dir is None else os.fspath(cache_dir),
        lanes=lanes,
        idle_unload_s=idle_unload_s,
        requests=requests,
    )
    raise_problems("The nodes of this graph cannot get what they need.", problems)
    assert loaded is not None  # there were no problems
    return Resources([loaded], lanes)


def check_resources(config: CalculatorGraphConfig | GraphSource, base_dir: str | os.PathLike[str]) -> list[Problem]:
    """What would keep :func:`load_resources` from loading, as far as that can be known without loading: no OpenVINO is needed."""
    nodes = _image_nodes(config)
    if not nodes:
        return []
    from calculators.image_gen.loading import check_nodes

    return check_nodes(nodes, Path(base_dir))


def notes_on_resources(config: CalculatorGraphConfig | GraphSource, base_dir: str | os.PathLike[str]) -> list[Problem]:
    """What :func:`load_resources` takes as it is and could be better, such as the number of steps for a model's family."""
    nodes = _image_nodes(config)
    if not nodes:
        return []
    from calculators.image_gen.loading import notes_on_nodes

    return notes_on_nodes(nodes, Path(base_dir))


def _image_nodes(config: CalculatorGraphConfig | GraphSource) -> list[Node]:
    graph = config.config if isinstance(config, GraphSource) else config
    positions = [position for position, node in enumerate(graph.node) if node.calculator == IMAGE_GEN]
    if not positions:
        return []  # other graphs do not pay for the import
    from calculators.image_gen.loading import Node

    if not isinstance(config, GraphSource):
        return [Node(graph.node[position], _no_place) for position in positions]
    told = {problem.node for problem in config.problems}
    return [
        Node(node, partial(_place, config, position), told=bool(node.name) and node.name in told)
        for position in positions
        for node in [graph.node[position]]
    ]


def _place(source: GraphSource, position: int, field: str) -> str:
    """The place of an option, in whichever of the two forms the node gives it; of the node itself for its own fields."""
    node = source.config.node[position]
    if field in node.DESCRIPTOR.fields_by_name:
        return source.positions.place("node", position, field)
    for index, packed in enumerate(node.node_options):
        if packed.type_url.rpartition("/")[2] == "mediapipe.ImageGenCalculatorOptions":
            return source.positions.place("node", position, "node_options", index, field)
    return source.positions.place("node", position, "options", "mediapipe.ImageGenCalculatorOptions.ext", field)


def _no_place(field: str) -> None:
    return None
