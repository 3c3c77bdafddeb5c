"""How many steps OpenVINO GenAI has to run: counted with its release 2026.4.1 and the model that comes with the project."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.schedule import can_be_miscounted, steps_to_run

MakeModel = Callable[..., ModelInfo]


@pytest.mark.parametrize(
    ("scheduler", "steps", "strength", "run"),
    [
        ("EulerDiscreteScheduler", 20, 1.0, 20),
        ("EulerDiscreteScheduler", 22, 0.5, 11),
        ("EulerDiscreteScheduler", 9, 0.8, 7),
        ("EulerDiscreteScheduler", 10, 0.7, 7),  # 6.99... in 64 bits
        ("EulerDiscreteScheduler", 100, 0.29, 29),
        ("EulerDiscreteScheduler", 20, 0.05, 1),
        ("EulerDiscreteScheduler", 10, 0.05, 0),
        ("FlowMatchEulerDiscreteScheduler", 10, 1.0, 10),
        ("FlowMatchEulerDiscreteScheduler", 10, 0.6, 6),
        ("FlowMatchEulerDiscreteScheduler", 4, 0.6, 3),  # 2.4 steps are three
        ("FlowMatchEulerDiscreteScheduler", 10, 0.05, 1),
        ("FlowMatchEulerDiscreteScheduler", 10, 0.0, 0),
        ("PNDMScheduler", 20, 1.0, 21),
        ("PNDMScheduler", 20, 0.5, 11),
        ("PNDMScheduler", 4, 0.3, 2),
        ("PNDMScheduler", 1, 1.0, 1),
        ("PNDMScheduler", 10, 0.05, 0),
        ("LCMScheduler", 4, 0.5, 4),
        ("LCMScheduler", 1, 0.5, 1),
        ("LCMScheduler", 100, 0.02, 100),
        ("LCMScheduler", 100, 0.01, 0),  # half of one of the 50 original steps; GenAI crashes
        ("LCMScheduler", 4, 0.0, 0),
    ],
)
def test_steps_to_run(scheduler: str, steps: int, strength: float, run: int, make_model: MakeModel) -> None:
    assert steps_to_run(make_model(scheduler=scheduler), steps, strength) == run


def test_all_steps_are_run_where_strength_is_not_used(make_model: MakeModel) -> None:
    model = make_model("Flux2KleinPipeline", scheduler="FlowMatchEulerDiscreteScheduler")
    assert steps_to_run(model, 4, 0.5) == 4


def test_a_distilled_model_counts_with_its_own_original_steps(make_model: MakeModel) -> None:
    model = make_model(scheduler="LCMScheduler", original_inference_steps=200)
    assert steps_to_run(model, 4, 0.01) == 4


@pytest.mark.parametrize(
    ("scheduler", "spacing", "can_be"),
    [
        ("EulerDiscreteScheduler", "trailing", True),
        ("PNDMScheduler", "trailing", True),
        ("EulerDiscreteScheduler", "leading", False),
        ("EulerDiscreteScheduler", "", False),
        ("LCMScheduler", "trailing", False),
    ],
)
def test_what_can_be_miscounted(scheduler: str, spacing: str, can_be: bool, make_model: MakeModel) -> None:
    assert can_be_miscounted(make_model(scheduler=scheduler, timestep_spacing=spacing)) is can_be
