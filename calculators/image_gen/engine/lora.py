"""LoRA adapters as OpenVINO GenAI takes them: at load, and for each request.

GenAI knows one mode for all adapters of a model. DYNAMIC ones are chosen for each request. With any STATIC one all are compiled in
with their weights; FUSE ones are, too, if there are no others. Beside DYNAMIC ones a FUSE adapter is chosen for every request,
which gives the same picture up to rounding.

Three faults of GenAI (2026.4.1) decide how adapters are chosen. A layer that had a LoRA matrix, then none, then one again gives
black pictures: so every request names all adapters, those that it does not want with the weight 0. A change of weights is only
seen if it is the last adapter's: so behind all others stands one that has no effect, whose weight changes with each request. And
an adapter that was not there at load, even one of the same file, can give black pictures: so the objects are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino_genai

from calculators.http_payload import RequestError
from calculators.image_gen.adapters import Adapter
from calculators.image_gen.lora_file import adapter_without_effect, check_lora_file
from calculators.image_gen.model_folder import ModelInfo
from calculators.load_error import LoadError
from calculators.openvino_errors import readable

_FIELD = "lora_adapters"


class Adapters:
    """The adapters of a model.

    Args:
        adapters: what the model is loaded with.
        folder: the model's folder.
        model: what it says.

    Attributes:
        notes: what of them has no effect.

    Raises:
        LoadError: a file is missing or broken, or does not fit the model; names alias and path.
    """

    def __init__(self, adapters: Sequence[Adapter], folder: Path, model: ModelInfo) -> None:
        self.notes: list[str] = []
        self._loaded = {each.alias: (self._load(each, folder, model), each.alpha) for each in adapters}
        modes = {each.mode for each in adapters}
        self.are_dynamic = "DYNAMIC" in modes and "STATIC" not in modes
        self._always = {each.alias: each.alpha for each in adapters if each.mode == "FUSE"}
        self._counter = itertools.count()
        if self.are_dynamic:
            blank = np.frombuffer(adapter_without_effect(Path(adapters[0].path)), np.uint8).copy()
            self._without_effect = openvino_genai.Adapter(openvino.Tensor(blank))
        mode = openvino_genai.AdapterConfig.Mode
        self._mode = (
            mode.MODE_DYNAMIC if self.are_dynamic else mode.MODE_FUSE if modes == {"FUSE"} else mode.MODE_STATIC
        )

    def _load(self, adapter: Adapter, folder: Path, model: ModelInfo) -> Any:
        what = f'LoRA adapter "{adapter.alias}" ({adapter.path})'
        try:
            note = check_lora_file(Path(adapter.path), folder, model.family)
            if note is not None:
                self.notes.append(f"{what}: {note}")
            return openvino_genai.Adapter(adapter.path)
        except OSError as error:
            raise LoadError(f"{what} cannot be read: {error.strerror}", field=_FIELD) from error
        except ValueError as error:
            raise LoadError(f"{what} cannot be used: {error}", field=_FIELD) from error
        except Exception as error:
            raise LoadError(f"{what} cannot be loaded: {readable(error)}", field=_FIELD) from error

    def at_load(self) -> dict[str, Any]:
        """The argument to compile a pipeline with."""
        if not self._loaded:
            return {}
        return {"adapters": openvino_genai.AdapterConfig([*self._loaded.values(), *self._toggle()], self._mode)}

    def for_request(self, chosen: Sequence[tuple[str, float]]) -> dict[str, Any]:
        """The argument to draw with.

        Args:
            chosen: (alias, weight) of the adapters that the request names.

        Raises:
            RequestError: 400, there is no such adapter.
        """
        for alias, _ in chosen:
            if alias not in self._loaded:
                raise RequestError(
                    f'there is no LoRA adapter "{alias}"; there are: {", ".join(self._loaded) or "none"}', param="model"
                )
        if not self.are_dynamic:
            return {}
        weights = {**self._always, **dict(chosen)}
        pairs = [(adapter, float(weights.get(alias, 0.0))) for alias, (adapter, _) in self._loaded.items()]
        return {"adapters": openvino_genai.AdapterConfig([*pairs, *self._toggle()])}

    def _toggle(self) -> list[tuple[Any, float]]:
        return [(self._without_effect, float(next(self._counter) % 2))] if self.are_dynamic else []

    def __bool__(self) -> bool:
        return bool(self._loaded)

    def __str__(self) -> str:
        return ", ".join(self._loaded)
