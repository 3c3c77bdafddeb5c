"""Devices that are there, devices that are not, and the best of them; no model is loaded."""

from __future__ import annotations

import pytest

from calculators.load_error import LoadError

devices = pytest.importorskip("calculators.image_gen.engine.devices", reason="needs openvino-genai")


@pytest.mark.parametrize(
    ("device", "available"),
    [
        ("CPU", ["CPU"]),
        ("AUTO", ["CPU"]),
        ("GPU", ["CPU", "GPU.0", "GPU.1"]),
        ("GPU.1", ["CPU", "GPU.0", "GPU.1"]),
        ("GPU.0", ["CPU", "GPU"]),
        ("AUTO:GPU,CPU", ["CPU", "GPU"]),
        ("AUTO:-GPU", ["CPU"]),
        ("AUTO:CPU,-GPU", ["CPU"]),
        ("MULTI:GPU.0,CPU", ["CPU", "GPU"]),
        ("BATCH:GPU(4)", ["CPU", "GPU"]),
        ("HETERO:CPU", ["CPU"]),
    ],
)
def test_devices_that_are_there(device: str, available: list[str]) -> None:
    devices.check_devices([device], available)


@pytest.mark.parametrize(
    ("device", "missing"),
    [
        ("GPU", "GPU"), ("cpu", "cpu"), ("CPU.0", "CPU.0"), ("CPU.1", "CPU.1"), ("GPU.0", "GPU.0"), ("NPU", "NPU"),
        ("AUTO:GPU,CPU", "GPU"), ("MULTI:CPU,GPU.0", "GPU.0"), ("HETERO:NPU,CPU", "NPU"), ("BATCH:GPU(4)", "GPU"),
        ("CUDA", "CUDA"), ("AUTO:CPU,,TPU", "TPU"),
    ],
)  # fmt: skip
def test_devices_that_are_not(device: str, missing: str) -> None:
    with pytest.raises(LoadError, match=f"there is no {missing} on this machine; it has: CPU$") as caught:
        devices.check_devices(["CPU", device], ["CPU"])
    assert caught.value.field == "device"


def test_second_gpu_on_a_machine_with_one() -> None:
    with pytest.raises(LoadError, match=r"there is no GPU\.1"):
        devices.check_devices(["GPU.1"], ["CPU", "GPU"])


def gpu(name: str, gigabytes: int | None = None) -> object:
    """A discrete GPU with so much free memory, or an integrated one."""
    return devices.Gpu(name, gigabytes is not None, (gigabytes or 0) << 30)


@pytest.mark.parametrize(
    ("gpus", "best"),
    [
        ([], "CPU"),
        ([gpu("GPU")], "GPU"),
        ([gpu("GPU.0"), gpu("GPU.1")], "GPU.0"),
        ([gpu("GPU.0"), gpu("GPU.1", 4)], "GPU.1"),
        ([gpu("GPU.0", 4), gpu("GPU.1", 12), gpu("GPU.2", 8)], "GPU.1"),
        ([gpu("GPU.0", 0), gpu("GPU.1")], "GPU.0"),
    ],
)
def test_auto_is_the_best_there_is(gpus: list[object], best: str) -> None:
    assert devices.best_device(gpus) == best


def test_auto_is_replaced_and_everything_else_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_gpus", lambda core: [gpu("GPU.0", 4)])
    assert devices.chosen_devices(("CPU", "AUTO", "HETERO:CPU")) == ("CPU", "GPU.0", "HETERO:CPU")


def test_auto_on_a_machine_with_a_cpu_alone() -> None:
    assert devices.chosen_devices(("AUTO",)) in (("CPU",), ("GPU",), ("GPU.0",))
