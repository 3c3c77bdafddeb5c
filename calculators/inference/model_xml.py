"""The tensors of a model in OpenVINO's own format, read from its XML without OpenVINO."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from calculators.inference.tensors import Dim, Signature, TensorInfo

_PRECISIONS: Final = {"FP16": "f16", "FP32": "f32", "FP64": "f64", "BOOL": "boolean"}  # of ports; others: I64 -> i64


def read_signature(path: Path) -> Signature:
    """The inputs and outputs of a model.

    Raises:
        ValueError: the file is no OpenVINO model.
        OSError: it cannot be read.
    """
    names: dict[tuple[str, str], tuple[str, ...]] = {}  # (layer, port) of an output -> names of its tensor
    layers: set[str] = set()
    inputs: list[TensorInfo] = []
    results: list[tuple[str, tuple[str, ...], str, tuple[Dim, ...]]] = []
    sources: dict[str, tuple[str, str]] = {}
    bodies = 0  # the layers inside a loop's body have ids of their own
    try:
        # OpenVINO parses the same file, and runs what it says: whoever gives us a model is trusted that far.
        for event, element in ElementTree.iterparse(path, events=("start", "end")):  # noqa: S314
            if element.tag == "body":
                bodies += 1 if event == "start" else -1
            if event == "start" or bodies:
                continue
            if element.tag == "layer":
                layer, kind = element.attrib["id"], element.attrib["type"]
                layers.add(layer)
                ports = element.findall("output/port")
                for position, port in enumerate(ports):
                    own = element.attrib["name"] + (
                        f":{position}" if len(ports) > 1 else ""
                    )  # as OpenVINO names it then
                    names[layer, port.attrib["id"]] = _names(port.attrib.get("names", "")) or (own,)
                if kind == "Parameter":
                    inputs.append(_input(element))
                elif kind == "Result":
                    port = element.find("input/port")
                    precision = "" if port is None else port.attrib.get("precision", "")
                    given = _names(element.attrib.get("output_names", ""))
                    results.append((layer, given, _precision(precision), () if port is None else _dims(port)))
                element.clear()
            elif element.tag == "edge":
                sources[element.attrib["to-layer"]] = (element.attrib["from-layer"], element.attrib["from-port"])
                element.clear()
        outputs = [
            TensorInfo(given or names[sources[layer]], precision, shape) for layer, given, precision, shape in results
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(f"{path.name} is not an OpenVINO model: {error}") from None
    if not layers:
        raise ValueError(f"{path.name} is not an OpenVINO model: it has no layers")
    return Signature(tuple(inputs), tuple(outputs))


def _input(element: ElementTree.Element) -> TensorInfo:
    data, port = element.find("data"), element.find("output/port")
    if data is None or port is None:
        raise ValueError(f"the input {element.attrib['name']} has no data")
    names = _names(port.attrib.get("names", "")) or (element.attrib["name"],)
    text = data.attrib.get("shape", "")
    shape = None if text.strip() == "..." else tuple(map(_side, _split(text)))
    return TensorInfo(names, data.attrib["element_type"], shape)


def _dims(port: ElementTree.Element) -> tuple[Dim, ...]:
    sides = [int(dim.text or "-1") for dim in port.findall("dim")]
    return tuple((0, None) if side < 0 else (side, side) for side in sides)


def _side(text: str) -> Dim:
    low, is_range, high = text.partition("..")
    if is_range:
        return int(low or 0), int(high) if high else None
    return (int(text), int(text)) if text.isdigit() else (0, None)


def _precision(port: str) -> str:
    return _PRECISIONS.get(port, port.lower())


def _names(text: str) -> tuple[str, ...]:
    """The names of a tensor, as OpenVINO writes them: between commas; a comma in a name has a backslash before it."""
    return tuple(sorted(name.replace("\\,", ",") for name in re.split(r"(?<!\\),", text) if name))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
