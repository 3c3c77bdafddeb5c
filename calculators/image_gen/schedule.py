"""How many denoising steps OpenVINO GenAI runs for what a request asks (source: GenAI 2026.4, and counting).

A request that starts from a picture runs only the last part of the schedule: the more of it, the greater its strength. GenAI
computes in 32 bit floating point numbers, and so does this.
"""

from __future__ import annotations

import ctypes

from calculators.image_gen.model_folder import ModelInfo

_LCM = "LCMScheduler"
_FLOW = "FlowMatchEulerDiscreteScheduler"


def steps_to_run(model: ModelInfo, steps: int, strength: float) -> int:
    """The steps that a schedule has to have; 0 where nothing is left of it, which GenAI refuses or crashes over.

    Args:
        model: whose scheduler it is.
        steps: ``num_inference_steps``.
        strength: from 0 to 1; 1 runs all.
    """
    if model.scheduler == _LCM:  # it takes ``steps`` steps from what strength leaves of the original ones
        return steps if _share(model.original_inference_steps, strength) else 0
    if not model.family.takes_strength:
        return steps
    if model.scheduler == _FLOW:  # it leaves out whole steps, where the others run whole ones: a part of a step is run
        return steps - int(_float32(steps - _float32(steps * _float32(strength))))
    share = _share(steps, strength)
    if share == 0:
        return 0
    return share + 1 if model.scheduler == "PNDMScheduler" and steps > 1 else share  # it repeats one to get started


def can_be_miscounted(model: ModelInfo) -> bool:
    """Whether GenAI runs one step too many for some step counts, and gives noise: with ``timestep_spacing: trailing``."""
    return model.timestep_spacing == "trailing" and model.scheduler != _LCM


def _share(steps: int, strength: float) -> int:
    return int(_float32(steps * _float32(strength)))


def _float32(value: float) -> float:
    return ctypes.c_float(value).value
