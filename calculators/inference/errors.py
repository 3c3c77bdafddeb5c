"""What an engine says when it could not answer, and what a client is told."""

from __future__ import annotations

from typing import Final

from calculators.http_payload import RequestError
from graph_runtime.errors import GraphError, StatusCode

NOT_STARTED: Final = "its process could not be started again; the server's log says why"


class InferenceCancelledError(Exception):
    """The inference was cancelled."""


class InferenceFailedError(Exception):
    """OpenVINO could not do the inference; the text is its own."""


def cancelled_error(model: str) -> GraphError:
    """The run was cancelled: nothing else cancels an inference."""
    return GraphError(f'The inference of the model "{model}" was cancelled.', code=StatusCode.CANCELLED)


def failed_error(model: str, reason: str) -> RequestError:
    """OpenVINO refused or failed."""
    return _server_error(f'The inference of the model "{model}" failed: {reason}', 500, "inference_failed")


def crashed_error(model: str, how: str) -> RequestError:
    """The process that held the model ended over it."""
    return _server_error(
        f'The process of the model "{model}" {how} while it worked on this request, and is started again for others.',
        500,
        "model_crashed",
    )


def unavailable_error(model: str, why: str) -> RequestError:
    """The model cannot take requests now; later perhaps."""
    return _server_error(f'The model "{model}" is not available: {why}.', 503, "model_unavailable")


def closed_error(model: str) -> RequestError:
    """The model was unloaded while the request waited for it."""
    return unavailable_error(model, "it has been unloaded")


def _server_error(text: str, status: int, code: str) -> RequestError:
    return RequestError(text, status=status, type="server_error", code=code)
