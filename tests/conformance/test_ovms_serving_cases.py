"""What OVMS accepts and refuses of graphs and configuration files, case by case, and the graphs that its exporter writes."""

from __future__ import annotations

import json
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from calculators.image_gen.graph_text import graph_text
from calculators.image_gen.recognise import is_image_model
from graph_runtime import GraphError, Plan, parse_graph_config
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import ImageGenCalculatorOptions
from graph_runtime.config import find_options, read_graph
from server.config_file import read_config_file
from server.graph_checks import graph_problems
from server.graph_queue import read_graph_queue
from server.image_flags import IMAGE_FLAGS, add_image_flags, options_from
from server.lora_sources import LoraKind, LoraSource, parse_loras, set_adapters
from server.settings import SettingsError

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "ovms_cases.json").read_text(encoding="utf-8"))[
    "cases"
]


def cases(kind: str, has: Callable[[dict[str, Any]], bool] = lambda case: True) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if case["kind"] == kind and has(case)]
    assert chosen
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case["id"])


# ---- graphs

NODES: Final = {
    "": "",
    "PythonExecutorCalculator with LOOPBACK": """node { name: "py" calculator: "PythonExecutorCalculator"
        input_stream: "LOOPBACK:loopback" input_stream: "OVMS_PY_TENSOR:in" output_stream: "OVMS_PY_TENSOR:out" }""",
    "HttpLLMCalculator with LLM_NODE_EXECUTION_CONTEXTS:llm_ctx": """node { name: "llm" calculator: "HttpLLMCalculator"
        input_side_packet: "LLM_NODE_RESOURCES:llm" input_side_packet: "LLM_NODE_EXECUTION_CONTEXTS:llm_ctx" }""",
}
"""The graphs that the cases describe in words."""


@cases("graph_queue_directive")
def test_the_size_of_the_graph_queue(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    text = f"{case['input']['directive']}\n{NODES[case.get('graph', '')]}"
    queue = read_graph_queue(read_graph(text, keep_problems=True))
    assert bool(queue.problems) == (case["expect"]["result"] == "reject")
    if "queue_size" in case["expect"]:
        assert queue.size == case["expect"]["queue_size"]


@cases("graph_definition")
def test_streams_of_a_graph(case: dict[str, Any]) -> None:
    """Whether a graph with these streams is refused, be it as MediaPipe does it or as a server does."""
    lines = [f'{field}: "{entry}"' for field in ("input_stream", "output_stream") for entry in case["input"][field]]
    outputs = [f'output_stream: "{entry}"' for entry in dict.fromkeys(case["input"]["output_stream"])]
    inputs = [f'input_stream: "{entry}"' for entry in case["input"]["input_stream"]]
    text = "\n".join(lines) + f'\nnode {{ calculator: "PassThroughCalculator" {" ".join(inputs + outputs[:1])} }}'
    problems = graph_problems(read_graph(text))
    if not problems:
        with pytest.raises(GraphError):
            Plan(text)


LORA_KINDS: Final[dict[str, LoraKind]] = {"DIRECT_URL": "URL", "LOCAL_FILE": "LOCAL", "HF_REPO": "HF_REPO"}


def options_of(loras: list[list[str | None]]) -> ImageGenCalculatorOptions:
    """The options that the command line makes of adapters: alias, kind, source and file of each."""
    sources = [
        LoraSource(alias or "", LORA_KINDS[kind or ""], source or "", file) for alias, kind, source, file in loras
    ]
    return options_from(Namespace(), ImageGenCalculatorOptions(models_path="./"), sources or None)


@cases("graph_export")
def test_graphs_are_written_as_the_exporter_writes_them(case: dict[str, Any]) -> None:
    expect = case["expect"]
    loras = case["input"].get("loras", [])
    if expect["result"] == "reject":
        with pytest.raises(ValueError, match="it is not known which file"):
            options_of(loras)
        return
    options = options_of(loras)
    assert options == ImageGenCalculatorOptions(**expect["options"])
    text = graph_text(options)
    for line, expected in zip(text.splitlines(), expect["header"], strict=False):
        assert line.startswith(expected.partition("<")[0])
    config = parse_graph_config(text)
    (node,) = config.node
    skeleton = expect["skeleton"]
    assert list(config.input_stream) == [skeleton["graph_input_stream"]]
    assert list(config.output_stream) == [skeleton["graph_output_stream"]]
    for field, value in skeleton["node"].items():
        if field != "options_type":
            written = getattr(node, field)
            assert written == value or list(written) == [value]
    assert node.node_options[0].type_url.endswith(f"/{skeleton['node']['options_type']}")
    assert find_options(node, ImageGenCalculatorOptions) == options


# ---- the command line


@cases("cli_source_loras")
def test_adapters_of_the_command_line(case: dict[str, Any], tmp_path: Path) -> None:
    text = case["input"]["--source_loras"]
    if case.get("precondition") == "file exists":
        (tmp_path / "test_weights.safetensors").touch()
    text, expect = (json.loads(json.dumps(each).replace("<tmpdir>", str(tmp_path))) for each in (text, case["expect"]))
    if expect["result"] == "reject":
        with pytest.raises(ValueError):  # noqa: PT011 - each with a reason of its own
            parse_loras(text)
        return
    found = parse_loras(text)
    for adapter in expect.get("adapters", []):
        wanted = LoraSource(
            adapter["alias"], LORA_KINDS[adapter["type"]], adapter["source"], adapter["file"], alpha=adapter["alpha"]
        )
        assert wanted in found
    for alias, components in expect.get("composites", {}).items():
        assert LoraSource(alias, "COMPOSITE", components=tuple((name, alpha) for name, alpha in components)) in found
    known = [replace(each, file=each.file or "x.safetensors") for each in found]
    set_adapters(ImageGenCalculatorOptions(models_path="./", device=case["input"]["--target_device"]), known)


@cases("cli_image_generation")
def test_flags_of_the_command_line(case: dict[str, Any]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    add_image_flags(parser)
    names = {flag.name for flag in IMAGE_FLAGS}
    flags = [f"{flag}={value}" for flag, value in case["input"]["argv_flags"].items() if flag.lstrip("-") in names]
    assert case["expect"]["result"] == "reject"
    with pytest.raises(ArgumentError):
        parser.parse_args(flags)


# ---- files


@cases("config_schema")
def test_configuration_files(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(case["input"]))
    if case["expect"]["result"] == "accept":
        read_config_file(path)
    else:
        with pytest.raises(SettingsError):
            read_config_file(path)


@cases("task_detect", has=lambda case: case["expect"].get("task") == "image_generation")
def test_folders_of_image_models_are_recognised(case: dict[str, Any], tmp_path: Path) -> None:
    for name, content in case["input"].items():
        (tmp_path / name).write_text(json.dumps(content))
    assert is_image_model(tmp_path)
