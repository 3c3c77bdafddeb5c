"""Our packages under their own names: whether another ``server`` or ``calculators`` stands in front of them on ``sys.path``.

Both are names that people give to files of their own, and whatever comes first on the path is imported.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OUR_PACKAGES: Final = ("calculators", "server")
"""Those that are installed beside this one."""


def check_ours(package: str) -> None:
    """Do nothing if ``import PACKAGE`` gives graph-runtime's.

    Args:
        package: one of ``OUR_PACKAGES``.

    Raises:
        ImportError: it gives another one, or there is none; the text names the file that is in the way, and says what to do.
    """
    found, ours = _place_of(package), Path(__file__).parents[1] / package
    if found is None:
        raise ImportError(
            f"graph-runtime's package {package!r} cannot be found beside {Path(__file__).parent}: install graph-runtime anew",
            name=package,
        )
    if not ours.is_dir() or found.parent.resolve() == ours.resolve():
        return
    raise ImportError(
        f"{found} is in the way: `import {package}` gives this module instead of graph-runtime's package of the same name. "
        f"Rename it, or {_way_out(found)}",
        name=package,
        path=str(found),
    )


def _place_of(package: str) -> Path | None:
    """The file that an import runs, or has run; of a folder without an ``__init__.py``, one in it that is not there."""
    try:
        spec = find_spec(package)
    except ValueError:  # a module that was put into sys.modules by hand
        return Path(getattr(sys.modules[package], "__file__", None) or "a module made by this program")
    if spec is None:
        return None
    if spec.has_location and spec.origin is not None:
        return Path(spec.origin)
    folders = list(spec.submodule_search_locations or ())
    return Path(folders[0], "__init__.py") if folders else None


def _way_out(found: Path) -> str:
    """How to get its folder off the path."""
    folder = found.parent.parent if found.name == "__init__.py" else found.parent
    listed = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if any(Path(each).resolve() == folder.resolve() for each in listed):
        return f"take {folder} out of PYTHONPATH."
    if folder.resolve() == Path.cwd():
        return (
            "use `python -P`: without it Python has the folder of a script, and with -m the current one, on its path."
        )
    return f"take {folder} off Python's path (sys.path)."
