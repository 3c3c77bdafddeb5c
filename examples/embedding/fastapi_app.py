"""A FastAPI application with routes that draw, by an image graph in the same process.

Usage::

    uvicorn examples.embedding.fastapi_app:app
    curl 'http://127.0.0.1:8000/picture?prompt=a+red+circle' -o circle.png
    curl -N 'http://127.0.0.1:8000/picture/events?prompt=a+red+circle'
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from calculators import HttpPayload, load_resources, refusal_in
from graph_runtime import GraphError, Packet, Plan, aio

MODEL = Path(__file__).parents[1] / "models" / "shapes"

T = TypeVar("T")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The model is loaded once, before the first request, and given back at the end."""
    app.state.plan = plan = Plan(MODEL / "graph.pbtxt")
    # On a thread, since it takes a while. In a process of its own the model cannot take the application with it if it crashes.
    app.state.resources = await asyncio.to_thread(load_resources, plan, lane="process")
    yield
    await asyncio.to_thread(app.state.resources.close)


app = FastAPI(lifespan=lifespan)


@app.get("/picture")
async def picture(request: Request, prompt: str, steps: int = 20) -> Response:
    """A picture of what the prompt says."""
    payload = HttpPayload.json("/v3/images/generations", {"prompt": prompt, "num_inference_steps": steps})
    drawing = aio.run(app.state.plan, {"input": payload}, app.state.resources.side_packets)
    try:
        outputs = await unless_client_leaves(request, drawing)
    except GraphError as error:
        refusal = refusal_in(error)
        if refusal is None:
            raise
        raise HTTPException(refusal.status, refusal.message) from error
    if outputs is None:
        return Response(status_code=499)  # nobody receives it
    (answer,) = outputs["output"]
    return Response(b64decode(json.loads(answer.value)["data"][0]["b64_json"]), media_type="image/png")


@app.get("/picture/events")
async def picture_events(prompt: str, steps: int = 20) -> StreamingResponse:
    """The picture as it comes, as server-sent events: partial images, then the last one, or what is wrong with the request."""
    fields = {"prompt": prompt, "num_inference_steps": steps, "stream": True, "partial_images": 2}
    payload = HttpPayload.json("/v3/images/generations", fields)

    async def events() -> AsyncIterator[str]:
        # Where the client leaves, the response cancels this, or closes it; both cancel the run.
        try:
            async with aio.running(app.state.plan, app.state.resources.side_packets, outputs=["output"]) as run:
                await run.add("input", Packet(payload), 0)
                run.close_inputs()
                async for packet in run.output("output"):
                    yield f"data: {packet.value}\n\n"
        except GraphError as error:
            refusal = refusal_in(error)
            if refusal is None:
                raise
            yield f"data: {json.dumps(refusal.body())}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work gives; None if the client has left meanwhile, which cancels it. FastAPI would let it go on."""
    task = asyncio.create_task(work)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()
    finally:
        watching.cancel()
        task.cancel()  # where this handler itself is cancelled
