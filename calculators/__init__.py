"""Calculators for graphs, and what their nodes need.

* ``http_payload``: the packet that carries an HTTP request, and the error that refuses one (``refusal_in`` finds it).
* ``progress``: how far the nodes of a run are, for whoever watches it.
* ``resources``: ``load_resources`` loads what nodes need before a graph runs (models), without any server.
* ``core``: MediaPipe's general calculators. ``image_gen``: image generation with OpenVINO GenAI.

Importing this package loads neither numpy nor OpenVINO.
"""

from calculators.http_payload import HttpPayload, RequestError, refusal_in
from calculators.progress import PROGRESS, Progress
from calculators.resources import Resources, check_resources, load_resources, notes_on_resources

__all__ = [
    "PROGRESS",
    "HttpPayload",
    "Progress",
    "RequestError",
    "Resources",
    "check_resources",
    "load_resources",
    "notes_on_resources",
    "refusal_in",
]
