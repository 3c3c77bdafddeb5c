"""Which class a calculator name stands for: registered by decorator, or found by entry point on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, overload

from graph_runtime.arguments import check_name, wrong_type
from graph_runtime.calculator import Calculator
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.folder_code import folder_code_of
from graph_runtime.near_names import did_you_mean, near_name
from graph_runtime.shadows import OUR_PACKAGES, check_ours
from graph_runtime.tracebacks import own_traceback

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "graph_runtime.calculators"

C = TypeVar("C", bound=type[Calculator])

_NO_CALCULATORS: Final[Mapping[str, type[Calculator]]] = MappingProxyType({})
_classes: dict[str, type[Calculator]] = {}
_plug_ins: dict[str, list[EntryPoint]] | None = None


@overload
def register_calculator(target: C) -> C: ...
@overload
def register_calculator(target: str) -> Callable[[C], C]: ...


def register_calculator(target: C | str) -> C | Callable[[C], C]:
    """Make a calculator known to every graph: ``@register_calculator`` or ``@register_calculator("OtherName")``.

    In a file of ``load_calculators``, such as the ``calculators.py`` of a model folder, it is known to the graphs there alone.

    Raises:
        AlreadyExistsError: another class has the name. The same definition again (a reloaded module) replaces the old one.
    """
    code = folder_code_of(sys._getframe(1).f_globals.get("__name__", ""))
    classes = _classes if code is None else code.calculators
    if isinstance(target, str):
        return lambda cls: _register(classes, target, cls)
    return _register(classes, getattr(target, "__name__", ""), target)


def _register(classes: dict[str, type[Calculator]], name: str, cls: C) -> C:
    if not (isinstance(cls, type) and issubclass(cls, Calculator)):
        raise TypeError(f'register_calculator("{name}") takes a subclass of Calculator, not {cls!r}')
    have = classes.get(name)
    if have is not None and (have.__module__, have.__qualname__) != (cls.__module__, cls.__qualname__):
        raise GraphError(
            f'Calculator "{name}" is registered already, by {have.__module__}.{have.__qualname__}; '
            f"{cls.__module__}.{cls.__qualname__} needs another name",
            code=StatusCode.ALREADY_EXISTS,
        )
    classes[name] = cls
    return cls


def local_calculators(calculators: Mapping[str, type[Calculator]]) -> Mapping[str, type[Calculator]]:
    """The calculators that one graph brings along, looked at.

    Raises:
        TypeError: it is no mapping of names to subclasses of Calculator.
    """
    if not isinstance(calculators, Mapping):
        raise wrong_type("calculators has name -> class", calculators)
    for name, cls in calculators.items():
        check_name(name)
        if not (isinstance(cls, type) and issubclass(cls, Calculator)):
            raise TypeError(f'calculators["{name}"] is a subclass of Calculator, not {cls!r}')
    return dict(calculators)


def find_calculator(
    name: str,
    package: str = "",
    subgraphs: Iterable[str] = (),
    local: Mapping[str, type[Calculator]] = _NO_CALCULATORS,
) -> type[Calculator]:
    """The class for a calculator name, looked up in the graph's package, then in each outer one, then globally.

    Args:
        name: as a node gives it.
        package: of the graph.
        subgraphs: names that a node might have meant as well.
        local: calculators that the graph brings along; they win over those that are registered.

    Raises:
        GraphRuntimeError: nobody registered the name (NOT_FOUND), the plug-in that has it cannot be imported
            (FAILED_PRECONDITION; the text carries its own traceback), or several packages have it (ALREADY_EXISTS).
    """
    check_name(name)
    candidates = list(_candidates(name, package))
    for candidate in candidates:
        if candidate in local:
            return local[candidate]
    for candidate in candidates:
        cls = _classes.get(candidate)
        if cls is not None:
            return cls
        plug_ins = _entry_points().get(candidate)
        if plug_ins is not None:
            return _load(candidate, _only(candidate, plug_ins))
    shown = name.removeprefix(".").replace(".", "::")
    near = near_name(name, {*known_calculators(), *local}, "Calculator")
    meant = did_you_mean(name, subgraphs) if near is None else f'did you mean "{near}"?'
    hint = f"; {meant}" if meant else ""
    raise GraphError(
        f'No registered object with name: {shown}; Unable to find Calculator "{name}"{hint}', code=StatusCode.NOT_FOUND
    )


def known_calculators() -> Iterable[str]:
    """The names that find_calculator knows, sorted."""
    return sorted({*_classes, *_entry_points()})


def _candidates(name: str, package: str) -> Iterable[str]:
    if name.startswith("."):
        yield name[1:]
        return
    parts = package.split(".") if package else []
    for count in range(len(parts), 0, -1):
        yield ".".join([*parts[:count], name])
    yield name


def _entry_points() -> dict[str, list[EntryPoint]]:
    global _plug_ins
    if _plug_ins is None:
        # Imported here because it costs as much as the rest of the runtime, and many graphs never ask.
        from importlib.metadata import entry_points

        by_name: dict[str, list[EntryPoint]] = {}
        for found in entry_points(group=ENTRY_POINT_GROUP):
            by_name.setdefault(found.name, []).append(found)
        _plug_ins = by_name  # whole: other threads look meanwhile
    return _plug_ins


def _only(name: str, plug_ins: Sequence[EntryPoint]) -> EntryPoint:
    """The plug-in with a name; which of several it is would depend on the order of folders on the path."""
    if len({each.value for each in plug_ins}) > 1:
        found = " and ".join(f"{each.dist.name if each.dist else 'a package'} ({each.value})" for each in plug_ins)
        raise GraphError(
            f'Calculator "{name}" comes from several installed packages: {found}; uninstall all but one of them',
            code=StatusCode.ALREADY_EXISTS,
        )
    return plug_ins[0]


def _blame_the_module_in_the_way(name: str, plug_in: EntryPoint, error: Exception) -> None:
    """Say so, where one of our packages cannot be imported since another module has its name: its traceback would tell nothing."""
    package = plug_in.module.partition(".")[0]
    if package in OUR_PACKAGES:
        try:
            check_ours(package)
        except ImportError as reason:
            raise GraphError(
                f'Calculator "{name}" cannot be imported: {reason}', code=StatusCode.FAILED_PRECONDITION
            ) from error


def _load(name: str, plug_in: EntryPoint) -> type[Calculator]:
    try:
        cls = plug_in.load()
    except Exception as error:
        _blame_the_module_in_the_way(name, plug_in, error)
        raise GraphError(
            f'Calculator "{name}" comes from the plug-in {plug_in.value}, which cannot be imported:\n'
            + own_traceback(error),
            code=StatusCode.FAILED_PRECONDITION,
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Calculator)):
        raise GraphError(
            f'Calculator "{name}": {plug_in.value} is not a subclass of Calculator', code=StatusCode.FAILED_PRECONDITION
        )
    return _classes.setdefault(name, cls)
