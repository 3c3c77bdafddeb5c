"""Classic models of a config.json: which graphs can use them, when these are loaded anew, and how they are served themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from graph_runtime import GraphError, Plan
from server.check import check
from server.discovery import ServableSpec
from server.local_backend import LocalBackend
from server.repository import Repository, Scan
from server.settings import Settings

XML = """<?xml version="1.0"?>
<net name="m" version="11"><layers>
  <layer id="0" name="Input.1" type="Parameter" version="opset1">
    <data shape="?,10" element_type="f32"/>
    <output><port id="0" precision="FP32" names="Input.1"><dim>-1</dim><dim>10</dim></port></output>
  </layer>
  <layer id="1" name="relu" type="ReLU" version="opset1">
    <input><port id="0" precision="FP32"><dim>-1</dim><dim>10</dim></port></input>
    <output><port id="1" precision="FP32" names="a"><dim>-1</dim><dim>10</dim></port></output>
  </layer>
  <layer id="2" name="a/sink" type="Result" version="opset1">
    <input><port id="0" precision="FP32"><dim>-1</dim><dim>10</dim></port></input>
  </layer>
</layers><edges>
  <edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
  <edge from-layer="1" from-port="1" to-layer="2" to-port="0"/>
</edges></net>
"""
ONNX = bytes.fromhex(
    "08083a4f0a180a07496e7075742e311201611a0472656c75220452656c751201675a1a0a07496e7075742e31120f0a0d0801"
    "12090a0312016e0a02080a62140a0161120f0a0d080112090a0312016e0a02080a42040a00100d"
)
"""``a = Relu(Input.1)``, of any number of rows of 10."""
GRAPH = """
input_stream: "in" output_stream: "out"
node {{
  calculator: "OpenVINOModelServerSessionCalculator" output_side_packet: "SESSION:session"
  node_options: {{ [type.googleapis.com/mediapipe.OpenVINOModelServerSessionCalculatorOptions] {{ servable_name: "{model}" }} }}
}}
node {{
  calculator: "OpenVINOInferenceCalculator" input_side_packet: "SESSION:session"
  input_stream: "OVTENSOR:in" output_stream: "OVTENSOR:out"
}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A classic model, and a graph that uses it."""
    model(tmp_path / "m")
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "graph.pbtxt").write_text(GRAPH.format(model="m"))
    return tmp_path


def model(place: Path, version: int = 1, file: str = "m.xml") -> None:
    (place / str(version)).mkdir(parents=True)
    (place / str(version) / file).write_text(XML)


def scan(folder: Path, *models: dict[str, Any], **settings: Any) -> Scan:
    lists = {"model_config_list": [{"config": each} for each in models], "mediapipe_config_list": [{"name": "g"}]}
    (folder / "config.json").write_text(json.dumps(lists))
    return Repository(Settings(**(settings or {"config_path": folder / "config.json"}))).scan()


def spec(found: Scan, name: str) -> ServableSpec:
    return next(each for each in found.specs if each.name == name)


def test_a_listed_model_can_be_used_by_graphs_and_is_served_itself(folder: Path) -> None:
    found = scan(folder, {"name": "m", "nireq": 3})
    assert [each.name for each in found.specs] == ["g", "m"]
    assert (found.failures, found.warnings) == ({}, ())
    models = spec(found, "g").models
    assert models is not None
    assert (models.models["m"].requests, models.models["m"].folder) == (3, folder / "m")
    plan = Plan(spec(found, "m").graph_text or "")
    assert [name for _, _, name in (*plan.graph_inputs, *plan.graph_outputs)] == ["input_1", "a"]


def test_models_of_a_model_folder_are_served_where_its_config_lists_them(folder: Path) -> None:
    found = scan(folder, {"name": "m"}, models=folder)
    assert [each.name for each in found.specs] == ["g", "m"]


def test_a_model_alone_is_served_by_its_path(folder: Path) -> None:
    found = Repository(Settings(model_path=folder / "m", model_name="alone")).scan()
    assert [each.name for each in found.specs] == ["alone"]


def test_a_model_alone_that_has_two_files_is_told_and_not_a_traceback(folder: Path) -> None:
    (folder / "m" / "1" / "other.xml").write_text(XML)
    found = Repository(Settings(model_path=folder / "m")).scan()
    assert "has several model files (m.xml, other.xml); leave one" in found.failures["m"]
    assert str(folder) not in found.failures["m"]


def test_models_of_a_subconfig_are_for_its_graph_and_those_of_the_config_win(folder: Path) -> None:
    model(folder / "g" / "own")
    entries = [{"config": {"name": "own"}}, {"config": {"name": "m", "base_path": "own"}}]
    (folder / "g" / "subconfig.json").write_text(json.dumps({"model_config_list": entries}))
    found = scan(folder, {"name": "m"})
    models = spec(found, "g").models
    assert models is not None
    assert {name: each.folder for name, each in models.models.items()} == {
        "own": folder / "g" / "own",
        "m": folder / "m",
    }
    assert "the model 'm' has no effect: config.json has one of that name" in found.warnings[0]
    assert [each.name for each in found.specs] == ["g", "m"]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"shape": "auto"}, 'config.json:1:49: model_config_list[0].config.shape: "auto" is not supported'),
        ({"model_version_policy": {"specific": {"versions": [9]}}}, "has no version that may be used"),
    ],
)
def test_a_model_that_cannot_be_used_fails_with_its_reason_for_clients(
    folder: Path, keys: dict[str, Any], reason: str
) -> None:
    found = scan(folder, {"name": "m", **keys})
    assert reason in found.failures["m"]
    assert str(folder) not in found.failures["m"]


def test_check_takes_a_model_in_onnx_whose_tensors_only_openvino_can_read(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model(folder / "x", file="x.onnx")
    (folder / "g" / "graph.pbtxt").write_text(GRAPH.format(model="x"))
    found = scan(folder, {"name": "x"})
    assert ([each.name for each in found.specs], found.failures) == (["g", "x"], {})
    assert check([folder / "config.json"]) == 0
    assert f"{folder}/x/graph.pbtxt (made): ok" in capsys.readouterr().out


@pytest.mark.model
async def test_a_model_in_onnx_is_served_itself_with_the_tensors_that_its_process_found(folder: Path) -> None:
    pytest.importorskip("openvino")
    (folder / "x" / "1").mkdir(parents=True)
    (folder / "x" / "1" / "x.onnx").write_bytes(ONNX)
    backend = LocalBackend(Settings())
    try:
        handle = await backend.load(spec(scan(folder, {"name": "x"}), "x"))
        ports = [*handle.interface.inputs, *handle.interface.outputs]
        assert [(port.client_name, port.datatype, port.shape) for port in ports] == [
            ("Input.1", "FP32", (-1, 10)),
            ("a", "FP32", (-1, 10)),
        ]
        await backend.unload(handle)
    finally:
        assert await backend.close() == []


@pytest.mark.model
async def test_a_model_in_onnx_that_cannot_be_read_fails_with_its_reason(folder: Path) -> None:
    pytest.importorskip("openvino")
    model(folder / "x", file="x.onnx")
    (folder / "x" / "1" / "x.onnx").write_bytes(ONNX[:50])
    backend = LocalBackend(Settings())
    try:
        with pytest.raises(GraphError, match="OpenVINO cannot load x.onnx on CPU"):
            await backend.load(spec(scan(folder, {"name": "x"}), "x"))
    finally:
        assert await backend.close() == []


def test_a_graph_is_loaded_anew_for_a_new_version_and_another_way_to_run_its_model_and_for_no_other_models(
    folder: Path,
) -> None:
    model(folder / "other")
    first = scan(folder, {"name": "m"}, {"name": "other"})
    model(folder / "other", 2)
    assert spec(scan(folder, {"name": "m"}, {"name": "other"}), "g") == spec(first, "g")
    model(folder / "m", 2)
    second = scan(folder, {"name": "m"}, {"name": "other"})
    assert spec(second, "g") != spec(first, "g")
    os.utime(folder / "m" / "2" / "m.xml", (1, 1))
    third = scan(folder, {"name": "m"}, {"name": "other"})
    assert spec(third, "g") != spec(second, "g")
    assert spec(scan(folder, {"name": "m", "nireq": 2}, {"name": "other"}), "g") != spec(third, "g")


def test_the_folders_of_models_are_watched(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    model(elsewhere)
    lists = {"model_config_list": [{"config": {"name": "m", "base_path": str(elsewhere)}}]}
    (folder / "config.json").write_text(json.dumps(lists))
    repository = Repository(Settings(models=folder))
    repository.scan()
    assert elsewhere in repository.watched_paths()


def test_check_knows_the_tensors_of_listed_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GRAPH.format(model="m").replace("OVTENSOR:in", "INPUT:in").replace("OVTENSOR:out", "A:out")
    options = 'tag_to_input_tensor_names { key: "INPUT" value: "Input1" }'
    message = "type.googleapis.com/mediapipe.OpenVINOInferenceCalculatorOptions"
    node_options = f"node_options: {{ [{message}] {{ {options} }} }}"
    text = text.replace('output_stream: "A:out"', f'output_stream: "A:out" {node_options}')
    (folder / "g" / "graph.pbtxt").write_text(text)
    scan(folder, {"name": "m"})
    assert check([folder]) == 1
    assert 'the model "m" has no input "Input1"; did you mean "Input.1"?' in capsys.readouterr().out
