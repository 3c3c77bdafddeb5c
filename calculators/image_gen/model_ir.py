"""What the XML of an OpenVINO model tells about picture sizes, read without OpenVINO and without the weights.

Two things matter to a request: whether the model takes one size only, and, for a UNet, whether it follows the size of its skip
connections. A UNet halves the picture level by level and doubles it on the way back. Where a side is odd, doubling gives one pixel
too many or too few, and adding the skip connection crashes the process. diffusers avoids this by enlarging *to the size of the skip
connection*, but a traced model holds that branch only if it was traced with an odd size; otherwise it enlarges by the factor two.
The XML shows which: an ``Interpolate`` in ``sizes`` mode whose sizes come from the shape of another tensor, without arithmetic,
follows; anything else is taken to double.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

_COPYING: Final = frozenset(
    {"Concat", "Const", "Convert", "Gather", "Reshape", "ShapeOf", "Slice", "Squeeze", "StridedSlice", "Unsqueeze"}
)


@dataclass(slots=True)
class _Layer:
    kind: str
    name: str
    data: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)  # input port -> id of the layer that feeds it
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInput:
    """An input of a model: its tensor names, and its dimensions with None for those that are free."""

    names: tuple[str, ...]
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class ModelXml:
    """The parts of a model's XML that matter here.

    Attributes:
        inputs: in the model's order.
        enlarges: how many layers enlarge their input.
        follows_skips: whether each of them enlarges to the size of another tensor (True when there is none).
        weights_bytes: how long the file of weights must be.
    """

    inputs: tuple[ModelInput, ...]
    enlarges: int
    follows_skips: bool
    weights_bytes: int

    def input(self, name: str) -> ModelInput | None:
        """The input with this tensor name, or None."""
        return next((each for each in self.inputs if name in each.names), None)


def read_model_xml(path: Path) -> ModelXml:
    """Read a model's ``openvino_model.xml``.

    Raises:
        ValueError: the file is no OpenVINO model.
        OSError: it cannot be read.
    """
    layers: dict[str, _Layer] = {}
    weights_bytes = 0
    try:
        bodies = 0  # the layers inside a loop's body have ids of their own
        # OpenVINO parses the same file, and runs what it says: whoever gives us a model is trusted that far.
        for event, element in ElementTree.iterparse(path, events=("start", "end")):  # noqa: S314
            if element.tag == "body":
                bodies += 1 if event == "start" else -1
            if event == "end" and element.tag == "layer":
                weights_bytes = max(weights_bytes, _end_of_weights(element))
            if event == "start" or bodies:
                continue
            if element.tag == "layer":
                layers[element.attrib["id"]] = _read_layer(element)
                element.clear()
            elif element.tag == "edge":
                target = layers[element.attrib["to-layer"]]
                target.sources[element.attrib["to-port"]] = element.attrib["from-layer"]
                element.clear()
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(f"{path.name} is not an OpenVINO model: {error}") from None
    if not layers:
        raise ValueError(f"{path.name} is not an OpenVINO model: it has no layers")
    enlarging = [layer for layer in layers.values() if layer.kind == "Interpolate"]
    return ModelXml(
        inputs=tuple(_as_input(layer) for layer in layers.values() if layer.kind == "Parameter"),
        enlarges=len(enlarging),
        follows_skips=all(_follows_another_tensor(layer, layers) for layer in enlarging),
        weights_bytes=weights_bytes,
    )


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """A matrix multiplication or a convolution: its name, and how many channels it takes and gives (None where they are free)."""

    name: str
    channels: tuple[int | None, int | None]


def read_linear_layers(path: Path) -> list[LinearLayer]:
    """The layers of a model that a LoRA adapter can change.

    Args:
        path: the model's XML file.

    Raises:
        ValueError: the file is no OpenVINO model.
        OSError: it cannot be read.
    """
    layers = []
    try:
        for _, element in ElementTree.iterparse(path):  # noqa: S314  # as above
            if element.tag != "layer":
                continue
            kind = element.attrib["type"]
            if kind in ("MatMul", "Convolution"):
                sides = [_side(dim.text) for dim in element.findall("input/port[2]/dim")] + [None, None]
                data = element.find("data")
                is_turned = kind == "MatMul" and (data is None or data.attrib.get("transpose_b", "false") == "false")
                rows, columns = sides[:2]
                layers.append(LinearLayer(element.attrib["name"], (rows, columns) if is_turned else (columns, rows)))
            element.clear()
    except (ElementTree.ParseError, KeyError) as error:
        raise ValueError(f"{path.name} is not an OpenVINO model: {error}") from None
    return layers


def _side(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _end_of_weights(element: ElementTree.Element) -> int:
    data = element.find("data") if element.attrib.get("type") == "Const" else None
    return 0 if data is None else int(data.attrib["offset"]) + int(data.attrib["size"])


def _read_layer(element: ElementTree.Element) -> _Layer:
    data = element.find("data")
    layer = _Layer(element.attrib["type"], element.attrib["name"], dict(data.attrib) if data is not None else {})
    if layer.kind == "Parameter":
        port = element.find("output/port")
        layer.names = (layer.name, *_split(port.attrib.get("names", "") if port is not None else ""))
    return layer


def _as_input(layer: _Layer) -> ModelInput:
    sides = _split(layer.data.get("shape", ""))
    return ModelInput(layer.names, tuple(int(side) if side.isdigit() else None for side in sides))


def _split(text: str) -> Iterable[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _follows_another_tensor(layer: _Layer, layers: dict[str, _Layer]) -> bool:
    if layer.data.get("shape_calculation_mode") != "sizes":
        return False
    enlarged = layer.sources.get("0")
    shapes = 0
    pending = [layer.sources.get("1")]
    seen: set[str] = set()
    while pending:
        source = pending.pop()
        if source is None:
            return False
        if source in seen:
            continue
        seen.add(source)
        found = layers[source]
        if found.kind not in _COPYING:
            return False  # arithmetic: the size is computed, not copied
        if found.kind == "ShapeOf":
            if found.sources.get("0") == enlarged:
                return False
            shapes += 1
        else:
            pending += found.sources.values()
    return shapes > 0
