"""How much room an export takes, from the weights of its source."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

# Bytes for each weight in the result; what is not compressed (VAE, norms, scales) is counted in.
_RESULT: Final[Mapping[str, float]] = {"fp16": 2.0, "int8": 1.1, "int4": 0.7}
_SMALL_FILES_BYTES: Final = 20_000_000  # tokenizers, XML
_WIDTH: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_LEAST_WIDTH: Final = 2
"""Bytes of a weight where nobody can tell: the narrowest that is usual, so that the estimate is not too low."""

T = TypeVar("T")


def weight_files(files: Iterable[T], path_of: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The weights that diffusers loads: of each component one form, plain rather than a variant, safetensors rather than bin.

    Args:
        files: all files of a pipeline.
        path_of: tells where one is in the pipeline, with ``/``.

    Returns:
        The files, and the variant that diffusers has to be told of (``fp16``); None for the plain weights.
    """
    forms: dict[tuple[str, str, str], list[T]] = {}
    for file in files:
        path = PurePosixPath(path_of(file))
        if len(path.parts) == 2 and path.suffix in (".safetensors", ".bin") and not path.name.startswith("openvino"):
            variant = next((part for part in path.name.split(".")[1:-1] if not part.startswith("000")), "")
            variant = variant.partition("-")[0]
            forms.setdefault((path.parts[0], variant, path.suffix), []).append(file)
    chosen: list[T] = []
    told: str | None = None
    for component in {component for component, _, _ in forms}:
        of_it = [form for form in forms if form[0] == component]
        best = min(of_it, key=lambda form: (form[1] != "", form[2] != ".safetensors", form[1]))
        chosen += forms[best]
        told = told or best[1] or None
    return chosen, told


def room_for_export(weights_bytes: int, element_bytes: int, weight_format: str) -> int:
    """The bytes on the disk that an export takes at most while it runs: the result, and what lies there on the way to it.

    Args:
        weights_bytes: the weights of the source.
        element_bytes: bytes of each of them.
        weight_format: ``fp16``, ``int8`` or ``int4``.
    """
    result = weights_bytes / element_bytes * _RESULT[weight_format] + _SMALL_FILES_BYTES
    # Source: optimum-intel 2.2: it writes the model as it is first, and the compressed one beside it.
    return math.ceil(result + (0 if weight_format == "fp16" else weights_bytes))


def element_bytes(files: Iterable[Path]) -> int:
    """The width of most weights, from the headers of safetensors files; the narrowest usual one where there are none."""
    count: dict[int, int] = {}
    for file in files:
        for tensor in _header(file).values():
            width = _WIDTH.get(tensor.get("dtype", "")) if isinstance(tensor, dict) else None
            if width is not None and isinstance(tensor.get("shape"), list):
                count[width] = count.get(width, 0) + math.prod(
                    side for side in tensor["shape"] if isinstance(side, int)
                )
    return max(count, key=lambda width: count[width]) if count else _LEAST_WIDTH


def _header(file: Path) -> dict[str, Any]:
    if file.suffix != ".safetensors":
        return {}
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(length, file.stat().st_size)))
    except (OSError, ValueError, RecursionError):
        return {}  # whoever loads it tells
    return header if isinstance(header, dict) else {}
