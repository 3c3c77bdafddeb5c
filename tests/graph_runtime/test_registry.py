"""Which class a calculator name stands for."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from graph_runtime import (
    Calculator,
    GraphError,
    StatusCode,
    find_calculator,
    known_calculators,
    register_calculator,
    registry,
)


def test_a_decorated_class_is_found_under_its_name_and_under_another() -> None:
    @register_calculator
    class FoundByClassName(Calculator):
        pass

    register_calculator("FoundByOtherName")(FoundByClassName)
    assert find_calculator("FoundByClassName") is FoundByClassName
    assert find_calculator("FoundByOtherName") is FoundByClassName
    assert "FoundByOtherName" in known_calculators()


def test_a_name_belongs_to_one_class() -> None:
    class First(Calculator):
        pass

    class Second(Calculator):
        pass

    register_calculator("OnlyOne")(First)
    register_calculator("OnlyOne")(First)
    with pytest.raises(FileExistsError, match='Calculator "OnlyOne" is registered already'):
        register_calculator("OnlyOne")(Second)


def test_something_else_than_a_calculator_is_refused() -> None:
    with pytest.raises(TypeError, match="takes a subclass of Calculator"):
        register_calculator("No")(int)  # type: ignore[type-var]  # this is what is tested


def test_names_are_looked_up_from_the_graphs_package_outwards() -> None:
    class Inner(Calculator):
        pass

    class Outer(Calculator):
        pass

    register_calculator("foo.bar.Looked")(Inner)
    register_calculator("Looked")(Outer)
    assert find_calculator("Looked", "foo.bar") is Inner
    assert find_calculator("Looked", "foo") is Outer
    assert find_calculator(".Looked", "foo.bar") is Outer


def test_a_plug_in_is_loaded_on_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in = EntryPoint(
        "FromPlugIn", "calculators.core.pass_through:PassThroughCalculator", registry.ENTRY_POINT_GROUP
    )
    monkeypatch.setattr(registry, "_plug_ins", {"FromPlugIn": [plug_in]})
    assert find_calculator("FromPlugIn").__name__ == "PassThroughCalculator"


def test_a_plug_in_that_cannot_be_imported_shows_its_own_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in = EntryPoint("Broken", "no_such_module_anywhere:Thing", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "_plug_ins", {"Broken": [plug_in]})
    with pytest.raises(GraphError, match="No module named 'no_such_module_anywhere'") as info:
        find_calculator("Broken")
    assert info.value.code == StatusCode.FAILED_PRECONDITION


def test_a_name_that_two_installed_packages_have_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("one", "two"):
        info = tmp_path / f"{package}_nodes-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}-nodes\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[{registry.ENTRY_POINT_GROUP}]\nTaken = {package}_nodes:Taken\n"
            "Shared = calculators.core.pass_through:PassThroughCalculator\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_plug_ins", None)
    with pytest.raises(GraphError) as info_of:
        find_calculator("Taken")
    assert info_of.value.code == StatusCode.ALREADY_EXISTS
    for text in ("one-nodes (one_nodes:Taken)", "two-nodes (two_nodes:Taken)", "uninstall all but one"):
        assert text in str(info_of.value)
    assert find_calculator("Shared").__name__ == "PassThroughCalculator"


def test_whoever_looks_while_another_thread_reads_the_plug_ins_finds_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["FirstOfTwo", "SecondOfTwo"]
    plug_ins = [EntryPoint(name, "calculators.core.pass_through:PassThroughCalculator", "g") for name in names]
    seen: list[set[str]] = []

    def entry_points(group: str) -> Iterator[EntryPoint]:
        yield plug_ins[0]
        if not seen:
            seen.append(set())
            seen.append(set(known_calculators()))  # as another thread would at this moment
        yield plug_ins[1]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    monkeypatch.setattr(registry, "_plug_ins", None)
    for found in (set(known_calculators()), *seen[1:]):
        assert found >= set(names)


def test_the_calculators_that_come_with_the_project_are_entry_points() -> None:
    assert {"PassThroughCalculator", "ImageGenCalculator"} <= set(known_calculators())
