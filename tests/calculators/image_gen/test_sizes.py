"""Which sizes a model can draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from calculators.image_gen.model_folder import ModelInfo
from calculators.image_gen.resolution import Resolution
from calculators.image_gen.sizes import nearest_sizes, size_problem

MakeModel = Callable[..., ModelInfo]


@pytest.mark.parametrize(
    ("model", "size", "fits"),
    [
        ({"size_multiple": 64}, (512, 768), True),
        ({"size_multiple": 64}, (520, 520), False),
        ({"size_multiple": 64}, (512, 520), False),
        ({"size_multiple": 8}, (72, 88), True),
        ({"size_multiple": 8}, (63, 64), False),
        ({"size_multiple": 8}, (32, 32), True),
        ({"size_multiple": 8}, (24, 64), False),
        ({"size_multiple": 8}, (64, 16), False),
        ({"size_multiple": 64}, (32, 64), False),
        ({"size_multiple": 64}, (10**30 * 64, 64), True),
        ({"fixed_size": Resolution(512, 768)}, (512, 768), True),
        ({"fixed_size": Resolution(512, 768)}, (768, 512), False),
    ],
)
def test_sizes(model: dict[str, Any], size: tuple[int, int], fits: bool, make_model: MakeModel) -> None:
    assert (size_problem(Resolution(*size), make_model(**model)) is None) is fits


def test_the_text_names_rule_reason_and_fitting_sizes(make_model: MakeModel) -> None:
    model = make_model(size_multiple=64, size_reason="its UNet halves blocks")
    text = size_problem(Resolution(520, 100), model)
    assert text == (
        "does not fit this model: width and height must be multiples of 64, because its UNet halves blocks; "
        "near by: 512x64 or 576x128"
    )
    assert size_problem(Resolution(8, 8), make_model(size_multiple=8)) == (
        "is too small: the shortest side of this model is 32"
    )
    assert size_problem(Resolution(8, 8), make_model(fixed_size=Resolution(64, 96))) == (
        "does not fit: this model takes 64x96 only"
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), ["64x64", "128x128"]),
        ((128, 70), ["128x64", "128x128"]),
        ((1, 1), ["64x64"]),
        ((64, 64), ["64x64"]),
    ],
)
def test_nearest_sizes(size: tuple[int, int], expected: list[str], make_model: MakeModel) -> None:
    assert [str(each) for each in nearest_sizes(Resolution(*size), make_model(size_multiple=64))] == expected
