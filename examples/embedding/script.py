"""An image graph in a script: no server, no event loop.

Usage::

    python examples/embedding/script.py [picture.png]
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path

from calculators import HttpPayload, load_resources
from graph_runtime import Packet, Plan, run, running

MODEL = Path(__file__).parents[1] / "models" / "shapes"

# The graph, read and checked. It can be run any number of times.
plan = Plan(MODEL / "graph.pbtxt")

# Its model, loaded into this process; lane="process" would load it into a child, so that a crash cannot hurt this program.
with load_resources(plan) as resources:
    # One request in, one answer out: what clients of the server send and get.
    request = HttpPayload.json("/v3/images/generations", {"prompt": "a red circle on a blue background", "rng_seed": 7})
    (answer,) = run(plan, {"input": request}, resources.side_packets)["output"]
    picture = json.loads(answer.value)["data"][0]
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_bytes(b64decode(picture["b64_json"]))
    print(f"a picture, of seed {picture['seed']}")

    # The same as it comes: two pictures on the way, then the last one. Ctrl-C ends the work at its next step.
    request = HttpPayload.json(
        "/v3/images/generations", {"prompt": "a green ring", "stream": True, "partial_images": 2, "rng_seed": 7}
    )
    with running(plan, resources.side_packets, outputs=["output"]) as started:
        started.add("input", Packet(request), 0)
        started.close_inputs()
        for event in started.output("output"):
            print(json.loads(event.value)["type"])
