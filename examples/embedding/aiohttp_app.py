"""An aiohttp application with the graph server below /ai, and a route of its own that runs a graph.

Usage::

    python examples/embedding/aiohttp_app.py
    curl 'http://127.0.0.1:8080/count?text=one+two+three'
    curl http://127.0.0.1:8080/ai/v3/images/generations -H 'Content-Type: application/json' \
        -d '{"model": "shapes", "prompt": "a red circle"}'

The page is at http://127.0.0.1:8080/ai/.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from graph_runtime import Calculator, CalculatorContext, CalculatorContract, GraphError, Plan, aio, register_calculator
from server.app import build_app
from server.settings import Settings

MODELS = Path(__file__).parents[1] / "models"


@register_calculator
class CountWords(Calculator):
    """How many words a text has."""

    @classmethod
    def get_contract(cls, cc: CalculatorContract) -> None:
        """Text in, number out."""
        cc.inputs[0].set(str)
        cc.outputs[0].set(int)

    def process(self, cc: CalculatorContext) -> None:
        """Count."""
        cc.outputs[0].add(len(cc.inputs[0].value.split()))


# Read and checked once, for all requests.
COUNT = Plan("""
    input_stream: "text"
    output_stream: "words"
    node { calculator: "CountWords" input_stream: "text" output_stream: "words" }
""")


async def count(request: web.Request) -> web.Response:
    """GET /count?text=...: a run of a graph for each request. It runs on other threads, and the event loop goes on."""
    try:
        (words,) = (await aio.run(COUNT, {"text": request.query.get("text", "")}))["words"]
    except GraphError as error:
        raise web.HTTPInternalServerError(text=str(error)) from error
    return web.json_response({"words": words.value})


def build() -> web.Application:
    """The application."""
    app = web.Application()
    app.router.add_get("/count", count)
    # All that `graph-runtime serve` has, with the same settings. Models load in the background once the application runs, each
    # in a process of its own; requests of clients that leave are cancelled; what runs is answered before the application ends.
    app.add_subapp("/ai", build_app(Settings(models=MODELS)))
    return app


if __name__ == "__main__":
    # With handler_cancellation a client that leaves cancels our own handlers too, and with them the runs of their graphs.
    web.run_app(build(), host="127.0.0.1", port=8080, handler_cancellation=True)
