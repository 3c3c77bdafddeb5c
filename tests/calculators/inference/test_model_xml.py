"""The tensors of a model as its XML tells them: the same as OpenVINO itself finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from calculators.inference.model_load import ModelLoad
from calculators.inference.model_xml import read_signature
from calculators.inference.session import load_engine
from calculators.inference.tensors import Signature, position

openvino = pytest.importorskip("openvino")
import openvino.opset13 as ops  # noqa: E402  # only where OpenVINO is installed

pytestmark = pytest.mark.model


def save(folder: Path, inputs: list[Any], outputs: list[Any]) -> Path:
    file = folder / "m.xml"
    model = openvino.Model([ops.result(each) for each in outputs], inputs)
    openvino.save_model(model, file, compress_to_fp16=False)
    return file


def signature(file: Path) -> Signature:
    """What the XML says, which is what OpenVINO says."""
    read = read_signature(file)
    assert read == load_engine(ModelLoad("m", str(file), "CPU", "", 1, (), "")).signature
    return read


def test_outputs_without_names_of_one_layer_are_told_apart(tmp_path: Path) -> None:
    given = ops.parameter([2, 3], openvino.Type.f32, name="given")
    parts = ops.split(given, ops.constant(0), 2)
    parts.set_friendly_name("parts")
    file = save(tmp_path, [given], [parts.output(0), parts.output(1)])
    file.write_text(re.sub(' (names|output_names)="[^"]*"', "", file.read_text()))
    found = signature(file)
    assert [each.names for each in found.outputs] == [("parts:0",), ("parts:1",)]
    assert [each.names for each in found.inputs] == [("given",)]


def test_a_layer_that_has_the_name_of_another_ones_tensor_is_not_taken_for_it(tmp_path: Path) -> None:
    given = ops.parameter([1], openvino.Type.f32, name="given")
    first, second = ops.relu(given), ops.sigmoid(given)
    first.set_friendly_name("b")
    first.output(0).set_names({"a"})
    second.output(0).set_names({"b", "with, comma"})
    found = signature(save(tmp_path, [given], [first, second]))
    assert [each.names for each in found.outputs] == [("a",), ("b", "with, comma")]
    assert position("b", found.outputs) == 1
