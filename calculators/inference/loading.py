"""Session nodes of a graph -> their sessions, each model loaded once; inference nodes are checked against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from calculators.inference.model_config import SUBCONFIG, ModelConfig, read_model_list
from calculators.inference.model_load import ModelLoad, model_load
from calculators.inference.model_xml import read_signature
from calculators.inference.process_session import ProcessSession, SessionSupervision
from calculators.inference.session import Session, ThreadSession, load_engine
from calculators.inference.session_calculator import SERVICE, SESSION
from calculators.inference.session_pool import SessionPool
from calculators.inference.tensors import Signature, TensorInfo, lacking_arrays
from calculators.inference.wiring import wire
from calculators.load_error import LoadError
from calculators.node_kinds import Loading, Node
from calculators.statistics import ImageStatistics
from graph_runtime._pb.mediapipe.calculators.inference.openvino_inference_calculator_pb2 import (
    OpenVINOInferenceCalculatorOptions,
)
from graph_runtime._pb.mediapipe.calculators.inference.openvino_session_calculator_pb2 import (
    OpenVINOModelServerSessionCalculatorOptions,
)
from graph_runtime.config import find_options
from graph_runtime.errors import Problem, StatusCode
from graph_runtime.near_names import did_you_mean

_SESSION_NODE: Final = "OpenVINOModelServerSessionCalculator"
_INFERENCE_NODE: Final = "OpenVINOInferenceCalculator"


class LoadedSessions:
    """The models of a graph's session nodes.

    Attributes:
        side_packets: none.
        services: the sessions, for the session nodes.
        at_once: None: what waits for a model holds a run of the graph.
        tensors: stream of the graph -> the tensor that it carries, where that is known.
    """

    at_once = None

    def __init__(
        self,
        pool: SessionPool,
        sessions: Mapping[tuple[str, str], Session],
        loads: Sequence[ModelLoad],
        tensors: Mapping[str, TensorInfo],
    ) -> None:
        self.side_packets: dict[str, Any] = {}
        self.services: dict[str, Any] = {SERVICE: dict(sessions)}
        self.tensors = dict(tensors)
        self._pool = pool
        self._sessions = dict(sessions)
        self._loads = list(loads)

    def describe(self) -> dict[str, Any]:
        """Model, with its version where the graph names it -> ``Session.describe``."""
        return {":".join(filter(None, key)): session.describe() for key, session in self._sessions.items()}

    def trouble(self) -> dict[str, str]:
        """Model -> why it cannot work at present; without those that can."""
        return {name: each.trouble for (name, _), each in self._sessions.items() if each.trouble is not None}

    def statistics(self) -> dict[str, ImageStatistics]:
        """Nothing: these are no pictures."""
        return {}

    def aliases(self) -> tuple[str, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Let go of the models; those that no other graph uses are unloaded."""
        loads, self._loads = self._loads, []
        for load in loads:
            self._pool.release(load)


def check_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
    """What is wrong with options, models and tensor names; of models in OpenVINO's own format, without OpenVINO."""
    return _read(nodes, base_dir, loading).problems


def notes_on_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> list[Problem]:
    """What has no effect."""
    notes = []
    for node in nodes:
        options = find_options(node.message, OpenVINOModelServerSessionCalculatorOptions)
        if node.message.calculator != _SESSION_NODE or options is None:
            continue
        if options.HasField("log_level"):
            notes.append(
                _problem(node, "log_level", "log_level has no effect", hint="--log_level sets that of a server")
            )
        if options.HasField("server_config") and loading.models is not None:
            notes.append(
                _problem(
                    node, "server_config", "server_config has no effect: a server's models are those of its config.json"
                )
            )
    return notes


def load_nodes(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> tuple[LoadedSessions | None, list[Problem]]:
    """Load the models that session nodes name; nothing is loaded unless all options are right.

    Returns: what was loaded, or None and everything that is wrong.
    """
    read = _read(nodes, base_dir, loading)
    problems = list(read.problems)
    if problems:
        return None, problems
    pool = loading.sessions or SessionPool()
    make = partial(_make_session, loading=loading)
    sessions: dict[tuple[str, str], Session] = {}
    opened: list[ModelLoad] = []
    complete = False
    try:
        for use in read.uses:
            if use.key in sessions:
                continue
            assert use.config is not None  # there were no problems
            try:
                load = model_load(use.config, use.version, loading.cache_dir)
                sessions[use.key] = pool.open(load, make)
                opened.append(load)
            except LoadError as error:
                problems.append(_load_problem(use.node, error))
        signatures = {
            use.side_packet: (use.key[0], sessions[use.key].signature) for use in read.uses if use.key in sessions
        }
        tensors: dict[str, TensorInfo] = {}
        for node in read.inferences:
            problems += _wire_problems(node, signatures, tensors)
        complete = not problems
    finally:
        if not complete:
            for load in opened:
                pool.release(load)
    return (LoadedSessions(pool, sessions, opened, tensors), []) if complete else (None, problems)


@dataclass(slots=True)
class _Use:
    """A session node: the model that it names."""

    node: Node
    key: tuple[str, str]
    side_packet: str
    config: ModelConfig | None
    version: int | None


@dataclass(slots=True)
class _Read:
    uses: list[_Use] = field(default_factory=list)
    inferences: list[Node] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def _read(nodes: Sequence[Node], base_dir: Path, loading: Loading) -> _Read:
    """The nodes' options, checked as far as that goes without OpenVINO."""
    found = _Read(inferences=[node for node in nodes if node.message.calculator == _INFERENCE_NODE])
    sessions = [node for node in nodes if node.message.calculator == _SESSION_NODE]
    signatures: dict[str, tuple[str, Signature]] = {}
    for node in sessions:
        options = find_options(node.message, OpenVINOModelServerSessionCalculatorOptions)
        if options is None or not options.servable_name:
            if not node.told:
                found.problems.append(_problem(node, "node_options", "servable_name is missing: the name of a model"))
            continue
        use = _Use(node, (options.servable_name, options.servable_version), _session_name(node), None, None)
        if _check_options(use, options, base_dir, loading, found.problems):
            found.uses.append(use)
            assert use.config is not None
            try:
                _, file = use.config.file_of(use.version)
                if file.suffix == ".xml":
                    signature = read_signature(file)
                    lacking = lacking_arrays(signature)
                    if lacking is not None:
                        raise LoadError(lacking)
                    signatures[use.side_packet] = (use.key[0], signature)
            except LoadError as error:
                found.problems.append(_load_problem(node, error))
            except (OSError, ValueError) as error:
                found.problems.append(_problem(node, "servable_name", f"model {use.key[0]!r}: {error}"))
    for node in found.inferences:
        found.problems += _wire_problems(node, signatures, {})
    return found


def _check_options(
    use: _Use,
    options: OpenVINOModelServerSessionCalculatorOptions,
    base_dir: Path,
    loading: Loading,
    problems: list[Problem],
) -> bool:
    """Find the model and the version that a node names."""
    before = len(problems)
    if options.service_url:
        problems.append(
            _problem(
                use.node, "service_url", "models of other servers are not supported", StatusCode.UNIMPLEMENTED,
                hint="list the model in config.json or subconfig.json",
            )
        )  # fmt: skip
    version = options.servable_version
    if version and not (version.isdecimal() and version.isascii()):
        problems.append(
            _problem(use.node, "servable_version", f'servable_version is "{version}"; it is a whole number')
        )
    elif version and int(version):
        use.version = int(version)  # 0 means the newest, as in the reference
    models, broken, errors = _models(options, base_dir, loading)
    use.config = models.get(options.servable_name)
    if use.config is None:
        problems.append(_no_model(use.node, options.servable_name, models, broken, errors))
    return len(problems) == before


def _no_model(
    node: Node, name: str, models: Mapping[str, ModelConfig], broken: Mapping[str, str], errors: Sequence[str]
) -> Problem:
    if name in broken:
        text = f'the model "{name}" cannot be used: {broken[name]}'
        return _problem(node, "servable_name", text, StatusCode.FAILED_PRECONDITION)
    text = f'there is no model "{name}" in config.json or {SUBCONFIG}'
    if errors:
        return _problem(node, "servable_name", f"{text}: {'; '.join(errors)}", StatusCode.NOT_FOUND)
    entry = '{"model_config_list": [{"config": {"name": ..., "base_path": ...}}]}'
    hint = did_you_mean(name, models, "there are") or f"list it in {SUBCONFIG} beside the graph: {entry}"
    return _problem(node, "servable_name", text, StatusCode.NOT_FOUND, hint=hint)


def _models(
    options: OpenVINOModelServerSessionCalculatorOptions, base_dir: Path, loading: Loading
) -> tuple[Mapping[str, ModelConfig], Mapping[str, str], Sequence[str]]:
    """The models that there are, why others are not, and what is wrong with their files."""
    if loading.models is not None:
        return loading.models.models, loading.models.problems, loading.models.errors
    file = base_dir / (options.server_config or SUBCONFIG)
    try:
        found = read_model_list(file)
    except FileNotFoundError:
        return {}, {}, [f"there is no {file}"] if options.server_config else []
    except OSError as error:
        return {}, {}, [f"{file} cannot be read: {error.strerror}"]
    return found.models, found.problems, found.errors


def _wire_problems(
    node: Node, signatures: Mapping[str, tuple[str, Signature]], tensors: dict[str, TensorInfo]
) -> list[Problem]:
    """What does not fit between an inference node and its model; and which of its streams carries which tensor."""
    session = next((name for tag, name in map(_port, node.message.input_side_packet) if tag == SESSION), "")
    if session not in signatures:
        return []  # another node's fault, or a model that only OpenVINO can read
    inputs, outputs = list(map(_port, node.message.input_stream)), list(map(_port, node.message.output_stream))
    options = find_options(node.message, OpenVINOInferenceCalculatorOptions) or OpenVINOInferenceCalculatorOptions()
    model, signature = signatures[session]
    wiring, faults = wire(options, [tag for tag, _ in inputs], [tag for tag, _ in outputs], model, signature)
    for ports, wires, infos in (
        (inputs, wiring.inputs, signature.inputs),
        (outputs, wiring.outputs, signature.outputs),
    ):
        for (_, stream), each in zip(ports, wires, strict=True):
            if not each.is_list and each.tensors:
                tensors.setdefault(stream, infos[each.tensors[0]])
    return [_problem(node, fault.field, fault.message, hint=fault.hint) for fault in faults]


def _port(text: str) -> tuple[str, str]:
    """Tag and name of ``TAG:index:name``."""
    parts = text.split(":")
    return (parts[0] if len(parts) > 1 else "", parts[-1])


def _session_name(node: Node) -> str:
    return next((name for tag, name in map(_port, node.message.output_side_packet) if tag == SESSION), "")


def _problem(
    node: Node, field: str, message: str, code: StatusCode = StatusCode.INVALID_ARGUMENT, *, hint: str | None = None
) -> Problem:
    return Problem(message, code, node.place(field), node.message.name or None, hint)


def _load_problem(node: Node, error: LoadError) -> Problem:
    return Problem(error.message, error.code, node.place(error.field or "servable_name"), node.message.name or None)


def _make_session(load: ModelLoad, loading: Loading) -> Session:
    if loading.lane == "thread":
        return ThreadSession(load.name, load_engine(load))
    return ProcessSession(load, SessionSupervision(idle_unload_s=loading.idle_unload_s))
