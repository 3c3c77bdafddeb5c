"""Which class a calculator name stands for: registered by decorator, or found by entry point on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar, overload

from graph_runtime.arguments import check_name
from graph_runtime.calculator import Calculator
from graph_runtime.errors import GraphError, StatusCode
from graph_runtime.near_names import did_you_mean, near_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "graph_runtime.calculators"

C = TypeVar("C", bound=type[Calculator])

_classes: dict[str, type[Calculator]] = {}
_plug_ins: dict[str, EntryPoint] | None = None


@overload
def register_calculator(target: C) -> C: ...
@overload
def register_calculator(target: str) -> Callable[[C], C]: ...


def register_calculator(target: C | str) -> C | Callable[[C], C]:
    """Make a calculator known to every graph: ``@register_calculator`` or ``@register_calculator("OtherName")``.

    Raises:
        AlreadyExistsError: another class has the name. The same definition again (a reloaded module) replaces the old one.
    """
    if isinstance(target, str):
        return lambda cls: _register(target, cls)
    return _register(getattr(target, "__name__", ""), target)


def _register(name: str, cls: C) -> C:
    if not (isinstance(cls, type) and issubclass(cls, Calculator)):
        raise TypeError(f'register_calculator("{name}") takes a subclass of Calculator, not {cls!r}')
    have = _classes.get(name)
    if have is not None and (have.__module__, have.__qualname__) != (cls.__module__, cls.__qualname__):
        raise GraphError(
            f'Calculator "{name}" is registered already, by {have.__module__}.{have.__qualname__}; '
            f"{cls.__module__}.{cls.__qualname__} needs another name",
            code=StatusCode.ALREADY_EXISTS,
        )
    _classes[name] = cls
    return cls


def find_calculator(name: str, package: str = "", subgraphs: Iterable[str] = ()) -> type[Calculator]:
    """The class for a calculator name, looked up in the graph's package, then in each outer one, then globally.

    Args:
        name: as a node gives it.
        package: of the graph.
        subgraphs: names that a node might have meant as well.

    Raises:
        GraphRuntimeError: nobody registered the name (NOT_FOUND), or the plug-in that has it cannot be imported
            (FAILED_PRECONDITION; the text carries its own traceback).
    """
    check_name(name)
    for candidate in _candidates(name, package):
        cls = _classes.get(candidate)
        if cls is not None:
            return cls
        plug_in = _entry_points().get(candidate)
        if plug_in is not None:
            return _load(candidate, plug_in)
    shown = name.removeprefix(".").replace(".", "::")
    near = near_name(name, known_calculators(), "Calculator")
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


def _entry_points() -> dict[str, EntryPoint]:
    global _plug_ins
    if _plug_ins is None:
        # Imported here because it costs as much as the rest of the runtime, and many graphs never ask.
        from importlib.metadata import entry_points

        _plug_ins = {found.name: found for found in entry_points(group=ENTRY_POINT_GROUP)}
    return _plug_ins


def _load(name: str, plug_in: EntryPoint) -> type[Calculator]:
    try:
        cls = plug_in.load()
    except Exception as error:
        import traceback

        raise GraphError(
            f'Calculator "{name}" comes from the plug-in {plug_in.value}, which cannot be imported:\n'
            + "".join(traceback.format_exception(error)).rstrip(),
            code=StatusCode.FAILED_PRECONDITION,
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Calculator)):
        raise GraphError(
            f'Calculator "{name}": {plug_in.value} is not a subclass of Calculator', code=StatusCode.FAILED_PRECONDITION
        )
    return _classes.setdefault(name, cls)
