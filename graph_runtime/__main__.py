"""``python -m graph_runtime``, and where the command ``graph-runtime`` begins: it looks whether what it runs is ours.

The commands themselves are ``server.cli``, which is imported by name alone: the runtime does not depend on the server.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from graph_runtime.shadows import OUR_PACKAGES, check_ours


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        for package in OUR_PACKAGES:
            check_ours(package)
    except ImportError as error:
        sys.stderr.write(f"graph-runtime: {error}\n")
        return 1
    exit_code: int = import_module("server.cli").main()
    return exit_code


if __name__ == "__main__":
    # For -m Python puts the current folder first on its path, and so a calculators.py beside a graph before our package.
    if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
        del sys.path[0]
    sys.exit(main())
