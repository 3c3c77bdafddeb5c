"""The kinds of nodes that need something loaded before their graph runs: who checks it, who loads it, who gives it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast

from calculators.statistics import ImageStatistics
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.errors import Problem

if TYPE_CHECKING:
    from calculators.image_gen.process_lane import Supervision
    from calculators.image_gen.request_rules import RequestSettings
    from calculators.inference.model_config import ModelList
    from calculators.inference.session_pool import SessionPool
    from calculators.inference.tensors import TensorInfo

Place: TypeAlias = Callable[[str], str | None]
"""A field of a node, or of its options -> ``file:line:column``; None if it is not known."""
LaneKind = Literal["process", "thread"]
OnNodeStep: TypeAlias = Callable[[str, int, int], None]
"""Called with (node name, steps done, steps in all)."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that needs something.

    Attributes:
        message: the node in the graph.
        place: where its fields and those of its options stand in the file.
        told: whether the parser has found something wrong in this node: what it left out is then not missing.
    """

    message: CalculatorGraphConfig.Node
    place: Place
    told: bool = False


@dataclass(frozen=True, slots=True)
class Loading:
    """How to load; see ``calculators.load_resources`` for what each means."""

    lane: LaneKind = "thread"
    on_step: OnNodeStep | None = None
    supervision: Supervision | None = None
    cache_dir: str | None = None
    lanes: int = 1
    idle_unload_s: float | None = None
    requests: RequestSettings | None = None
    models: ModelList | None = None
    sessions: SessionPool | None = None


class Loaded(Protocol):
    """What was loaded for the nodes of one kind."""

    @property
    def side_packets(self) -> Mapping[str, Any]:
        """Name -> value, for ``CalculatorGraph.start_run``."""

    @property
    def services(self) -> Mapping[str, Any]:
        """Key -> value, for ``CalculatorGraph.set_service``."""

    @property
    def at_once(self) -> int | None:
        """How many requests it works on at the same time; None where nothing limits that."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Stream of the graph -> the tensor that its packets are, where that is known."""

    def describe(self) -> dict[str, Any]:
        """Node name -> what was loaded for it, as JSON values."""

    def trouble(self) -> dict[str, str]:
        """Node name -> why it cannot work at present; without those that can."""

    def statistics(self) -> dict[str, ImageStatistics]:
        """Node name -> what has been done for it so far."""

    def aliases(self) -> tuple[str, ...]:
        """Further names under which requests may ask for the graph."""

    def close(self) -> None:
        """Give it back; a second call does nothing."""


class Loader(Protocol):
    """The module that knows a kind of nodes; imported for graphs that have such nodes alone."""

    def check_nodes(self, nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
        """What would keep ``load_nodes`` from loading, as far as that can be known without loading."""

    def notes_on_nodes(self, nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
        """What works, but can be better."""

    def load_nodes(
        self, nodes: Sequence[Node], base_dir: Path, loading: Loading
    ) -> tuple[Loaded | None, list[Problem]]:
        """What the nodes need; or None, with nothing left loaded, and everything that is wrong."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """A kind of nodes.

    Attributes:
        module: its ``Loader``.
        options: calculator -> full name of its options message.
        runs_code: whether it runs code that lies in the folder of the graph.
    """

    module: str
    options: Mapping[str, str]
    runs_code: bool = False

    def loader(self) -> Loader:
        """The module, imported now if it was not before."""
        return cast(Loader, import_module(self.module))


NODE_KINDS: Final = (
    NodeKind("calculators.image_gen.loading", {"ImageGenCalculator": "mediapipe.ImageGenCalculatorOptions"}),
    NodeKind(
        "calculators.python_node.loading",
        {"PythonExecutorCalculator": "mediapipe.PythonExecutorCalculatorOptions"},
        runs_code=True,
    ),
    NodeKind(
        "calculators.inference.loading",
        {
            "OpenVINOModelServerSessionCalculator": "mediapipe.OpenVINOModelServerSessionCalculatorOptions",
            "OpenVINOInferenceCalculator": "mediapipe.OpenVINOInferenceCalculatorOptions",
        },
    ),
)
"""All of them; another kind is another line."""


def repeated_names(nodes: Sequence[Node], why: str) -> list[Problem]:
    """What is loaded is found by node name, so that names are needed and must differ.

    Args:
        nodes: of one kind.
        why: what the name is needed for, as the end of a sentence.
    """
    names = [node.message.name for node in nodes]
    problems = [
        Problem(f"the node needs a name: {why}", place=node.place("name")) for node in nodes if not node.message.name
    ]
    return problems + [
        Problem("another node of this graph has the same name", place=node.place("name"), node=node.message.name)
        for position, node in enumerate(nodes)
        if node.message.name and node.message.name in names[:position]
    ]
