"""Classic models of a config.json: which of them a graph can use, and the graph by which each is served itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

from calculators.inference.model_config import (
    SUBCONFIG,
    ModelConfig,
    ModelList,
    add_model,
    read_model_list,
)
from calculators.inference.model_xml import read_signature
from calculators.inference.tensors import Signature
from server.config_file import Entry
from server.discovery import ServableSpec, Warn


def read_listed_model(models: ModelList, entry: Entry, above: Path) -> None:
    """Add the model of an entry of ``model_config_list``; ``above`` is the folder of its file."""
    add_model(models, entry.given, above, lambda key: entry.places[key] if key else entry.place)


def default_model(name: str, folder: Path) -> ModelConfig:
    """A model of which nothing is said but where it is."""
    return ModelConfig(name, folder, "")


def models_of(spec: ServableSpec, subconfig: str | None, listed: ModelList, warn: Warn) -> ModelList:
    """The models that the nodes of a graph can name: those of its subconfig.json, and those of config.json, which win.

    Args:
        spec: the graph.
        subconfig: the name of the file beside the graph, where the entry gives one.
        listed: the models of config.json.
        warn: called with a sentence for the operator.
    """
    if spec.graph_file is None:
        return ModelList()  # made for an image model
    path = spec.base_dir / (subconfig or SUBCONFIG)
    try:
        found = read_model_list(path)
    except FileNotFoundError:
        if subconfig:
            warn(f"subconfig of {spec.name} has no effect: there is no {path}")
        return listed
    except OSError as error:
        warn(f"{path} cannot be read: {error.strerror}")
        return listed
    for line in (*found.errors, *found.warnings):
        warn(line)
    for name in sorted({*found.models, *found.problems} & {*listed.models, *listed.problems}):
        warn(f"{path}: the model {name!r} has no effect: config.json has one of that name")
        found.models.pop(name, None)
        found.problems.pop(name, None)
    return ModelList({**found.models, **listed.models}, {**found.problems, **listed.problems}, found.errors)


def classic_servable(model: ModelConfig) -> ServableSpec:
    """A model that is served itself, by a graph with a stream for each of its tensors.

    Those of a model in another format than OpenVINO's own are known when it is loaded: its graph is the session alone until
    ``graph_of`` is asked.

    Raises:
        LoadError, OSError, ValueError: there is no version of it, or its file is none of OpenVINO's.
    """
    _, file = model.file_of(None)
    signature = read_signature(file) if file.suffix == ".xml" else None
    return ServableSpec(
        model.name,
        model.folder,
        None,
        int(file.stat().st_mtime),
        _session_text(model.name) if signature is None else graph_of(model.name, signature),
        models=ModelList({model.name: model}),
        is_session=signature is None,
    )


def graph_of(name: str, signature: Signature) -> str:
    """The graph by which a model is served: its session, and a node with a stream for each of its tensors."""
    ports: dict[str, list[tuple[str, str, str]]] = {"input": [], "output": []}
    taken: set[str] = set()
    for side, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for number, each in enumerate(tensors):
            stream = _stream_name(each.name, taken)
            taken.add(stream)
            ports[side].append((f"{side.upper()}{number}", stream, each.name))
    lines = [f'{side}_stream: "{stream}"' for side in ports for _, stream, _ in ports[side]]
    lines += [
        _session_text(name),
        "node {",
        '  calculator: "OpenVINOInferenceCalculator"',
        '  input_side_packet: "SESSION:session"',
        *(f'  {side}_stream: "{tag}:{stream}"' for side in ports for tag, stream, _ in ports[side]),
        "  node_options: {",
        "    [type.googleapis.com / mediapipe.OpenVINOInferenceCalculatorOptions]: {",
        *(
            f'      tag_to_{side}_tensor_names {{ key: "{tag}" value: {json.dumps(tensor)} }}'
            for side in ports
            for tag, _, tensor in ports[side]
        ),
        "    }",
        "  }",
        "}",
        "",
    ]
    return "\n".join(lines)


def _session_text(name: str) -> str:
    return "\n".join([
        "node {",
        '  calculator: "OpenVINOModelServerSessionCalculator"',
        '  output_side_packet: "SESSION:session"',
        "  node_options: {",
        "    [type.googleapis.com / mediapipe.OpenVINOModelServerSessionCalculatorOptions]: {",
        f"      servable_name: {json.dumps(name)}",
        "    }",
        "  }",
        "}",
    ])  # fmt: skip


def _stream_name(tensor: str, taken: set[str]) -> str:
    """The name of a tensor, as the name of a stream may be: small letters, digits and underscores."""
    name = re.sub("[^a-z0-9_]", "_", tensor.lower())
    name = name if re.match("[a-z_]", name) else f"_{name}"
    while name in taken:
        name += "_"
    return name
