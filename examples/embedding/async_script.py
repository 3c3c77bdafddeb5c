"""An image graph in an asyncio program, with a limit of time: what is not done by then is cancelled.

Usage::

    python examples/embedding/async_script.py [seconds]

In Jupyter, where an event loop runs already: ``await main(10)``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from calculators import HttpPayload, load_resources
from graph_runtime import Packet, Plan, aio

MODEL = Path(__file__).parents[1] / "models" / "shapes"


async def main(seconds: float) -> None:
    """Draw two pictures at the same time, and say how far each is."""
    plan = Plan(MODEL / "graph.pbtxt")
    # To load takes a while, so a thread does it. Each of the two lanes works on one request at a time.
    with await asyncio.to_thread(load_resources, plan, lanes=2) as resources:

        async def draw(prompt: str) -> None:
            fields = {"prompt": prompt, "stream": True, "partial_images": 2}
            request = HttpPayload.json("/v3/images/generations", fields)
            async with aio.running(plan, resources.side_packets, outputs=["output"]) as run:
                await run.add("input", Packet(request), 0)
                run.close_inputs()
                async for event in run.output("output"):
                    print(prompt, "-", json.loads(event.value)["type"])

        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                group.create_task(draw("a red circle"))
                group.create_task(draw("a blue star"))
        except TimeoutError:
            # The tasks were cancelled, and with them the runs of the graph: by now nothing is drawn any more.
            print("too slow")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30))
