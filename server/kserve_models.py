"""What KServe's calls say of the server and its models, whatever protocol carries them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from server.kserve_codec import VERSION
from server.protocol import SERVER_NAME
from server.servables import Servable, Servables, State

_STATES = {State.AVAILABLE: "READY", State.LOADING: "LOADING"}


def describe_server(*extensions: str) -> dict[str, Any]:
    """What this is, and which extensions of the protocol it speaks."""
    return {"name": SERVER_NAME, "version": version(SERVER_NAME), "extensions": [*extensions, "model_repository"]}


def can_be_used(servables: Servables, servable: Servable) -> bool:
    """Whether a request for it would be run now."""
    return servable.state is State.AVAILABLE and servables.trouble(servable) is None


def index_of(servables: Servables) -> list[dict[str, str]]:
    """All models and their states, as Triton words them."""
    return [
        {
            "name": servable.name,
            "version": VERSION,
            "state": _STATES.get(servable.state, "UNAVAILABLE"),
            "reason": servables.trouble(servable) or "",
        }
        for servable in servables
    ]
