"""What a LoRA adapter's file holds, and whether it fits a model; read without OpenVINO.

OpenVINO GenAI checks little: a file that is cut short is read beyond its end, and tensors that belong to no layer of the model
are left out with a line on stderr, so that an adapter made for another kind of model has no effect at all. Both are found here.

A ``.safetensors`` file is eight bytes that give the length of a JSON header, the header, and the tensors (source: the
safetensors format). How GenAI finds a layer: without its prefix, a tensor's layer name stands somewhere in the name of a layer
of the model, as it is or with ``_`` for ``.`` (source: GenAI 2026.4, and trying).
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from calculators.image_gen.families import Family
from calculators.image_gen.model_ir import read_linear_layers

_LONGEST_HEADER: Final = 100_000_000  # the format's own limit
_BYTES: Final = {"F32": 4, "F16": 2, "BF16": 2}
_PART: Final = re.compile(
    r"(?P<layer>.*)[_.]lora[_.](?P<part>A|B|down|up)\.weight|(?P<flux>.*lora[12])\.(?P<flux_part>down|up)\.weight"
)
_DOWN: Final = frozenset({"A", "down"})
_PREFIXES: Final = (
    ("lora_unet", "unet"),
    ("lora_te1", "text_encoder"),
    ("lora_te2", "text_encoder_2"),
    ("lora_te", "text_encoder"),
    ("", "unet"),
)
"""Prefix of a tensor's name -> the part of the model in which GenAI looks for its layer; the first that fits counts."""


def read_lora_layers(path: Path) -> frozenset[str]:
    """The names of the layers that an adapter changes, with their prefixes.

    Raises:
        ValueError: the file is no LoRA adapter that GenAI can read; the message says why.
        OSError: it cannot be read.
    """
    return frozenset(_matrices(_read_header(path)))


def adapter_without_effect(path: Path) -> bytes:
    """The file of an adapter that changes one layer of those that another adapter changes, by nothing.

    Raises:
        ValueError, OSError: as ``read_lora_layers``.
    """
    header = _read_header(path)
    down, up = min(_matrices(header).values())
    kind = header[down]["dtype"]
    shapes = {down: [1, *header[down]["shape"][1:]], up: [header[up]["shape"][0], 1, *header[up]["shape"][2:]]}
    tensors, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + math.prod(shape) * _BYTES[kind]
        tensors[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)  # the tensors have to be aligned
    return struct.pack("<Q", len(text)) + text + bytes(end)


def check_lora_file(path: Path, model_folder: Path, family: Family) -> str | None:
    """Whether an adapter can be used with a model: what of it has no effect, for a note, or None.

    Args:
        path: the adapter's file.
        model_folder: the model's folder.
        family: the model's.

    Raises:
        ValueError: nothing of it can be used; the message says why.
        OSError: the file cannot be read.
    """
    header = _read_header(path)
    matrices = _matrices(header)
    if "unet" not in family.denoiser:
        return None  # for transformers GenAI translates the names of several schools
    model = _Layers(model_folder)
    without_place = []
    for layer, (down, up) in sorted(matrices.items()):
        possible = model.places_of(layer)
        if not possible:
            without_place.append(layer)
            continue
        channels = (header[down]["shape"][1], header[up]["shape"][0])
        if all(None not in place and place != channels for place in possible):
            raise ValueError(
                f"it was made for another kind of model: its layer {layer} leads from {channels[0]} channels to {channels[1]}, "
                f"this model's from {possible[0][0]} to {possible[0][1]}"
            )
    if len(without_place) == len(matrices):
        raise ValueError(
            f"none of its {len(matrices)} layers is one of this model's: it was made for another kind of model, or names them in "
            f"another way, such as {without_place[0]}"
        )
    return f"{len(without_place)} of its {len(matrices)} layers are not in this model" if without_place else None


class _Layers:
    """The layers of a model's parts, read when they are looked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, list[tuple[str, tuple[int | None, int | None]]]] = {}

    def places_of(self, layer: str) -> list[tuple[int | None, int | None]]:
        """The channels, in and out, of each place that GenAI could find for a layer of an adapter."""
        prefix, part = next(each for each in _PREFIXES if layer.startswith(each[0]))
        rest = layer.removeprefix(prefix)
        return [channels for names, channels in self._layers_of(part) if rest in names]

    def _layers_of(self, part: str) -> list[tuple[str, tuple[int | None, int | None]]]:
        if part not in self._read:
            xml = self._folder / part / "openvino_model.xml"
            found = read_linear_layers(xml) if xml.is_file() else []
            self._read[part] = [(f"{each.name}\n{each.name.replace('.', '_')}", each.channels) for each in found]
        return self._read[part]


def _matrices(header: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Layer name -> the names of its two matrices: the one that leads down to the rank, and the one that leads up."""
    parts: dict[str, dict[str, str]] = {}
    for name in header:
        found = _PART.fullmatch(name)
        if found is None:
            continue
        part = found["part"] or found["flux_part"]
        parts.setdefault(found["layer"] or found["flux"], {})["down" if part in _DOWN else "up"] = name
    if not parts:
        raise ValueError("it holds no LoRA tensors (names that end in lora_A.weight, lora_down.weight and so on)")
    for layer, matrices in parts.items():
        if len(matrices) == 1:
            raise ValueError(f"of the layer {layer} it holds one of the two matrices only")
        if any(len(header[name]["shape"]) < 2 for name in matrices.values()):
            raise ValueError(f"what it holds of the layer {layer} is no matrix")
    return {layer: (matrices["down"], matrices["up"]) for layer, matrices in parts.items()}


def _read_header(path: Path) -> Mapping[str, Any]:
    """The header without its metadata, every tensor of it within the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise ValueError("it is no safetensors file, or cut off")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError):
            raise ValueError("it is no safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise ValueError("it is no safetensors file: its header is no JSON object")
    header.pop("__metadata__", None)
    for name, tensor in header.items():
        _check_tensor(name, tensor, size - 8 - length)
    return header


def _check_tensor(name: str, tensor: Any, available: int) -> None:
    try:
        kind, shape, (start, end) = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
        count = math.prod(shape)
        is_well = isinstance(kind, str) and 0 <= start <= end and all(side > 0 for side in shape)
    except (KeyError, TypeError, ValueError):
        is_well = False
    if not is_well:
        raise ValueError(f"its header does not describe the tensor {name} as the format wants it")
    if kind not in _BYTES:
        raise ValueError(f"the tensor {name} is of type {kind}; OpenVINO GenAI reads {', '.join(_BYTES)}")
    if end > available:
        raise ValueError(f"it is cut off: the tensor {name} ends at byte {end} of {available}")
    if end - start != count * _BYTES[kind]:
        raise ValueError(f"the tensor {name} has {end - start} bytes, and its shape needs {count * _BYTES[kind]}")
