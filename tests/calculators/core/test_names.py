"""The names of the core calculators: each leads to its class, and the package's entry points are the same."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from calculators.core.names import CALCULATORS
from graph_runtime import Calculator

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


@pytest.mark.parametrize("name", CALCULATORS)
def test_a_name_leads_to_a_calculator(name: str) -> None:
    module, _, class_name = CALCULATORS[name].partition(":")
    found = getattr(import_module(module), class_name)
    assert issubclass(found, Calculator)
    assert found.__doc__


def test_every_class_has_a_name() -> None:
    named = set(CALCULATORS.values())
    core = Path(import_module("calculators.core").__path__[0])
    classes = {
        f"calculators.core.{path.stem}:{found.__name__}"
        for path in core.glob("*.py")
        for found in vars(import_module(f"calculators.core.{path.stem}")).values()
        if isinstance(found, type)
        and issubclass(found, Calculator)
        and found.__module__ == f"calculators.core.{path.stem}"
    }
    assert classes == named


def test_the_entry_points_are_the_names() -> None:
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["graph_runtime.calculators"]
    core = {name: where for name, where in declared.items() if where.startswith("calculators.core.")}
    assert core == CALCULATORS
