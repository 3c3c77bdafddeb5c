"""Makes the models that the graphs beside this file use, in OpenVINO's own format, out of OpenVINO's operations.

    python examples/openvino_models/make_models.py             beside the graphs, in served/
    python examples/openvino_models/make_models.py FOLDER      in another copy of served/

``dummy`` adds 1 to each of 10 numbers, ``add`` adds two rows of them, ``sides`` parts a row of any length into what is below and
above zero.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import openvino.opset13 as ops

HERE = Path(__file__).resolve().parent


def main(folder: Path) -> None:
    """Write all models below a folder."""
    row = parameter("b", [1, 10])
    save(folder / "dummy" / "1" / "dummy.xml", [row], {"a": ops.add(row, ops.constant(np.float32(1)))})
    rows = [parameter("input1", [1, 10]), parameter("input2", [1, 10])]
    save(folder / "add" / "1" / "add.xml", rows, {"sum": ops.add(*rows)})
    numbers, zero = parameter("numbers", [-1]), ops.constant(np.float32(0))
    sides = {"below": ops.minimum(numbers, zero), "above": ops.maximum(numbers, zero)}
    save(folder / "both_sides" / "sides" / "1" / "sides.xml", [numbers], sides)


def parameter(name: str, shape: Sequence[int]) -> Any:
    """An input of 32-bit floats; -1 for a side of any length."""
    made = ops.parameter(shape, np.float32, name=name)
    made.output(0).set_names({name})
    return made


def save(file: Path, inputs: Sequence[Any], outputs: Mapping[str, Any]) -> None:
    """Write a model and its weights."""
    for name, node in outputs.items():
        node.output(0).set_names({name})
    model = openvino.Model([ops.result(node) for node in outputs.values()], list(inputs), file.stem)
    file.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, file, compress_to_fp16=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "served")
