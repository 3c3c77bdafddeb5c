"""Image nodes of a graph -> their Pipelines, each model loaded once; called by ``calculators.load_resources``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from calculators.image_gen.adapters import routable_aliases
from calculators.image_gen.calculator import SIDE_PACKET
from calculators.image_gen.generation import OnStep
from calculators.image_gen.lane import IdleUnload, Lane, ThreadLane
from calculators.image_gen.lane_group import LaneGroup
from calculators.image_gen.options import MODELS_PATH_MISSING, CheckedOptions, LoadSettings, read_options
from calculators.image_gen.pipelines import Pipelines
from calculators.image_gen.process_lane import ProcessLane
from calculators.image_gen.request_rules import RequestSettings
from calculators.load_error import LoadError
from calculators.node_kinds import Loading, Node, OnNodeStep, repeated_names
from calculators.statistics import ImageStatistics
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime._pb.mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
from graph_runtime.config import find_options
from graph_runtime.errors import Problem, StatusCode

if TYPE_CHECKING:
    from calculators.inference.tensors import TensorInfo

OPTIONS_MISSING: Final = "node_options is missing"


class LoadedModels:
    """The models of a graph's image nodes.

    Attributes:
        side_packets: what the graph's runs are started with: ``{"pipes": {node name: Pipelines}}``.
        services, tensors: none.
        at_once: generations that go on at the same time.
    """

    def __init__(self, pipelines: dict[str, Pipelines], lanes: Sequence[Lane], at_once: int) -> None:
        self.services: dict[str, Any] = {}
        self.tensors: dict[str, TensorInfo] = {}
        self.at_once = at_once
        self.side_packets: dict[str, Any] = {SIDE_PACKET: pipelines}
        self._pipelines = pipelines
        self._lanes = lanes

    def describe(self) -> dict[str, Any]:
        """Node name -> ``Pipelines.describe``."""
        return {name: each.describe() for name, each in self._pipelines.items()}

    def trouble(self) -> dict[str, str]:
        """Node name -> why its model cannot draw anything at present; without those that can."""
        return {name: each.trouble for name, each in self._pipelines.items() if each.trouble is not None}

    def statistics(self) -> dict[str, ImageStatistics]:
        """Node name -> what its model's lanes have done; of nodes that share a model, the first one's name."""
        first: dict[int, str] = {}
        for name, each in self._pipelines.items():
            first.setdefault(id(each.lane), name)
        return {name: self._pipelines[name].lane.statistics() for name in first.values()}

    def aliases(self) -> tuple[str, ...]:
        """The names of LoRA adapters and their blends, which requests may use in the place of the model's."""
        return tuple(alias for each in self._pipelines.values() for alias in routable_aliases(each.settings))

    def close(self) -> None:
        """Unload the models."""
        for lane in self._lanes:
            lane.close()


def check_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
    """Everything that is wrong with the nodes' options and model folders, without loading a model."""
    return [
        problem
        for node in nodes
        for problem in _read_node(node, base_dir).problems
        if not (node.told and _was_left_out(problem, node.message))
    ] + repeated_names(nodes, "its model is loaded under that name")


def notes_on_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
    """What works, but can be better: the steps of a request that names none, where the model was made for other ones."""
    usual = ImageGenCalculatorOptions().default_num_inference_steps
    notes = []
    for node in nodes:
        each = _read_node(node, base_dir)
        if each.settings is None or each.model is None or each.model.recommended_steps is None:
            continue
        steps, limit = each.model.recommended_steps, each.settings.max_num_inference_steps
        if each.settings.default_num_inference_steps == usual and steps <= limit:
            notes.append(
                Problem(
                    f"the model ({each.model.family.title}) is made for {steps} steps; requests that do not say get {usual}",
                    place=node.place("default_num_inference_steps"),
                    node=node.message.name or None,
                    hint=f"set default_num_inference_steps: {steps}",
                )
            )
    return notes


def load_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> tuple[LoadedModels | None, list[Problem]]:
    """Load the models of all nodes; those with equal settings share one.

    Returns: the models, or None and everything that is wrong. Nothing is loaded unless all options are right.
    """
    problems = repeated_names(nodes, "its model is loaded under that name")
    checked = [(node, _read_node(node, base_dir, loading.cache_dir)) for node in nodes]
    problems += [
        problem for _, each in checked for problem in [*each.problems, *_preset_problems(loading.requests, each)]
    ]
    if problems:
        return None, problems
    idle = None if loading.idle_unload_s is None else IdleUnload(loading.idle_unload_s)
    loaded: dict[LoadSettings, Lane] = {}
    pipelines: dict[str, Pipelines] = {}
    try:
        for node, each in checked:
            settings, model = each.settings, each.model
            assert settings is not None  # there were no problems
            assert model is not None
            name = node.message.name
            title = f"{name} ({Path(settings.load.models_path).name})"
            if settings.load not in loaded:
                make = (
                    partial(ProcessLane, title, settings.load, loading.supervision, idle)
                    if loading.lane == "process"
                    else partial(ThreadLane.load, title, settings.load, model, idle)
                )
                try:
                    loaded[settings.load] = _make_lanes(make, loading.lanes)
                except LoadError as error:
                    problems.append(_load_problem(error, node))
                    continue
            pipelines[name] = Pipelines(
                settings,
                model,
                loaded[settings.load],
                on_step=_step_of(name, loading.on_step),
                requests=loading.requests,
            )
    except BaseException:
        problems.append(Problem("interrupted"))  # so that the lanes are closed below
        raise
    finally:
        if problems:
            for each_lane in loaded.values():
                each_lane.close()
    return (None, problems) if problems else (LoadedModels(pipelines, list(loaded.values()), loading.lanes), [])


def _make_lanes(make: Callable[[], Lane], count: int) -> Lane:
    """One lane, or a group of several; none is left behind when one of them cannot be made."""
    if count == 1:
        return make()
    made: list[Lane] = []
    try:
        while len(made) < count:
            made.append(make())
    except BaseException:
        for lane in made:
            lane.close()
        raise
    return LaneGroup(made)


def _preset_problems(requests: RequestSettings | None, checked: CheckedOptions) -> list[Problem]:
    """Presets of the server's with more steps than the node allows."""
    if requests is None or checked.settings is None or checked.model is None:
        return []
    limit = min(checked.settings.max_num_inference_steps, checked.model.num_train_timesteps)
    return [
        Problem(
            f'the quality preset "{name}" has {steps} steps, and the most that this model takes is {limit}',
            hint="mend config.json, or raise max_num_inference_steps",
        )
        for name, steps in requests.quality.items()
        if steps > limit
    ]


def _was_left_out(problem: Problem, node: CalculatorGraphConfig.Node) -> bool:
    """Whether something is missing because the parser could not read it, or is required: it has told that already."""
    options = find_options(node, ImageGenCalculatorOptions)
    if options is None:
        return problem.message == OPTIONS_MISSING and (bool(node.node_options) or node.HasField("options"))
    return problem.message == MODELS_PATH_MISSING and not options.HasField("models_path")


def _read_node(node: Node, base_dir: Path, cache_dir: str | None = None) -> CheckedOptions:
    name = node.message.name
    options = find_options(node.message, ImageGenCalculatorOptions)
    if options is None:
        problem = Problem(
            OPTIONS_MISSING, StatusCode.INVALID_ARGUMENT, node.place("node_options"), name or None,
            hint='give [type.googleapis.com / mediapipe.ImageGenCalculatorOptions]: { models_path: "./" }',
        )  # fmt: skip
        return CheckedOptions(None, None, (problem,))
    return read_options(options, base_dir, node=name or None, place=node.place, cache_dir=cache_dir)


def _load_problem(error: LoadError, node: Node) -> Problem:
    return Problem(error.message, error.code, node.place(error.field or "models_path"), node.message.name)


def _step_of(name: str, on_step: OnNodeStep | None) -> OnStep | None:
    return None if on_step is None else lambda done, total: on_step(name, done, total)
