"""Starts the program from any folder: python examples/train_shapes/train.py --out DIR."""

import sys
from importlib import import_module
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(import_module("train_shapes.program").main())
