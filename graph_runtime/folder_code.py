"""Python files of a folder, imported for one graph and apart from everything else.

A model folder brings calculators, or handlers, of its own. Two folders may use the same file names and the same class names, and an
edited file is to be read anew while the old version still runs. So nothing of it is found under a name that others use: the files
are modules of a package that is made for one :class:`FolderCode`, read from source each time, without ``__pycache__``.

Inside of the folder imports work as in a script: ``import helper`` and ``from . import helper`` are the ``helper.py`` beside the
file, which wins over an installed module of that name; everything else is what it is for the whole process.
"""

from __future__ import annotations

import builtins
import itertools
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, ModuleSpec, SourceFileLoader
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from graph_runtime.calculator import Calculator
from graph_runtime.errors import GraphError, GraphFileNotFoundError, Problem, StatusCode, raise_problems

CALCULATORS_FILE: Final = "calculators.py"
_PREFIX: Final = "_graph_folder_"
_CALLS_SHOWN: Final = 10

_numbers = itertools.count(1)
_folders: dict[str, FolderCode] = {}


class FolderCode:
    """The modules of one folder; a context manager that forgets them.

    Attributes:
        folder: absolute.
        calculators: name -> class, as ``register_calculator`` was called in these files; they are known to nobody else.
        subgraphs: the same for ``register_subgraph`` and ``register_graph``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100  # links stay
        self.calculators: dict[str, type[Calculator]] = {}
        self.subgraphs: dict[str, Any] = {}
        self._name = f"{_PREFIX}{next(_numbers)}"
        package = module_from_spec(ModuleSpec(self._name, None, is_package=True))
        package.__path__ = [str(self.folder)]
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        sys.modules[self._name] = package
        _folders[self._name] = self

    def load(self, file: str) -> ModuleType:
        """Run a file, or take its module where that has been done.

        Args:
            file: its name in the folder.

        Raises:
            GraphFileNotFoundError: there is no such file.
            GraphError: it raised; ``problems`` has the place in the author's own files, ``__cause__`` the error.
        """
        path = self.folder / file
        if not path.is_file():
            raise GraphFileNotFoundError(f"{path}: there is no such file", code=StatusCode.NOT_FOUND, place=str(path))
        with self.blaming(path):
            return import_module(f"{self._name}.{path.stem}")

    @contextmanager
    def blaming(self, file: Path, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Turn what the author's code raises into a GraphError that says where in that code it was.

        Args:
            file: what to name where no line of the folder's files has a part in it.
            passing: what goes through as it is.
        """
        try:
            yield
        except passing:
            raise
        except GraphError as error:
            if error.problems:  # has places of its own: of a graph that the code has read
                raise
            self._blame(error, file)
        except Exception as error:
            self._blame(error, file)
        except SystemExit as error:  # of the author's file; the server stays
            self._blame(error, file)

    def _blame(self, error: BaseException, file: Path) -> None:
        raise_as = Problem(self._words(error), StatusCode.FAILED_PRECONDITION, str(file))
        calls = self._calls(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename is not None and self._is_own(error.filename):
            raise_as = _at(raise_as, f"{error.filename}:{error.lineno}" + (f":{error.offset}" if error.offset else ""))
        elif calls:
            raise_as = _at(raise_as, calls[-1][0])
            calls = calls[:-1]
        if calls:
            shown = [f"{Path(place).name} in {name}" for place, name in calls[: -_CALLS_SHOWN - 1 : -1]]
            more = [f"and {len(calls) - len(shown)} more"] if len(calls) > len(shown) else []
            where = ", ".join(shown + more)
            raise_as = Problem(raise_as.message, raise_as.code, raise_as.place, hint=f"called from {where}")
        try:
            raise_problems("", [raise_as])
        except GraphError as blamed:
            raise blamed from error

    def _words(self, error: BaseException) -> str:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        if isinstance(error, ImportError) and error.path is not None:
            text = text.replace(f" ({error.path})", "")  # where packages are installed is nothing for clients
        text = text.replace(f"{self._name}.", "").replace(self._name, self.folder.name)
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def _calls(self, trace: TracebackType | None) -> list[tuple[str, str]]:
        """The calls that led to an error, as far as they are of the folder's files: ``file:line`` and the function."""
        return [
            (f"{frame.filename}:{frame.lineno}", frame.name.replace("<module>", "the file"))
            for frame in traceback.extract_tb(trace)
            if self._is_own(frame.filename)
        ]

    def _is_own(self, file: str) -> bool:
        return Path(file).is_relative_to(self.folder)

    def unregistered(self) -> list[str]:
        """The names of calculators in the files that were loaded, and that nobody has registered."""
        own = [module for name, module in list(sys.modules.items()) if name.startswith(f"{self._name}.")]
        found = {
            name: value
            for module in own
            for name, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Calculator) and value.__module__ == module.__name__
        }
        return sorted(name for name, cls in found.items() if cls not in self.calculators.values())

    def close(self) -> None:
        """Forget the modules; what was made of them goes on working, but for imports that it has not done yet."""
        _folders.pop(self._name, None)
        for name in list(sys.modules):  # other threads import meanwhile
            if name == self._name or name.startswith(f"{self._name}."):
                del sys.modules[name]

    def __enter__(self) -> FolderCode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load_calculators(file: str | os.PathLike[str]) -> FolderCode:
    """Run a file with calculators of one's own; they are for the graphs that they are given to, and not registered.

    ::

        with load_calculators("graphs/calculators.py") as own:
            plan = Plan(Path("graphs/graph.pbtxt"), calculators=own.calculators, subgraphs=own.subgraphs)
            ...

    Args:
        file: its path; other files of its folder can be imported by it.

    Raises:
        GraphFileNotFoundError: there is no such file.
        GraphError: it raised; ``problems`` has the place in the author's own files, ``__cause__`` the error.
    """
    path = Path(file)
    code = FolderCode(path.parent)
    try:
        code.load(path.name)
    except BaseException:
        code.close()
        raise
    return code


def folder_code_of(module: str) -> FolderCode | None:
    """Whose file a module is; None for modules of the whole process."""
    return _folders.get(module.partition(".")[0]) if module.startswith(_PREFIX) else None


def _at(problem: Problem, place: str) -> Problem:
    return Problem(problem.message, problem.code, place)


class _Loader(SourceFileLoader):
    """Reads a module from its source, whatever a ``.pyc`` says: two edits within one tick of the file's date are two versions."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("no byte code is kept")

    def exec_module(self, module: ModuleType) -> None:
        own = dict(vars(builtins))
        own["__import__"] = _Import(module.__name__.partition(".")[0])
        module.__dict__["__builtins__"] = own
        super().exec_module(module)


class _Import:
    """The ``import`` of a folder's files: what lies in the folder is found first."""

    def __init__(self, package: str) -> None:
        self._package = package

    def __call__(
        self,
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        code = _folders.get(self._package)
        if level == 0 and code is not None and _has(code.folder, name.partition(".")[0]):
            return builtins.__import__(name, {"__package__": self._package}, None, fromlist or (), 1)
        return builtins.__import__(name, globals_, locals_, fromlist or (), level)


def _has(folder: Path, name: str) -> bool:
    # "import calculators" means the installed package of that name, also in a calculators.py.
    if f"{name}.py" == CALCULATORS_FILE:
        return False
    if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
        return True
    # A folder without __init__.py is a package where nothing else has the name.
    return (folder / name).is_dir() and name not in sys.modules and find_spec(name) is None


class _Finder:
    """Finds modules of folders; the names of all others are none of its business."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not name.startswith(_PREFIX):
            return None
        for folder in path or ():
            # A new one each time: those that the import system keeps take a second to see new files.
            found = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_Loader, [".py"])).find_spec(name)
            if found is not None:
                return found
        return None
