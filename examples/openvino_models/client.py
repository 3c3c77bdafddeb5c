"""Asks a server that runs served/ over KServe v2: ``python examples/openvino_models/client.py http://127.0.0.1:8000``.

HTTP needs nothing but Python; any KServe client does as well, over gRPC too.
"""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

ROW = [float(number) for number in range(10)]


def main(server: str) -> None:
    """Ask each model and graph once."""
    print("dummy", infer(server, "dummy", {"b": ([1, 10], ROW)}))
    print("add", infer(server, "add", {"input1": ([1, 10], ROW), "input2": ([1, 10], ROW)}))
    print("sum_of_two", infer(server, "sum_of_two", {"first": ([1, 10], ROW), "second": ([1, 10], ROW)}))
    print("both_sides", infer(server, "both_sides", {"numbers": ([3], [-1.5, 0.0, 2.5])}))


def infer(
    server: str, model: str, inputs: Mapping[str, tuple[Sequence[int], Sequence[float]]]
) -> dict[str, list[float]]:
    """Output name -> its numbers in a row."""
    tensors = [
        {"name": name, "datatype": "FP32", "shape": shape, "data": data} for name, (shape, data) in inputs.items()
    ]
    call = urllib.request.Request(
        f"{server}/v2/models/{model}/infer",
        json.dumps({"inputs": tensors}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return {output["name"]: output["data"] for output in answer["outputs"]}


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
