"""LoRA adapters: the node options that name them, and which of them a request draws with.

Requests choose by their ``model`` field: the alias of an adapter, the alias of a composite (a blend of adapters), or any other
name for the model alone. The rules are OVMS's (its documentation of LoRA adapters); where its code differs from that text, the
text counts: an adapter of mode FUSE is part of the model for ever and cannot be asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from calculators.image_gen.request_values import refuse, shortened
from graph_runtime._pb.mediapipe.calculators.image_gen.image_gen_calculator_pb2 import (
    ImageGenCalculatorOptions,
    LoraLoadMode,
)
from graph_runtime.errors import StatusCode

if TYPE_CHECKING:
    from calculators.image_gen.options import NodeSettings

LoraMode = Literal["DYNAMIC", "STATIC", "FUSE"]
Composites = Mapping[str, tuple[tuple[str, float | None], ...]]
"""Alias of a blend -> (alias, weight; None for the adapter's own) of each adapter in it."""

Report = Callable[..., None]
"""``report(option, message, code=..., hint=...)`` for each thing that is wrong."""

_SUFFIX: Final = ".safetensors"


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter that a model is loaded with.

    Attributes:
        alias: its name in requests.
        path: absolute path of the ``.safetensors`` file.
        alpha: its weight where a request names none.
        mode: ``DYNAMIC`` for each request anew, ``STATIC`` compiled in with ``alpha``, ``FUSE`` part of the model for ever.
    """

    alias: str
    path: str
    alpha: float = 1.0
    mode: LoraMode = "DYNAMIC"


def read_adapters(options: ImageGenCalculatorOptions, base_dir: Path, report: Report) -> tuple[Adapter, ...]:
    """The entries of ``lora_adapters``, each with its own mode."""
    entries = options.lora_adapters
    aliases = [entry.alias for entry in entries] + [entry.alias for entry in options.composite_lora_adapters]
    for alias in _repeated(aliases):
        report("lora_adapters", f'lora_adapters: the alias "{alias}" is given twice')
    adapters = []
    for entry in entries:
        if not entry.alias:
            report("lora_adapters", "lora_adapters: an alias is empty", hint="requests name the adapter by it")
        if not math.isfinite(entry.alpha):
            report("lora_adapters", f'lora_adapters: alpha of "{entry.alias}" is {entry.alpha}; it must be a number')
        path = base_dir / entry.path
        if path.suffix != _SUFFIX:
            report("lora_adapters", f'lora_adapters: "{entry.path}" is no {_SUFFIX} file, and others are not read')
        elif not path.is_file():
            report(
                "lora_adapters",
                f'lora_adapters: path "{entry.path}" of "{entry.alias}" is not a file: there is none at {path.absolute()}',
                code=StatusCode.NOT_FOUND,
            )
        adapters.append(Adapter(entry.alias, str(path.absolute()), entry.alpha, _MODES[entry.mode]))
    return tuple(adapters)


_MODES: Final[Mapping[int, LoraMode]] = {
    LoraLoadMode.DYNAMIC: "DYNAMIC",
    LoraLoadMode.STATIC: "STATIC",
    LoraLoadMode.FUSE: "FUSE",
}


def read_composites(options: ImageGenCalculatorOptions, adapters: Sequence[Adapter], report: Report) -> Composites:
    """The entries of ``composite_lora_adapters``, checked against the adapters."""
    field = "composite_lora_adapters"
    known = {adapter.alias: adapter for adapter in adapters}
    composites = {}
    for entry in options.composite_lora_adapters:
        if not entry.components:
            report(field, f'{field}: "{entry.alias}" has no components', hint="name the adapters that it blends")
        for alias in _repeated([component.adapter_alias for component in entry.components]):
            report(field, f'{field}: "{entry.alias}" has "{alias}" twice')
        for component in entry.components:
            found = known.get(component.adapter_alias)
            if found is None:
                report(
                    field,
                    f'{field}: "{entry.alias}" blends "{component.adapter_alias}", and there is no such adapter',
                    hint=f"lora_adapters has: {', '.join(known) or 'none'}",
                )
            elif found.mode == "FUSE":
                report(
                    field, f'{field}: "{entry.alias}" blends "{found.alias}", which is part of the model (mode FUSE)'
                )
        composites[entry.alias] = tuple(
            (component.adapter_alias, component.alpha if component.HasField("alpha") else None)
            for component in entry.components
        )
    return composites


def compiled_in(
    adapters: Sequence[Adapter], composites: Composites, *, on_npu: bool, report: Report
) -> tuple[Adapter, ...]:
    """The adapters as the model is loaded with them.

    One STATIC adapter, or an NPU, makes all that can be asked for STATIC: their weights are then compiled in, and there can be
    one blend alone.
    """
    if not on_npu and not any(adapter.mode == "STATIC" for adapter in adapters):
        return tuple(adapters)
    where = "on an NPU" if on_npu else "with an adapter of mode STATIC"
    fixed = [adapter for adapter in adapters if adapter.mode != "FUSE"]
    if len(composites) > 1:
        report(
            "composite_lora_adapters", f"composite_lora_adapters: {where} there can be one blend, not {len(composites)}"
        )
    blend = dict(next(iter(composites.values()), ()))
    if on_npu and len(fixed) > 1 and not composites:
        report(
            "lora_adapters",
            f"lora_adapters: {where} several adapters are compiled in together",
            hint="give one composite_lora_adapters entry that blends them",
        )
    for adapter in fixed if composites else ():
        if adapter.alias not in blend:
            report(
                "lora_adapters",
                f'lora_adapters: {where} "{adapter.alias}" would be compiled in without being part of the blend',
                hint="add it to the blend, or leave it out",
            )
    return tuple(
        adapter
        if adapter.mode == "FUSE"
        else replace(adapter, mode="STATIC", alpha=_first(blend.get(adapter.alias), adapter.alpha))
        for adapter in adapters
    )


def routable_aliases(settings: NodeSettings) -> tuple[str, ...]:
    """The names that requests may use in the place of the model's."""
    return (*(each.alias for each in settings.load.adapters if each.mode != "FUSE"), *settings.composites)


def choose_adapters(
    settings: NodeSettings, model: str | None, alphas: Mapping[str, float] | None
) -> tuple[tuple[str, float], ...]:
    """(alias, weight) of each adapter that a request draws with; () for the model as it was loaded.

    Args:
        settings: the node's.
        model: the request's ``model``.
        alphas: its ``lora_alphas``: weights to use instead of those in the options. For the model alone they change nothing.

    Raises:
        RequestError: 400, the request asks for a weight that cannot be chosen, or for a model that cannot be had.
    """
    adapters = {adapter.alias: adapter for adapter in settings.load.adapters if adapter.mode != "FUSE"}
    is_dynamic = any(adapter.mode == "DYNAMIC" for adapter in adapters.values())
    if alphas and not is_dynamic:
        refuse(
            "lora_alphas",
            "lora_alphas is not supported when no dynamic LoRA adapters are available. "
            "Alpha values cannot be overridden for STATIC (NPU) or FUSE mode adapters.",
            "unsupported_parameter",
        )
    if not is_dynamic:
        _check_is_compiled_in(settings, model, adapters)
        return ()
    alphas = alphas or {}
    if model is not None and model in settings.composites:
        blend = settings.composites[model]
        parts = [alias for alias, _ in blend]
        for key in alphas:
            if key not in parts:
                _refuse_alpha(f"lora_alphas key '{shortened(key)}' is not part of composite '{model}'", parts)
        return tuple((alias, _first(alphas.get(alias), alpha, adapters[alias].alpha)) for alias, alpha in blend)
    if model in adapters:
        for key in alphas:
            if key != model:
                _refuse_alpha(
                    f"lora_alphas key '{shortened(key)}' not allowed when targeting adapter '{model}'", [model]
                )
        return ((model, _first(alphas.get(model), adapters[model].alpha)),)
    return ()


def _check_is_compiled_in(settings: NodeSettings, model: str | None, adapters: Mapping[str, Adapter]) -> None:
    if model is None or not adapters or model in settings.composites or (model in adapters and not settings.composites):
        return  # without a name, as in a program of one's own, the model is what was loaded
    on_npu = any("NPU" in device for device in settings.load.devices)
    uses = "uses NPU with statically fused LoRA" if on_npu else "has statically fused LoRA"
    name = shortened(model or "")
    if settings.composites:
        text = f"Model '{name}' {uses} adapters. Send requests to the composite LoRA alias name instead"
        names = list(settings.composites)
    else:
        text, names = f"Model '{name}' {uses}. Send requests to the LoRA alias name instead", list(adapters)
    refuse("model", f"{text}: {', '.join(names)}.", "invalid_value")


def _refuse_alpha(text: str, possible: Sequence[str]) -> None:
    refuse("lora_alphas", f"{text}; possible: {', '.join(possible)}", "invalid_value")


def _first(*weights: float | None) -> float:
    """The first weight that is given."""
    return next(weight for weight in weights if weight is not None)


def _repeated(names: Sequence[str]) -> Iterator[str]:
    return iter(sorted({name for name in names if names.count(name) > 1}))
