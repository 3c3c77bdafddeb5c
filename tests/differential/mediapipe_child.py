"""A process that asks the mediapipe wheel: reads graphs from standard input, one JSON string a line, and prints what each becomes.

The answer is ``{"error": class, "text": ...}`` or ``{"config": hex of the validated graph}``. It is a process of its own because
some graphs make the wheel end its process.
"""

from __future__ import annotations

import json
import os
import sys

from mediapipe.python._framework_bindings.calculator_graph import CalculatorGraph


def ask(graph: str) -> dict[str, str]:
    """What the wheel makes of one graph."""
    try:
        return {"config": CalculatorGraph(graph_config=graph).binary_config.hex()}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the wheel writes its log there
    for line in sys.stdin:
        print(json.dumps(ask(json.loads(line))), file=answers, flush=True)
