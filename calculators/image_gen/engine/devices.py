"""Which devices there are, and which is the best of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import openvino

from calculators.load_error import LoadError

AUTO: Final = "AUTO"
_VIRTUAL: Final = (AUTO, "MULTI", "HETERO", "BATCH")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its device name, whether it has memory of its own, and how much of that is free, in bytes."""

    name: str
    is_discrete: bool
    free_bytes: int = 0


def best_device(gpus: Iterable[Gpu]) -> str:
    """What ``AUTO`` stands for (source: OVMS): the discrete GPU with the most free memory, else an integrated one, else the CPU.

    Never an NPU: that takes models of fixed shapes only, and so has to be asked for.
    """
    found = list(gpus)
    discrete = [gpu for gpu in found if gpu.is_discrete]
    if discrete:
        return max(discrete, key=lambda gpu: gpu.free_bytes).name
    return found[0].name if found else "CPU"


def chosen_devices(wanted: Sequence[str]) -> tuple[str, ...]:
    """The devices to compile for: those that were asked for, with the best one in the place of a plain ``AUTO``.

    Raises:
        LoadError: one is not there.
    """
    core = openvino.Core()
    check_devices(wanted, core.available_devices)
    return tuple(best_device(_gpus(core)) if device == AUTO else device for device in wanted)


def _gpus(core: openvino.Core) -> list[Gpu]:
    names = [name for name in core.available_devices if name.partition(".")[0] == "GPU"]
    return [_gpu(core, name) for name in names]


def _gpu(core: openvino.Core, name: str) -> Gpu:
    if core.get_property(name, "DEVICE_TYPE") != openvino.properties.device.Type.DISCRETE:
        return Gpu(name, is_discrete=False)
    used = sum(core.get_property(name, "GPU_MEMORY_STATISTICS").values())
    return Gpu(name, True, int(core.get_property(name, "GPU_DEVICE_TOTAL_MEM_SIZE")) - int(used))


def check_devices(wanted: Sequence[str], available: Sequence[str]) -> None:
    """Refuse devices that this machine does not have.

    Raises:
        LoadError: names the device, and those that are there.
    """
    for device in wanted:
        for part in _parts(device):
            if not _is_there(part, available):
                raise LoadError(
                    f'device "{device}": there is no {part} on this machine; it has: {", ".join(available)}',
                    field="device",
                )


def _parts(device: str) -> list[str]:
    """The real devices that a name stands for: ``MULTI:GPU.0,CPU`` is two, ``AUTO`` leaves it to OpenVINO, ``AUTO:-GPU`` too."""
    kind, _, rest = device.partition(":")
    if kind not in _VIRTUAL:
        return [device]
    parts = [part.partition("(")[0] for part in rest.split(",") if part and not part.startswith("-")]
    return [real for part in parts for real in _parts(part)]


def _is_there(device: str, available: Sequence[str]) -> bool:
    if device in available:
        return True
    kind, dot, number = device.partition(".")
    if not dot:
        return any(each.partition(".")[0] == kind for each in available)
    return number == "0" and kind != "CPU" and kind in available
